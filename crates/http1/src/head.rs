//! Request and response heads: from the first byte to the empty line.

use crate::framing::FramingFault;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, request, response};
use memchr::{memchr, memchr2};
use thiserror::Error;

/// How much a head may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole head, in bytes.
    pub bytes: usize,
    /// Its header fields.
    pub fields: usize,
}

/// Why a head is refused. The texts repeat nothing that was sent.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeadFault {
    #[error("a line of the head does not end with CR LF")]
    LineEnd,
    #[error("the request line is malformed")]
    RequestLine,
    #[error("the request target holds characters that no target has")]
    Target,
    #[error("the status line is malformed")]
    StatusLine,
    #[error("the version of HTTP is not one that is spoken here")]
    Version,
    #[error("a header line is malformed")]
    Field,
    #[error("the head is too large")]
    TooLarge,
    #[error("the head has too many header fields")]
    TooMany,
    #[error(transparent)]
    Framing(#[from] FramingFault),
}

impl HeadFault {
    /// The status that tells a caller.
    pub fn status(self) -> StatusCode {
        match self {
            HeadFault::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            HeadFault::TooLarge | HeadFault::TooMany => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Looks for the end of a head in bytes that arrive piece by piece; no byte is looked at twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    /// Where the line under way begins.
    line: usize,
    /// How far it was looked at.
    seen: usize,
}

impl Scan {
    /// The length of the head with its empty line, or `None` if more must come. `bytes` are those of the
    /// call before, and what has come since.
    pub fn end(&mut self, bytes: &[u8], limit: usize) -> Result<Option<usize>, HeadFault> {
        while let Some(found) = memchr(b'\n', bytes.get(self.seen..).unwrap_or_default()) {
            let newline = self.seen + found;
            if newline == self.line || bytes.get(newline - 1) != Some(&b'\r') {
                return Err(HeadFault::LineEnd);
            }
            self.seen = newline + 1;
            if self.seen > limit {
                return Err(HeadFault::TooLarge);
            }
            let empty = newline - 1 == self.line;
            self.line = self.seen;
            if empty {
                return Ok(Some(self.seen));
            }
        }
        self.seen = bytes.len();
        if self.seen > limit { Err(HeadFault::TooLarge) } else { Ok(None) }
    }
}

/// Whether bytes can be the beginning of a request. What is no HTTP at all, such as the greeting of TLS,
/// need not be waited for.
pub fn begins_request(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|first| is_token(*first))
}

/// Reads the head of a request that [`Scan`] found the end of.
pub fn request(head: &Bytes, limits: Limits) -> Result<request::Parts, HeadFault> {
    let (line, rest) = first_line(head)?;
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Err(HeadFault::RequestLine);
    };
    let version = read_version(version).ok_or_else(|| bad_version(version, HeadFault::RequestLine))?;
    if !is_target(target) {
        return Err(HeadFault::Target);
    }
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = Method::from_bytes(method).map_err(|_| HeadFault::RequestLine)?;
    parts.uri = Uri::from_maybe_shared(head.slice_ref(target)).map_err(|_| HeadFault::Target)?;
    parts.version = version;
    parts.headers = fields(head, rest, limits)?;
    Ok(parts)
}

/// Reads the head of an answer that [`Scan`] found the end of.
pub fn response(head: &Bytes, limits: Limits) -> Result<response::Parts, HeadFault> {
    let (line, rest) = first_line(head)?;
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (Some(version), Some(code)) = (words.next(), words.next()) else { return Err(HeadFault::StatusLine) };
    let version = read_version(version).ok_or_else(|| bad_version(version, HeadFault::StatusLine))?;
    let reason = words.next().unwrap_or_default();
    if code.len() != 3 || !reason.iter().all(|byte| is_value(*byte)) {
        return Err(HeadFault::StatusLine);
    }
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::from_bytes(code).map_err(|_| HeadFault::StatusLine)?;
    parts.version = version;
    parts.headers = fields(head, rest, limits)?;
    Ok(parts)
}

/// Reads header lines, up to an empty one: the fields of a head, or trailers.
pub(crate) fn fields(head: &Bytes, mut rest: &[u8], limits: Limits) -> Result<HeaderMap, HeadFault> {
    // Room for the fields of an ordinary message: growing costs more than this.
    let mut headers = HeaderMap::with_capacity(USUAL_FIELDS);
    while let Some((line, after)) = next_line(rest)? {
        rest = after;
        if line.is_empty() {
            return if rest.is_empty() { Ok(headers) } else { Err(HeadFault::Field) };
        }
        let colon = memchr(b':', line).ok_or(HeadFault::Field)?;
        let (name, value) = line.split_at(colon);
        // A folded line begins with a space, a space before the colon ends a name: neither is a token.
        let name = HeaderName::from_bytes(name).map_err(|_| HeadFault::Field)?;
        let value = trim(value.get(1..).unwrap_or_default());
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value)).map_err(|_| HeadFault::Field)?;
        if headers.len() == limits.fields {
            return Err(HeadFault::TooMany);
        }
        headers.try_append(name, value).map_err(|_| HeadFault::TooMany)?;
    }
    Err(HeadFault::LineEnd)
}

const USUAL_FIELDS: usize = 12;

fn first_line(head: &[u8]) -> Result<Line<'_>, HeadFault> {
    next_line(head)?.ok_or(HeadFault::LineEnd)
}

/// A line without its end, and what follows it.
type Line<'a> = (&'a [u8], &'a [u8]);

/// The next line; `None` where nothing is left.
fn next_line(bytes: &[u8]) -> Result<Option<Line<'_>>, HeadFault> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let end = memchr2(b'\r', b'\n', bytes).ok_or(HeadFault::LineEnd)?;
    let (line, end) = bytes.split_at(end);
    end.strip_prefix(b"\r\n").map(|rest| Some((line, rest))).ok_or(HeadFault::LineEnd)
}

fn read_version(text: &[u8]) -> Option<Version> {
    match text {
        b"HTTP/1.1" => Some(Version::HTTP_11),
        b"HTTP/1.0" => Some(Version::HTTP_10),
        _ => None,
    }
}

/// Another version of HTTP, well written, is something else than nonsense.
fn bad_version(text: &[u8], otherwise: HeadFault) -> HeadFault {
    match text {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            HeadFault::Version
        }
        _ => otherwise,
    }
}

/// Without the optional white space around it (RFC 9110 section 5.6.3).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What may stand in the value of a field, a reason, or a chunk extension.
pub(crate) fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Whether a text can stand in a request line as its target.
pub fn is_target(text: impl AsRef<[u8]>) -> bool {
    let text = text.as_ref();
    !text.is_empty() && text.iter().all(|byte| TARGET[usize::from(*byte)])
}

/// What may stand in a request target: visible ASCII without `#`, which no caller sends (RFC 9112 section 3.2).
static TARGET: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = b'!' as usize;
    while byte < 0x7f {
        allowed[byte] = byte != b'#' as usize;
        byte += 1;
    }
    allowed
};

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes: 200, fields: 3 };

    /// What becomes of a head that comes at once, and of the same that comes byte by byte.
    fn read<T>(
        text: &[u8],
        parse: impl Fn(&Bytes, Limits) -> Result<T, HeadFault>,
    ) -> Result<Option<(T, usize)>, HeadFault> {
        let (mut once, mut slowly) = (Scan::default(), Scan::default());
        let end = once.end(text, LIMITS.bytes);
        let stepwise = (1..=text.len()).map(|length| slowly.end(&text[..length], LIMITS.bytes));
        let stepwise = stepwise.into_iter().find(|found| !matches!(found, Ok(None))).unwrap_or(Ok(None));
        assert_eq!(stepwise, end, "{}", String::from_utf8_lossy(text));
        let Some(end) = end? else { return Ok(None) };
        parse(&Bytes::copy_from_slice(&text[..end]), LIMITS).map(|parts| Some((parts, end)))
    }

    fn check(text: impl AsRef<[u8]>, expected: Result<&str, HeadFault>) {
        let shown = String::from_utf8_lossy(text.as_ref()).into_owned();
        let found = read(text.as_ref(), request).map(|found| {
            let (parts, _) = found.unwrap_or_else(|| panic!("no end: {shown}"));
            let headers: Vec<String> = parts
                .headers
                .iter()
                .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value.as_bytes())))
                .collect();
            format!("{} {} {:?} {}", parts.method, parts.uri, parts.version, headers.join(" ")).trim_end().to_owned()
        });
        assert_eq!(found.as_deref().map_err(|fault| *fault), expected, "{shown}");
    }

    #[test]
    fn reads_requests() {
        check("GET / HTTP/1.1\r\n\r\n", Ok("GET / HTTP/1.1"));
        check("PUT /a?b=c HTTP/1.0\r\nA:1\r\na: 2 \t\r\nB:\r\n\r\n", Ok("PUT /a?b=c HTTP/1.0 a=1 a=2 b="));
        check("GET http://a.test:1/x HTTP/1.1\r\n\r\nGET", Ok("GET http://a.test:1/x HTTP/1.1"));
        check("OPTIONS * HTTP/1.1\r\nx: \t a\tb \r\n\r\n", Ok("OPTIONS * HTTP/1.1 x=a\tb"));
        check("GET / HTTP/1.1\r\nx: \u{e4}\r\n\r\n", Ok("GET / HTTP/1.1 x=\u{e4}"));
        assert!(read(b"GET / HTTP/1.1\r\nx: y\r\n", request).unwrap().is_none());
        assert_eq!(read(b"GET / HTTP/1.1\r\n\r\nrest", request).unwrap().unwrap().1, 18);
    }

    #[test]
    fn refuses_what_is_no_request() {
        use HeadFault as F;
        for line in [
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "G(T / HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/1.10",
            "GET / HTTP/01.1",
            "GET / HTTP/1",
            "GET / HTTP/1.1x",
            "GET / x HTTP/1.1",
            " / HTTP/1.1",
        ] {
            check(format!("{line}\r\n\r\n"), Err(F::RequestLine));
        }
        for version in ["0.9", "1.2", "2.0", "3.0"] {
            check(format!("GET / HTTP/{version}\r\n\r\n"), Err(F::Version));
        }
        for target in ["/\u{e4}", "/#a", "/\u{0}", "/\u{7f}", "/\t", ""] {
            check(format!("GET {target} HTTP/1.1\r\n\r\n"), Err(F::Target));
        }
        check("GET / HTTP/1.1\r\rX: y\r\n\r\n", Err(F::LineEnd));
        check("GET / HTTP/1.1\n\n", Err(F::LineEnd));
        check("GET / HTTP/1.1\r\nx: y\n\r\n", Err(F::LineEnd));
        check("GET / HTTP/1.1\r\nx: y\rz\r\n\r\n", Err(F::LineEnd));
        check("\r\n\r\n", Err(F::RequestLine));
    }

    #[test]
    fn refuses_what_is_no_field() {
        use HeadFault as F;
        for field in [
            "x",
            ": y",
            "x : y",
            " x: y",
            "\tx: y",
            "x\u{0}: y",
            "x y: z",
            "x: y\u{0}",
            "x: \u{7f}",
            "x: \u{1b}",
            "\u{e4}: y",
            "x: y\r\n z",
            "x(: y",
        ] {
            check(format!("GET / HTTP/1.1\r\n{field}\r\n\r\n"), Err(F::Field));
        }
        check("GET / HTTP/1.1\r\na: 1\r\na: 1\r\nb: 1\r\nb: 1\r\n\r\n", Err(F::TooMany));
        check(format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(200)), Err(F::TooLarge));
        check(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(200)), Err(F::TooLarge));
    }

    #[test]
    fn reads_answers() {
        fn check(line: &str, expected: Result<(u16, Version), HeadFault>) {
            let text = format!("{line}\r\nx: y\r\n\r\n");
            let found = read(text.as_bytes(), response).map(|found| found.unwrap().0);
            assert_eq!(found.map(|parts| (parts.status.as_u16(), parts.version)), expected, "{line}");
        }
        check("HTTP/1.1 200 OK", Ok((200, Version::HTTP_11)));
        check("HTTP/1.1 404", Ok((404, Version::HTTP_11)));
        check("HTTP/1.0 599 Not \u{e4} usual", Ok((599, Version::HTTP_10)));
        for line in [
            "HTTP/1.1",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 2x0 OK",
            "HTTP/1.1  200 OK",
            "HTTP/1.1 099 OK",
            "ICY 200 OK",
            "HTTP/1.1 200 \u{0}",
        ] {
            check(line, Err(HeadFault::StatusLine));
        }
        check("HTTP/2.0 200 OK", Err(HeadFault::Version));
    }

    #[test]
    fn what_is_no_http_need_not_be_waited_for() {
        assert!(begins_request(b"GET") && begins_request(b"") && begins_request(b"!x"));
        assert!(!begins_request(b"\x16\x03\x01") && !begins_request(b" GET") && !begins_request(b"\n"));
    }
}
