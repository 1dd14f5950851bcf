//! Messages as bytes.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// `GET /path HTTP/1.1`
pub fn request_line(out: &mut Vec<u8>, method: &str, target: &str) {
    out.reserve(method.len() + target.len() + 12);
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// `HTTP/1.1 200 OK`
pub fn status_line(out: &mut Vec<u8>, status: StatusCode) {
    let reason = status.canonical_reason().unwrap_or("");
    out.reserve(reason.len() + 15);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `name: value`. Neither can hold a line end: their types see to that.
pub fn field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    let name = name.as_str().as_bytes();
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub fn fields<'a>(out: &mut Vec<u8>, fields: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>) {
    for (name, value) in fields {
        field(out, name, value.as_bytes());
    }
}

/// `content-length: 5`
pub fn content_length(out: &mut Vec<u8>, length: u64) {
    out.reserve(40);
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(Digits::of(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The empty line after a head.
pub fn end_of_head(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// The line before the data of a chunk; an empty chunk would be the last.
pub fn chunk_size(out: &mut Vec<u8>, size: usize) {
    out.reserve(18);
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let value = (size >> (digit * 4)) & 0xf;
        out.push(b"0123456789abcdef".get(value).copied().unwrap_or(b'0'));
    }
    out.extend_from_slice(b"\r\n");
}

/// The end of a chunked body.
pub fn last_chunk(out: &mut Vec<u8>, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    fields(out, trailers);
    end_of_head(out);
}

/// A number in decimal digits.
pub struct Digits([u8; 20], usize);

impl Digits {
    pub fn of(mut number: u64) -> Digits {
        let mut digits = Digits([b'0'; 20], 20);
        while let Some(digit) = digits.1.checked_sub(1).and_then(|at| digits.0.get_mut(at)) {
            *digit = b'0' + (number % 10) as u8;
            digits.1 -= 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        digits
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.get(self.1..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_whole() {
        for number in [0, 7, 10, 4096, 65_535, usize::MAX] {
            assert_eq!(written(|out| chunk_size(out, number)), format!("{number:x}\r\n"));
            assert_eq!(written(|out| content_length(out, number as u64)), format!("content-length: {number}\r\n"));
        }
    }

    #[test]
    fn heads_and_ends() {
        assert_eq!(written(|out| request_line(out, "GET", "/a?b")), "GET /a?b HTTP/1.1\r\n");
        assert_eq!(written(|out| status_line(out, StatusCode::NOT_FOUND)), "HTTP/1.1 404 Not Found\r\n");
        assert_eq!(written(|out| status_line(out, StatusCode::from_u16(599).unwrap())), "HTTP/1.1 599 \r\n");
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("x"), HeaderValue::from_static("y"))]);
        assert_eq!(written(|out| last_chunk(out, &trailers)), "0\r\nx: y\r\n\r\n");
    }
}
