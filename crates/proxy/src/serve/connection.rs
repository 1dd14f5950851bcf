//! One connection: its handshake, its protocol, and its end.

use super::{Core, Peer};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How long a handshake, or the head of a request, may take. One deadline for the whole of it: a caller
/// that sends a byte now and then (slowloris) gains nothing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The most headers of a request.
const MAX_HEADERS: usize = 100;
/// The most bytes of a request head.
const MAX_HEAD: usize = 64 * 1024;
/// HTTP/2 requests of one connection at the same time.
const MAX_STREAMS: u32 = 128;

/// Serves a connection to its end.
pub(super) async fn serve(
    core: Rc<Core>,
    stream: TcpStream,
    peer: Peer,
    http2_offered: bool,
    stop: watch::Receiver<bool>,
) {
    // A segment that waits for another to fill it only makes answers late.
    let _ = stream.set_nodelay(true);
    if !peer.tls {
        return serve_http1(core, stream, peer, stop).await;
    }
    let plan = core.shared.plan.load_full();
    let config = if http2_offered { &plan.server_tls } else { &plan.server_tls_http1 };
    let accepted = net::accept::tls_accept(stream, config.clone());
    // A failed handshake is the caller's affair, and scanners make many.
    let mut stopped = stop.clone();
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(HEAD_TIMEOUT, accepted) => accepted,
        _ = stopped.wait_for(|stop| *stop) => return,
    };
    let Ok(Ok((stream, handshake))) = accepted else { return };
    drop(plan);
    let peer = Peer { server_name: handshake.server_name.map(Arc::from), ..peer };
    match handshake.http2 {
        true => serve_http2(core, stream, peer, stop).await,
        false => serve_http1(core, stream, peer, stop).await,
    }
}

async fn serve_http1<S>(core: Rc<Core>, stream: S, peer: Peer, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let number = Cell::new(0);
    let service = service_fn(|request| {
        number.set(number.get() + 1);
        let (core, peer, number) = (core.clone(), peer.clone(), number.get());
        async move { core.answer(&peer, number, request).await }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).half_close(false);
    builder.max_headers(MAX_HEADERS).max_header_size(MAX_HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn serve_http2<S>(core: Rc<Core>, stream: S, peer: Peer, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let number = Rc::new(Cell::new(0));
    let service = service_fn(move |request| {
        number.set(number.get() + 1);
        let (core, peer, number) = (core.clone(), peer.clone(), number.get());
        async move { core.answer(&peer, number, request).await }
    });
    let mut builder = http2::Builder::new(OnThisThread);
    builder.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD as u32);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Runs HTTP/2 streams on the core of their connection.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F: Future + 'static> Executor<F> for OnThisThread
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
