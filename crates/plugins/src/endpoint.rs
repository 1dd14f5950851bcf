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
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

/// Where a plugin asks, and how long an answer may take.
pub struct Endpoint {
    place: Place,
    /// Path and query.
    target: String,
    timeout: Duration,
}

enum Place {
    Url {
        url: Uri,
        /// Made by the first request: only a running gate knows whom to believe.
        destination: OnceLock<Destination>,
    },
    /// A service of the same configuration, by name or identity.
    Service(String),
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
        let url: Uri = url.parse().map_err(|_| format!("'{url}' is no URL"))?;
        let target = url.path_and_query().map_or("/", |own| own.as_str()).to_owned();
        Ok(Endpoint { place: Place::Url { url, destination: OnceLock::new() }, target, timeout: millis(timeout_ms) })
    }

    /// A service of the same configuration, at this path of its own.
    pub fn of_service(name: String, path: String, timeout_ms: i64) -> Endpoint {
        Endpoint { place: Place::Service(name), target: path, timeout: millis(timeout_ms) }
    }

    /// Path and query, as the configuration has them.
    pub fn target(&self) -> &str {
        &self.target
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
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
        let (destination, before) = match self.destination(exchange)? {
            Ok(found) => found,
            Err(reason) => return Ok(Err(reason)),
        };
        let target = match before.trim_end_matches('/') {
            "" => target,
            before => format!("{before}{target}"),
        };
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

    /// Where to ask, and what stands before the path there.
    fn destination(&self, exchange: &Exchange) -> Result<Result<(Destination, String), String>, Fault> {
        let (url, known) = match &self.place {
            Place::Url { url, destination } => (url, destination),
            Place::Service(name) => {
                let service = exchange.plan.services.get(name);
                let service =
                    service.ok_or_else(|| Fault::new(format!("there is no service '{name}', or it is off")))?;
                let destination = service.destination(exchange).map(|own| (own, service.path.clone()));
                return Ok(destination.ok_or_else(|| format!("service '{name}' has no target")));
            }
        };
        if let Some(known) = known.get() {
            return Ok(Ok((known.clone(), String::new())));
        }
        let tls = match url.scheme_str() {
            Some("https") => Some(exchange.plan.fetcher.tls().map_err(Fault::new)?),
            _ => None,
        };
        let port = url.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let made = Destination::new(url.host().unwrap_or_default(), port, tls, false);
        Ok(Ok((known.get_or_init(|| made).clone(), String::new())))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.place {
            Place::Url { url, .. } => url.fmt(f),
            Place::Service(name) => write!(f, "service {name}"),
        }
    }
}

fn millis(timeout_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(1000))
}

/// How long an answer may be kept, by its own words.
pub fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get(CACHE_CONTROL)?.to_str().ok()?;
    let seconds = directives.split(',').find_map(|directive| directive.trim().strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}
