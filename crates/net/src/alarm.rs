//! A deadline that costs next to nothing as long as it moves on.

use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep};

/// One timer for one connection, for whatever it waits for next.
///
/// Setting a timer anew for each step of each request is the dearest part of a small request's time
/// limits. Here a later deadline is only noted: the timer rings at the earlier one, finds that it has moved,
/// and is set again; once a minute instead of several times a request.
#[derive(Debug, Default)]
pub struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready when the deadline has passed.
    pub fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if deadline <= Instant::now() {
                // Over for this deadline; the next one sets it again.
                self.timer = None;
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn rings_at_the_deadline_that_was_asked_for_last() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut alarm = Alarm::default();
        for deadline in [at(60), at(10), at(90)] {
            assert!(poll_fn(|cx| Poll::Ready(alarm.poll(deadline, cx))).await.is_pending());
        }
        poll_fn(|cx| alarm.poll(at(90), cx)).await;
        assert_eq!(Instant::now().duration_since(start).as_secs(), 90);
        poll_fn(|cx| alarm.poll(at(95), cx)).await;
        poll_fn(|cx| alarm.poll(at(40), cx)).await;
        assert_eq!(Instant::now().duration_since(start).as_secs(), 95);
    }
}
