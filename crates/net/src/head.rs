//! The request head at the door: refuses what two HTTP implementations could read in two ways.
//!
//! What is no HTTP at all the readers of HTTP/1.1 (`http1`) and HTTP/2 (hyper) have refused before; this is
//! about heads that are well formed and ambiguous.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use http1::framing::FramingFault;

/// Whom a request is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authority<'a> {
    /// In lower case, without a trailing dot; IPv6 in brackets. Empty only for an HTTP/1.0 request that
    /// names no host.
    pub host: Cow<'a, str>,
    /// The port, if one was named.
    pub port: Option<u16>,
}

/// Why a request is not let in. All are the caller's fault; the texts repeat nothing the caller sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// CONNECT or TRACE.
    #[error("this method is not served here")]
    Method,
    /// A target that is neither a path, nor an http(s) URI, nor `*` of OPTIONS.
    #[error("the request target is malformed")]
    Target,
    /// No Host.
    #[error("the Host header is missing")]
    HostMissing,
    /// More than one Host.
    #[error("there is more than one Host header")]
    HostRepeated,
    /// A Host that is not `host[:port]`.
    #[error("the Host header is malformed")]
    HostMalformed,
    /// Target and Host name different hosts.
    #[error("the Host header does not agree with the request target")]
    HostDiffers,
    /// In HTTP/2, which has none.
    #[error("the transfer encoding is not supported")]
    TransferEncoding,
    /// More than one Authorization: the gate would verify one, and the service might read the other.
    #[error("there is more than one Authorization header")]
    AuthorizationRepeated,
    /// A value with white space around it, in HTTP/2.
    #[error("a header value begins or ends with white space")]
    Value,
    /// Not exactly one number.
    #[error("the content length is malformed")]
    ContentLength,
}

impl HeadError {
    /// The status to answer with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Target
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostMalformed
            | Self::HostDiffers
            | Self::TransferEncoding
            | Self::AuthorizationRepeated
            | Self::Value
            | Self::ContentLength => StatusCode::BAD_REQUEST,
        }
    }
}

/// Checks a request head, and tells whom the request is for.
///
/// After an error the connection must be closed: where the next request begins is not certain.
pub fn check(parts: &Parts) -> Result<Authority<'_>, HeadError> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return Err(HeadError::Method);
    }
    check_target(&parts.method, &parts.uri, parts.version)?;
    if parts.version == Version::HTTP_2 {
        check_http2(&parts.headers)?;
    }
    if parts.headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        return Err(HeadError::AuthorizationRepeated);
    }
    find_authority(parts)
}

/// RFC 9112 section 3.2: origin form, absolute form, or `*` for OPTIONS.
fn check_target(method: &Method, uri: &Uri, version: Version) -> Result<(), HeadError> {
    let scheme_fits = match uri.scheme_str() {
        Some(scheme) => matches!(scheme, "http" | "https") && uri.authority().is_some(),
        // `GET a.test:80`: the authority form belongs to CONNECT.
        None => uri.authority().is_none(),
    };
    let path_fits = uri.path().starts_with('/') || (method == Method::OPTIONS && uri.path() == "*");
    // RFC 9113 section 8.3.1: `:path` is never without its path, as an absolute URI may be.
    let whole = version != Version::HTTP_2 || uri.path_and_query().is_some_and(|path| !path.as_str().starts_with('?'));
    if scheme_fits && path_fits && whole { Ok(()) } else { Err(HeadError::Target) }
}

/// What HTTP/1.1 could not say, and what its own reader refuses: on the way to a service that speaks it, the
/// message must not change its meaning.
fn check_http2(headers: &HeaderMap) -> Result<(), HeadError> {
    match http1::framing::of_request(Version::HTTP_2, headers) {
        Ok(_) => {}
        Err(FramingFault::TransferEncoding) => return Err(HeadError::TransferEncoding),
        Err(FramingFault::ContentLength) => return Err(HeadError::ContentLength),
    }
    // RFC 9113 section 8.2.1: no white space around a value.
    let padded = |value: &HeaderValue| matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
    if headers.values().any(padded) { Err(HeadError::Value) } else { Ok(()) }
}

/// RFC 9112 section 3.2.2 lets a proxy overrule Host by the target, RFC 9113 section 8.3.1 the same with
/// `:authority`. What stands behind us may do it the other way round: so they must agree.
fn find_authority(parts: &Parts) -> Result<Authority<'_>, HeadError> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(HeadError::HostRepeated);
    }
    let host = match host {
        Some(value) => Some(parse_authority(value.to_str().map_err(|_| HeadError::HostMalformed)?)?),
        None => None,
    };
    let target = parts.uri.authority().map(|authority| parse_authority(authority.as_str())).transpose()?;
    match (target, host) {
        (Some(target), Some(host)) if target != host => Err(HeadError::HostDiffers),
        (_, Some(host)) => Ok(host),
        (_, None) if parts.version == Version::HTTP_11 => Err(HeadError::HostMissing),
        (Some(target), None) => Ok(target),
        (None, None) if parts.version < Version::HTTP_11 => Ok(Authority::default()),
        (None, None) => Err(HeadError::HostMissing),
    }
}

/// `host[:port]`, narrower than RFC 3986: no user information, no percent-encoding and no sub-delimiters,
/// which are where parsers differ and which no real host name has.
fn parse_authority(text: &str) -> Result<Authority<'_>, HeadError> {
    let port_at = match text.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(bracket) => bracket + 2,
        None => text.bytes().position(|byte| byte == b':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at_checked(port_at).ok_or(HeadError::HostMalformed)?;
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(parse_port(digits).ok_or(HeadError::HostMalformed)?),
        None if port.is_empty() => None,
        None => return Err(HeadError::HostMalformed),
    };
    let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    // `a.test.` names the same host; with its dot it would pass by the routes of `a.test`.
    let host = if ipv6.is_some() { host } else { host.strip_suffix('.').unwrap_or(host) };
    let fits = match ipv6 {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => is_name(host.as_bytes()),
    };
    if !fits {
        return Err(HeadError::HostMalformed);
    }
    let host = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    };
    Ok(Authority { host, port })
}

/// Labels with one dot between them.
fn is_name(name: &[u8]) -> bool {
    let mut label = 0;
    for byte in name {
        match byte {
            b'.' if label == 0 => return false,
            b'.' => label = 0,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => label += 1,
            _ => return false,
        }
    }
    label > 0
}

/// Digits only: `parse` alone would take `+80`.
fn parse_port(digits: &str) -> Option<u16> {
    digits.parse().ok().filter(|port| *port != 0 && is_number(digits.as_bytes()))
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    /// `head` is a request line and header lines, as they would stand on the wire.
    fn check(what: &str, head: &str, expect: Result<&str, HeadError>) {
        let mut lines = head.split('\n');
        let mut words = lines.next().unwrap().splitn(3, ' ');
        let (method, uri) = (words.next().unwrap(), words.next().unwrap());
        let version = match words.next().unwrap() {
            "1.0" => Version::HTTP_10,
            "1.1" => Version::HTTP_11,
            _ => Version::HTTP_2,
        };
        let mut request = Request::builder().method(method).uri(uri).version(version);
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let outcome = super::check(&parts).map(|authority| match authority.port {
            Some(port) => format!("{} {port}", authority.host),
            None => authority.host.into_owned(),
        });
        assert_eq!(outcome, expect.map(str::to_owned), "{what}: {head}");
    }

    #[test]
    fn lets_in_what_is_plain() {
        check("plain", "GET / 1.1\nHost: a.test", Ok("a.test"));
        check("port and case", "GET /?q 1.1\nHost: A.Test:8080", Ok("a.test 8080"));
        check("trailing dot", "GET / 1.1\nHost: a.test.:80", Ok("a.test 80"));
        check("IPv4", "GET / 1.1\nHost: 127.0.0.1:1", Ok("127.0.0.1 1"));
        check("IPv6", "GET / 1.1\nHost: [::1]:1", Ok("[::1] 1"));
        check("IPv6 without port", "GET / 1.1\nHost: [FE80::1]", Ok("[fe80::1]"));
        check("container name", "GET / 1.1\nHost: my_service", Ok("my_service"));
        check("absolute form", "GET http://A.test/x 1.1\nHost: a.test", Ok("a.test"));
        check("OPTIONS *", "OPTIONS * 1.1\nHost: a.test", Ok("a.test"));
        check("HTTP/1.0 without Host", "GET / 1.0", Ok(""));
        check("HTTP/1.0 with Host", "GET / 1.0\nHost: a.test", Ok("a.test"));
        check("HTTP/2", "GET https://a.test/ 2", Ok("a.test"));
        check("HTTP/2 with Host", "GET https://a.test/ 2\nHost: a.test", Ok("a.test"));
        check("HTTP/2 with Host only", "GET / 2\nHost: a.test", Ok("a.test"));
        check("chunked", "POST / 1.1\nHost: a.test\nTransfer-Encoding: Chunked", Ok("a.test"));
        check("length", "POST / 1.1\nHost: a.test\nContent-Length: 007", Ok("a.test"));
    }

    #[test]
    fn one_host_and_one_only() {
        use HeadError as E;
        check("no host: routed by default", "GET / 1.1", Err(E::HostMissing));
        check("no host in HTTP/2", "GET / 2", Err(E::HostMissing));
        check("absolute form is no Host", "GET http://a.test/ 1.1", Err(E::HostMissing));
        check("two hosts: cache poisoning", "GET / 1.1\nHost: a.test\nHost: b.test", Err(E::HostRepeated));
        check("twice the same", "GET / 1.1\nHost: a.test\nHost: a.test", Err(E::HostRepeated));
        check("target against Host", "GET http://a.test/ 1.1\nHost: b.test", Err(E::HostDiffers));
        check("port against Host", "GET http://a.test:1/ 1.1\nHost: a.test:2", Err(E::HostDiffers));
        check(":authority against Host", "GET https://a.test/ 2\nHost: b.test", Err(E::HostDiffers));
        check("HTTP/1.0 too", "GET http://a.test/ 1.0\nHost: b.test", Err(E::HostDiffers));
    }

    #[test]
    fn a_host_is_a_host() {
        for host in [
            "",
            ".",
            ":80",
            ".a.test",
            "a..test",
            "a.test..",
            "user@a.test",
            "a.test@b.test",
            "a.test b.test",
            "a.test, b.test",
            "a.test/path",
            "a.test?q",
            "a.test#f",
            "a.test\\b",
            "a.test\tb",
            "a%2etest",
            "a;b",
            "ä.test",
            "a.test:",
            "a.test:+80",
            "a.test:80:80",
            "a.test:65536",
            "a.test:0",
            "a.test:8o",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]80",
            "[::1%eth0]",
            "[a.test]",
            "[v1.x]",
            "http://a.test",
        ] {
            check("malformed host", &format!("GET / 1.1\nHost: {host}"), Err(HeadError::HostMalformed));
        }
        check("user in target", "GET http://u@a.test/ 1.1\nHost: a.test", Err(HeadError::HostMalformed));
        check("user in :authority", "GET https://u@a.test/ 2", Err(HeadError::HostMalformed));
    }

    #[test]
    fn what_http1_would_read_otherwise() {
        use HeadError as E;
        let check = |what, field: &str, expect| check(what, &format!("POST https://a.test/ 2\n{field}"), Err(expect));
        check("downgrade", "Transfer-Encoding: chunked", E::TransferEncoding);
        check("two lengths", "Content-Length: 5\nContent-Length: 6", E::ContentLength);
        check("a list of lengths", "Content-Length: 5, 5", E::ContentLength);
        check("a length beyond 64 bits", "Content-Length: 18446744073709551621", E::ContentLength);
    }

    #[test]
    fn methods_and_targets() {
        use HeadError as E;
        check("tunnel through the gate", "CONNECT a.test:443 1.1\nHost: a.test:443", Err(E::Method));
        check("cross-site tracing", "TRACE / 1.1\nHost: a.test", Err(E::Method));
        check("star without OPTIONS", "GET * 1.1\nHost: a.test", Err(E::Target));
        check("authority form", "GET a.test:80 1.1\nHost: a.test:80", Err(E::Target));
        check("another scheme", "GET ftp://a.test/ 1.1\nHost: a.test", Err(E::Target));
        assert_eq!(E::Method.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(E::Target.status(), StatusCode::BAD_REQUEST);
    }
}
