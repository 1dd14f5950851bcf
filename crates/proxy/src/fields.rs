//! Header fields: their values as text, and on their way out, as HTTP/1.1 writes them or as HTTP/2 wants them.

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;

/// A value, or a part of one, as text. What is no UTF-8 is replaced: a credential of which nobody knows how a service
/// would read it is seen, and is equal to none.
pub fn text(value: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::Borrowed)
}

/// Takes fields one by one. What the gate adds to a message goes straight to where it is written, without a
/// map in between.
pub trait Fields {
    fn put(&mut self, name: &HeaderName, value: &[u8]);
}

impl Fields for Vec<u8> {
    fn put(&mut self, name: &HeaderName, value: &[u8]) {
        http1::write::field(self, name, value);
    }
}

impl Fields for HeaderMap {
    fn put(&mut self, name: &HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.append(name, value);
        }
    }
}

/// Writes a field whose values become one line, with one more at its end.
pub fn put_joined<'a>(
    out: &mut impl Fields,
    name: &HeaderName,
    values: impl Iterator<Item = &'a HeaderValue>,
    last: &[u8],
) {
    let mut line = Vec::with_capacity(128);
    for value in values {
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(last);
    out.put(name, &line);
}

/// HTTP/2 callers may split their cookies; HTTP/1.1 knows one line (RFC 9113 section 8.2.3).
pub fn put_cookies<'a>(out: &mut impl Fields, cookies: impl Iterator<Item = &'a HeaderValue>) {
    let all: Vec<&[u8]> = cookies.map(HeaderValue::as_bytes).collect();
    out.put(&COOKIE, &all.join(&b"; "[..]));
}
