//! `multipart/form-data` (RFC 7578), as far as forms of texts need it.

/// The fields of a form; `None` if it is not one, or a field is not a text.
pub(crate) fn fields(content_type: &str, body: &[u8]) -> Option<Vec<(String, String)>> {
    let boundary = parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty())?;
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    // The first delimiter has no line before it: give it one.
    let body = [b"\r\n", body].concat();
    let (_, mut rest) = split(&body, &delimiter)?;
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        let (part, after) = split(rest, &delimiter)?;
        let (head, content) = split(part, b"\r\n\r\n")?;
        let head = std::str::from_utf8(head).ok()?;
        let is_disposition = |line: &&str| line.to_ascii_lowercase().starts_with("content-disposition:");
        let name = parameter(head.lines().find(is_disposition)?, "name")?;
        fields.push((name.to_owned(), std::str::from_utf8(content).ok()?.to_owned()));
        rest = after;
    }
    Some(fields)
}

/// What stands before and after the first `separator`.
fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((bytes.get(..at)?, bytes.get(at + separator.len()..)?))
}

/// A parameter of a header: `name="value"` or `name=value`.
fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').skip(1).find_map(|parameter| {
        let (given, value) = parameter.split_once('=')?;
        given.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, body: &str, expected: Option<&[(&str, &str)]>) {
        let expected: Option<Vec<(String, String)>> =
            expected.map(|fields| fields.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect());
        assert_eq!(fields(content_type, body.as_bytes()), expected, "{body:?}");
    }

    #[test]
    fn fields_are_read_between_boundaries() {
        let of_x = "multipart/form-data; boundary=x";
        let part = "--x\r\nContent-Disposition: form-data; name=\"config\"; filename=\"kong.yml\"\r\n\
                    Content-Type: text/plain\r\n\r\na: 1\r\nb: --x\r\n";
        check(of_x, &format!("{part}--x--\r\n"), Some(&[("config", "a: 1\r\nb: --x")]));
        check(
            "multipart/form-data; Boundary=\"x\"",
            &format!("preamble\r\n{part}--x--"),
            Some(&[("config", "a: 1\r\nb: --x")]),
        );
        check(of_x, "--x--", Some(&[]));
        check(of_x, part, None);
        check(of_x, "--x\r\n\r\nno name\r\n--x--", None);
        check(of_x, "", None);
        check("multipart/form-data", part, None);
    }
}
