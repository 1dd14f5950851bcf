//! `multipart/form-data` (RFC 7578), as far as finding one field and taking it out.

use bytes::Bytes;
use memchr::memmem;

/// The boundary that a content type names (RFC 2046 section 5.1.1).
pub fn boundary(content_type: &str) -> Option<String> {
    let parameter = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    let boundary = parameter.trim_matches('"');
    (!boundary.is_empty() && boundary.len() <= 70).then(|| boundary.to_owned())
}

/// Every value of a field.
pub fn values(body: &[u8], boundary: &str, field: &str) -> Vec<String> {
    let parts = split(body, boundary).into_iter().filter_map(read);
    parts.filter(|(name, _)| name == field).map(|(_, value)| value).collect()
}

/// The body without a field; `None` where it has no such field.
pub fn without(body: &[u8], boundary: &str, field: &str) -> Option<Bytes> {
    let parts = split(body, boundary);
    let is_field = |part: &[u8]| read(part).is_some_and(|(name, _)| name == field);
    if !parts.iter().any(|part| is_field(part)) {
        return None;
    }
    let mut out = Vec::with_capacity(body.len());
    for part in parts.iter().filter(|part| !is_field(part)) {
        out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Some(Bytes::from(out))
}

/// The parts between the boundaries, each with its head. A boundary stands at the start of a line and
/// fills it; the same letters elsewhere are data.
fn split<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let delimiter = format!("--{boundary}");
    let is_boundary = |start: &usize| {
        let begins = *start == 0 || body.get(..*start).is_some_and(|before| before.ends_with(b"\r\n"));
        let after = body.get(start + delimiter.len()..).unwrap_or_default();
        begins && (after.starts_with(b"\r\n") || after.starts_with(b"--"))
    };
    let starts: Vec<usize> = memmem::find_iter(body, delimiter.as_bytes()).filter(is_boundary).collect();
    let between = starts.iter().zip(starts.iter().skip(1));
    between
        .filter_map(|(start, end)| {
            let part = body.get(start + delimiter.len()..*end)?;
            part.strip_prefix(b"\r\n")?.strip_suffix(b"\r\n")
        })
        .collect()
}

/// The name of a part, and its value.
fn read(part: &[u8]) -> Option<(String, String)> {
    let split = memmem::find(part, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(part.get(..split)?).into_owned();
    let disposition = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let name = disposition.split(';').skip(1).find_map(|parameter| parameter.trim().strip_prefix("name="))?;
    let value = String::from_utf8_lossy(part.get(split + 4..)?).into_owned();
    Some((name.trim_matches('"').to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "--b\r\nContent-Disposition: form-data; name=\"apikey\"\r\n\r\nk1\r\n\
                        --b\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n--b--\r\n";

    #[test]
    fn fields_are_found_and_taken_out() {
        assert_eq!(boundary("multipart/form-data; boundary=\"b\""), Some("b".to_owned()));
        assert_eq!(boundary("multipart/form-data"), None);
        assert_eq!(values(BODY.as_bytes(), "b", "apikey"), ["k1"]);
        let left = without(BODY.as_bytes(), "b", "apikey").unwrap();
        assert_eq!(left, "--b\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n--b--\r\n");
        assert_eq!(without(BODY.as_bytes(), "b", "y"), None);
    }

    #[test]
    fn a_boundary_within_a_line_is_data() {
        let body = "--b\r\nContent-Disposition: form-data; name=f\r\n\r\nxx--byy\r\n--b--\r\n";
        assert_eq!(values(body.as_bytes(), "b", "f"), ["xx--byy"]);
    }
}
