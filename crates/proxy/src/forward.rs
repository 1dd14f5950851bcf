//! What of a message is for one connection alone, and is left behind there (RFC 9110 section 7.6.1).

use crate::identity::remove_where;
use http::header::{CONNECTION, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Version, response};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY: HeaderName = HeaderName::from_static("proxy");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-kong-request-id");

/// What a request asked of its own connection, before that was taken out.
#[derive(Clone, Debug, Default)]
pub struct Hop {
    /// What the caller wants to go on as (RFC 9110 section 7.8), of what it may.
    pub upgrade: Option<HeaderValue>,
    /// The caller takes trailers.
    pub trailers: bool,
}

/// Takes out of a request what is for this connection alone. `upgrades` is what it may go on as.
///
/// A caller may name any header in `Connection`. What carries the message's framing, destination or
/// authority is not his to take away: a service would read the body as a second request, or miss who called.
pub fn leave_connection(headers: &mut HeaderMap, version: Version, upgrades: &[HeaderValue]) -> Hop {
    // Most requests of HTTP/2, and many of HTTP/1.1, have nothing of the kind.
    if !headers.keys().any(is_hop_by_hop) {
        return Hop::default();
    }
    let named = connection_options(headers);
    let wants_upgrade = version == Version::HTTP_11 && named.iter().any(|name| name == "upgrade");
    let upgrade = wants_upgrade.then(|| upgrade_among(headers, upgrades)).flatten();
    let trailers = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    let trailers = trailers
        .flat_map(|value| value.split(','))
        .any(|coding| coding.split(';').next().is_some_and(|coding| coding.trim().eq_ignore_ascii_case("trailers")));
    remove_connection(headers, &named);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Hop { upgrade, trailers }
}

/// The first protocol that a message's `Upgrade` names and that is among these.
pub fn upgrade_among(headers: &HeaderMap, known: &[HeaderValue]) -> Option<HeaderValue> {
    let named = headers.get_all(UPGRADE).iter().filter_map(|value| value.to_str().ok());
    let mut named = named.flat_map(|value| value.split(',')).map(str::trim);
    let same = |protocol: &&HeaderValue, name: &str| protocol.as_bytes().eq_ignore_ascii_case(name.as_bytes());
    named.find_map(|name| known.iter().find(|protocol| same(protocol, name))).cloned()
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
    headers.contains_key(CONNECTION) && options(headers).any(|name| name.eq_ignore_ascii_case(option))
}

/// Whether a connection stays open after a message (RFC 9112 section 9.3).
pub fn stays_open(version: Version, headers: &HeaderMap) -> bool {
    match version {
        Version::HTTP_11 => !connection_has(headers, "close"),
        _ => connection_has(headers, "keep-alive"),
    }
}

/// Every option that `Connection` names, as it was written.
fn options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Removes what is for one connection alone, and what its `Connection` names beside that.
fn remove_connection(headers: &mut HeaderMap, named: &[String]) {
    for name in named.iter().filter(|name| !is_protected(name)) {
        headers.remove(name.as_str());
    }
    remove_where(headers, is_hop_by_hop);
}

fn connection_options(headers: &HeaderMap) -> Vec<String> {
    // By far the most common case names no header.
    if headers.get(CONNECTION).is_none_or(|value| value == "keep-alive" || value == "close")
        && headers.get_all(CONNECTION).iter().nth(1).is_none()
    {
        return Vec::new();
    }
    options(headers).map(str::to_ascii_lowercase).collect()
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

/// Takes out of a service's answer what was for its connection alone.
pub fn leave_upstream_connection(head: &mut response::Parts) {
    if head.headers.keys().any(is_hop_by_hop) {
        let named = connection_options(&head.headers);
        remove_connection(&mut head.headers, &named);
    }
    head.version = Version::HTTP_11;
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

    fn check(given: &[(&'static str, &'static str)], expected: &[(&'static str, &'static str)], upgrade: &str) {
        let mut map = headers(given);
        let hop = leave_connection(&mut map, Version::HTTP_11, &["websocket", "x/2"].map(HeaderValue::from_static));
        let chosen = hop.upgrade.unwrap_or(HeaderValue::from_static(""));
        assert_eq!((map, chosen.to_str().unwrap()), (headers(expected), upgrade), "{given:?}");
    }

    #[test]
    fn a_request_leaves_its_connection_behind() {
        check(
            &[("connection", "x-foo, close"), ("x-foo", "1"), ("keep-alive", "5"), ("x-bar", "2")],
            &[("x-bar", "2")],
            "",
        );
        check(&[("te", "trailers, deflate;q=0.5"), ("proxy", "x")], &[("te", "trailers")], "");
        check(&[("connection", "Upgrade"), ("upgrade", "WebSocket")], &[], "websocket");
        check(&[("connection", "upgrade"), ("upgrade", "h2c, X/2, websocket")], &[], "x/2");
        check(&[("connection", "upgrade"), ("upgrade", "h2c"), ("http2-settings", "x")], &[], "");
        check(&[("upgrade", "websocket")], &[], "");
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
            "",
        );
    }
}
