//! HTTP/2 with callers, by hyper.

use super::frame_meter::Metered;
use super::{Answered, Core, Peer};
use crate::body::Body;
use crate::caller_body::{CallerBody, LINGER, SKIPPED, Unread, awaits_continue};
use crate::local::OnThisThread;
use http::Response;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use net::wire::Wire;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use tokio::sync::watch;

/// How much of one body may be on its way to us unread, in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all bodies of a connection. h2 derives from it how many small frames may wait, too: about 9,000.
/// With less, it took callers who stream short messages to a slow service for attackers.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// How much of an answer waits for a caller who does not take it, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// Serves a connection to its end.
pub(super) async fn serve(core: Rc<Core>, wire: Wire, peer: Peer, mut stop: watch::Receiver<bool>) {
    let limits = core.shared.conduct.load().limits;
    let number = Rc::new(Cell::new(0));
    let service = service_fn(move |request: http::Request<Incoming>| {
        number.set(number.get() + 1);
        let (core, peer, number) = (core.clone(), peer.clone(), number.get());
        async move {
            let (head, body) = request.into_parts();
            let waits = awaits_continue(&head.headers);
            let unread = Unread::default();
            let body = match body.is_end_stream() {
                true => Body::Empty,
                false => Body::Caller(CallerBody::http2(body, unread.clone(), limits)),
            };
            let Answered { mut head, body, marks } = core.answer(&peer, number, Ok(head), body).await;
            if let Some(rest) = unread.take().filter(|_| !waits) {
                skip(rest).await;
            }
            if let Some(marks) = marks {
                marks.add_to(&mut head.headers);
            }
            Ok::<_, Infallible>(Response::from_parts(head, body))
        }
    });
    let mut builder = http2::Builder::new(OnThisThread);
    builder.timer(TokioTimer::new()).max_concurrent_streams(limits.streams);
    builder.max_header_list_size(u32::try_from(limits.head.bytes).unwrap_or(u32::MAX));
    builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    builder.max_send_buf_size(SEND_BUFFER);
    // A connection on which nothing comes back is dead: it is asked now and then.
    builder.keep_alive_interval(limits.idle_timeout).keep_alive_timeout(limits.head_timeout);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(Metered::new(wire)), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Takes the rest of a short body that nobody wants. To answer and end its stream at once would be right (RFC 9113
/// section 8.1), but some callers, curl 7.88 among them, take that for a failure and never look at the answer.
async fn skip(mut rest: Incoming) {
    if rest.is_end_stream() || rest.size_hint().exact().is_none_or(|length| length > SKIPPED) {
        return;
    }
    let to_its_end = async { while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await {} };
    // A caller who does not send what it announced gets its answer all the same.
    let _ = tokio::time::timeout(LINGER.1, to_its_end).await;
}
