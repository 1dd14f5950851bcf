//! Which headers the gate adds to answers, and to requests to a service.

use super::nearest::nearest;
use super::value::list;
use super::words::not_among;

/// The headers that the gate adds to answers (`headers`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseHeaders {
    /// `Server`, on answers that the gate makes itself.
    pub server: bool,
    /// `Via`, on answers of a service.
    pub via: bool,
    /// `X-Kong-Proxy-Latency`, on answers of a service.
    pub proxy_latency: bool,
    /// `X-Kong-Upstream-Latency`, on answers of a service.
    pub upstream_latency: bool,
    /// `X-Kong-Response-Latency`, on answers that the gate makes itself.
    pub response_latency: bool,
    /// `X-Kong-Admin-Latency`, on answers of the Admin API.
    pub admin_latency: bool,
    /// `X-Kong-Upstream-Status`, on answers of a service.
    pub upstream_status: bool,
    /// `X-Kong-Request-Id`, on all answers.
    pub request_id: bool,
}

const TOKENS: [&str; 10] = [
    "server_tokens",
    "latency_tokens",
    "Server",
    "Via",
    "X-Kong-Proxy-Latency",
    "X-Kong-Upstream-Latency",
    "X-Kong-Response-Latency",
    "X-Kong-Admin-Latency",
    "X-Kong-Upstream-Status",
    "X-Kong-Request-Id",
];

impl ResponseHeaders {
    pub(super) fn of(text: &str) -> Result<Self, String> {
        let mut headers = Self::default();
        if text == "off" {
            return Ok(headers);
        }
        let mut unknown = Vec::new();
        for token in list(text)? {
            match token.to_ascii_lowercase().as_str() {
                "server_tokens" => (headers.server, headers.via) = (true, true),
                "latency_tokens" => {
                    headers.proxy_latency = true;
                    headers.upstream_latency = true;
                    headers.response_latency = true;
                    headers.admin_latency = true;
                }
                "server" => headers.server = true,
                "via" => headers.via = true,
                "x-kong-proxy-latency" => headers.proxy_latency = true,
                "x-kong-upstream-latency" => headers.upstream_latency = true,
                "x-kong-response-latency" => headers.response_latency = true,
                "x-kong-admin-latency" => headers.admin_latency = true,
                "x-kong-upstream-status" => headers.upstream_status = true,
                "x-kong-request-id" => headers.request_id = true,
                "off" => return Err("off stands alone; write off, or the headers to add".to_owned()),
                _ => unknown.push(unknown_token(token)),
            }
        }
        if unknown.is_empty() { Ok(headers) } else { Err(unknown.join("; ")) }
    }
}

fn unknown_token(token: &str) -> String {
    match nearest(token, TOKENS.into_iter()) {
        Some(meant) => format!("{token:?} is not a header of the gate; did you mean {meant}?"),
        None => not_among(token, &TOKENS),
    }
}

/// The headers that the gate adds to requests to a service (`headers_upstream`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamHeaders {
    /// `X-Kong-Request-Id`.
    pub request_id: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
}

impl UpstreamHeaders {
    pub(super) fn of(text: &str) -> Result<Self, String> {
        let mut headers = Self::default();
        if text == "off" {
            return Ok(headers);
        }
        for token in list(text)? {
            match token.to_ascii_lowercase().as_str() {
                "x-kong-request-id" => headers.request_id = true,
                "forwarded" => headers.forwarded = true,
                _ => return Err(not_among(token, &["X-Kong-Request-Id", "Forwarded", "off"])),
            }
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match ResponseHeaders::of(text) {
            Err(reason) => reason,
            Ok(headers) => [
                ("server", headers.server),
                ("via", headers.via),
                ("proxy_latency", headers.proxy_latency),
                ("upstream_latency", headers.upstream_latency),
                ("response_latency", headers.response_latency),
                ("admin_latency", headers.admin_latency),
                ("upstream_status", headers.upstream_status),
                ("request_id", headers.request_id),
            ]
            .iter()
            .filter_map(|(name, added)| added.then_some(*name))
            .collect::<Vec<_>>()
            .join(" "),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn headers_for_services() {
        let both = UpstreamHeaders { request_id: true, forwarded: true };
        assert_eq!(UpstreamHeaders::of("forwarded, X-Kong-Request-Id"), Ok(both));
        assert_eq!(UpstreamHeaders::of("off"), Ok(UpstreamHeaders::default()));
        assert!(UpstreamHeaders::of("forwarded, via").is_err_and(|reason| reason.contains("via")));
    }

    #[test]
    fn lists_of_headers() {
        check("off", "");
        check("via, Latency_Tokens", "via proxy_latency upstream_latency response_latency admin_latency");
        check("server_tokens,X-Kong-Upstream-Status,x-kong-request-id", "server via upstream_status request_id");
        check("off, via", "off stands alone; write off, or the headers to add");
        check("", "it is empty; write at least one value");
        check(
            "X-Kong-Request-Ids, via, X-Kong-Proxy-Latence",
            "\"X-Kong-Request-Ids\" is not a header of the gate; did you mean X-Kong-Request-Id?; \
             \"X-Kong-Proxy-Latence\" is not a header of the gate; did you mean X-Kong-Proxy-Latency?",
        );
    }
}
