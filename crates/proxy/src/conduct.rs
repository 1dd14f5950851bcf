//! How the gate conducts itself towards callers and services: the settings of the data plane.

use http::HeaderValue;
pub use http1::head::Limits as HeadLimits;
use net::forwarded::{RealIpHeader, TrustedPeers};
use std::time::Duration;

/// Settings that hold for every request.
#[derive(Clone)]
pub struct Conduct {
    /// Whose `X-Forwarded-*` headers are believed.
    pub trusted: TrustedPeers,
    pub real_ip_header: RealIpHeader,
    pub real_ip_recursive: bool,
    pub headers: ResponseHeaders,
    /// Whether services get `X-Kong-Request-Id`.
    pub request_id_upstream: bool,
    /// Whether services get `Forwarded`.
    pub forwarded_upstream: bool,
    /// Whether `Kong-Debug: 1` makes the answer name its route and service.
    pub allow_debug_header: bool,
    /// The media type of errors for callers who state none.
    pub error_default_type: MediaType,
    /// What a connection may go on as besides HTTP, in lower case.
    pub upgrades: Vec<HeaderValue>,
    pub keepalive: Keepalive,
    pub limits: CallerLimits,
    /// How long requests in flight may take to end after the gate was told to stop.
    pub stop_timeout: Duration,
}

/// Which headers an answer carries about the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ResponseHeaders {
    pub server: bool,
    pub via: bool,
    pub upstream_latency: bool,
    pub proxy_latency: bool,
    pub response_latency: bool,
    pub upstream_status: bool,
    pub request_id: bool,
}

/// How connections to services are kept, per core and service.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    pub pool_size: usize,
    pub max_requests: usize,
    pub idle_timeout: Duration,
}

/// What a caller may take of the gate.
#[derive(Clone, Copy, Debug)]
pub struct CallerLimits {
    /// The head of a request.
    pub head: HeadLimits,
    /// Its target, and each of its header lines, in bytes.
    pub line_bytes: usize,
    /// Its body, in bytes.
    pub body_bytes: u64,
    /// How long a handshake, or a head from its first byte, may take. One deadline for the whole of it: a
    /// caller that sends a byte now and then (slowloris) gains nothing.
    pub head_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// How long a caller may take between two pieces of its body.
    pub body_timeout: Duration,
    /// How long a caller may take nothing of its answer.
    pub send_timeout: Duration,
    /// Connections at the same time.
    pub connections: u64,
    /// HTTP/2 requests of one connection at the same time.
    pub streams: u32,
}

impl Default for CallerLimits {
    fn default() -> CallerLimits {
        let minute = Duration::from_secs(60);
        CallerLimits {
            head: HeadLimits { bytes: 64 * 1024, fields: 100 },
            line_bytes: 8192,
            body_bytes: u64::MAX,
            head_timeout: minute,
            idle_timeout: Duration::from_secs(75),
            body_timeout: minute,
            send_timeout: minute,
            connections: u64::MAX,
            streams: 128,
        }
    }
}

/// The forms that errors are written in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MediaType {
    Json,
    Html,
    Plain,
    Xml,
}

/// The name in `Server` and `Via` (a pseudonym, RFC 9110 section 7.6.3); versions help attackers only.
pub const SERVER: HeaderValue = HeaderValue::from_static("portcullis");

impl Default for Conduct {
    fn default() -> Conduct {
        Conduct {
            trusted: TrustedPeers::default(),
            real_ip_header: RealIpHeader::default(),
            real_ip_recursive: false,
            headers: ResponseHeaders {
                server: true,
                via: true,
                upstream_latency: true,
                proxy_latency: true,
                response_latency: true,
                upstream_status: false,
                request_id: true,
            },
            request_id_upstream: true,
            forwarded_upstream: false,
            allow_debug_header: false,
            error_default_type: MediaType::Plain,
            upgrades: vec![HeaderValue::from_static("websocket")],
            keepalive: Keepalive { pool_size: 512, max_requests: 10_000, idle_timeout: Duration::from_secs(60) },
            limits: CallerLimits::default(),
            stop_timeout: Duration::from_secs(30),
        }
    }
}
