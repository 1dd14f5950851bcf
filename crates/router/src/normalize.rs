//! The one spelling of a path that routes are matched against and upstreams receive.

use std::borrow::Cow;

/// What may stand in a path as it is: RFC 3986's unreserved and reserved characters.
const fn stays(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'#'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b'/'
                | b':'
                | b';'
                | b'='
                | b'?'
                | b'@'
                | b'['
                | b']'
        )
}

/// What means the same escaped or not.
const fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What a byte asks of the check for a path that is normal already.
const PLAIN: u8 = 0;
const SLASH: u8 = 1;
const PERCENT: u8 = 2;
const FOREIGN: u8 = 3;

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const KINDS: [u8; 256] = {
    let mut kinds = [FOREIGN; 256];
    let mut byte = 0;
    while byte < 256 {
        if stays(byte as u8) {
            kinds[byte] = PLAIN;
        }
        byte += 1;
    }
    kinds[b'/' as usize] = SLASH;
    kinds[b'%' as usize] = PERCENT;
    kinds
};

/// Brings a path into its normal form: escapes of unreserved characters decoded, all others in
/// upper case, dot segments resolved, slashes merged, and what must not stand bare escaped.
///
/// A path that is normal already is returned as it is. The `*` of `OPTIONS *` stays; every other
/// result begins with a slash.
#[must_use]
pub fn normalize(path: &str) -> Cow<'_, str> {
    if is_normal(path.as_bytes()) || path == "*" {
        return Cow::Borrowed(path);
    }
    let mut escaped = String::with_capacity(path.len() + 8);
    escape(path.as_bytes(), &mut escaped);
    Cow::Owned(without_dots(&escaped))
}

/// The spelling under which a plain path of a route stands in the index.
///
/// Only escapes are touched: a route's path means what it says.
pub(crate) fn spelled(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    escape(path.as_bytes(), &mut out);
    out
}

/// Escapes the literal bytes of a regular expression as a normal path would spell them.
pub(crate) fn spelled_literal(bytes: &[u8]) -> Vec<u8> {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if stays(byte) || byte == b'%' {
            out.push(char::from(byte));
        } else {
            push_escape(byte, &mut out);
        }
    }
    out.into_bytes()
}

fn is_normal(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        let fine = match KINDS.get(usize::from(*byte)).copied() {
            Some(PLAIN) => true,
            Some(SLASH) => {
                !matches!(tail, [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..])
            }
            Some(PERCENT) => {
                escaped_byte(tail).is_some_and(|byte| !unreserved(byte))
                    && tail.iter().take(2).all(|digit| !digit.is_ascii_lowercase())
            }
            _ => false,
        };
        if !fine {
            return false;
        }
        rest = tail;
    }
    true
}

/// The byte that the two digits behind a percent sign stand for.
fn escaped_byte(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match digits {
        [high, low, ..] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    }
}

fn push_escape(byte: u8, out: &mut String) {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    out.push('%');
    out.push(digit(byte >> 4).to_ascii_uppercase());
    out.push(digit(byte & 15).to_ascii_uppercase());
}

fn escape(path: &[u8], out: &mut String) {
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (*byte, escaped_byte(tail)) {
            (b'%', Some(meant)) => {
                rest = tail.get(2..).unwrap_or_default();
                if unreserved(meant) {
                    out.push(char::from(meant));
                } else {
                    push_escape(meant, out);
                }
            }
            (byte, _) if stays(byte) => out.push(char::from(byte)),
            // a percent sign that escapes nothing comes here too: left bare, it could form an
            // escape with what was decoded behind it
            (byte, _) => push_escape(byte, out),
        }
    }
}

fn without_dots(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 1);
    let mut open = true;
    for segment in path.split('/') {
        // whether the path would end in a slash if it ended here
        open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if open {
        out.push('/');
    }
    out
}

/// The text regular expressions are held against: as in Kong, all escapes decoded but those of
/// reserved characters. `None` if that is not UTF-8, which no expression matches.
pub(crate) fn decoded(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, length)) = first(rest) {
        out.extend_from_slice(byte.as_ref().map_or(rest.get(..1)?, std::slice::from_ref));
        rest = rest.get(length..)?;
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// Where a place in the decoded text lies in the path.
pub(crate) fn place(path: &str, in_decoded: usize) -> usize {
    let mut at = 0;
    let mut rest = path.as_bytes();
    for _ in 0..in_decoded {
        let Some((_, length)) = first(rest) else {
            break;
        };
        at += length;
        rest = rest.get(length..).unwrap_or_default();
    }
    at
}

/// The byte that the first one, two or three stand for, `None` if it is the first itself; and how
/// many they are.
fn first(rest: &[u8]) -> Option<(Option<u8>, usize)> {
    let (byte, tail) = rest.split_first()?;
    Some(match (byte, escaped_byte(tail)) {
        (b'%', Some(meant)) if !stays(meant) && meant != b'%' => (Some(meant), 3),
        _ => (None, 1),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(path: &str, expected: &str) {
        let normal = normalize(path);
        assert_eq!(normal, expected, "{path}");
        let same = path == expected;
        assert_eq!(matches!(normal, Cow::Borrowed(_)), same, "{path} allocates");
    }

    #[test]
    fn paths_as_kong_normalises_them() {
        // R16
        check("/a/b/../mock/x", "/a/mock/x");
        check("/a//mock/x", "/a/mock/x");
        check("/%61/mock/x", "/a/mock/x");
        check("/a/mock/x%2Fy", "/a/mock/x%2Fy");
        // R25
        check("/a/./b", "/a/b");
        check("/a/../a/b", "/a/b");
        check("/a/b/..", "/a/");
        check("/a/%62", "/a/b");
        check("/a/%2F", "/a/%2F");
        check("/a/%2f", "/a/%2F");
        check("/a/%2e%2e/a/x", "/a/x");
        check("/a/%20x", "/a/%20x");
        check("/a/+x", "/a/+x");
        check("/a/;v=1", "/a/;v=1");
        check("/a/%C3%BC", "/a/%C3%BC");
        check("/a/%c3%bc", "/a/%C3%BC");
        check("/a/%25", "/a/%25");
        check("/a/%3Fq", "/a/%3Fq");
        check("/a/%5B%5D", "/a/%5B%5D");
        check("/a/~x", "/a/~x");
        check("/a/%7Ex", "/a/~x");
        check("/a/:x@y!$&'()*,=", "/a/:x@y!$&'()*,=");
        check("/a/%41%4a", "/a/AJ");
        check("//a/b", "/a/b");
        check("/x/../a/b", "/a/b");
        check("/route%2e%2E/req", "/route../req");
    }

    #[test]
    fn edges() {
        check("", "/");
        check("/", "/");
        check("*", "*");
        check("a", "/a");
        check("..", "/");
        check("/.", "/");
        check("/..", "/");
        check("/../../a", "/a");
        check("/a/.", "/a/");
        check("/a//", "/a/");
        check("/a//../b", "/b");
        check("/.well-known/..x/...", "/.well-known/..x/...");
        check("/a/.%2e/b", "/b");
        check("/%252e%252e/a", "/%252e%252e/a");
        check("/%%32e%%32e/a", "/%252e%252e/a");
        check("/100%", "/100%25");
        check("/%zz", "/%25zz");
        check("/a b{c}\"\\", "/a%20b%7Bc%7D%22%5C");
        check("/ü", "/%C3%BC");
        check("/a%00b", "/a%00b");
        check("/a%2F..%2Fb", "/a%2F..%2Fb");
        check("/a?b", "/a?b");
    }

    #[test]
    fn places_in_decoded_text() {
        fn check(path: &str, text: Option<&str>, from: usize, to: usize) {
            assert_eq!(decoded(path).as_deref(), text, "{path}");
            assert_eq!(place(path, from), to, "{from} of {path}");
        }
        check("/a/b", Some("/a/b"), 2, 2);
        check("/%C3%BC/b", Some("/ü/b"), 3, 7);
        check("/%2F%20x", Some("/%2F x"), 5, 7);
        check("/%FF", None, 0, 0);
        check("/%25", Some("/%25"), 9, 4);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn normal_paths_are_safe_and_stay(path in "(/|/[.]|%2[eE]|%2[fF]|%|[.]|a|é|%32| ){0,12}") {
            let once = normalize(&path).into_owned();
            prop_assert!(matches!(normalize(&once), Cow::Borrowed(_)), "{} changes again", once);
            if once != "*" {
                prop_assert!(once.starts_with('/'));
                prop_assert!(!once.contains("//"));
                prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(!once.to_ascii_lowercase().contains("%2e"));
                prop_assert!(once.bytes().all(|byte| stays(byte) || byte == b'%'));
            }
        }

        #[test]
        fn any_text_is_accepted(path in any::<String>()) {
            let once = normalize(&path).into_owned();
            prop_assert!(matches!(normalize(&once), Cow::Borrowed(_)));
        }

        #[test]
        fn decoding_keeps_places(path in "/(%C3%BC|%2F|a|%25|%20){0,9}") {
            let text = decoded(&path).expect("UTF-8");
            prop_assert_eq!(place(&path, text.len()), path.len());
        }
    }
}
