//! Asks a service whether a request may pass: Traefik's ForwardAuth, nginx's auth_request, Envoy's ext_authz over
//! HTTP.

use crate::formats;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE, VIA};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use proxy::Exchange;
use proxy::answer::{Answer, UpstreamError};
use proxy::destination::Destination;
use proxy::forward::{REQUEST_ID, leave_upstream_connection};
use proxy::identity::{header_value, is_original};
use proxy::message::Ask;
use proxy::plugin::{Fault, Plugin, Verdict};
use proxy::upstream::Limits;
use schema::{Schema, Violations};
use serde::Deserialize;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::time::Duration;

/// Asks a service of your own whether a request may pass, and what to tell the service behind.
///
/// An answer of 2xx lets it pass. Any other below 500 is the caller's answer, with its body, such as a 401 or a
/// redirection to a login. If there is none, or one from 500 on, the caller gets a 503: nobody passes unasked.
///
/// What is asked carries the caller's headers, and `X-Forwarded-Method`, `-Proto`, `-Host`, `-Port`, `-Uri` and `-For`
/// (as Traefik sends them), `X-Original-Method`, `-URI` and `-URL` (as is usual with nginx), but not the body.
#[derive(Deserialize, Schema)]
pub struct Config {
    /// Where to ask, such as `http://auth.internal:4181/verify`.
    #[schema(format(formats::url))]
    url: String,
    /// Whether the caller's path and query follow the path of `url`, as in Envoy's ext_authz.
    #[schema(default = false)]
    append_path: bool,
    /// Whether it is asked with the caller's method, as in Envoy's ext_authz, and not with GET.
    #[schema(default = false)]
    keep_method: bool,
    /// The caller's headers that it is asked with. Without any, all.
    #[schema(each(format(formats::header_name)))]
    request_headers: Option<Vec<String>>,
    /// The headers of its answer that the service behind gets.
    ///
    /// Nobody else can set them: they are removed from every request, on every route.
    #[schema(each(format(told)))]
    upstream_headers: Option<Vec<String>>,
    /// The headers of its answer that the caller gets when it passes, such as `Set-Cookie`.
    #[schema(each(format(told)))]
    response_headers: Option<Vec<String>>,
    /// How many milliseconds its answer may take.
    #[schema(default = 1000, between(1, 60_000))]
    timeout: Option<i64>,
}

pub struct ForwardAuth {
    url: Uri,
    append_path: bool,
    keep_method: bool,
    request_headers: Option<Vec<HeaderName>>,
    upstream_headers: Vec<HeaderName>,
    response_headers: Vec<HeaderName>,
    timeout: Duration,
    /// Made by the first request: only a running gate knows whom to believe.
    destination: OnceLock<Destination>,
}

/// The largest body of a refusal that is passed on, in bytes.
const BODY: usize = 1024 * 1024;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PATH: HeaderName = HeaderName::from_static("x-forwarded-path");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");

/// What tells of a body that is not sent, or of the way to the service.
const LEFT_OUT: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_ENCODING, FORWARDED_PATH, FORWARDED_PREFIX];

impl Plugin for ForwardAuth {
    const NAME: &'static str = "forward-auth";
    const PRIORITY: i32 = 1010;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let names = |names: Option<Vec<String>>| -> Vec<HeaderName> {
            names.into_iter().flatten().filter_map(|name| name.parse().ok()).collect()
        };
        let url = config.url.parse().map_err(|_| Violations::field("url", "this is no URL"))?;
        let timeout = u64::try_from(config.timeout.unwrap_or(1000)).unwrap_or(1000);
        Ok(ForwardAuth {
            url,
            append_path: config.append_path,
            keep_method: config.keep_method,
            request_headers: config.request_headers.map(|given| names(Some(given))),
            upstream_headers: names(config.upstream_headers),
            response_headers: names(config.response_headers),
            timeout: Duration::from_millis(timeout),
            destination: OnceLock::new(),
        })
    }

    fn reserves(&self) -> Vec<HeaderName> {
        // What callers do send is for the service that is asked; it is replaced afterwards.
        self.upstream_headers.iter().filter(|name| **name != AUTHORIZATION).cloned().collect()
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        let destination = self.destination(exchange)?;
        let ask = self.question(exchange, &destination).map_err(|error| Fault::new(error.to_string()))?;
        let limits = Limits { connect: self.timeout, write: self.timeout, read: self.timeout };
        let asked = tokio::time::timeout(self.timeout, exchange.ask(&destination, &ask, limits)).await;
        let (mut head, mut body) = match asked {
            Ok(Ok(answer)) => answer.into_parts(),
            Ok(Err(error)) => return Ok(ControlFlow::Break(self.no_answer(exchange, &error.to_string()))),
            Err(_) => return Ok(ControlFlow::Break(self.no_answer(exchange, "no answer within its timeout"))),
        };
        leave_upstream_connection(&mut head);
        let status = head.status;
        if status.is_server_error() || status.is_informational() {
            return Ok(ControlFlow::Break(self.no_answer(exchange, &format!("it answers {}", status.as_u16()))));
        }
        // Of a consent the body is read too, so that the connection can be used again.
        let body = tokio::time::timeout(self.timeout, body.buffer(BODY)).await;
        if status.is_success() {
            self.tell(exchange, &head);
            return Ok(ControlFlow::Continue(()));
        }
        Ok(ControlFlow::Break(match body {
            Ok(Ok(body)) => refusal(head, body),
            Ok(Err(error)) => self.no_answer(exchange, &error.to_string()),
            Err(_) => self.no_answer(exchange, "no body within its timeout"),
        }))
    }
}

impl ForwardAuth {
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

    fn question(&self, exchange: &Exchange, destination: &Destination) -> Result<Ask, UpstreamError> {
        let (request, caller) = (&exchange.request, &exchange.caller);
        let wanted = |name: &HeaderName| match &self.request_headers {
            None => !LEFT_OUT.contains(name) && !is_original(name),
            Some(names) => names.contains(name),
        };
        let given = request.headers.iter().filter(|(name, _)| wanted(name));
        let mut headers: HeaderMap = given.map(|(name, value)| (name.clone(), value.clone())).collect();
        // What the service will read, not what the caller wrote: `/public/%2e%2e/admin` is `/admin`.
        let original = exchange.routed_target();
        let host = exchange.host();
        let proto = if caller.secure { "https" } else { "http" };
        let method = header_value(request.method.as_str());
        let before = request.headers.get_all(FORWARDED_FOR).iter().filter_map(|before| before.to_str().ok());
        let before: Vec<&str> = before.filter(|_| caller.trusted).collect();
        let own = caller.peer.ip().to_string();
        let chain = header_value(&before.into_iter().chain([own.as_str()]).collect::<Vec<_>>().join(", "));
        for (name, value) in [
            (FORWARDED_FOR, chain),
            (FORWARDED_METHOD, method.clone()),
            (FORWARDED_PROTO, HeaderValue::from_static(proto)),
            (FORWARDED_HOST, header_value(&host)),
            (FORWARDED_PORT, caller.port.into()),
            (FORWARDED_URI, header_value(&original)),
            (REAL_IP, header_value(&caller.ip.to_string())),
            (REQUEST_ID.clone(), header_value(exchange.id.as_str())),
            (ORIGINAL_METHOD, method),
            (ORIGINAL_URI, header_value(&original)),
            (ORIGINAL_URL, header_value(&format!("{proto}://{host}{original}"))),
            (VIA, HeaderValue::from_static("1.1 portcullis")),
        ] {
            headers.insert(name, value);
        }
        let target = match self.append_path {
            true => format!("{}{original}", self.url.path().trim_end_matches('/')),
            false => self.url.path_and_query().map_or("/", |own| own.as_str()).to_owned(),
        };
        let method = if self.keep_method { request.method.clone() } else { Method::GET };
        Ask::new(method, target, destination.authority.clone(), headers)
    }

    /// Takes over what the answer says of the caller. What it does not say, nobody has said.
    fn tell(&self, exchange: &mut Exchange, answer: &Parts) {
        for name in &self.upstream_headers {
            exchange.request.headers.remove(name);
            for value in answer.headers.get_all(name) {
                exchange.request.headers.append(name.clone(), value.clone());
            }
        }
        for name in &self.response_headers {
            for value in answer.headers.get_all(name) {
                exchange.for_caller.push((name.clone(), value.clone()));
            }
        }
    }

    fn no_answer(&self, exchange: &Exchange, reason: &str) -> Answer {
        let url = &self.url;
        tracing::warn!(request_id = exchange.id.as_str(), %url, "forward-auth has no answer, so nobody passes: {reason}");
        Answer::error(StatusCode::SERVICE_UNAVAILABLE, "The service that decides about requests gives no answer")
    }
}

/// The answer of the service that was asked, for the caller.
fn refusal(head: Parts, body: Bytes) -> Answer {
    let Parts { status, mut headers, .. } = head;
    let content_type = headers.remove(CONTENT_TYPE);
    headers.remove(CONTENT_LENGTH);
    Answer::Exit { status, body, content_type, headers }
}

/// `Authorization` may be exchanged for another, and cookies set; else as for all that tell somebody something.
fn told(text: &str) -> Result<(), String> {
    let usual = [AUTHORIZATION, SET_COOKIE].iter().any(|name| text.eq_ignore_ascii_case(name.as_str()));
    if usual { Ok(()) } else { formats::header_to_tell(text) }
}
