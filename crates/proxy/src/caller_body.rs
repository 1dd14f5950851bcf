//! The body of a request as the caller sends it, over HTTP/1.1 or HTTP/2.

use crate::body::BodyError;
use crate::conduct::CallerLimits;
use crate::identity;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body as _, Frame, SizeHint};
use http1::body::{Next, Reader};
use hyper::body::Incoming;
use net::alarm::Alarm;
use net::wire::Wire;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// What a caller sends, as long as it keeps sending, and no more than it may.
pub struct CallerBody {
    from: From,
    /// How much more it may send.
    allowed: u64,
    /// Headers that plugins tell services: trailers may not.
    reserved: Arc<[HeaderName]>,
}

enum From {
    Http1(Http1Body),
    Http2(Box<Http2Body>),
}

/// How much, and for how long, is read of what nobody wants, so that the caller comes to read its answer.
pub const LINGER: (usize, Duration) = (1024 * 1024, Duration::from_secs(2));
/// Up to this length the rest of a body that nobody wants is read to its end.
pub const SKIPPED: u64 = 64 * 1024;

/// A caller's HTTP/1.1 connection: its server reads heads and writes answers, the body of the request under
/// way reads in between.
pub struct Inbound {
    pub wire: Wire,
    /// Of the request under way.
    pub body: Reader,
    /// The caller waits to be told that its body is wanted (`Expect: 100-continue`).
    pub awaits_continue: bool,
    /// It is being told.
    says_continue: bool,
    /// Which request of the connection this is: a handle of another one's body reads nothing.
    pub number: u64,
    /// The body cannot be read any further, so neither can the connection.
    pub broken: bool,
    pub limits: CallerLimits,
}

pub struct Http1Body {
    inbound: Rc<RefCell<Inbound>>,
    number: u64,
    wait: Wait,
}

/// For a caller who lets us wait. Apart from the connection's own timer, because another task may read the body
/// (where the service speaks HTTP/2) than the one that writes the answer.
#[derive(Default)]
struct Wait {
    /// When the last piece came, once there was one to wait for.
    since: Option<Instant>,
    alarm: Alarm,
}

/// Where a body over HTTP/2 is left by whoever needs no more of it.
pub type Unread = Rc<Cell<Option<Incoming>>>;

pub struct Http2Body {
    /// Gone when this is dropped.
    incoming: Option<Incoming>,
    unread: Unread,
    patience: Duration,
    /// Made when the caller first lets us wait.
    timer: Option<Pin<Box<Sleep>>>,
}

impl CallerBody {
    pub fn http1(inbound: Rc<RefCell<Inbound>>) -> CallerBody {
        let (number, allowed) = (inbound.borrow().number, inbound.borrow().limits.body_bytes);
        CallerBody {
            from: From::Http1(Http1Body { inbound, number, wait: Wait::default() }),
            allowed,
            reserved: Arc::default(),
        }
    }

    pub fn http2(incoming: Incoming, unread: Unread, limits: CallerLimits) -> CallerBody {
        let body = Http2Body { incoming: Some(incoming), unread, patience: limits.body_timeout, timer: None };
        CallerBody { from: From::Http2(Box::new(body)), allowed: limits.body_bytes, reserved: Arc::default() }
    }

    pub fn reserve(&mut self, names: &Arc<[HeaderName]>) {
        self.reserved = names.clone();
    }

    pub fn limit(&mut self, limit_bytes: u64) {
        self.allowed = self.allowed.min(limit_bytes);
    }

    pub fn poll_frame(&mut self, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut polled = match &mut self.from {
            From::Http1(body) => body.poll_frame(cx),
            From::Http2(body) => body.poll_frame(cx),
        };
        if let Poll::Ready(Some(Ok(frame))) = &mut polled {
            // Some services merge trailers into the headers: what a caller may not say there, it may not say here.
            if let Some(trailers) = frame.trailers_mut() {
                identity::strip_trailers(trailers, &self.reserved);
            }
            let size = frame.data_ref().map_or(0, |data| data.len() as u64);
            match self.allowed.checked_sub(size) {
                Some(left) => self.allowed = left,
                None => return Poll::Ready(Some(Err(BodyError::TooLarge))),
            }
        }
        polled
    }

    pub fn is_end_stream(&self) -> bool {
        match &self.from {
            From::Http1(body) => body.inbound.borrow().body.ended(),
            From::Http2(body) => body.incoming.as_ref().is_none_or(Incoming::is_end_stream),
        }
    }

    pub fn size_hint(&self) -> SizeHint {
        match &self.from {
            From::Http1(body) => body.inbound.borrow().body.left().map(SizeHint::with_exact).unwrap_or_default(),
            From::Http2(body) => body.incoming.as_ref().map(Incoming::size_hint).unwrap_or_default(),
        }
    }
}

impl Http1Body {
    fn poll_frame(&mut self, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut inbound = self.inbound.borrow_mut();
        if inbound.number != self.number {
            return Poll::Ready(Some(Err(BodyError::Closed)));
        }
        let polled = inbound.poll_next(&mut self.wait, cx);
        inbound.broken |= matches!(polled, Poll::Ready(Err(_)));
        polled.map(|next| match next {
            Ok(Next::Data(data)) => Some(Ok(Frame::data(data))),
            Ok(Next::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Ok(Next::End | Next::More) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

impl Inbound {
    pub fn new(wire: Wire, limits: CallerLimits) -> Inbound {
        let body = Reader::new(http1::framing::Length::NONE);
        Inbound { wire, body, awaits_continue: false, says_continue: false, number: 0, broken: false, limits }
    }

    fn poll_next(&mut self, wait: &mut Wait, cx: &mut Context) -> Poll<Result<Next, BodyError>> {
        loop {
            match self.body.next(&mut self.wire.input).map_err(BodyError::Malformed)? {
                Next::More => {}
                next => {
                    wait.since = None;
                    return Poll::Ready(Ok(next));
                }
            }
            if std::mem::take(&mut self.awaits_continue) {
                self.wire.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                self.says_continue = true;
            }
            if self.says_continue {
                // What does not go out now goes out with the next attempt.
                self.says_continue = self.wire.poll_flush(cx).map_err(BodyError::Connection)?.is_pending();
            }
            let expected = self.body.left().unwrap_or_default();
            match self.wire.poll_fill(expected, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(BodyError::Closed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(BodyError::Connection(error))),
                Poll::Pending => {
                    let since = *wait.since.get_or_insert_with(Instant::now);
                    ready!(wait.alarm.poll(since + self.limits.body_timeout, cx));
                    return Poll::Ready(Err(BodyError::CallerStalled));
                }
            }
        }
    }

    /// Takes what has come of a body that nobody reads, so that the next request can follow.
    pub fn skip_what_came(&mut self) {
        while let (false, Ok(next)) = (self.broken, self.body.next(&mut self.wire.input)) {
            match next {
                Next::Data(_) => {}
                Next::Trailers(_) | Next::End | Next::More => return,
            }
        }
        self.broken = true;
    }
}

impl Http2Body {
    fn poll_frame(&mut self, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) {
            self.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Http2)));
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.patience)));
        timer.as_mut().poll(cx).map(|()| Some(Err(BodyError::CallerStalled)))
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        self.unread.set(self.incoming.take());
    }
}

/// Whether the caller waits for a `100 Continue` (RFC 9110 section 10.1.1).
pub fn awaits_continue(headers: &HeaderMap) -> bool {
    headers.get(http::header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
