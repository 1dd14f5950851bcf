//! When somebody who failed is asked again: after a moment, by one request alone.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For so long nobody is sent to one that failed.
const MOMENT: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Rest(Mutex<State>);

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Well,
    /// Failed; left alone until then.
    Ill(Instant),
    /// One request finds out whether it is well again.
    Tried,
}

/// The permission to ask once.
pub struct Turn<'a> {
    rest: &'a Rest,
    /// Whether it is the one that finds out.
    trial: bool,
    over: bool,
    began: Instant,
}

impl Rest {
    /// Whether it is left alone now.
    pub fn rests(&self) -> bool {
        match *self.state() {
            State::Well => false,
            State::Ill(until) => Instant::now() < until,
            State::Tried => true,
        }
    }

    /// A turn to ask; or why there is none.
    pub fn turn(&self) -> Result<Turn<'_>, String> {
        let mut state = self.state();
        let trial = match *state {
            State::Well => false,
            State::Ill(until) if Instant::now() >= until => {
                *state = State::Tried;
                true
            }
            State::Ill(_) | State::Tried => return Err("it failed a moment ago".to_owned()),
        };
        Ok(Turn { rest: self, trial, over: false, began: Instant::now() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// It answered. Whether that is news.
    pub fn went_well(mut self) -> bool {
        self.over = true;
        if self.trial {
            *self.rest.state() = State::Well;
        }
        self.trial
    }

    /// It did not. Whether that is news.
    pub fn failed(mut self) -> bool {
        self.over = true;
        let mut state = self.rest.state();
        let news = matches!(*state, State::Well);
        *state = State::Ill(Instant::now() + MOMENT);
        news
    }
}

impl Drop for Turn<'_> {
    /// A caller that went away has found out nothing, and the next one tries; unless it had waited long enough to know.
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let now = Instant::now();
        if now.saturating_duration_since(self.began) >= MOMENT {
            *self.rest.state() = State::Ill(now + MOMENT);
        } else if self.trial {
            *self.rest.state() = State::Ill(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_finds_out() {
        let rest = Rest::default();
        let (first, second) = (rest.turn().unwrap(), rest.turn().unwrap());
        assert!(first.failed());
        assert!(!second.failed(), "it is known already");
        assert!(rest.turn().is_err());
        *rest.state() = State::Ill(Instant::now());
        let trial = rest.turn().unwrap();
        assert!(rest.turn().is_err(), "somebody is finding out");
        drop(trial);
        let mut impatient = rest.turn().unwrap();
        impatient.began = Instant::now().checked_sub(MOMENT).unwrap();
        drop(impatient);
        assert!(rest.turn().is_err() && rest.rests(), "whoever waited for long has found something out");
        *rest.state() = State::Ill(Instant::now());
        let trial = rest.turn().unwrap();
        assert!(trial.went_well());
        assert!(!rest.turn().unwrap().went_well());
    }
}
