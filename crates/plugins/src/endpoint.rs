//! A service of others that a plugin asks about requests, over connections that are kept.

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::response::Parts;
use http::{HeaderMap, Method, Uri};
use proxy::Exchange;
use proxy::body::Body;
use proxy::destination::Destination;
use proxy::message::Ask;
use proxy::plugin::Fault;
use proxy::upstream::Limits;
use std::sync::OnceLock;
use std::time::Duration;

/// Where a plugin asks, and how long an answer may take.
pub struct Endpoint {
    pub url: Uri,
    timeout: Duration,
    /// Made by the first request: only a running gate knows whom to believe.
    destination: OnceLock<Destination>,
}

/// An answer; of its body perhaps only why it cannot be read.
pub struct Answered {
    pub head: Parts,
    pub body: Result<Bytes, String>,
}

/// The largest body of an answer, in bytes.
const BODY: usize = 1024 * 1024;

impl Endpoint {
    /// `url` has been found to be one (`formats::url`).
    pub fn new(url: &str, timeout_ms: i64) -> Result<Endpoint, String> {
        let url = url.parse().map_err(|_| format!("'{url}' is no URL"))?;
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(1000));
        Ok(Endpoint { url, timeout, destination: OnceLock::new() })
    }

    /// Path and query, as the configuration has them.
    pub fn target(&self) -> &str {
        self.url.path_and_query().map_or("/", |own| own.as_str())
    }

    /// Asks, and reads the answer to its end, so that the connection can be used again. The error within is why there
    /// is no answer; a fault, why nothing could be asked.
    pub async fn ask(
        &self,
        exchange: &Exchange,
        method: Method,
        target: String,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Result<Answered, String>, Fault> {
        let destination = self.destination(exchange)?;
        let ask = Ask::new(method, target, destination.authority.clone(), headers);
        let ask = ask.map_err(|error| Fault::new(error.to_string()))?;
        let limits = Limits { connect: self.timeout, write: self.timeout, read: self.timeout };
        let asked = async {
            let answer = exchange.ask(&destination, &ask, body, limits).await.map_err(|error| error.to_string())?;
            let (head, mut body) = answer.into_parts();
            Ok((head, body.buffer(BODY).await.map_err(|error| error.to_string())))
        };
        Ok(match tokio::time::timeout(self.timeout, asked).await {
            Ok(asked) => asked.map(|(head, body)| Answered { head, body }),
            Err(_) => Err(format!("no answer within {} ms", self.timeout.as_millis())),
        })
    }

    fn destination(&self, exchange: &Exchange) -> Result<Destination, Fault> {
        if let Some(known) = self.destination.get() {
            return Ok(known.clone());
        }
        let tls = match self.url.scheme_str() {
            Some("https") => Some(exchange.plan.fetcher.tls().map_err(Fault::new)?),
            _ => None,
        };
        let port = self.url.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let made = Destination::new(self.url.host().unwrap_or_default(), port, tls, false);
        Ok(self.destination.get_or_init(|| made).clone())
    }
}

/// How long an answer may be kept, by its own words.
pub fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get(CACHE_CONTROL)?.to_str().ok()?;
    let seconds = directives.split(',').find_map(|directive| directive.trim().strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}
