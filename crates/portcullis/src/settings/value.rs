//! How the values of settings are read that need no type of their own: switches, numbers, paths, lists.
//!
//! Each reader's error says what is wrong and what to write; the place is added by its caller.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use net::listen::{Listen, parse_listens};

/// `on` or `off`; Kong also takes `true` and `false`.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(format!("{text:?} is neither on nor off")),
    }
}

pub fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text:?} is not a whole number from 0 on"))
}

/// A number of which `0` means that there is no limit.
pub fn limit(text: &str) -> Result<Option<NonZeroU64>, String> {
    text.parse().map(NonZeroU64::new).map_err(|_| format!("{text:?} is not a whole number; 0 sets no limit"))
}

/// A number of bytes as nginx writes it, of which `0` means that there is no limit.
pub fn size(text: &str) -> Result<Option<NonZeroU64>, String> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (text.get(..at), 1 << 10),
        Some((at, 'm' | 'M')) => (text.get(..at), 1 << 20),
        Some((at, 'g' | 'G')) => (text.get(..at), 1 << 30),
        _ => (Some(text), 1_u64),
    };
    let bytes = digits.and_then(|digits| digits.parse::<u64>().ok()).and_then(|number| number.checked_mul(unit));
    bytes.map(NonZeroU64::new).ok_or_else(|| format!("{text:?} is not a size; write bytes, or 10m; 0 sets no limit"))
}

/// Seconds; fractions are not accepted, as Kong's documents speak of whole ones.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<u32>()
        .map(|seconds| Duration::from_secs(seconds.into()))
        .map_err(|_| format!("{text:?} is not a whole number of seconds"))
}

/// Seconds of which `0` means that there is no limit.
pub fn limit_s(text: &str) -> Result<Option<Duration>, String> {
    seconds(text).map(|limit| (!limit.is_zero()).then_some(limit))
}

/// Seconds; empty is none.
pub fn optional_seconds(text: &str) -> Result<Option<Duration>, String> {
    if text.is_empty() { Ok(None) } else { seconds(text).map(Some) }
}

/// A comma list of addresses, with DNS's port where none is given; empty is none.
pub fn name_servers(text: &str) -> Result<Vec<SocketAddr>, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let server = |entry: &str| {
        let alone = entry.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let address = entry.parse().or_else(|_| alone.map(|ip| SocketAddr::new(ip, 53)));
        address.map_err(|_| format!("{entry:?} is no address; write for example 192.0.2.1 or [2001:db8::1]:5353"))
    };
    entries.map(server).collect()
}

/// Any text but none.
pub fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty; write a name".to_owned()) } else { Ok(text.to_owned()) }
}

/// A name that needs no quotes in SQL.
pub fn identifier(text: &str) -> Result<Option<String>, String> {
    match text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        true => Ok(Some(text.to_owned()).filter(|text| !text.is_empty())),
        false => Err(format!("\"{text}\" is not accepted; write letters, digits and underscores")),
    }
}

/// A number of milliseconds, at least one.
pub fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(Duration::from_millis(number)),
        _ => Err(format!("\"{text}\" is not a number of milliseconds above 0")),
    }
}

/// Host names, in lower case.
pub fn host_names(text: &str) -> Result<Vec<String>, String> {
    let name = |name: &str| {
        model::text::host(name)?;
        Ok(name.to_ascii_lowercase())
    };
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(name).collect()
}

pub fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("it is empty; write a path".to_owned()) } else { Ok(text.into()) }
}

/// A path; empty is none.
pub fn optional_path(text: &str) -> Result<Option<PathBuf>, String> {
    Ok((!text.is_empty()).then(|| text.into()))
}

/// The first path of a comma list; empty is none.
///
/// Kong also takes the certificate itself here. A private key in a variable or a process list is a
/// leak, so the text is refused, and not repeated.
pub fn first_pem(text: &str) -> Result<Option<PathBuf>, String> {
    if text.contains("-----BEGIN") {
        return Err("this is the content of a PEM file; write it to a file and give its path".to_owned());
    }
    optional_path(text.split(',').next().unwrap_or_default().trim())
}

/// A comma list without empty entries, at least one long.
pub fn list(text: &str) -> Result<Vec<&str>, String> {
    let entries: Vec<_> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    if entries.is_empty() { Err("it is empty; write at least one value".to_owned()) } else { Ok(entries) }
}

/// Protocols for `Upgrade` (RFC 9110 section 7.8), in lower case; `off` is none.
pub fn upgrades(text: &str) -> Result<Vec<HeaderValue>, String> {
    if text == "off" {
        return Ok(Vec::new());
    }
    let read = |name: &str| {
        let name = name.to_ascii_lowercase();
        let bare = name.split('/').next().unwrap_or_default();
        match ["h2c", "h2", "http"].contains(&bare) || HeaderName::from_bytes(bare.as_bytes()).is_err() {
            true => Err(format!("{name:?} cannot stand here: requests would pass unseen, or it is no protocol")),
            false => HeaderValue::try_from(name).map_err(|error| error.to_string()),
        }
    };
    list(text)?.into_iter().map(read).collect()
}

/// Listeners; `off` is none.
pub fn listens(text: &str) -> Result<Vec<Listen>, String> {
    parse_listens(text).map_err(|error| error.to_string())
}

/// What its own type knows how to read.
pub fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: std::fmt::Debug>(read: fn(&str) -> Result<T, String>, text: &str, expected: &str) {
        let found = match read(text) {
            Ok(value) => format!("{value:?}"),
            Err(reason) => format!("no: {reason}"),
        };
        assert!(found.starts_with(expected), "{text}: {found}");
    }

    #[test]
    fn plain_values() {
        check(switch, "on", "true");
        check(switch, "false", "false");
        check(switch, "yes", "no: \"yes\" is neither");
        check(count, "0", "0");
        check(count, "-1", "no: \"-1\"");
        check(limit, "0", "None");
        check(limit, "10000", "Some(10000)");
        check(size, "0", "None");
        check(size, "10m", "Some(10485760)");
        check(size, "m", "no: \"m\" is not a size");
        check(seconds, "30", "30s");
        check(seconds, "1.5", "no: \"1.5\"");
        check(limit_s, "0", "None");
        check(limit_s, "60", "Some(60s)");
        check(path, "", "no: it is empty");
        check(optional_path, "", "None");
        check(first_pem, " a.pem, b.pem", "Some(\"a.pem\")");
        check(first_pem, "-----BEGIN PRIVATE KEY-----", "no: this is the content");
    }

    #[test]
    fn protocols() {
        check(upgrades, "off", "[]");
        check(upgrades, "WebSocket, custom/1", "[\"websocket\", \"custom/1\"]");
        check(upgrades, "websocket, h2c", "no: \"h2c\" cannot stand here");
        check(upgrades, "HTTP/2.0", "no: \"http/2.0\" cannot stand here");
        check(upgrades, "a b", "no: \"a b\" cannot stand here");
        check(name_servers, "", "[]");
        check(
            name_servers,
            "192.0.2.1, 192.0.2.2:5353,[2001:db8::1]",
            "[192.0.2.1:53, 192.0.2.2:5353, [2001:db8::1]:53]",
        );
        check(name_servers, "localhost", "no: \"localhost\" is no address");
        check(optional_seconds, "", "None");
    }

    #[test]
    fn listeners() {
        check(listens, "off", "[]");
        check(listens, "", "no: ");
        check(listens, "127.0.0.1:1 ssl", "[Listen { addr: 127.0.0.1:1, tls: true");
    }
}
