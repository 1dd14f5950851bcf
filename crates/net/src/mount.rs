//! A small HTTP/1.1 server for functions from request to response: the Admin API, and whatever else the
//! gate offers of itself. The traffic of callers goes another way.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::accept::tls_accept;

/// What answers. It may take its time: it runs apart from the traffic of callers.
pub type Answer = Arc<dyn Fn(Request<Bytes>) -> Response<Bytes> + Send + Sync>;

/// The largest body of a request, in bytes: a configuration of half a million routes.
const MAX_BODY: usize = 256 * 1024 * 1024;
/// How long the head of a request, and its body, may each take.
const PATIENCE: Duration = Duration::from_secs(60);

/// TLS as it is in force when a connection comes; `None` for none.
pub type Tls = Arc<dyn Fn() -> Option<Arc<ServerConfig>> + Send + Sync>;

/// Serves connections until told to stop.
pub async fn serve(
    listener: std::net::TcpListener,
    tls: Tls,
    answer: Answer,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, tls(), answer.clone()));
            }
            Err(error) => {
                tracing::error!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<Arc<ServerConfig>>, answer: Answer) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => requests(stream, answer).await,
        Some(config) => {
            if let Ok(Ok((stream, _))) = tokio::time::timeout(PATIENCE, tls_accept(stream, |_| config)).await {
                requests(stream, answer).await;
            }
        }
    }
}

async fn requests<S: AsyncRead + AsyncWrite + Unpin>(stream: S, answer: Answer) {
    let service = service_fn(|request: Request<Incoming>| respond(request, answer.clone()));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).half_close(false);
    // The other end has gone away; there is nobody to tell.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(request: Request<Incoming>, answer: Answer) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let refuse = |status| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        Ok(response)
    };
    let body = match tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return refuse(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => return refuse(StatusCode::BAD_REQUEST),
        Ok(Ok(body)) => body.to_bytes(),
    };
    let request = Request::from_parts(head, body);
    // Reading a large configuration takes a while, and must not hold up signals and other requests.
    match tokio::task::spawn_blocking(move || answer(request)).await {
        Ok(response) => Ok(response.map(Full::new)),
        Err(error) => {
            tracing::error!(%error, "an answer failed");
            refuse(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}
