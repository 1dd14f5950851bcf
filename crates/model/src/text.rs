//! What names, hosts, paths and tags may look like, with Kong's words for what is wrong.

use schema::Pattern;
use std::net::IpAddr;

/// No `//` in a path.
pub static NO_EMPTY_SEGMENTS: Pattern = Pattern {
    keyword: "match_none",
    stated: r#"[{"err": "must not have empty segments", "pattern": "//"}]"#,
    check: |path| if path.contains("//") { Err("must not have empty segments".to_owned()) } else { Ok(()) },
};

/// A name: letters of any script, digits and `. - _ ~`.
pub fn name(text: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_~".contains(c) || !c.is_ascii();
    match text.chars().find(|c| !fits(*c)) {
        None => Ok(()),
        Some(_) => Err(format!(
            "invalid value '{text}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
        )),
    }
}

/// A tag: printable, without the comma and slash that `?tags=` gives a meaning to.
pub fn tag(text: &str) -> Result<(), String> {
    match text.chars().all(|c| !c.is_ascii() || (' '..='~').contains(&c) && c != ',' && c != '/') {
        true => Ok(()),
        false => {
            Err(format!("invalid tag '{text}': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"))
        }
    }
}

/// A host name or IP address without a port.
pub fn host(text: &str) -> Result<(), String> {
    if is_ip(text) {
        return Ok(());
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && (is_host_name(host) || is_ip(host))
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err("must not have a port".to_owned());
    }
    match is_host_name(text) {
        true => Ok(()),
        // What stands before an @ may be a password.
        false => Err(format!("invalid value: {}", text.rsplit('@').next().unwrap_or_default())),
    }
}

/// A server name as TLS clients send it: a host name, never an address, with at most one wildcard label.
pub fn server_name(text: &str) -> Result<(), String> {
    if is_ip(text) {
        return Err("must not be an IP".to_owned());
    }
    if text.contains(':') {
        return Err("must not have a port".to_owned());
    }
    wildcard(text)?;
    if is_host_name(&text.replace('*', "a")) { Ok(()) } else { Err(format!("invalid value: {text}")) }
}

/// At most one `*`, and only as the leftmost or rightmost label.
pub fn wildcard(text: &str) -> Result<(), String> {
    if text.matches('*').count() > 1 {
        return Err("invalid wildcard: must have at most one wildcard".to_owned());
    }
    if text.contains('*') && !text.starts_with("*.") && !text.ends_with(".*") {
        return Err("invalid wildcard: must be placed at leftmost or rightmost label".to_owned());
    }
    Ok(())
}

/// An IP address, with or without the brackets of IPv6.
pub fn is_ip(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().is_ok()
}

/// RFC 1123 labels, and the underscore that service discovery uses.
pub fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// A path of RFC 3986 characters with whole percent-encodings.
pub fn path(text: &str) -> Result<(), String> {
    if let Some(bad) = broken_escape(text) {
        return Err(format!("invalid url-encoded value: '{bad}'"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
    match text.chars().all(allowed) {
        true => Ok(()),
        false => Err(format!("invalid path: '{text}' (characters outside of the reserved list of RFC 3986 found)")),
    }
}

fn broken_escape(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let escape = rest.get(at..at + 3);
        match escape {
            Some(escape) if escape[1..].bytes().all(|b| b.is_ascii_hexdigit()) => rest = &rest[at + 3..],
            Some(escape) => return Some(escape),
            None => return Some(&rest[at..]),
        }
    }
    None
}

/// A header name as Kong accepts it in plugin options.
pub fn header_name(text: &str) -> Result<(), String> {
    match text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        true => Ok(()),
        false => Err(format!("bad header name '{text}', allowed characters are A-Z, a-z, 0-9, '_', and '-'")),
    }
}
