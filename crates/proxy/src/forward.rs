//! Request and response heads on their way across: what is dropped, what is added (RFC 9110 section 7.6).

use crate::answer::UpstreamError;
use crate::conduct::SERVER;
use crate::destination::Destination;
use crate::exchange::Exchange;
use crate::identity::{header_value, remove_where};
use http::header::Entry;
use http::header::{CONNECTION, COOKIE, EXPECT, SERVER as SERVER_HEADER, TE, TRANSFER_ENCODING, UPGRADE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, response};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY: HeaderName = HeaderName::from_static("proxy");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PATH: HeaderName = HeaderName::from_static("x-forwarded-path");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-kong-request-id");
pub const UPSTREAM_LATENCY: HeaderName = HeaderName::from_static("x-kong-upstream-latency");
pub const PROXY_LATENCY: HeaderName = HeaderName::from_static("x-kong-proxy-latency");
pub const RESPONSE_LATENCY: HeaderName = HeaderName::from_static("x-kong-response-latency");
const UPSTREAM_STATUS: HeaderName = HeaderName::from_static("x-kong-upstream-status");

/// What a request asked of its own connection, before that was taken out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hop {
    /// The caller wants to go on as a WebSocket.
    pub websocket: bool,
    /// The caller takes trailers.
    pub trailers: bool,
}

/// Takes out of a request what is for this connection alone.
///
/// A caller may name any header in `Connection`. What carries the message's framing, destination or
/// authority is not his to take away: a service would read the body as a second request, or miss who called.
pub fn leave_connection(headers: &mut HeaderMap, version: Version) -> Hop {
    // Most requests of HTTP/2, and many of HTTP/1.1, have nothing of the kind.
    if !headers.keys().any(is_hop_by_hop) {
        return Hop::default();
    }
    let named = connection_options(headers);
    let has = |option: &str| named.iter().any(|name| name == option);
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    let websocket = version == Version::HTTP_11
        && has("upgrade")
        && upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"));
    let trailers = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    let trailers = trailers
        .flat_map(|value| value.split(','))
        .any(|coding| coding.split(';').next().is_some_and(|coding| coding.trim().eq_ignore_ascii_case("trailers")));
    for name in named.iter().filter(|name| !is_protected(name)) {
        headers.remove(name.as_str());
    }
    remove_where(headers, is_hop_by_hop);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Hop { websocket, trailers }
}

/// Headers of one connection (RFC 9110 section 7.6.1), and `Proxy`, which CGI would take for a setting.
const HOP_BY_HOP: [HeaderName; 8] =
    [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS, PROXY];

fn is_hop_by_hop(name: &HeaderName) -> bool {
    // The first letter alone lets most headers go at once.
    matches!(name.as_str().as_bytes().first(), Some(b'c' | b't' | b'u' | b'k' | b'p' | b'h'))
        && HOP_BY_HOP.contains(name)
}

/// Whether `Connection` names this option.
pub fn connection_has(headers: &HeaderMap, option: &str) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case(option))
}

fn connection_options(headers: &HeaderMap) -> Vec<String> {
    // By far the most common case names no header.
    if headers.get(CONNECTION).is_none_or(|value| value == "keep-alive" || value == "close")
        && headers.get_all(CONNECTION).iter().nth(1).is_none()
    {
        return Vec::new();
    }
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

fn is_protected(name: &str) -> bool {
    const PROTECTED: &[&str] = &[
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "authorization",
        "cookie",
        "via",
        "forwarded",
        "x-real-ip",
        "x-kong-request-id",
        "date",
        "te",
    ];
    PROTECTED.contains(&name) || name.starts_with("x-forwarded-")
}

/// A request as a service gets it.
pub struct Outgoing<'a> {
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a str,
    pub host: HeaderValue,
    pub headers: &'a HeaderMap,
    pub hop: Hop,
}

/// Makes the headers of a request those that the service gets, once for all attempts.
pub fn prepare(exchange: &mut Exchange) {
    let mut headers = std::mem::take(&mut exchange.request.headers);
    // The gate has asked for the body by the time that it goes on.
    headers.remove(EXPECT);
    if exchange.request.version == Version::HTTP_2 {
        one_cookie_line(&mut headers);
    }
    append(
        &mut headers,
        VIA,
        match exchange.request.version {
            Version::HTTP_10 => HeaderValue::from_static("1.0 portcullis"),
            Version::HTTP_2 => HeaderValue::from_static("2 portcullis"),
            _ => VIA_HTTP_11,
        },
    );
    forwarded(exchange, &mut headers);
    match exchange.conduct.request_id_upstream {
        true => drop(headers.insert(REQUEST_ID, exchange.id.to_header())),
        false => drop(headers.remove(REQUEST_ID)),
    }
    exchange.request.headers = headers;
}

/// Path and query as the service gets them.
pub fn upstream_target(exchange: &Exchange) -> Result<String, UpstreamError> {
    let target = &exchange.target;
    let mut text = String::with_capacity(target.upstream_path.len() + target.query.as_ref().map_or(0, String::len) + 1);
    text.push_str(&target.upstream_path);
    if let Some(query) = &target.query {
        text.push('?');
        text.push_str(query);
    }
    match http1::head::is_target(&text) {
        true => Ok(text),
        false => Err(UpstreamError::Request("its path holds characters that no request target may hold")),
    }
}

/// The host as the service gets it: its own, or the caller's.
pub fn upstream_host(
    exchange: &Exchange,
    destination: &Destination,
    preserve: bool,
) -> Result<HeaderValue, UpstreamError> {
    let target = &exchange.target;
    let host = match (preserve, target.port) {
        (false, _) => return Ok(destination.authority.clone()),
        (true, None) => HeaderValue::try_from(target.host.as_str()),
        (true, Some(port)) => HeaderValue::try_from(format!("{}:{port}", target.host)),
    };
    host.map_err(|_| UpstreamError::Request("its host holds characters that no header may hold"))
}

/// Who called, as the services behind see it. Only trusted peers may have said so before us.
fn forwarded(exchange: &Exchange, headers: &mut HeaderMap) {
    let (caller, target) = (&exchange.caller, &exchange.target);
    append(headers, FORWARDED_FOR, caller.peer_header.clone());
    let real_ip = match caller.ip == caller.peer.ip() {
        true => caller.peer_header.clone(),
        false => header_value(&caller.ip.to_string()),
    };
    headers.insert(REAL_IP, real_ip);
    let mut say = |name: HeaderName, value: Option<HeaderValue>| {
        if caller.trusted && headers.contains_key(&name) {
            return;
        }
        match value {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        }
    };
    say(FORWARDED_PROTO, Some(HeaderValue::from_static(if caller.secure { "https" } else { "http" })));
    say(FORWARDED_HOST, Some(header_value(&target.host)));
    say(FORWARDED_PORT, Some(caller.port.into()));
    say(FORWARDED_PATH, Some(header_value(&target.raw_path)));
    say(FORWARDED_PREFIX, target.prefix.as_deref().map(header_value));
}

/// HTTP/2 callers may split their cookies; HTTP/1.1 knows one line (RFC 9113 section 8.2.3).
fn one_cookie_line(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    if lines.next().is_some() && lines.next().is_some() {
        let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            headers.insert(COOKIE, joined);
        }
    }
}

/// The head of a service's answer as the caller gets it.
pub fn proxied_response(exchange: &Exchange, head: &mut response::Parts, upstream_ms: u64, proxy_ms: u64) {
    if head.headers.keys().any(is_hop_by_hop) {
        for name in connection_options(&head.headers).iter().filter(|name| !is_protected(name)) {
            head.headers.remove(name.as_str());
        }
        remove_where(&mut head.headers, is_hop_by_hop);
    }
    head.version = Version::HTTP_11;
    let shown = exchange.conduct.headers;
    if shown.via {
        append(&mut head.headers, VIA, VIA_HTTP_11);
    }
    if shown.server && !head.headers.contains_key(SERVER_HEADER) {
        head.headers.insert(SERVER_HEADER, SERVER);
    }
    if shown.upstream_latency {
        head.headers.insert(UPSTREAM_LATENCY, upstream_ms.into());
    }
    if shown.proxy_latency {
        head.headers.insert(PROXY_LATENCY, proxy_ms.into());
    }
    if shown.upstream_status {
        head.headers.insert(UPSTREAM_STATUS, head.status.as_u16().into());
    }
    if shown.request_id {
        head.headers.insert(REQUEST_ID, exchange.id.to_header());
    }
}

/// The head of an answer that the gate makes. `upstream_ms` is there when a service was asked first.
pub fn own_response(exchange: &Exchange, headers: &mut HeaderMap, upstream_ms: Option<u64>) {
    let shown = exchange.conduct.headers;
    if shown.server {
        headers.insert(SERVER_HEADER, SERVER);
    }
    match upstream_ms {
        Some(upstream_ms) => {
            if shown.via {
                append(headers, VIA, VIA_HTTP_11);
            }
            if shown.upstream_latency {
                headers.insert(UPSTREAM_LATENCY, upstream_ms.into());
            }
            if shown.proxy_latency {
                headers.insert(PROXY_LATENCY, exchange.elapsed_ms().saturating_sub(upstream_ms).into());
            }
        }
        None if shown.response_latency => drop(headers.insert(RESPONSE_LATENCY, exchange.elapsed_ms().into())),
        None => {}
    }
    if shown.request_id {
        headers.insert(REQUEST_ID, exchange.id.to_header());
    }
}

const VIA_HTTP_11: HeaderValue = HeaderValue::from_static("1.1 portcullis");

/// Adds to a list header, in one line.
fn append(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(entry) => drop(entry.insert(value)),
        Entry::Occupied(mut entry) => {
            let mut line = entry.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
            line.extend_from_slice(b", ");
            line.extend_from_slice(value.as_bytes());
            entry.insert(HeaderValue::from_bytes(&line).unwrap_or(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(pair).collect()
    }

    fn check(given: &[(&'static str, &'static str)], expected: &[(&'static str, &'static str)], websocket: bool) {
        let mut map = headers(given);
        let hop = leave_connection(&mut map, Version::HTTP_11);
        assert_eq!((map, hop.websocket), (headers(expected), websocket), "{given:?}");
    }

    #[test]
    fn a_request_leaves_its_connection_behind() {
        check(
            &[("connection", "x-foo, close"), ("x-foo", "1"), ("keep-alive", "5"), ("x-bar", "2")],
            &[("x-bar", "2")],
            false,
        );
        check(&[("te", "trailers, deflate;q=0.5"), ("proxy", "x")], &[("te", "trailers")], false);
        check(&[("connection", "Upgrade"), ("upgrade", "WebSocket")], &[], true);
        check(&[("connection", "upgrade"), ("upgrade", "h2c"), ("http2-settings", "x")], &[], false);
        check(&[("upgrade", "websocket")], &[], false);
    }

    /// The attack: `Connection: Content-Length` makes a naive proxy drop the length, and the service reads
    /// the body as a second request that no plugin has seen.
    #[test]
    fn a_caller_cannot_take_away_what_frames_or_names_the_request() {
        check(
            &[
                ("connection", "content-length, authorization, x-forwarded-for, cookie"),
                ("content-length", "3"),
                ("authorization", "a"),
            ],
            &[("content-length", "3"), ("authorization", "a")],
            false,
        );
    }
}
