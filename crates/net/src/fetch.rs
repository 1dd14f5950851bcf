//! Documents of others that the gate itself needs, such as the keys of an identity provider: fetched whole,
//! within limits of time and size.

use crate::dns::Names;
use crate::egress;
use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Fetches documents. What it does goes on where the gate's own work is done, also when whoever asked has gone.
pub struct Fetcher(Option<Inner>);

struct Inner {
    names: Arc<Names>,
    tls: Trust,
}

/// How the gate's own connections speak TLS; or why that is not known.
pub struct Trust {
    /// With whom the operator trusts.
    pub verified: Result<Arc<ClientConfig>, String>,
    /// With anybody, where a configuration says so.
    pub anybody: Result<Arc<ClientConfig>, String>,
}

/// How to speak TLS with one place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Whom its certificate must be for; without it, for the name that is connected to.
    pub server_name: Option<String>,
    /// Whether its certificate is looked at.
    pub verify: bool,
}

/// A connection to somewhere.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A document with its status and headers.
#[derive(Debug)]
pub struct Document {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub(crate) const NOBODY: &str = "this process asks nobody";
/// How long it may take, from the name to the last byte.
const TIME: Duration = Duration::from_secs(10);
/// How large a document may be, in bytes.
const SIZE: usize = 1024 * 1024;

impl Fetcher {
    pub fn new(names: Arc<Names>, tls: Trust) -> Fetcher {
        Fetcher(Some(Inner { names, tls }))
    }

    /// One for a process that asks nobody, such as a check of a file.
    pub fn nowhere() -> Fetcher {
        Fetcher(None)
    }

    /// Whom to believe over TLS; or why that is not known.
    pub fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        self.0.as_ref().ok_or(NOBODY)?.tls.verified.clone()
    }

    /// Connects to a place by `deadline`, for those who speak TLS themselves.
    pub(crate) async fn connect_plain(&self, host: &str, port: u16, deadline: Instant) -> Result<TcpStream, String> {
        self.0.as_ref().ok_or(NOBODY)?.connect_plain(host, port, deadline).await
    }

    /// The configuration for a way of speaking TLS.
    pub(crate) fn tls_for(&self, tls: &Tls) -> Result<Arc<ClientConfig>, String> {
        let trust = &self.0.as_ref().ok_or(NOBODY)?.tls;
        if tls.verify { trust.verified.clone() } else { trust.anybody.clone() }
    }

    /// Connects to a place by `deadline`. The error is in words.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        tls: Option<&Tls>,
        deadline: Instant,
    ) -> Result<Box<dyn Stream>, String> {
        self.0.as_ref().ok_or(NOBODY)?.connect(host, port, tls, deadline).await
    }

    /// Does work that asks for documents. It goes on to its end, whether or not somebody waits for it.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Option<T>> {
        // It is large, and begun at once: who waits for it, in the course of a request, stays small.
        let working = self.0.as_ref().map(|inner| inner.names.runtime().spawn(work));
        async { working?.await.ok() }
    }

    /// Begins work that asks for documents, and waits for nothing.
    pub fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(inner) = &self.0 {
            inner.names.runtime().spawn(work);
        }
    }

    /// Gets a document. Redirections are not followed: who names a place means that place. The error is in words.
    pub async fn get(&self, url: &Uri) -> Result<Document, String> {
        let Some(inner) = &self.0 else { return Err(NOBODY.to_owned()) };
        let request = Request::get(url)
            .header(ACCEPT, "application/json, application/jwk-set+json, */*;q=0.1")
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        inner.send(request, &Limits { time: TIME, size: SIZE }).await
    }

    /// Sends a request to the place that its URL names. The error is in words.
    pub async fn send(&self, request: Request<Bytes>, limits: &Limits) -> Result<Document, String> {
        self.0.as_ref().ok_or(NOBODY)?.send(request, limits).await
    }
}

/// What an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the name to the last byte.
    pub time: Duration,
    /// Of its body, in bytes.
    pub size: usize,
}

impl Inner {
    async fn send(&self, request: Request<Bytes>, limits: &Limits) -> Result<Document, String> {
        let answered = tokio::time::timeout(limits.time, self.ask(request, limits)).await;
        answered.unwrap_or_else(|_| Err(format!("no answer within {} s", limits.time.as_secs())))
    }

    async fn ask(&self, mut request: Request<Bytes>, limits: &Limits) -> Result<Document, String> {
        let url = request.uri().clone();
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it is neither http nor https".to_owned()),
        };
        let Some(host) = url.host() else { return Err("it names no host".to_owned()) };
        let own = if secure { 443 } else { 80 };
        let port = url.port_u16().unwrap_or(own);
        let named = if port == own { host.to_owned() } else { format!("{host}:{port}") };
        let deadline = Instant::now() + limits.time;
        let tls = Tls { server_name: None, verify: true };
        let stream = self.connect(host, port, secure.then_some(&tls), deadline).await?;
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        *request.uri_mut() = target.parse().map_err(|_| "its path is none".to_owned())?;
        request.headers_mut().insert(HOST, HeaderValue::from_str(&named).map_err(|error| error.to_string())?);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("portcullis"));
        ask(stream, request, limits.size).await
    }

    async fn connect(
        &self,
        host: &str,
        port: u16,
        tls: Option<&Tls>,
        deadline: Instant,
    ) -> Result<Box<dyn Stream>, String> {
        let stream = self.connect_plain(host, port, deadline).await?;
        let Some(tls) = tls else { return Ok(Box::new(stream)) };
        let config = if tls.verify { &self.tls.verified } else { &self.tls.anybody };
        let name = tls.server_name.as_deref().unwrap_or(host);
        let stream = egress::tls_connect(stream, config.clone()?, name, deadline).await;
        Ok(Box::new(stream.map_err(|error| error.to_string())?))
    }

    /// Tries each address of a name in turn.
    async fn connect_plain(&self, host: &str, port: u16, deadline: Instant) -> Result<TcpStream, String> {
        let (places, _) = egress::look_up(&self.names, host, deadline).await.map_err(|error| error.to_string())?;
        let mut failure = "its name has no address".to_owned();
        for (index, place) in places.iter().enumerate() {
            let address = (place.ip, place.port.unwrap_or(port)).into();
            let share = egress::share(deadline, places.len() - index);
            match egress::connect(address, share).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error.to_string(),
            }
        }
        Err(failure)
    }
}

async fn ask(stream: Box<dyn Stream>, request: Request<Bytes>, size: usize) -> Result<Document, String> {
    let broke = |error: hyper::Error| format!("the connection broke: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    // It ends with the sender, at the latest.
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request.map(Full::new)).await.map_err(broke)?;
    let (head, body) = answer.into_parts();
    let whole = Limited::new(body, size).collect().await;
    connection.abort();
    let body = whole.map_err(|error| format!("its body cannot be read: {error}"))?.to_bytes();
    Ok(Document { status: head.status, headers: head.headers, body })
}
