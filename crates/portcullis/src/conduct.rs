//! From the operator's settings to what the data plane goes by.

use crate::settings::Settings;
use crate::settings::words::ErrorType;
use proxy::conduct::{CallerLimits, Conduct, HeadLimits as Limits, Keepalive, MediaType, ResponseHeaders};
use std::num::NonZeroU64;
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
        forwarded_upstream: settings.headers_upstream.forwarded,
        allow_debug_header: settings.allow_debug_header,
        error_default_type: match settings.error_default_type {
            ErrorType::Text => MediaType::Plain,
            ErrorType::Html => MediaType::Html,
            ErrorType::Json => MediaType::Json,
            ErrorType::Xml => MediaType::Xml,
        },
        upgrades: settings.client_upgrades.clone(),
        keepalive: Keepalive {
            pool_size: settings.upstream_keepalive_pool_size,
            max_requests: max_requests.map_or(usize::MAX, |limit| usize::try_from(limit.get()).unwrap_or(usize::MAX)),
            idle_timeout: idle_timeout.unwrap_or(Duration::MAX),
        },
        limits: CallerLimits {
            head: Limits { bytes: size(settings.client_max_head_size), fields: size(settings.client_max_headers) },
            line_bytes: size(settings.client_max_line_size),
            body_bytes: settings.client_max_body_size.map_or(u64::MAX, NonZeroU64::get),
            head_timeout: settings.client_head_timeout_s,
            idle_timeout: settings.client_idle_timeout_s,
            body_timeout: settings.client_body_timeout_s,
            send_timeout: settings.client_send_timeout_s,
            connections: settings.max_connections.map_or(u64::MAX, NonZeroU64::get),
            streams: u32::try_from(settings.client_max_streams.get()).unwrap_or(u32::MAX),
        },
        stop_timeout: settings.stop_timeout_s,
    }
}

fn size(number: NonZeroU64) -> usize {
    usize::try_from(number.get()).unwrap_or(usize::MAX)
}
