//! Where a body ends (RFC 9112 section 6), with no room for two opinions.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};
use thiserror::Error;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Exact(u64),
    Chunked,
    /// An answer that lasts as long as its connection.
    UntilClose,
}

impl Length {
    pub const NONE: Length = Length::Exact(0);
}

/// Why the end of a body is in doubt.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FramingFault {
    #[error("the transfer encoding is not exactly one `chunked`")]
    TransferEncoding,
    #[error("the content length is malformed, repeated, or stands beside a transfer encoding")]
    ContentLength,
}

/// How long the body of a request is.
pub fn of_request(version: Version, headers: &HeaderMap) -> Result<Length, FramingFault> {
    Ok(stated(version, headers)?.unwrap_or(Length::NONE))
}

/// How long the body of an answer is.
pub fn of_response(
    asked: &Method,
    status: StatusCode,
    version: Version,
    headers: &HeaderMap,
) -> Result<Length, FramingFault> {
    let stated = stated(version, headers)?;
    let bodiless = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    match bodiless || asked == Method::HEAD {
        true => Ok(Length::NONE),
        false => Ok(stated.unwrap_or(Length::UntilClose)),
    }
}

fn stated(version: Version, headers: &HeaderMap) -> Result<Option<Length>, FramingFault> {
    let chunked = chunked(version, headers)?;
    match (content_length(headers)?, chunked) {
        (None, false) => Ok(None),
        (None, true) => Ok(Some(Length::Chunked)),
        (Some(length), false) => Ok(Some(Length::Exact(length))),
        (Some(_), true) => Err(FramingFault::ContentLength),
    }
}

/// Whether the body is chunked; other codings, and several, are no answer to where it ends.
fn chunked(version: Version, headers: &HeaderMap) -> Result<bool, FramingFault> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if version == Version::HTTP_11 && coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Ok(true)
        }
        _ => Err(FramingFault::TransferEncoding),
    }
}

/// The one stated length.
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, FramingFault> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(length), None) => decimal(length.as_bytes()).map(Some).ok_or(FramingFault::ContentLength),
        _ => Err(FramingFault::ContentLength),
    }
}

/// Digits only: `parse` alone would take `+5`.
fn decimal(text: &[u8]) -> Option<u64> {
    let digit = |number: u64, byte: &u8| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, digit) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn headers(text: &str) -> HeaderMap {
        let pair = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (HeaderName::try_from(name).unwrap(), value.trim().parse().unwrap())
        };
        text.lines().map(pair).collect()
    }

    #[test]
    fn one_end_or_none() {
        fn check(text: &str, expected: Result<Option<Length>, FramingFault>) {
            assert_eq!(stated(Version::HTTP_11, &headers(text)), expected, "{text}");
        }
        use FramingFault as F;
        check("x: y", Ok(None));
        check("content-length: 007", Ok(Some(Length::Exact(7))));
        check("content-length: 18446744073709551615", Ok(Some(Length::Exact(u64::MAX))));
        check("transfer-encoding: Chunked", Ok(Some(Length::Chunked)));
        for length in ["", "+5", "-5", "0x5", "5, 5", "5 5", "5.0", "18446744073709551616", "\u{0661}"] {
            let value = http::HeaderValue::from_bytes(length.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(CONTENT_LENGTH, value)]);
            assert_eq!(content_length(&headers), Err(F::ContentLength), "{length}");
        }
        check("content-length: 5\ncontent-length: 5", Err(F::ContentLength));
        check("content-length: 5\ntransfer-encoding: chunked", Err(F::ContentLength));
        for coding in
            ["", "gzip", "gzip, chunked", "chunked, chunked", "xchunked", "\"chunked\"", "chunked;q=1", "identity"]
        {
            check(&format!("transfer-encoding: {coding}"), Err(F::TransferEncoding));
        }
        check("transfer-encoding: chunked\ntransfer-encoding: chunked", Err(F::TransferEncoding));
        assert_eq!(stated(Version::HTTP_10, &headers("transfer-encoding: chunked")), Err(F::TransferEncoding));
    }

    #[test]
    fn answers_without_a_body() {
        fn check(method: Method, status: u16, text: &str, expected: Length) {
            let status = StatusCode::from_u16(status).unwrap();
            let found = of_response(&method, status, Version::HTTP_11, &headers(text));
            assert_eq!(found, Ok(expected), "{method} {status} {text}");
        }
        check(Method::GET, 200, "content-length: 5", Length::Exact(5));
        check(Method::GET, 200, "x: y", Length::UntilClose);
        check(Method::HEAD, 200, "content-length: 5", Length::NONE);
        check(Method::HEAD, 200, "x: y", Length::NONE);
        check(Method::GET, 304, "content-length: 5", Length::NONE);
        check(Method::GET, 204, "transfer-encoding: chunked", Length::NONE);
        check(Method::GET, 103, "x: y", Length::NONE);
        assert_eq!(of_request(Version::HTTP_11, &headers("x: y")), Ok(Length::NONE));
    }
}
