//! HTTP/1.1 with callers: one request after the other on a connection, until one side has enough.

use super::counted::Counted;
use super::{Answered, Core, Peer, http2};
use crate::body::Body;
use crate::body_writer::{BodyWriter, Framing};
use crate::caller_body::{CallerBody, Inbound, LINGER, SKIPPED, awaits_continue};
use crate::early::Early;
use crate::forward::{connection_has, stays_open};
use crate::marks::Marks;
use crate::tunnel::{self, Tunnel};
use ::http1::body::Reader;
use ::http1::framing::{self, Length};
use ::http1::head::{self, HeadFault, Scan};
use ::http1::write;
use bytes::Buf;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TE, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version, response};
use http_body::Body as _;
use net::wire::Wire;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a connection without a request stays open after the gate was told to stop: a request that was
/// on its way at that moment is still answered.
const LAST_CALL: Duration = Duration::from_secs(2);
/// Of requests that follow before their time, so much is read ahead.
const AHEAD: usize = 64 * 1024;

/// What comes next on a connection.
#[allow(clippy::large_enum_variant, reason = "it lives on the stack, for one step")]
enum Arrival {
    Request(Result<Parts, HeadFault>),
    /// The preface of HTTP/2 (RFC 9113 section 3.4).
    Http2,
    /// The caller has gone, or has been silent for too long, or the gate stops.
    Over,
}

/// How a connection goes on after an answer.
enum After {
    Stay,
    Close,
    /// Closed, but the caller may still be sending.
    Linger,
    /// Joined with a service.
    Tunnel(Box<Tunnel>),
}

/// Serves a connection to its end.
pub(super) async fn serve(core: Rc<Core>, wire: Wire, peer: Peer, http2_too: bool, stop: watch::Receiver<bool>) {
    let inbound = Rc::new(RefCell::new(Inbound::new(wire, core.shared.conduct.load().limits)));
    let peer = Peer { early: Early::over(&inbound), ..peer };
    let mut number = 0;
    let mut stopping = Stopping::new(stop.clone());
    loop {
        let mut request = match next_request(&inbound, number == 0 && http2_too, &mut stopping).await {
            Arrival::Over => return,
            Arrival::Http2 => return go_on_as_http2(core, inbound, peer, stop).await,
            Arrival::Request(request) => request,
        };
        number += 1;
        let body = inbound.borrow_mut().begin(&mut request);
        let asked = Asked::of(&request);
        let body = if body { Body::Caller(CallerBody::http1(inbound.clone())) } else { Body::Empty };
        let answered = {
            let answer = pin!(core.answer(&peer, number, request, body));
            answer_unless_gone(&inbound, answer).await
        };
        let Some(answered) = answered else { return };
        // Read before, not within the call: the lock would be held as long as the answer takes.
        let stops = *stop.borrow();
        let after = match send(&core, &inbound, &asked, answered, stops).await {
            Ok(after) => after,
            Err(_) => return,
        };
        match after {
            After::Stay => {}
            After::Close => {
                close(&inbound, Instant::now() + LINGER.1).await;
                return;
            }
            After::Linger => return linger(&inbound).await,
            After::Tunnel(tunnel) => {
                let Some(caller) = Rc::into_inner(inbound) else { return };
                return tunnel::join(caller.into_inner().wire, *tunnel).await;
            }
        }
    }
}

/// What of a request matters for its answer.
struct Asked {
    method: Method,
    version: Version,
    stays: bool,
    trailers: bool,
}

impl Asked {
    fn of(request: &Result<Parts, HeadFault>) -> Asked {
        let Ok(head) = request else {
            return Asked { method: Method::GET, version: Version::HTTP_11, stays: false, trailers: false };
        };
        let stays = stays_open(head.version, &head.headers);
        let trailers = head.headers.get(TE).is_some_and(|te| te.as_bytes() == b"trailers");
        Asked { method: head.method.clone(), version: head.version, stays, trailers }
    }
}

impl Inbound {
    /// Makes the connection ready for the body of a request; whether there is one. Where its end is in doubt
    /// the request is refused, and nothing after it is looked at.
    fn begin(&mut self, request: &mut Result<Parts, HeadFault>) -> bool {
        let framed = match request {
            Ok(head) => framing::of_request(head.version, &head.headers).map_err(HeadFault::from),
            Err(fault) => Err(*fault),
        };
        self.broken = framed.is_err();
        let length = framed.unwrap_or_else(|fault| {
            *request = Err(fault);
            Length::NONE
        });
        self.body = Reader::new(length);
        self.number += 1;
        self.awaits_continue = length != Length::NONE
            && request.as_ref().is_ok_and(|head| head.version == Version::HTTP_11 && awaits_continue(&head.headers));
        length != Length::NONE
    }

    fn poll_request(&mut self, coming: &mut Coming, preface: bool, cx: &mut Context) -> Poll<Arrival> {
        loop {
            // Some old callers end a body with a line end that belongs to nothing (RFC 9112 section 2.2).
            if !coming.skipped && self.wire.input.starts_with(b"\r\n") {
                self.wire.input.advance(2);
                *coming = Coming { scan: Scan::default(), skipped: true };
            }
            match coming.scan.end(&self.wire.input, self.limits.head.bytes) {
                Err(fault) => return Poll::Ready(Arrival::Request(Err(fault))),
                Ok(Some(_)) if preface && self.wire.input.starts_with(PREFACE) => return Poll::Ready(Arrival::Http2),
                Ok(Some(length)) => {
                    let bytes = self.wire.input.split_to(length).freeze();
                    return Poll::Ready(Arrival::Request(head::request(&bytes, self.limits.head)));
                }
                Ok(None) => {}
            }
            let line_end_to_come = !coming.skipped && *self.wire.input == *b"\r";
            if !head::begins_request(&self.wire.input) && !line_end_to_come {
                return Poll::Ready(Arrival::Request(Err(HeadFault::RequestLine)));
            }
            if let Ok(0) | Err(_) = ready!(self.wire.poll_await(cx)) {
                return Poll::Ready(Arrival::Over);
            }
        }
    }

    /// Whether the rest of a body that nobody wants is short enough to be read. A caller who waits to be asked
    /// for it may not send it at all.
    fn can_be_skipped(&self) -> bool {
        self.body.ended() || !self.awaits_continue && self.body.left().is_some_and(|left| left <= SKIPPED)
    }

    /// Ready when nobody waits for the answer any more.
    fn poll_gone(&mut self, cx: &mut Context) -> Poll<()> {
        // While a body is being read, whoever reads it notices.
        while self.body.ended() && self.wire.input.len() < AHEAD {
            match ready!(self.wire.poll_await(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }
}

/// A head on its way in.
#[derive(Default)]
struct Coming {
    scan: Scan,
    /// An empty line was taken out before it.
    skipped: bool,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Waits for the next request.
async fn next_request(inbound: &RefCell<Inbound>, preface: bool, stopping: &mut Stopping) -> Arrival {
    let mut coming = Coming::default();
    let waits_since = Instant::now();
    let mut first_byte = None;
    inbound.borrow_mut().wire.release();
    poll_fn(|cx| {
        let mut inbound = inbound.borrow_mut();
        if let Poll::Ready(arrival) = inbound.poll_request(&mut coming, preface, cx) {
            return Poll::Ready(arrival);
        }
        let deadline = match (inbound.wire.input.is_empty(), stopping.poll(cx)) {
            (true, Some(stopped)) => waits_since.max(stopped) + LAST_CALL,
            (true, None) => waits_since + inbound.limits.idle_timeout,
            (false, _) => *first_byte.get_or_insert_with(Instant::now) + inbound.limits.head_timeout,
        };
        inbound.wire.alarm.poll(deadline, cx).map(|()| Arrival::Over)
    })
    .await
}

/// When the gate was told to stop, if it was.
struct Stopping {
    told: Pin<Box<dyn Future<Output = ()>>>,
    since: Option<Instant>,
}

impl Stopping {
    fn new(mut stop: watch::Receiver<bool>) -> Stopping {
        let told = Box::pin(async move {
            // A sender that is gone has stopped, too.
            let _ = stop.wait_for(|stop| *stop).await;
        });
        Stopping { told, since: None }
    }

    fn poll(&mut self, cx: &mut Context) -> Option<Instant> {
        if self.since.is_none() && self.told.as_mut().poll(cx).is_ready() {
            self.since = Some(Instant::now());
        }
        self.since
    }
}

/// The answer; `None` if the caller has gone meanwhile, and then the work on it has stopped.
async fn answer_unless_gone<F: Future>(inbound: &RefCell<Inbound>, mut answer: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Some(answer));
        }
        inbound.borrow_mut().poll_gone(cx).map(|()| None)
    })
    .await
}

/// Sends an answer, and says how the connection goes on.
async fn send(
    core: &Core,
    inbound: &Rc<RefCell<Inbound>>,
    asked: &Asked,
    answered: Answered,
    stopping: bool,
) -> io::Result<After> {
    let Answered { head, body: mut answer, marks } = answered;
    let length = answer_length(asked, &head, &answer);
    // Whoever has the body of the request may still read it, while the answer is on its way.
    let unread = Rc::strong_count(inbound) == 1;
    let stays = {
        let mut inbound = inbound.borrow_mut();
        if unread {
            inbound.skip_what_came();
        }
        let stays = asked.stays
            && !stopping
            && !inbound.broken
            && length != Some(Length::UntilClose)
            && !connection_has(&head.headers, "close")
            && (!unread || inbound.can_be_skipped());
        // From here on an interim answer would be a part of this one.
        inbound.awaits_continue = false;
        let out = &mut inbound.wire.output;
        begin_head(out, &head, marks.as_ref(), length);
        end_head(out, &head, asked, stays, core.date.now());
        stays
    };
    let writer = BodyWriter::new(if length == Some(Length::Chunked) { Framing::Chunked } else { Framing::Plain });
    // Without a length an orderly end would be the end of the answer, also where the gate ends in the middle.
    let mut unfinished = BreakOff { inbound, armed: length == Some(Length::UntilClose) };
    send_body(inbound, &mut answer, writer, length.is_none(), asked.trailers).await?;
    unfinished.armed = false;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        if let Body::Upstream(service) = std::mem::take(&mut answer.body)
            && let Some(tunnel) = service.into_tunnel()
        {
            return Ok(After::Tunnel(Box::new(tunnel)));
        }
        return Ok(After::Close);
    }
    drop(answer);
    // A service that speaks HTTP/2 may still be taking the body: it must not read into the next request.
    let read_by_nobody = Rc::strong_count(inbound) == 1;
    if stays && read_by_nobody && skip_rest(inbound).await {
        return Ok(After::Stay);
    }
    let mut inbound = inbound.borrow_mut();
    inbound.number += 1;
    let sends_on = !read_by_nobody || inbound.broken || !inbound.body.ended() || !inbound.wire.input.is_empty();
    Ok(if sends_on { After::Linger } else { After::Close })
}

/// Breaks a connection off when it is dropped while armed.
struct BreakOff<'a> {
    inbound: &'a RefCell<Inbound>,
    armed: bool,
}

impl Drop for BreakOff<'_> {
    fn drop(&mut self) {
        if let (true, Ok(inbound)) = (self.armed, self.inbound.try_borrow()) {
            inbound.wire.break_off();
        }
    }
}

/// How the end of an answer is marked; `None` for one that has no body, whatever its head says.
fn answer_length(asked: &Asked, head: &response::Parts, answer: &Counted) -> Option<Length> {
    let bodiless = head.status.is_informational()
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || asked.method == Method::HEAD;
    match (bodiless, answer.size_hint().exact(), asked.version) {
        (true, ..) => None,
        (false, Some(length), _) => Some(Length::Exact(length)),
        (false, None, Version::HTTP_11) => Some(Length::Chunked),
        (false, None, _) => Some(Length::UntilClose),
    }
}

/// Writes the fields of an answer. What frames it follows from the body at hand, never from what a service or
/// a plugin wrote.
fn begin_head(out: &mut Vec<u8>, head: &response::Parts, marks: Option<&Marks>, length: Option<Length>) {
    out.reserve(1024);
    write::status_line(out, head.status);
    // HEAD and 304 tell the length of what they leave out, the others may not (RFC 9110 section 8.6).
    let untold = length.is_some() || head.status == StatusCode::NO_CONTENT || head.status.is_informational();
    let framing = |name: &HeaderName| *name == TRANSFER_ENCODING || (*name == CONTENT_LENGTH && untold);
    let replaced = |name: &HeaderName| marks.is_some_and(|marks| marks.replace(name));
    write::fields(out, head.headers.iter().filter(|(name, _)| !framing(name) && !replaced(name)));
    if let Some(marks) = marks {
        marks.write(&head.headers, out);
    }
    match length {
        Some(Length::Exact(length)) => write::content_length(out, length),
        Some(Length::Chunked) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Some(Length::UntilClose) | None => {}
    }
}

/// Writes what is for this connection, and the end of the head.
fn end_head(out: &mut Vec<u8>, head: &response::Parts, asked: &Asked, stays: bool, date: HeaderValue) {
    if !head.headers.contains_key(DATE) {
        write::field(out, &DATE, date.as_bytes());
    }
    if !stays && head.status != StatusCode::SWITCHING_PROTOCOLS && !connection_has(&head.headers, "close") {
        write::field(out, &CONNECTION, b"close");
    } else if stays && asked.version == Version::HTTP_10 {
        write::field(out, &CONNECTION, b"keep-alive");
    }
    write::end_of_head(out);
}

/// Sends what waits in the output and the body behind it. An error is the end of the connection: the caller
/// sees that a part is missing.
async fn send_body(
    inbound: &RefCell<Inbound>,
    answer: &mut Counted,
    mut writer: BodyWriter,
    bodiless: bool,
    trailers: bool,
) -> io::Result<()> {
    let mut ended = bodiless;
    let too_long = |stuck: Poll<()>| stuck.map(|()| Err(io::ErrorKind::TimedOut.into()));
    poll_fn(|cx| {
        loop {
            let mut connection = inbound.borrow_mut();
            if ended || writer.is_full(&connection.wire) {
                let Inbound { wire, limits, .. } = &mut *connection;
                let Poll::Ready(sent) = writer.poll_send(wire, cx) else {
                    return too_long(writer.poll_stuck(wire, limits.send_timeout, cx));
                };
                sent?;
                if ended {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            // The service may be given the rest of the request meanwhile, which is read from the same connection.
            drop(connection);
            let frame = Pin::new(&mut *answer).poll_frame(cx);
            let mut connection = inbound.borrow_mut();
            match frame {
                Poll::Ready(Some(Ok(frame))) if frame.is_trailers() && !trailers => {}
                Poll::Ready(Some(Ok(frame))) => writer.add(&mut connection.wire, frame),
                Poll::Ready(None) => {
                    writer.end(&mut connection.wire);
                    ended = true;
                }
                Poll::Ready(Some(Err(error))) => {
                    // What came of the answer reaches the caller, its end does not.
                    let _ = writer.poll_send(&mut connection.wire, cx);
                    return Poll::Ready(Err(io::Error::other(error)));
                }
                Poll::Pending => {
                    let Inbound { wire, limits, .. } = &mut *connection;
                    match writer.poll_send(wire, cx) {
                        Poll::Ready(sent) => sent?,
                        Poll::Pending => return too_long(writer.poll_stuck(wire, limits.send_timeout, cx)),
                    }
                    ready!(connection.poll_gone(cx));
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
            }
        }
    })
    .await
}

/// Reads the rest of a body that nobody wants, so that the next request can follow; whether that worked.
async fn skip_rest(inbound: &RefCell<Inbound>) -> bool {
    let deadline = Instant::now() + LINGER.1;
    poll_fn(|cx| {
        let mut inbound = inbound.borrow_mut();
        loop {
            inbound.skip_what_came();
            if inbound.broken || inbound.body.ended() {
                return Poll::Ready(!inbound.broken);
            }
            match inbound.wire.poll_fill(0, cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => return inbound.wire.alarm.poll(deadline, cx).map(|()| false),
            }
        }
    })
    .await
}

/// Ends a connection on a caller who may still be sending: what comes is thrown away for a while, because
/// an abrupt end could take the answer with it.
async fn linger(inbound: &RefCell<Inbound>) {
    let deadline = Instant::now() + LINGER.1;
    if !close(inbound, deadline).await {
        return;
    }
    let mut left = LINGER.0;
    poll_fn(|cx| {
        let wire = &mut inbound.borrow_mut().wire;
        loop {
            wire.input.clear();
            match wire.poll_await(cx) {
                Poll::Ready(Ok(count)) if count > 0 && count < left => left -= count,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return wire.alarm.poll(deadline, cx),
            }
        }
    })
    .await;
}

/// Ends our side of a connection in good order; whether that worked in time. Over TLS the caller can tell this
/// end from one that somebody else made.
async fn close(inbound: &RefCell<Inbound>, deadline: Instant) -> bool {
    poll_fn(|cx| {
        let wire = &mut inbound.borrow_mut().wire;
        match Pin::new(&mut *wire).poll_shutdown(cx) {
            Poll::Ready(shut) => Poll::Ready(shut.is_ok()),
            Poll::Pending => wire.alarm.poll(deadline, cx).map(|()| false),
        }
    })
    .await
}

/// A caller that speaks HTTP/2 without having been asked to by ALPN: with prior knowledge.
async fn go_on_as_http2(core: Rc<Core>, inbound: Rc<RefCell<Inbound>>, peer: Peer, stop: watch::Receiver<bool>) {
    // Nobody else holds it: no request has begun.
    if let Some(inbound) = Rc::into_inner(inbound) {
        http2::serve(core, inbound.into_inner().wire, peer, stop).await;
    }
}
