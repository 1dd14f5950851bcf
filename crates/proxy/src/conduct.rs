//! How the gate conducts itself towards callers and services: the settings of the data plane.

use http::HeaderValue;
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
    /// Whether `Kong-Debug: 1` makes the answer name its route and service.
    pub allow_debug_header: bool,
    /// The media type of errors for callers who state none.
    pub error_default_type: MediaType,
    pub keepalive: Keepalive,
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
            allow_debug_header: false,
            error_default_type: MediaType::Plain,
            keepalive: Keepalive { pool_size: 512, max_requests: 10_000, idle_timeout: Duration::from_secs(60) },
            stop_timeout: Duration::from_secs(30),
        }
    }
}
