//! The body of a request as the caller sends it, over HTTP/1.1 or HTTP/2.

use crate::body::BodyError;
use crate::identity;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use http1::body::{Next, Reader};
use hyper::body::Incoming;
use net::wire::Wire;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How long a caller may take between two pieces of its body (nginx's `client_body_timeout`).
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a caller sends, as long as it keeps sending.
pub enum CallerBody {
    Http1(Http1Body),
    Http2(Http2Body),
}

/// A caller's HTTP/1.1 connection: its server reads heads and writes answers, the body of the request under
/// way reads in between.
pub struct Inbound {
    pub wire: Wire,
    /// Of the request under way.
    pub body: Reader,
    /// The caller waits to be told that its body is wanted (`Expect: 100-continue`).
    pub awaits_continue: bool,
    /// The body cannot be read any further, so neither can the connection.
    pub broken: bool,
}

pub struct Http1Body {
    inbound: Rc<RefCell<Inbound>>,
    /// When the last piece came, once there was one to wait for.
    since: Option<Instant>,
}

pub struct Http2Body {
    incoming: Incoming,
    /// Made when the caller first lets us wait.
    timer: Option<Pin<Box<Sleep>>>,
}

impl CallerBody {
    pub fn http1(inbound: Rc<RefCell<Inbound>>) -> CallerBody {
        CallerBody::Http1(Http1Body { inbound, since: None })
    }

    pub fn http2(incoming: Incoming) -> CallerBody {
        CallerBody::Http2(Http2Body { incoming, timer: None })
    }

    pub fn poll_frame(&mut self, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut polled = match self {
            CallerBody::Http1(body) => body.poll_frame(cx),
            CallerBody::Http2(body) => body.poll_frame(cx),
        };
        // Some services merge trailers into the headers: what a caller may not say there, it may not say here.
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            identity::strip_trailers(trailers);
        }
        polled
    }

    pub fn is_end_stream(&self) -> bool {
        match self {
            CallerBody::Http1(body) => body.inbound.borrow().body.ended(),
            CallerBody::Http2(body) => body.incoming.is_end_stream(),
        }
    }

    pub fn size_hint(&self) -> SizeHint {
        match self {
            CallerBody::Http1(body) => body.inbound.borrow().body.left().map(SizeHint::with_exact).unwrap_or_default(),
            CallerBody::Http2(body) => body.incoming.size_hint(),
        }
    }
}

impl Http1Body {
    fn poll_frame(&mut self, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut inbound = self.inbound.borrow_mut();
        let polled = inbound.poll_next(&mut self.since, cx);
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
    pub fn new(wire: Wire) -> Inbound {
        Inbound { wire, body: Reader::new(http1::framing::Length::NONE), awaits_continue: false, broken: false }
    }

    fn poll_next(&mut self, since: &mut Option<Instant>, cx: &mut Context) -> Poll<Result<Next, BodyError>> {
        loop {
            match self.body.next(&mut self.wire.input).map_err(BodyError::Malformed)? {
                Next::More => {}
                next => {
                    *since = None;
                    return Poll::Ready(Ok(next));
                }
            }
            if std::mem::take(&mut self.awaits_continue) {
                self.wire.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            if !self.wire.output.is_empty() {
                // What does not go out now goes out with the next attempt.
                let _ = self.wire.poll_flush(cx).map_err(BodyError::Connection)?;
            }
            let expected = self.body.left().unwrap_or_default();
            match self.wire.poll_fill(expected, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(BodyError::Closed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(BodyError::Connection(error))),
                Poll::Pending => {
                    let since = since.get_or_insert_with(Instant::now);
                    ready!(self.wire.alarm.poll(*since + PATIENCE, cx));
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
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Http2)));
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
        timer.as_mut().poll(cx).map(|()| Some(Err(BodyError::CallerStalled)))
    }
}

/// Whether the caller waits for a `100 Continue` (RFC 9110 section 10.1.1).
pub fn awaits_continue(headers: &HeaderMap) -> bool {
    headers.get(http::header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
