//! Calls to services: connections kept for the next request, attempts, and time limits.

use self::http1::Link;
use self::places::Near;
use crate::answer::UpstreamError;
use crate::balancer::Occupied;
use crate::body::{Body, BodyError};
use crate::conduct::Keepalive;
use crate::destination::{ByDestination, Destination};
use crate::identity::Identity;
use crate::message::Message;
use crate::registry::{Lasting, Registry};
use crate::tunnel::Tunnel;
use bytes::Bytes;
use http::{Method, Response};
use http_body::{Body as _, Frame, SizeHint};
use net::dns::Names;
use net::egress::{self, ConnectError};
use net::stream::Stream;
use net::wire::Wire;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

mod http1;
mod http2;
mod places;

#[cfg(feature = "testing")]
pub use self::http1::write_head;
pub use http2::WatchedBody;

/// One core's connections to services. Nothing in it is shared, so nothing in it waits.
pub struct Pool {
    names: Arc<Names>,
    keepalive: Cell<Keepalive>,
    near: RefCell<ByDestination<Near>>,
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
    pub fn new(names: Arc<Names>, keepalive: Keepalive) -> Rc<Pool> {
        Rc::new(Pool {
            names,
            keepalive: Cell::new(keepalive),
            near: RefCell::default(),
            http2: http2::Links::default(),
        })
    }

    /// From now on connections are kept so; those that are kept already, at the next sweep.
    pub fn set_keepalive(&self, keepalive: Keepalive) {
        self.keepalive.set(keepalive);
    }

    /// Sends a request and waits for the head of its answer. Of several addresses of a name the next one is
    /// asked, or the one that `hash` leads to.
    ///
    /// A service may close a kept connection at the moment it is used again. If nothing was written the
    /// request is sent anew; if it was, a safe one without a body is repeated, once, on a new connection
    /// (RFC 9110 section 9.2.2). A connection that could not be made is for the caller of this function to
    /// try again.
    pub async fn send(
        self: &Rc<Pool>,
        destination: &Destination,
        hash: Option<u64>,
        outgoing: &impl Message,
        mut body: Body,
        limits: Limits,
    ) -> Result<Response<Box<UpstreamBody>>, Failed> {
        let mut repeated = false;
        loop {
            let bodiless = matches!(body, Body::Empty);
            let (link, reused) = match self.find(destination, hash, !repeated) {
                Found::Kept(link) => (link, true),
                // Rare, and large: in a box it does not weigh on every request.
                found => match Box::pin(self.connect(destination, hash, !repeated, found, limits.connect)).await {
                    Ok(found) => found,
                    Err(error) => return Err(Failed { error, unsent: Some(body) }),
                },
            };
            let answered = match link {
                AnyLink::Http1(link) => http1::call(link, outgoing, body, limits).await.map(|(head, body)| {
                    let lease = (self.clone(), destination.clone());
                    Response::from_parts(head, UpstreamBody::new(From::Http1(body, lease)))
                }),
                // In a box for the same reason.
                AnyLink::Http2(link) => Box::pin(http2::call(link, destination, outgoing, body, limits))
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

    /// What is at hand for a request.
    fn find(&self, destination: &Destination, hash: Option<u64>, kept_too: bool) -> Found {
        let mut near = self.near.borrow_mut();
        let Some(near) = near.get_mut(destination).filter(|near| near.holds(self.names.epoch())) else {
            return Found::Unknown;
        };
        let chosen = near.choose(hash);
        if kept_too
            && let Some(address) = near.address(chosen)
            && let Some(link) = self.kept(destination, near, address)
        {
            return Found::Kept(link);
        }
        Found::At(near.all_from(chosen))
    }

    fn kept(&self, destination: &Destination, near: &mut Near, address: SocketAddr) -> Option<AnyLink> {
        if destination.http2 {
            return self.http2.find(destination, address).map(AnyLink::Http2);
        }
        while let Some(mut link) = near.take(address) {
            if link.idle_since.elapsed() < self.keepalive.get().idle_timeout && link.is_quiet() {
                return Some(AnyLink::Http1(link));
            }
        }
        None
    }

    /// Connects to the first of the addresses that can be reached, unless a connection is at hand once the name has
    /// been looked up; whether there was. Each gets an equal share of the time that is
    /// left, so that one which never answers leaves time for the next.
    async fn connect(
        &self,
        destination: &Destination,
        hash: Option<u64>,
        kept_too: bool,
        found: Found,
        limit: Duration,
    ) -> Result<(AnyLink, bool), UpstreamError> {
        let deadline = Instant::now() + limit;
        let addresses = match found {
            Found::Kept(link) => return Ok((link, true)),
            Found::At(addresses) => addresses,
            Found::Unknown => {
                let mut near = self.look_up(destination, deadline).await?;
                let chosen = near.choose(hash);
                let addresses = near.all_from(chosen);
                self.remember(destination, near);
                match self.find(destination, hash, kept_too) {
                    Found::Kept(link) => return Ok((link, true)),
                    Found::At(addresses) => addresses,
                    // It was not remembered, or is over its time already.
                    Found::Unknown => addresses,
                }
            }
        };
        let mut failure = UpstreamError::NoPeer;
        for (index, address) in addresses.iter().enumerate() {
            let share = egress::share(deadline, addresses.len() - index);
            match self.connect_to(destination, *address, share).await {
                Ok(link) => return Ok((link, false)),
                Err(error @ UpstreamError::Connect(ConnectError::Exhausted { .. })) => return Err(error),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn look_up(&self, destination: &Destination, deadline: Instant) -> Result<Near, UpstreamError> {
        let epoch = self.names.epoch();
        let (places, until) = egress::look_up(&self.names, &destination.host, deadline).await?;
        Ok(Near::new(&places, destination.port, until, epoch))
    }

    async fn connect_to(
        &self,
        destination: &Destination,
        address: SocketAddr,
        deadline: Instant,
    ) -> Result<AnyLink, UpstreamError> {
        let stream = egress::connect(address, deadline).await?;
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
            true => {
                let keep = self.near.borrow().contains_key(destination);
                self.http2.open(destination, address, stream, keep).await.map(AnyLink::Http2)
            }
            false => Ok(AnyLink::Http1(Link::new(Wire::new(stream), address))),
        }
    }

    fn remember(&self, destination: &Destination, newer: Near) {
        let mut known = self.near.borrow_mut();
        if let Some(near) = known.get_mut(destination) {
            return near.renew(newer);
        }
        // Names that callers make up must not each hold memory and a connection.
        let made_up = |other: &&Destination| other.named_by_caller;
        if !destination.named_by_caller || known.keys().filter(made_up).count() < MAX_CALLER_NAMES {
            known.insert(destination.clone(), newer);
        }
    }

    fn give_back(&self, destination: &Destination, mut link: Link) {
        let keepalive = self.keepalive.get();
        if link.requests >= keepalive.max_requests || keepalive.pool_size == 0 {
            return;
        }
        link.idle_since = Instant::now();
        let mut near = self.near.borrow_mut();
        let Some(near) = near.get_mut(destination) else { return };
        if near.idle.len() >= keepalive.pool_size {
            // The oldest goes: it is the one that its service will close first.
            near.idle.remove(0);
        }
        near.idle.push(link);
    }

    /// Closes what nobody used for long, and forgets destinations that are no more.
    pub fn sweep(&self) {
        let idle_timeout = self.keepalive.get().idle_timeout;
        self.http2.sweep(idle_timeout);
        self.near.borrow_mut().retain(|destination, near| {
            near.idle.retain_mut(|link| {
                // A buffer is at hand for the next answer, but not for ever.
                link.wire.release();
                link.idle_since.elapsed() < idle_timeout && link.is_quiet()
            });
            near.still_used() || self.http2.has(destination)
        });
    }
}

/// What is at hand for a request.
enum Found {
    Kept(AnyLink),
    /// Where to connect to, in this order.
    At(Vec<SocketAddr>),
    /// The name must be looked up.
    Unknown,
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

/// How long an answer may still go on when the credential that it was asked for with has been taken away: an ordinary one is
/// not broken off in the middle.
const GRACE: Duration = Duration::from_secs(1);

/// What a service sends. At its end the connection is free for the next request.
pub struct UpstreamBody {
    from: From,
    occupied: Option<Occupied>,
    /// For whom; nothing where nobody was proven.
    lasting: Option<Lasting>,
}

#[allow(clippy::large_enum_variant, reason = "it lives in a box")]
enum From {
    Http1(http1::AnswerBody, (Rc<Pool>, Destination)),
    Http2(http2::AnswerBody),
    /// The end was reached.
    Ended,
}

impl UpstreamBody {
    /// It is large, so it is moved as seldom as can be.
    fn new(from: From) -> Box<UpstreamBody> {
        let mut body = Box::new(UpstreamBody { from, occupied: None, lasting: None });
        body.free_at_end();
        body
    }

    /// The target counts as busy until the body has ended, or the tunnel that follows it.
    pub fn occupy(&mut self, occupied: Option<Occupied>) {
        self.occupied = occupied.filter(|_| !self.is_over());
    }

    /// It ends with the credential that it was asked for with.
    pub fn end_with(&mut self, identity: Option<&Identity>, registry: &Arc<Registry>) {
        if !self.is_over() {
            self.lasting = Lasting::of(identity, registry);
        }
    }

    /// The connection, which goes on as something else (101).
    pub fn into_tunnel(self) -> Option<Tunnel> {
        let From::Http1(body, _) = self.from else { return None };
        let (service, idle) = body.into_tunnel();
        Some(Tunnel { service, idle, lasting: self.lasting, occupied: self.occupied })
    }

    /// Whether all has come, and the connection does not go on as something else.
    fn is_over(&self) -> bool {
        self.is_end_stream() && !matches!(&self.from, From::Http1(body, _) if body.switched)
    }

    fn free_at_end(&mut self) {
        if !self.is_over() {
            return;
        }
        self.occupied = None;
        if let From::Http1(body, (pool, destination)) = std::mem::replace(&mut self.from, From::Ended)
            && let Some(link) = body.into_idle()
        {
            pool.give_back(&destination, link);
        }
    }
}

impl http_body::Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let is_over = self.lasting.as_ref().is_some_and(|lasting| lasting.is_over_for(GRACE));
        let polled = match &mut self.from {
            From::Http1(..) | From::Http2(_) if is_over => Poll::Ready(Some(Err(BodyError::Revoked))),
            From::Http1(body, _) => body.poll_frame(cx),
            From::Http2(body) => body.poll_frame(cx),
            From::Ended => Poll::Ready(None),
        };
        match &polled {
            Poll::Ready(Some(Ok(_)) | None) => self.free_at_end(),
            // A part of an answer is no connection to another one.
            Poll::Ready(Some(Err(error))) => {
                tracing::warn!(%error, "an answer is passed on in part only");
                self.from = From::Ended;
            }
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
