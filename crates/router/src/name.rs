//! Host names and server names of routes, with their wildcards and ports.

use crate::fold::without_final_dot;

/// A name as a route spells it, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Name {
    Exact(Box<[u8]>),
    /// `*.example.com`, kept as `.example.com`.
    Tail(Box<[u8]>),
    /// `example.*`, kept as `example.`.
    Head(Box<[u8]>),
}

impl Name {
    /// Reads a server name; its wildcard may stand for part of a label.
    pub(crate) fn server(text: &str) -> Result<Self, String> {
        let lower = without_final_dot(text).to_ascii_lowercase();
        if lower.matches('*').count() > 1 {
            return Err("only one wildcard must be specified".into());
        }
        if let Some(tail) = lower.strip_prefix('*') {
            return Ok(Self::Tail(tail.as_bytes().into()));
        }
        if let Some(head) = lower.strip_suffix('*') {
            return Ok(Self::Head(head.as_bytes().into()));
        }
        if lower.contains('*') {
            return Err("wildcard must be leftmost or rightmost character".into());
        }
        Ok(Self::Exact(lower.into_bytes().into()))
    }

    /// Reads a host name; its wildcard stands for whole labels, which is what the index walks.
    fn host(text: &str) -> Result<Self, String> {
        if text.matches('*').count() > 1 {
            return Err("invalid wildcard: must have at most one wildcard".into());
        }
        let name = Self::server(text);
        let labels = match &name {
            Ok(Self::Exact(_)) => true,
            Ok(Self::Tail(tail)) => tail.first() == Some(&b'.') && tail.len() > 1,
            Ok(Self::Head(head)) => head.last() == Some(&b'.') && head.len() > 1,
            Err(_) => false,
        };
        if labels { name } else { Err("invalid wildcard: must be placed at leftmost or rightmost label".into()) }
    }

    /// Whether a server name in lower case is meant by this one.
    pub(crate) fn covers(&self, name: &[u8]) -> bool {
        match self {
            Self::Exact(own) => **own == *name,
            Self::Tail(tail) => name.ends_with(tail),
            Self::Head(head) => name.starts_with(head),
        }
    }

    pub(crate) fn is_wildcard(&self) -> bool {
        !matches!(self, Self::Exact(_))
    }
}

/// A host of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Host {
    pub(crate) name: Name,
    pub(crate) port: Option<u16>,
}

impl Host {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, port) = split_port(text)?;
        Ok(Self { name: Name::host(name)?, port })
    }
}

/// Splits `host:port`; the colons of an IPv6 address are its own.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let after_bracket = text.rfind(']').map_or(0, |at| at + 1);
    let tail = text.get(after_bracket..).unwrap_or_default();
    let Some(colon) = tail.find(':') else {
        return Ok((text, None));
    };
    let digits = tail.get(colon + 1..).unwrap_or_default();
    if digits.contains(':') {
        return Ok((text, None));
    }
    let port = digits.parse().map_err(|_| "invalid port number")?;
    Ok((text.get(..after_bracket + colon).unwrap_or_default(), Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(Name, Option<u16>), &str>) {
        let expected = expected.map(|(name, port)| Host { name, port }).map_err(String::from);
        assert_eq!(Host::parse(text), expected, "{text}");
    }

    fn exact(text: &str) -> Name {
        Name::Exact(text.as_bytes().into())
    }

    #[test]
    fn hosts_are_read() {
        let tail = |text: &str| Name::Tail(text.as_bytes().into());
        let head = |text: &str| Name::Head(text.as_bytes().into());
        let label = "invalid wildcard: must be placed at leftmost or rightmost label";
        check("A.Test", Ok((exact("a.test"), None)));
        check("a.test.", Ok((exact("a.test"), None)));
        check("a.test:8080", Ok((exact("a.test"), Some(8080))));
        check("*.a.test", Ok((tail(".a.test"), None)));
        check("*.a.test:1", Ok((tail(".a.test"), Some(1))));
        check("a.*", Ok((head("a."), None)));
        check("a.*:80", Ok((head("a."), Some(80))));
        check("::1", Ok((exact("::1"), None)));
        check("[::1]", Ok((exact("[::1]"), None)));
        check("[::1]:80", Ok((exact("[::1]"), Some(80))));
        check("a:http", Err("invalid port number"));
        check("a:99999", Err("invalid port number"));
        check("*a.test", Err(label));
        check("a*", Err(label));
        check("*", Err(label));
        check("a.*.test", Err(label));
        check("*.a.*", Err("invalid wildcard: must have at most one wildcard"));
    }

    #[test]
    fn server_names_are_compared() {
        fn check(pattern: &str, name: &str, expected: bool) {
            let found = Name::server(pattern).map(|pattern| pattern.covers(name.as_bytes()));
            assert_eq!(found, Ok(expected), "{pattern} and {name}");
        }
        check("a.test", "a.test", true);
        check("A.test.", "a.test", true);
        check("a.test", "b.test", false);
        check("*.test", "a.b.test", true);
        check("*.test", "test", false);
        check("a.*", "a.test", true);
        check("a.*", "b.test", false);
        check("*", "a.test", true);
        assert!(Name::server("a*b").is_err());
        assert!(Name::server("*.*").is_err());
    }
}
