//! From the operator's settings to what the data plane goes by.

use crate::settings::Settings;
use crate::settings::words::ErrorType;
use proxy::conduct::{Conduct, Keepalive, MediaType, ResponseHeaders};
use std::time::Duration;

pub fn of(settings: &Settings) -> Conduct {
    let headers = &settings.headers;
    let idle_timeout = settings.upstream_keepalive_idle_timeout;
    let max_requests = settings.upstream_keepalive_max_requests;
    Conduct {
        trusted: settings.trusted_ips.clone(),
        real_ip_header: settings.real_ip_header,
        real_ip_recursive: settings.real_ip_recursive,
        headers: ResponseHeaders {
            server: headers.server,
            via: headers.via,
            upstream_latency: headers.upstream_latency,
            proxy_latency: headers.proxy_latency,
            response_latency: headers.response_latency,
            upstream_status: headers.upstream_status,
            request_id: headers.request_id,
        },
        request_id_upstream: settings.headers_upstream.request_id,
        allow_debug_header: settings.allow_debug_header,
        error_default_type: match settings.error_default_type {
            ErrorType::Text => MediaType::Plain,
            ErrorType::Html => MediaType::Html,
            ErrorType::Json => MediaType::Json,
            ErrorType::Xml => MediaType::Xml,
        },
        keepalive: Keepalive {
            pool_size: settings.upstream_keepalive_pool_size,
            max_requests: max_requests.map_or(usize::MAX, |limit| usize::try_from(limit.get()).unwrap_or(usize::MAX)),
            idle_timeout: idle_timeout.unwrap_or(Duration::MAX),
        },
        stop_timeout: settings.stop_timeout_s,
    }
}
