//! The one place that turns refusals and errors into HTTP.
//!
//! Two styles, because Kong's clients depend on both. An [`Answer::Error`] is negotiated: JSON, HTML, XML
//! or text by `Accept`, with the request's identity. An [`Answer::Exit`] is sent as it is.

use crate::body::{Body, BodyError, cause};
use crate::conduct::MediaType;
use crate::exchange::Exchange;
use crate::identity::header_value;
use crate::plugin::Fault;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http1::framing::FramingFault;
use http1::head::HeadFault;
use net::egress::ConnectError;
use schema::Value;
use std::borrow::Cow;
use std::io;
use thiserror::Error;

/// What the caller gets instead of the service's answer.
#[derive(Debug)]
pub enum Answer {
    /// Written in the form that the caller accepts.
    Error { status: StatusCode, message: Cow<'static, str>, headers: HeaderMap, default: Option<MediaType> },
    /// Sent as it is.
    Exit { status: StatusCode, body: Bytes, content_type: Option<HeaderValue>, headers: HeaderMap },
}

impl Answer {
    pub fn error(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Answer {
        Answer::Error { status, message: message.into(), headers: HeaderMap::new(), default: None }
    }

    /// Compact JSON, never negotiated.
    pub fn exit_json(status: StatusCode, body: &Value) -> Answer {
        Answer::Exit {
            status,
            body: Bytes::from(body.to_string()),
            content_type: Some(HeaderValue::from_static("application/json; charset=utf-8")),
            headers: HeaderMap::new(),
        }
    }

    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Answer {
        self.headers_mut().insert(name, value);
        self
    }

    /// What it says, for people: an error's text, or the body as far as it is text.
    pub fn message(&self) -> String {
        match self {
            Answer::Error { message, .. } => message.to_string(),
            Answer::Exit { body, .. } => String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned(),
        }
    }

    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        let (Answer::Error { headers, .. } | Answer::Exit { headers, .. }) = self;
        headers
    }

    pub fn parts(&self) -> (StatusCode, &HeaderMap) {
        let (Answer::Error { status, headers, .. } | Answer::Exit { status, headers, .. }) = self;
        (*status, headers)
    }

    /// The answer as HTTP, for this exchange.
    pub fn render(self, exchange: &Exchange) -> Response<Body> {
        if is_grpc(&exchange.request.headers) {
            return self.render_grpc();
        }
        let (status, body, content_type, headers) = match self {
            Answer::Exit { status, body, content_type, headers } => (status, body, content_type, headers),
            Answer::Error { status, message, headers, default } => {
                let media = accepted(&exchange.request.headers, default);
                let body = media.write(&message, exchange.id.as_str());
                (status, Bytes::from(body), Some(HeaderValue::from_static(media.content_type())), headers)
            }
        };
        let mut response = Response::new(Body::Full(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if let Some(content_type) = content_type {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        response
    }

    /// For callers who speak gRPC: status and message as headers, and no body, as in Kong.
    fn render_grpc(self) -> Response<Body> {
        let (status, message, mut headers) = match self {
            Answer::Error { status, message, headers, .. } => (status, message.into_owned(), headers),
            Answer::Exit { status, body, headers, .. } => {
                let json = serde_json::from_slice::<Value>(&body).unwrap_or_default();
                let message = json.get("message").and_then(Value::as_str).unwrap_or_default();
                (status, message.to_owned(), headers)
            }
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.entry(GRPC_STATUS).or_insert(grpc_status(status).into());
        if !message.is_empty() {
            let message = percent_encoding::utf8_percent_encode(&message, percent_encoding::CONTROLS).to_string();
            headers.entry(GRPC_MESSAGE).or_insert_with(|| header_value(&message));
        }
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether a request is one of gRPC.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The gRPC status that stands for one of HTTP, as Kong translates it.
fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        200..=299 => 0,
        401 => 16,
        403 => 7,
        404 => 5,
        409 => 10,
        429 => 8,
        400..=499 => 3,
        501 => 12,
        503 => 14,
        504 => 4,
        500..=599 => 13,
        _ => 2,
    }
}

/// Why the service gave no answer.
#[derive(Debug, Error)]
pub enum UpstreamError {
    #[error("no target of the upstream takes requests")]
    NoPeer,
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the service closed the connection before it answered")]
    Closed,
    #[error("the connection to the service broke: {0}")]
    Connection(io::Error),
    #[error("the service's answer is malformed: {0}")]
    Malformed(HeadFault),
    #[error("where the service's answer ends is in doubt: {0}")]
    Framing(FramingFault),
    #[error("the service sent interim answers (1xx) without an end, or switched protocols before it had the request")]
    Interim,
    #[error("the service did not agree to speak HTTP/2 (ALPN h2), which gRPC needs")]
    NotHttp2,
    #[error("the service closed the HTTP/2 connection or sent no valid answer: {}", cause(.0))]
    Http2(hyper::Error),
    #[error("the service did not answer within its read_timeout")]
    ReadTimeout,
    #[error("the service did not take the request within its write_timeout")]
    WriteTimeout,
    #[error("the request cannot be written for the service: {0}")]
    Request(&'static str),
    #[error("the caller's body broke off")]
    CallerGone,
    #[error("the caller stopped sending its body")]
    CallerStalled,
    #[error("the caller's body is larger than client_max_body_size")]
    CallerTooLarge,
}

impl UpstreamError {
    /// A body that the caller did not send to its end.
    pub fn of_caller(error: &BodyError) -> UpstreamError {
        match error {
            BodyError::CallerStalled => UpstreamError::CallerStalled,
            BodyError::TooLarge => UpstreamError::CallerTooLarge,
            _ => UpstreamError::CallerGone,
        }
    }

    /// Kong's status and text. What Kong's Lua makes is negotiated from JSON, what its nginx makes from
    /// `error_default_type`.
    pub fn answer(&self, default: MediaType) -> Answer {
        let lua = |message| Answer::error(StatusCode::SERVICE_UNAVAILABLE, message);
        match self {
            UpstreamError::NoPeer => lua("failure to get a peer from the ring-balancer"),
            UpstreamError::Connect(ConnectError::Name { .. }) => lua("name resolution failed"),
            UpstreamError::Connect(ConnectError::Timeout { .. } | ConnectError::TlsTimeout { .. })
            | UpstreamError::ReadTimeout
            | UpstreamError::WriteTimeout => nginx(StatusCode::GATEWAY_TIMEOUT, default),
            UpstreamError::Connect(
                ConnectError::Refused { .. }
                | ConnectError::Unreachable { .. }
                | ConnectError::ServerName { .. }
                | ConnectError::Certificate { .. }
                | ConnectError::Tls { .. },
            )
            | UpstreamError::Closed
            | UpstreamError::Connection(_)
            | UpstreamError::Malformed(_)
            | UpstreamError::Framing(_)
            | UpstreamError::Interim
            | UpstreamError::NotHttp2
            | UpstreamError::Http2(_) => nginx(StatusCode::BAD_GATEWAY, default),
            UpstreamError::CallerGone => nginx(StatusCode::BAD_REQUEST, default),
            UpstreamError::CallerStalled => nginx(StatusCode::REQUEST_TIMEOUT, default),
            UpstreamError::CallerTooLarge => closing(StatusCode::PAYLOAD_TOO_LARGE, default),
            UpstreamError::Connect(ConnectError::Exhausted { .. }) | UpstreamError::Request(_) => {
                nginx(StatusCode::INTERNAL_SERVER_ERROR, default)
            }
        }
    }

    /// Whether a service was asked at all; if so the answer says how long that took.
    pub fn reached_upstream(&self) -> bool {
        !matches!(self, UpstreamError::NoPeer | UpstreamError::Connect(ConnectError::Name { .. }))
    }
}

/// A plugin failed: never the caller's fault, and never a pass.
pub fn fault(fault: &Fault, exchange: &Exchange) -> Answer {
    tracing::error!(request_id = exchange.id.as_str(), error = %fault, "a plugin failed");
    Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred")
}

/// A refusal after which it is not certain where the next request begins.
pub fn closing(status: StatusCode, default: MediaType) -> Answer {
    nginx(status, default).with_header(http::header::CONNECTION, HeaderValue::from_static("close"))
}

/// An error as Kong's nginx writes it: the status has a text of its own.
pub fn nginx(status: StatusCode, default: MediaType) -> Answer {
    Answer::Error { status, message: text(status).into(), headers: HeaderMap::new(), default: Some(default) }
}

/// Kong's text for a status that its nginx makes.
pub fn text(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "Bad request",
        404 => "Not found",
        405 => "Method not allowed",
        408 => "Request timeout",
        411 => "Length required",
        412 => "Precondition failed",
        413 => "Payload too large",
        414 => "URI too long",
        417 => "Expectation failed",
        421 => "Misdirected request",
        431 => "Request header or cookie too large",
        500 => "An unexpected error occurred",
        502 => "An invalid response was received from the upstream server",
        503 => "The upstream server is currently unavailable",
        504 => "The upstream server is timing out",
        505 => "HTTP version not supported",
        _ => "An unexpected error occurred",
    }
}

/// The form that the caller prefers. `default` is for errors of the kind that Kong's nginx makes, and
/// then the request's own `Content-Type` counts too.
fn accepted(headers: &HeaderMap, default: Option<MediaType>) -> MediaType {
    let named = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match (named(ACCEPT), default) {
        (Some(accept), _) => preferred(accept),
        (None, None) => MediaType::Json,
        (None, Some(default)) => named(CONTENT_TYPE).and_then(MediaType::named).unwrap_or(default),
    }
}

/// The form with the highest quality; JSON when none of them is one we write.
fn preferred(accept: &str) -> MediaType {
    let mut best = (MediaType::Json, -1.0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        if quality > best.1 {
            best = (MediaType::named(name).unwrap_or(MediaType::Json), quality);
        }
    }
    best.0
}

impl MediaType {
    pub fn named(name: &str) -> Option<MediaType> {
        match name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/json" => Some(MediaType::Json),
            "text/html" | "application/xhtml+xml" => Some(MediaType::Html),
            "text/plain" => Some(MediaType::Plain),
            "application/xml" | "text/xml" => Some(MediaType::Xml),
            _ => None,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            MediaType::Json => "application/json; charset=utf-8",
            MediaType::Html => "text/html; charset=utf-8",
            MediaType::Plain => "text/plain; charset=utf-8",
            MediaType::Xml => "application/xml; charset=utf-8",
        }
    }

    /// Kong's templates, byte for byte.
    fn write(self, message: &str, request_id: &str) -> String {
        match self {
            MediaType::Json => {
                let message = Value::from(message);
                format!("{{\n  \"message\":{message},\n  \"request_id\":\"{request_id}\"\n}}")
            }
            MediaType::Plain => format!("{message}\nrequest_id: {request_id}\n"),
            MediaType::Html => format!(
                "<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  </head>\n  \
                 <body>\n    <h1>Error</h1>\n    <p>{message}.</p>\n    <p>request_id: {request_id}</p>\n  </body>\n</html>\n",
                message = escaped(message),
            ),
            MediaType::Xml => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>{message}</message>\n  \
                 <requestid>{request_id}</requestid>\n</error>\n",
                message = escaped(message),
            ),
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: Option<&str>, content_type: Option<&str>, default: Option<MediaType>, expected: MediaType) {
        let mut headers = HeaderMap::new();
        for (name, value) in [(ACCEPT, accept), (CONTENT_TYPE, content_type)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        assert_eq!(accepted(&headers, default), expected, "{accept:?} {content_type:?}");
    }

    #[test]
    fn errors_are_written_as_the_caller_accepts() {
        let nginx = Some(MediaType::Plain);
        check(None, None, None, MediaType::Json);
        check(None, None, nginx, MediaType::Plain);
        check(None, Some("application/json"), nginx, MediaType::Json);
        check(Some("*/*"), None, nginx, MediaType::Json);
        check(Some("image/*"), None, nginx, MediaType::Json);
        check(Some("text/html,application/xhtml+xml;q=0.9"), None, nginx, MediaType::Html);
        check(Some("application/xml;q=0.5, text/plain;q=0.6"), None, None, MediaType::Plain);
    }

    #[test]
    fn messages_cannot_break_out_of_their_form() {
        assert_eq!(MediaType::Json.write("a\"b", "1"), "{\n  \"message\":\"a\\\"b\",\n  \"request_id\":\"1\"\n}");
        assert!(MediaType::Html.write("<script>", "1").contains("<p>&lt;script&gt;.</p>"));
    }
}
