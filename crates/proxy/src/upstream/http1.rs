//! One request to a service and its answer, over HTTP/1.1.

use super::{Limits, NoAnswer};
use crate::answer::UpstreamError;
use crate::body::{Body, BodyError};
use crate::body_writer::{BodyWriter, Framing};
use crate::forward::stays_open;
use crate::message::Message;
use bytes::Bytes;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{StatusCode, response};
use http_body::{Body as _, Frame};
use http1::body::{AtClose, Next, Reader};
use http1::framing::{self, Length};
use http1::head::{self, Scan};
use http1::write;
use net::wire::Wire;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// A connection to a service.
pub struct Link {
    pub wire: Box<Wire>,
    pub address: SocketAddr,
    pub requests: usize,
    pub idle_since: Instant,
}

/// What a service sends after the head of its answer.
pub struct AnswerBody {
    link: Link,
    reader: Reader,
    /// The request's body, where the service answers before it has taken the whole.
    sending: Option<Sending>,
    /// Whether the connection can be used again.
    keep: bool,
    read_timeout: Duration,
    /// Since when nothing has come.
    since: Option<Instant>,
    /// The connection goes on as something else.
    pub switched: bool,
}

/// The most that an answer's head may hold.
const LIMITS: head::Limits = head::Limits { bytes: 64 * 1024, fields: 100 };
/// How many interim answers (1xx) are read before one that counts.
const INTERIM: usize = 16;

/// Sends a request and waits for the head of its answer.
pub async fn call(
    mut link: Link,
    outgoing: &impl Message,
    body: Body,
    limits: Limits,
) -> Result<(response::Parts, AnswerBody), (NoAnswer, Body)> {
    link.requests += 1;
    let mut sending = Sending::new(body, &mut link.wire, outgoing);
    let (mut scan, mut interim) = (Scan::default(), 0);
    let written_before = link.wire.written;
    let answer = poll_fn(|cx| {
        match sending.poll(&mut link.wire, cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            // A service that takes no more may have said why.
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        loop {
            let found = scan.end(&link.wire.input, LIMITS.bytes).map_err(UpstreamError::Malformed)?;
            let Some(length) = found else {
                match link.wire.poll_fill(0, cx) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(UpstreamError::Closed)),
                    Poll::Ready(Ok(_)) => continue,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(UpstreamError::Connection(error))),
                    Poll::Pending => break,
                }
            };
            let bytes = link.wire.input.split_to(length).freeze();
            let parts = head::response(&bytes, LIMITS).map_err(UpstreamError::Malformed)?;
            if parts.status == StatusCode::SWITCHING_PROTOCOLS && !sending.done {
                // The rest of the request would become a part of the other protocol.
                return Poll::Ready(Err(UpstreamError::Interim));
            }
            if !parts.status.is_informational() || parts.status == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Ok(parts));
            }
            interim += 1;
            if interim > INTERIM {
                return Poll::Ready(Err(UpstreamError::Interim));
            }
            outgoing.early().pass_on(parts, cx);
            scan = Scan::default();
        }
        sending.poll_late(&mut link.wire, limits, cx).map(Err)
    })
    .await;
    let parts = match answer {
        Ok(parts) => parts,
        Err(error) => {
            let closed = matches!(error, UpstreamError::Closed | UpstreamError::Connection(_));
            let silent = closed && link.wire.input.is_empty() && interim == 0;
            let unsent = silent && link.wire.written == written_before;
            return Err((NoAnswer { error, silent, unsent }, sending.into_body()));
        }
    };
    let length = match framing::of_response(outgoing.method(), parts.status, parts.version, &parts.headers) {
        Ok(length) => length,
        Err(fault) => {
            let answer = NoAnswer { error: UpstreamError::Framing(fault), silent: false, unsent: false };
            return Err((answer, Body::Lost));
        }
    };
    let keep = length != Length::UntilClose && stays_open(parts.version, &parts.headers);
    let sending = if sending.done { None } else { Some(sending) };
    let (reader, read_timeout) = (Reader::new(length), limits.read);
    let switched = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    Ok((parts, AnswerBody { link, reader, sending, keep, read_timeout, since: None, switched }))
}

/// A request on its way out.
struct Sending {
    body: Body,
    writer: BodyWriter,
    /// The body, should nothing of it go out: what is at hand can be sent again.
    spare: Option<Bytes>,
    /// A part of the body was taken.
    begun: bool,
    done: bool,
    /// The service takes nothing any more.
    refused: bool,
    waits_for_caller: bool,
}

impl Sending {
    fn new(body: Body, wire: &mut Wire, outgoing: &impl Message) -> Sending {
        let spare = if let Body::Full(bytes) = &body { Some(bytes.clone()) } else { None };
        let writer = BodyWriter::new(write_head(&mut wire.output, outgoing, &body));
        Sending { body, writer, spare, begun: false, done: false, refused: false, waits_for_caller: false }
    }

    /// Sends as much as there is. Its error is one of the caller's body.
    fn poll(&mut self, wire: &mut Wire, cx: &mut Context) -> Poll<Result<(), UpstreamError>> {
        while !self.done && !self.refused {
            if self.writer.is_full(wire) {
                self.refused = ready!(self.writer.poll_send(wire, cx)).is_err();
                continue;
            }
            self.waits_for_caller = false;
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.begun = true;
                    self.writer.add(wire, frame);
                }
                Poll::Ready(None) => {
                    self.body = Body::Empty;
                    self.writer.end(wire);
                    self.refused = ready!(self.writer.poll_send(wire, cx)).is_err();
                    self.done = !self.refused;
                    self.writer.wait_anew();
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(UpstreamError::of_caller(&error))),
                Poll::Pending => {
                    self.refused = ready!(self.writer.poll_send(wire, cx)).is_err();
                    self.waits_for_caller = !self.refused;
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the service has taken too long: to take the next piece, or to answer. A slow caller is its
    /// own affair, and has a limit of its own.
    fn poll_late(&mut self, wire: &mut Wire, limits: Limits, cx: &mut Context) -> Poll<UpstreamError> {
        if self.waits_for_caller && !self.done {
            return Poll::Pending;
        }
        let (limit, error) = match self.done || self.refused {
            true => (limits.read, UpstreamError::ReadTimeout),
            false => (limits.write, UpstreamError::WriteTimeout),
        };
        self.writer.poll_stuck(wire, limit, cx).map(|()| error)
    }

    /// The body, for another attempt.
    fn into_body(self) -> Body {
        match (self.begun, self.spare) {
            (false, _) => self.body,
            (true, Some(bytes)) => Body::Full(bytes),
            (true, None) => Body::Lost,
        }
    }
}

/// Writes the head of a request, and says how its body will be framed. What frames the message is never
/// copied from what came: it follows from the body at hand.
pub fn write_head(out: &mut Vec<u8>, outgoing: &impl Message, body: &Body) -> Framing {
    out.reserve(1024);
    write::request_line(out, outgoing.method().as_str(), outgoing.target());
    write::field(out, &HOST, outgoing.host().as_bytes());
    outgoing.write_fields(out);
    let framing = match body.size_hint().exact() {
        Some(0) if !outgoing.states_length() => Framing::Plain,
        Some(length) => {
            write::content_length(out, length);
            Framing::Plain
        }
        None => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Framing::Chunked
        }
    };
    if let Some(protocol) = &outgoing.hop().upgrade {
        write::field(out, &CONNECTION, b"upgrade");
        write::field(out, &UPGRADE, protocol.as_bytes());
    } else if outgoing.hop().trailers {
        // RFC 9110 section 10.1.4: TE is for one connection, and says so.
        write::field(out, &CONNECTION, b"te");
    }
    write::end_of_head(out);
    framing
}

impl AnswerBody {
    pub fn poll_frame(&mut self, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(sending) = &mut self.sending
            && let Poll::Ready(sent) = sending.poll(&mut self.link.wire, cx)
        {
            self.keep &= sent.is_ok() && sending.done;
            self.sending = None;
        }
        loop {
            match self.reader.next(&mut self.link.wire.input).map_err(BodyError::Malformed)? {
                Next::More => {}
                Next::Data(data) => {
                    self.since = None;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Next::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Next::End => return Poll::Ready(None),
            }
            let expected = self.reader.left().unwrap_or_default();
            match self.link.wire.poll_fill(expected, cx) {
                Poll::Ready(Ok(0)) => match self.reader.close() {
                    AtClose::Whole => return Poll::Ready(None),
                    AtClose::Broken => return Poll::Ready(Some(Err(BodyError::Closed))),
                },
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(BodyError::Connection(error)))),
                Poll::Pending => {
                    let since = *self.since.get_or_insert_with(Instant::now);
                    ready!(self.link.wire.alarm.poll(since + self.read_timeout, cx));
                    return Poll::Ready(Some(Err(BodyError::Stalled)));
                }
            }
        }
    }

    pub fn ended(&self) -> bool {
        self.reader.ended()
    }

    pub fn left(&self) -> Option<u64> {
        self.reader.left()
    }

    /// The connection, if another request can follow on it. Bytes that nobody asked for are no answer to
    /// the next request.
    pub fn into_idle(self) -> Option<Link> {
        let reusable = self.keep && self.reader.ended() && self.sending.is_none() && self.link.wire.input.is_empty();
        reusable.then_some(self.link)
    }

    /// The connection, to go on as something else.
    pub fn into_tunnel(self) -> (Wire, Duration) {
        (*self.link.wire, self.read_timeout)
    }
}

impl Link {
    pub fn new(wire: Wire, address: SocketAddr) -> Link {
        Link { wire: Box::new(wire), address, requests: 0, idle_since: Instant::now() }
    }

    /// Whether the service still holds the connection open, and has said nothing unasked.
    pub fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        // Outside the runtime's budget: when that is used up, everything seems to be quiet.
        let heard = tokio::task::unconstrained(poll_fn(|cx| self.wire.poll_await(cx)));
        std::pin::pin!(heard).poll(&mut cx).is_pending()
    }
}
