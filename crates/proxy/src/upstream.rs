//! Calls to services: connections kept for the next request, attempts, and time limits.

use self::http1::Link;
use crate::answer::UpstreamError;
use crate::balancer::Occupied;
use crate::body::{Body, BodyError};
use crate::conduct::Keepalive;
use crate::destination::{ByDestination, Destination};
use crate::outgoing::Outgoing;
use bytes::Bytes;
use http::{Method, Response};
use http_body::{Body as _, Frame, SizeHint};
use net::egress::{self, Egress};
use net::stream::Stream;
use net::wire::Wire;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

mod http1;
mod http2;

#[cfg(feature = "testing")]
pub use self::http1::write_head;
pub use http2::WatchedBody;

/// One core's connections to services. Nothing in it is shared, so nothing in it waits.
pub struct Pool {
    egress: Arc<Egress>,
    keepalive: Cell<Keepalive>,
    idle: RefCell<ByDestination<Vec<Link>>>,
    http2: http2::Links,
}

/// To how many host names, chosen by callers, connections are kept at the same time.
const MAX_CALLER_NAMES: usize = 64;

/// How long the steps of a call may take.
#[derive(Clone, Copy)]
pub struct Limits {
    pub connect: Duration,
    pub write: Duration,
    pub read: Duration,
}

/// A call without an answer.
pub struct Failed {
    pub error: UpstreamError,
    /// The body of the request, if nothing was sent: then it may be tried elsewhere.
    pub unsent: Option<Body>,
}

/// Why a connection gave no answer.
struct NoAnswer {
    error: UpstreamError,
    /// The connection was closed before anything of an answer came: perhaps before the service saw the request.
    silent: bool,
    /// Nothing of the request had been written.
    unsent: bool,
}

impl Pool {
    pub fn new(egress: Arc<Egress>, keepalive: Keepalive) -> Rc<Pool> {
        Rc::new(Pool {
            egress,
            keepalive: Cell::new(keepalive),
            idle: RefCell::default(),
            http2: http2::Links::default(),
        })
    }

    /// From now on connections are kept so; those that are kept already, at the next sweep.
    pub fn set_keepalive(&self, keepalive: Keepalive) {
        self.keepalive.set(keepalive);
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// A service may close a kept connection at the moment it is used again. If nothing was written the
    /// request is sent anew; if it was, a safe one without a body is repeated, once, on a new connection
    /// (RFC 9110 section 9.2.2). A connection that could not be made is for the caller of this function to
    /// try again.
    pub async fn send(
        self: &Rc<Pool>,
        destination: &Destination,
        outgoing: &Outgoing<'_>,
        mut body: Body,
        limits: Limits,
    ) -> Result<Response<UpstreamBody>, Failed> {
        let mut repeated = false;
        loop {
            let bodiless = matches!(body, Body::Empty);
            let kept = if repeated { None } else { self.checkout(destination) };
            let reused = kept.is_some();
            let link = match kept {
                Some(link) => link,
                None => match self.connect(destination, limits.connect).await {
                    Ok(link) => link,
                    Err(error) => return Err(Failed { error, unsent: Some(body) }),
                },
            };
            let answered = match link {
                AnyLink::Http1(link) => http1::call(link, outgoing, body, limits).await.map(|(head, body)| {
                    let lease = (self.clone(), destination.clone());
                    Response::from_parts(head, UpstreamBody::new(From::Http1(body, lease)))
                }),
                AnyLink::Http2(link) => http2::call(link, destination, outgoing, body, limits)
                    .await
                    .map(|response| response.map(|body| UpstreamBody::new(From::Http2(body)))),
            };
            match answered {
                Ok(response) => return Ok(response),
                Err((answer, rest)) => {
                    let again = reused && (answer.unsent || answer.silent && bodiless && is_safe(outgoing.method()));
                    if !again || matches!(rest, Body::Lost) {
                        return Err(Failed { error: answer.error, unsent: None });
                    }
                    // Of kept connections there are only so many; of HTTP/2 the same one could be found for ever.
                    repeated = !answer.unsent || destination.http2;
                    body = rest;
                }
            }
        }
    }

    fn checkout(&self, destination: &Destination) -> Option<AnyLink> {
        if destination.http2 {
            return self.http2.find(destination).map(AnyLink::Http2);
        }
        let mut idle = self.idle.borrow_mut();
        let links = idle.get_mut(destination)?;
        while let Some(mut link) = links.pop() {
            if link.idle_since.elapsed() < self.keepalive.get().idle_timeout && link.is_quiet() {
                return Some(AnyLink::Http1(link));
            }
        }
        None
    }

    async fn connect(&self, destination: &Destination, limit: Duration) -> Result<AnyLink, UpstreamError> {
        let deadline = Instant::now() + limit;
        let stream = self.egress.connect(&destination.host, destination.port, deadline).await?;
        let stream = match &destination.tls {
            None => Stream::Plain(stream),
            Some(tls) => {
                let stream = egress::tls_connect(stream, tls.config.clone(), &tls.server_name, deadline).await?;
                if destination.http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err(UpstreamError::NotHttp2);
                }
                Stream::tls(stream)
            }
        };
        match destination.http2 {
            true => self.http2.open(destination, stream).await.map(AnyLink::Http2),
            false => Ok(AnyLink::Http1(Link::new(Wire::new(stream)))),
        }
    }

    fn give_back(&self, destination: Destination, mut link: Link) {
        if link.requests >= self.keepalive.get().max_requests || self.keepalive.get().pool_size == 0 {
            return;
        }
        link.idle_since = Instant::now();
        let mut idle = self.idle.borrow_mut();
        // Names that callers make up must not each hold a connection.
        let known = idle.contains_key(&destination);
        if destination.named_by_caller
            && !known
            && idle.keys().filter(|other| other.named_by_caller).count() >= MAX_CALLER_NAMES
        {
            return;
        }
        let links = idle.entry(destination).or_default();
        if links.len() >= self.keepalive.get().pool_size {
            // The oldest goes: it is the one that its service will close first.
            links.remove(0);
        }
        links.push(link);
    }

    /// Closes what nobody used for long, and forgets destinations that are no more.
    pub fn sweep(&self) {
        self.idle.borrow_mut().retain(|_, links| {
            links.retain_mut(|link| {
                // A buffer is at hand for the next answer, but not for ever.
                link.wire.release();
                link.idle_since.elapsed() < self.keepalive.get().idle_timeout && link.is_quiet()
            });
            !links.is_empty()
        });
        self.http2.sweep(self.keepalive.get().idle_timeout);
    }
}

/// A connection, whatever is spoken on it.
enum AnyLink {
    Http1(Link),
    Http2(http2::Link),
}

/// Whether a request may be sent twice without harm.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// What a service sends. At its end the connection is free for the next request.
pub struct UpstreamBody {
    from: From,
    occupied: Option<Occupied>,
}

#[allow(clippy::large_enum_variant, reason = "it lives in a box")]
enum From {
    Http1(http1::AnswerBody, (Rc<Pool>, Destination)),
    Http2(http2::AnswerBody),
    /// The end was reached.
    Ended,
}

impl UpstreamBody {
    fn new(from: From) -> UpstreamBody {
        let mut body = UpstreamBody { from, occupied: None };
        body.free_at_end();
        body
    }

    /// The target counts as busy until the body has ended.
    pub fn occupying(mut self, occupied: Option<Occupied>) -> UpstreamBody {
        self.occupied = occupied.filter(|_| !self.is_end_stream());
        self
    }

    /// The connection, which goes on as something else (101), and how long it may be silent.
    pub fn into_tunnel(self) -> Option<(Wire, Duration)> {
        match self.from {
            From::Http1(body, _) => Some(body.into_tunnel()),
            From::Http2(_) | From::Ended => None,
        }
    }

    fn free_at_end(&mut self) {
        if !self.is_end_stream() || matches!(&self.from, From::Http1(body, _) if body.switched) {
            return;
        }
        self.occupied = None;
        if let From::Http1(body, (pool, destination)) = std::mem::replace(&mut self.from, From::Ended)
            && let Some(link) = body.into_idle()
        {
            pool.give_back(destination, link);
        }
    }
}

impl http_body::Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match &mut self.from {
            From::Http1(body, _) => body.poll_frame(cx),
            From::Http2(body) => body.poll_frame(cx),
            From::Ended => Poll::Ready(None),
        };
        match &polled {
            Poll::Ready(Some(Ok(_)) | None) => self.free_at_end(),
            // A part of an answer is no connection to another one.
            Poll::Ready(Some(Err(_))) => self.from = From::Ended,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            From::Http1(body, _) => body.ended(),
            From::Http2(body) => body.ended(),
            From::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            From::Http1(body, _) => body.left().map(SizeHint::with_exact).unwrap_or_default(),
            From::Http2(body) => body.size_hint(),
            From::Ended => SizeHint::with_exact(0),
        }
    }
}
