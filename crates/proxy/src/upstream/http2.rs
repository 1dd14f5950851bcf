//! Requests to services that speak HTTP/2 (gRPC), many on one connection.

use super::{Limits, NoAnswer};
use crate::answer::UpstreamError;
use crate::body::{Body, BodyError};
use crate::destination::{ByDestination, Destination};
use crate::local::OnThisThread;
use crate::message::Message;
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use net::stream::Stream;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// Connections by destination; one carries many requests.
#[derive(Default)]
pub struct Links(RefCell<ByDestination<Vec<Link>>>);

/// A connection to a service, shared by the requests on it.
#[derive(Clone)]
pub struct Link {
    sender: SendRequest<Body>,
    address: SocketAddr,
    /// Requests under way.
    active: Rc<Cell<usize>>,
    idle_since: Rc<Cell<Instant>>,
}

/// A request under way, counted as long as it lasts.
pub struct Stay(Link);

/// With this many requests under way on each connection, another one is made: what most servers allow.
const STREAMS: usize = 100;
/// How much of one answer may be on its way to us unread, in bytes.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for a connection: as much as its streams together, so that callers who are slow to take their answers
/// do not hold up the others. h2 derives from it how many small frames may wait, too: with less, it took services
/// that stream short messages for attackers.
const CONNECTION_WINDOW: u32 = STREAMS as u32 * STREAM_WINDOW;

impl Links {
    /// A connection with room for a request.
    pub fn find(&self, destination: &Destination, address: SocketAddr) -> Option<Link> {
        let mut links = self.0.borrow_mut();
        let links = links.get_mut(destination)?;
        links.retain(|link| !link.sender.is_closed());
        let room = |link: &&Link| link.address == address && link.active.get() < STREAMS;
        links.iter().filter(room).min_by_key(|link| link.active.get()).cloned()
    }

    /// Whether there is a connection to a destination.
    pub fn has(&self, destination: &Destination) -> bool {
        self.0.borrow().contains_key(destination)
    }

    /// Speaks HTTP/2 over a new connection. It is for this request alone if it is not to be kept.
    pub async fn open(
        &self,
        destination: &Destination,
        address: SocketAddr,
        stream: Stream,
        keep: bool,
    ) -> Result<Link, UpstreamError> {
        let mut builder = Builder::new(OnThisThread);
        builder.timer(TokioTimer::new());
        // Not adaptive: that measures with pings, and gRPC servers hang up on who pings often.
        builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(UpstreamError::Http2)?;
        tokio::task::spawn_local(async move {
            // How it ends is seen by the requests on it.
            let _ = connection.await;
        });
        let idle_since = Rc::new(Cell::new(Instant::now()));
        let link = Link { sender, address, active: Rc::default(), idle_since };
        if keep {
            self.0.borrow_mut().entry(destination.clone()).or_default().push(link.clone());
        }
        Ok(link)
    }

    /// Closes what nobody used for long.
    pub fn sweep(&self, idle_timeout: Duration) {
        self.0.borrow_mut().retain(|_, links| {
            links.retain(|link| {
                let used = link.active.get() > 0 || link.idle_since.get().elapsed() < idle_timeout;
                used && !link.sender.is_closed()
            });
            !links.is_empty()
        });
    }
}

impl Stay {
    fn new(link: Link) -> Stay {
        link.active.set(link.active.get() + 1);
        Stay(link)
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
    }
}

/// Sends a request and waits for the head of its answer.
pub async fn call(
    link: Link,
    destination: &Destination,
    outgoing: &impl Message,
    body: Body,
    limits: Limits,
) -> Result<Response<AnswerBody>, (NoAnswer, Body)> {
    let mut request = match request(destination, outgoing, body) {
        Ok(request) => request,
        Err((error, body)) => return Err((NoAnswer { error, silent: false, unsent: false }, body)),
    };
    let progress = Progress::watch(&mut request);
    let mut stay = Stay::new(link);
    let sent = stay.0.sender.try_send_request(request);
    match within(sent, &progress, limits).await {
        Ok(Ok(response)) => Ok(response.map(|incoming| AnswerBody::new(incoming, stay, limits.read))),
        Ok(Err(mut error)) => {
            let unsent = error.take_message();
            let answer = NoAnswer {
                error: UpstreamError::Http2(error.into_error()),
                silent: unsent.is_some(),
                unsent: unsent.is_some(),
            };
            Err((answer, unsent.map_or(Body::Lost, Request::into_body)))
        }
        Err(error) => Err((NoAnswer { error, silent: false, unsent: false }, Body::Lost)),
    }
}

fn request(
    destination: &Destination,
    outgoing: &impl Message,
    body: Body,
) -> Result<Request<Body>, (UpstreamError, Body)> {
    let authority = Authority::try_from(outgoing.host().as_bytes());
    let path = PathAndQuery::try_from(outgoing.target());
    let (Ok(authority), Ok(path)) = (authority, path) else {
        return Err((UpstreamError::Request("its host or its path cannot be written"), body));
    };
    let scheme = if destination.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
    let mut uri = http::uri::Parts::default();
    (uri.scheme, uri.authority, uri.path_and_query) = (Some(scheme), Some(authority), Some(path));
    let mut request = Request::new(body);
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    *request.method_mut() = outgoing.method().clone();
    *request.version_mut() = Version::HTTP_2;
    outgoing.write_fields(request.headers_mut());
    Ok(request)
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
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.progress.waits_for_caller.set(polled.is_pending());
        self.progress.last.set(Some(Instant::now()));
        match &polled {
            Poll::Ready(Some(Err(error))) => self.progress.broken.set(Some(UpstreamError::of_caller(error))),
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

/// What a service sends after the head of its answer.
pub struct AnswerBody {
    incoming: Incoming,
    /// Ends with the body.
    _stay: Stay,
    read_timeout: Duration,
    /// Made when the service first lets us wait, which for small answers it never does.
    timer: Option<Pin<Box<Sleep>>>,
}

impl AnswerBody {
    fn new(incoming: Incoming, stay: Stay, read_timeout: Duration) -> AnswerBody {
        AnswerBody { incoming, _stay: stay, read_timeout, timer: None }
    }

    pub fn poll_frame(&mut self, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Http2)));
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.read_timeout)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyError::Stalled)))
    }

    pub fn ended(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
