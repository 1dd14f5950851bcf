//! Calls to services: connections kept for the next request, attempts, and time limits.

use crate::answer::UpstreamError;
use crate::balancer::Occupied;
use crate::body::{Body, BodyError};
use crate::conduct::Keepalive;
use crate::destination::Destination;
use crate::identity;
use bytes::Bytes;
use http::{Method, Request, Response, request};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use net::egress::{self, Egress};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// One core's connections to services. Nothing in it is shared, so nothing in it waits.
pub struct Pool {
    egress: Arc<Egress>,
    keepalive: Keepalive,
    idle: RefCell<HashMap<Destination, Vec<Connection>>>,
}

/// A connection between two requests.
struct Connection {
    sender: SendRequest<Body>,
    requests: usize,
    idle_since: Instant,
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
    /// The request, if nothing of it was sent: then it may be tried elsewhere.
    pub unsent: Option<Request<Body>>,
}

impl Pool {
    pub fn new(egress: Arc<Egress>, keepalive: Keepalive) -> Rc<Pool> {
        Rc::new(Pool { egress, keepalive, idle: RefCell::default() })
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
        request: Request<Body>,
        limits: Limits,
    ) -> Result<Response<UpstreamBody>, Failed> {
        let mut request = request;
        let mut repeated = false;
        loop {
            let kept = if repeated { None } else { self.checkout(destination) };
            let (mut connection, reused) = match kept {
                Some(connection) => (connection, true),
                None => match self.connect(destination, limits.connect).await {
                    Ok(connection) => (connection, false),
                    Err(error) => return Err(Failed { error, unsent: Some(request) }),
                },
            };
            let spare = if reused { repeatable(&request) } else { None };
            let progress = Progress::watch(&mut request);
            connection.requests += 1;
            let sent = connection.sender.try_send_request(request);
            match within(sent, &progress, limits).await {
                Err(error) => return Err(Failed { error, unsent: None }),
                Ok(Ok(response)) => {
                    let lease = Lease { connection, destination: destination.clone(), pool: self.clone() };
                    return Ok(response.map(|body| UpstreamBody::new(body, lease, limits.read)));
                }
                Ok(Err(mut error)) => match (reused, error.take_message(), spare) {
                    (true, Some(unsent), _) => request = unsent,
                    // Closed before the first byte of an answer; a broken answer is an answer.
                    (true, None, Some(spare)) if error.error().is_incomplete_message() => {
                        request = spare;
                        repeated = true;
                    }
                    _ => return Err(Failed { error: UpstreamError::Broken(error.into_error()), unsent: None }),
                },
            }
        }
    }

    fn checkout(&self, destination: &Destination) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(destination)?;
        while let Some(connection) = connections.pop() {
            let fresh = connection.idle_since.elapsed() < self.keepalive.idle_timeout;
            if fresh && connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self, destination: &Destination, limit: Duration) -> Result<Connection, UpstreamError> {
        let deadline = Instant::now() + limit;
        let stream = self.egress.connect(&destination.host, destination.port, deadline).await?;
        let sender = match &destination.tls {
            None => handshake(stream).await,
            Some(tls) => {
                let stream = egress::tls_connect(stream, tls.config.clone(), &tls.server_name, deadline).await?;
                handshake(stream).await
            }
        };
        Ok(Connection { sender: sender.map_err(UpstreamError::Broken)?, requests: 0, idle_since: Instant::now() })
    }

    fn give_back(&self, destination: Destination, mut connection: Connection) {
        if connection.requests >= self.keepalive.max_requests || self.keepalive.pool_size == 0 {
            return;
        }
        connection.idle_since = Instant::now();
        let mut idle = self.idle.borrow_mut();
        // Names that callers make up must not each hold a connection.
        let known = idle.contains_key(&destination);
        if destination.named_by_caller
            && !known
            && idle.keys().filter(|other| other.named_by_caller).count() >= MAX_CALLER_NAMES
        {
            return;
        }
        let connections = idle.entry(destination).or_default();
        if connections.len() >= self.keepalive.pool_size {
            // The oldest goes: it is the one that its service will close first.
            connections.remove(0);
        }
        connections.push(connection);
    }

    /// Closes what nobody used for long, and forgets destinations that are no more.
    pub fn sweep(&self) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|connection| {
                connection.idle_since.elapsed() < self.keepalive.idle_timeout && !connection.sender.is_closed()
            });
            !connections.is_empty()
        });
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Body>, hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(stream)).await?;
    // The connection's task notices when the service closes it, and then the sender is not ready.
    tokio::task::spawn_local(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

/// A copy of a request that may be sent twice without harm.
fn repeatable(request: &Request<Body>) -> Option<Request<Body>> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !safe || !matches!(request.body(), Body::Empty) {
        return None;
    }
    let (mut head, ()) = Request::new(()).into_parts();
    let request::Parts { method, uri, headers, .. } = &mut head;
    request.method().clone_into(method);
    request.uri().clone_into(uri);
    request.headers().clone_into(headers);
    Some(Request::from_parts(head, Body::Empty))
}

/// How far the caller's body has gone to the service.
#[derive(Default)]
pub struct Progress {
    last: Cell<Option<Instant>>,
    /// The caller, not the service, is what the body waits for.
    waits_for_caller: Cell<bool>,
    done: Cell<bool>,
    /// Tells whoever waits that the body has ended.
    ended: Notify,
    broken: Cell<Option<UpstreamError>>,
}

/// A request body that tells how far it has gone.
pub struct WatchedBody {
    body: Body,
    progress: Rc<Progress>,
}

impl Progress {
    fn end(&self) {
        self.done.set(true);
        self.ended.notify_one();
    }

    fn watch(request: &mut Request<Body>) -> Rc<Progress> {
        let progress = Rc::new(Progress::default());
        match request.body_mut() {
            body @ Body::Caller(_) => {
                let watched = WatchedBody { body: std::mem::take(body), progress: progress.clone() };
                *body = Body::Watched(Box::new(watched));
            }
            Body::Watched(watched) => return watched.progress.clone(),
            _ => progress.done.set(true),
        }
        progress
    }
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        // Some services merge trailers into the headers: what a caller may not say there, it may not say here.
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            identity::strip_trailers(trailers);
        }
        self.progress.waits_for_caller.set(polled.is_pending());
        self.progress.last.set(Some(Instant::now()));
        match &polled {
            Poll::Ready(Some(Err(BodyError::CallerStalled))) => {
                self.progress.broken.set(Some(UpstreamError::CallerStalled));
            }
            Poll::Ready(Some(Err(_))) => self.progress.broken.set(Some(UpstreamError::CallerGone)),
            Poll::Ready(None) => self.progress.end(),
            _ if self.body.is_end_stream() => self.progress.end(),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Waits for the head of an answer: `read` after the request has gone out, `write` between two pieces of
/// it. Time that the caller takes to send its body counts for neither.
async fn within<F, T, E>(sent: F, progress: &Progress, limits: Limits) -> Result<Result<T, E>, UpstreamError>
where
    F: Future<Output = Result<T, E>>,
{
    let mut sent = std::pin::pin!(sent);
    let started = Instant::now();
    loop {
        let since = progress.last.get().unwrap_or(started);
        let limit = if progress.done.get() { limits.read } else { limits.write };
        tokio::select! {
            biased;
            result = sent.as_mut() => {
                return match (result, progress.broken.take()) {
                    (Err(_), Some(broken)) => Err(broken),
                    (result, _) => Ok(result),
                };
            }
            // From here on it is the service that we wait for.
            () = progress.ended.notified() => {}
            () = tokio::time::sleep_until(since + limit) => {
                if progress.waits_for_caller.get() && !progress.done.get() {
                    // A slow caller is its own affair, and has a limit of its own.
                    progress.last.set(Some(Instant::now()));
                } else if progress.last.get().unwrap_or(started) == since {
                    return Err(if progress.done.get() { UpstreamError::ReadTimeout } else { UpstreamError::WriteTimeout });
                }
            }
        }
    }
}

/// A connection in use, on its way back to the pool.
struct Lease {
    connection: Connection,
    destination: Destination,
    pool: Rc<Pool>,
}

/// What a service sends. At its end the connection is free for the next request.
pub struct UpstreamBody {
    body: Incoming,
    lease: Option<Lease>,
    read_timeout: Duration,
    /// Made when the service first lets us wait, which for small answers it never does.
    timer: Option<Pin<Box<Sleep>>>,
    occupied: Option<Occupied>,
}

impl UpstreamBody {
    fn new(body: Incoming, lease: Lease, read_timeout: Duration) -> UpstreamBody {
        let mut body = UpstreamBody { body, lease: Some(lease), read_timeout, timer: None, occupied: None };
        body.free_at_end();
        body
    }

    /// The target counts as busy until the body has ended.
    pub fn occupying(mut self, occupied: Option<Occupied>) -> UpstreamBody {
        self.occupied = occupied.filter(|_| !self.body.is_end_stream());
        self
    }

    fn free_at_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            self.occupied = None;
            lease.pool.give_back(lease.destination, lease.connection);
        }
    }
}

impl http_body::Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.timer = None;
                this.free_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.free_at_end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.lease = None;
                Poll::Ready(Some(Err(BodyError::Broken(error))))
            }
            Poll::Pending => {
                let read_timeout = this.read_timeout;
                let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(read_timeout)));
                match timer.as_mut().poll(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(()) => {
                        this.lease = None;
                        Poll::Ready(Some(Err(BodyError::Stalled)))
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
