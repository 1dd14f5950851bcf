//! Connections that go on as something else (RFC 9110 section 7.8): bytes in both directions.

use crate::balancer::Occupied;
use crate::registry::Lasting;
use net::wire::Wire;
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::{Instant, sleep_until};

/// A service's connection that goes on as something else.
pub struct Tunnel {
    pub service: Wire,
    /// How long both ends may be silent: the service's `read_timeout`, as in Kong.
    pub idle: Duration,
    /// For whom it is; nothing where nobody was proven.
    pub lasting: Option<Lasting>,
    /// Keeps the target counted as busy.
    pub occupied: Option<Occupied>,
}

/// Joins caller and service until both are done, or neither has said anything for too long. What either says after
/// the caller's credential was taken away is not passed on.
pub async fn join(caller: Wire, tunnel: Tunnel) {
    let Tunnel { service, idle, lasting, occupied: _occupied } = tunnel;
    let lasting = lasting.as_ref();
    let heard = Cell::new(Instant::now());
    let silence = async {
        while heard.get() + idle > Instant::now() {
            sleep_until(heard.get() + idle).await;
        }
    };
    let (mut caller, mut service) =
        (End { wire: caller, heard: &heard, lasting }, End { wire: service, heard: &heard, lasting });
    tokio::select! {
        // How a tunnel ends is the business of its two ends.
        _ = copy_bidirectional(&mut caller, &mut service) => {}
        () = silence => {}
    }
}

/// One end of a tunnel, which notes when it was heard.
struct End<'a> {
    wire: Wire,
    heard: &'a Cell<Instant>,
    lasting: Option<&'a Lasting>,
}

impl AsyncRead for End<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.wire).poll_read(cx, buf));
        self.heard.set(Instant::now());
        if self.lasting.is_some_and(Lasting::is_over) {
            return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into()));
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for End<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
