//! Asks a service whether a request may pass: Traefik's ForwardAuth, nginx's auth_request, Envoy's ext_authz over
//! HTTP.

use crate::endpoint::{Answered, Endpoint};
use crate::{formats, whole_body};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE, VIA};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::body::Body;
use proxy::forward::{REQUEST_ID, leave_upstream_connection};
use proxy::identity::{header_value, is_original};
use proxy::plugin::{Place, Plugin, Verdict};
use schema::{Check, Schema, Violations};
use serde::Deserialize;
use std::ops::ControlFlow;

/// Asks a service of your own whether a request may pass, and what to tell the service behind.
///
/// An answer of 2xx lets it pass. Any other below 500 is the caller's answer, with its body, such as a 401 or a
/// redirection to a login. If there is none, or one from 500 on, the caller gets a 503: nobody passes unasked.
///
/// What is asked carries the caller's headers, and `X-Forwarded-Method`, `-Proto`, `-Host`, `-Port`, `-Uri` and `-For`
/// (as Traefik sends them), `X-Original-Method`, `-URI` and `-URL` (as is usual with nginx), and the body where
/// `forward_body` says so.
#[derive(Deserialize, Schema)]
#[schema(check(Check::OnlyOneOf(&["url", "service"])))]
pub struct Config {
    /// Where to ask, such as `http://auth.internal:4181/verify`.
    #[schema(format(formats::url))]
    url: Option<String>,
    /// The service of this configuration to ask instead, by name or id: with its targets, its TLS and its
    /// path.
    service: Option<String>,
    /// The path and query to ask `service` at, after its own path.
    #[schema(starts_with("/"))]
    path: Option<String>,
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
    /// Whether it is asked with the caller's body, too. The request then waits until its body has come whole (its trailers
    /// are lost), and where there is one it is asked with POST if the caller's method is not kept.
    #[schema(default = false)]
    forward_body: bool,
    /// The largest body that it is asked with, in bytes. A request with a larger one is answered with 413, and nobody is
    /// asked.
    #[schema(default = 1_048_576, between(1, 67_108_864))]
    max_body_size: Option<i64>,
    /// How many milliseconds its answer may take.
    #[schema(default = 1000, between(1, 60_000))]
    timeout: Option<i64>,
}

impl Config {
    /// To ask at this URL with the caller's method, path and query.
    pub fn with_own_target(url: String, timeout_ms: i64) -> Config {
        Config {
            url: Some(url),
            service: None,
            path: None,
            append_path: true,
            keep_method: true,
            request_headers: None,
            upstream_headers: None,
            response_headers: None,
            forward_body: false,
            max_body_size: None,
            timeout: Some(timeout_ms),
        }
    }
}

pub struct ForwardAuth {
    endpoint: Endpoint,
    service: Option<String>,
    append_path: bool,
    keep_method: bool,
    /// The largest body that it is asked with, if it is asked with any.
    largest_body: Option<usize>,
    request_headers: Option<Vec<HeaderName>>,
    upstream_headers: Vec<HeaderName>,
    response_headers: Vec<HeaderName>,
}

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

/// What tells of the way to the service.
const OF_THE_WAY: [HeaderName; 2] = [FORWARDED_PATH, FORWARDED_PREFIX];
/// What tells of a body.
const OF_A_BODY: [HeaderName; 2] = [CONTENT_TYPE, CONTENT_ENCODING];

impl Plugin for ForwardAuth {
    const NAME: &'static str = "forward-auth";
    const PRIORITY: i32 = 1010;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let names = |names: Option<Vec<String>>| -> Vec<HeaderName> {
            names.into_iter().flatten().filter_map(|name| name.parse().ok()).collect()
        };
        let (timeout, service) = (config.timeout.unwrap_or(1000), config.service.clone());
        let endpoint = match (config.url, config.service, config.path) {
            (_, Some(service), path) => {
                Ok(Endpoint::of_service(service, path.unwrap_or_else(|| "/".to_owned()), timeout))
            }
            (Some(url), None, None) => Endpoint::new(&url, timeout),
            _ => Err("a path stands in the URL itself".to_owned()),
        };
        Ok(ForwardAuth {
            endpoint: endpoint.map_err(|error| Violations::field("url", error))?,
            service,
            append_path: config.append_path,
            keep_method: config.keep_method,
            largest_body: config
                .forward_body
                .then_some(usize::try_from(config.max_body_size.unwrap_or(1_048_576)).unwrap_or_default()),
            request_headers: config.request_headers.map(|given| names(Some(given))),
            upstream_headers: names(config.upstream_headers),
            response_headers: names(config.response_headers),
        })
    }

    fn placed(&mut self, place: &Place) -> Result<(), Violations> {
        match &self.service {
            Some(name) if !place.has_service(name) => {
                Err(Violations::field("service", format!("there is no service '{name}'")))
            }
            _ => Ok(()),
        }
    }

    fn reserves(&self) -> Vec<HeaderName> {
        // What callers do send is for the service that is asked; it is replaced afterwards.
        self.upstream_headers.iter().filter(|name| **name != AUTHORIZATION).cloned().collect()
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        let body = match self.largest_body {
            None => Body::Empty,
            Some(limit_bytes) => match whole_body::read_up_to(exchange, limit_bytes).await {
                Ok(body) if body.is_empty() => Body::Empty,
                Ok(body) => Body::Full(body),
                Err(answer) => return Ok(ControlFlow::Break(answer)),
            },
        };
        let (method, target, headers) = self.question(exchange, matches!(body, Body::Full(_)));
        let asked = self.endpoint.ask(exchange, method, target, headers, body).await?;
        let Answered { mut head, body } = match asked {
            Ok(answered) => answered,
            Err(reason) => return Ok(ControlFlow::Break(self.no_answer(exchange, &reason))),
        };
        leave_upstream_connection(&mut head);
        let status = head.status;
        if status.is_server_error() || status.is_informational() {
            return Ok(ControlFlow::Break(self.no_answer(exchange, &format!("it answers {}", status.as_u16()))));
        }
        if status.is_success() {
            self.tell(exchange, &head);
            return Ok(ControlFlow::Continue(()));
        }
        Ok(ControlFlow::Break(match body {
            Ok(body) => refusal(head, body),
            Err(reason) => self.no_answer(exchange, &reason),
        }))
    }
}

impl ForwardAuth {
    fn leaves_out(&self, name: &HeaderName) -> bool {
        OF_THE_WAY.contains(name) || self.largest_body.is_none() && OF_A_BODY.contains(name)
    }

    fn question(&self, exchange: &Exchange, has_body: bool) -> (Method, String, HeaderMap) {
        let (request, caller) = (&exchange.request, &exchange.caller);
        let wanted = |name: &HeaderName| match &self.request_headers {
            None => !self.leaves_out(name) && !is_original(name),
            Some(names) => names.contains(name),
        };
        // Room for all at once: those of the caller, and those below.
        let mut headers = HeaderMap::with_capacity(request.headers.len() + 12);
        for (name, value) in request.headers.iter().filter(|(name, _)| wanted(name)) {
            headers.append(name.clone(), value.clone());
        }
        // What the service will read, not what the caller wrote: `/public/%2e%2e/admin` is `/admin`.
        let original = exchange.routed_target();
        let host = exchange.host();
        let proto = if caller.secure { "https" } else { "http" };
        let method = header_value(request.method.as_str());
        let uri = header_value(&original);
        let chain = match caller.trusted && request.headers.contains_key(FORWARDED_FOR) {
            false => caller.peer_header.clone(),
            true => {
                let before = request.headers.get_all(FORWARDED_FOR).iter().filter_map(|before| before.to_str().ok());
                let own = caller.peer_header.to_str().unwrap_or_default();
                header_value(&before.chain([own]).collect::<Vec<_>>().join(", "))
            }
        };
        let ip = match caller.ip == caller.peer.ip() {
            true => caller.peer_header.clone(),
            false => header_value(&caller.ip.to_string()),
        };
        for (name, value) in [
            (FORWARDED_FOR, chain),
            (FORWARDED_METHOD, method.clone()),
            (FORWARDED_PROTO, HeaderValue::from_static(proto)),
            (FORWARDED_HOST, header_value(&host)),
            (FORWARDED_PORT, caller.port.into()),
            (FORWARDED_URI, uri.clone()),
            (REAL_IP, ip),
            (REQUEST_ID.clone(), exchange.id.to_header()),
            (ORIGINAL_METHOD, method),
            (ORIGINAL_URI, uri),
            (ORIGINAL_URL, header_value(&format!("{proto}://{host}{original}"))),
            (VIA, HeaderValue::from_static("1.1 portcullis")),
        ] {
            headers.insert(name, value);
        }
        let target = match self.append_path {
            true => format!("{}{original}", self.endpoint.path().trim_end_matches('/')),
            false => self.endpoint.target().to_owned(),
        };
        let method = match (self.keep_method, has_body) {
            (true, _) => request.method.clone(),
            (false, true) => Method::POST,
            (false, false) => Method::GET,
        };
        (method, target, headers)
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
        let url = &self.endpoint;
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
