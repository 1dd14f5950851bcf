//! What a router is asked, and what it answers.

use std::borrow::Cow;
use std::ops::Range;

use http::{HeaderMap, Method};
use regex::{Captures, Regex};

/// The parts of a request that routing looks at.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The method.
    pub method: &'a Method,
    /// The host without its port, in any letter case.
    pub host: &'a str,
    /// The port that routes with one are held against: that of the Host header, or else the one
    /// the connection was accepted on.
    pub port: Option<u16>,
    /// The path without the query string, as [`crate::normalize`] returns it.
    pub path: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The server name of the TLS handshake.
    pub sni: Option<&'a str>,
    /// Whether the request counts as HTTPS; SNIs are not looked at otherwise.
    pub secure: bool,
}

/// The route that was found.
#[derive(Clone, Debug)]
pub struct Match<'a> {
    /// The rule's place in the list given to the router.
    pub rule: usize,
    /// The part of the query's path that the route's path matched; `None` for a route without
    /// paths.
    ///
    /// It starts at 0, save for a regular expression with an alternative at its top level
    /// (`~/a|/b`): as in Kong only the first alternative is anchored.
    pub matched: Option<Range<usize>>,
    pub(crate) regex: Option<&'a Regex>,
    /// The text the expression was held against, see [`crate::normalize::decoded`].
    pub(crate) subject: Cow<'a, str>,
}

impl Match<'_> {
    /// Whether a regular expression matched the path.
    #[must_use]
    pub fn is_regex(&self) -> bool {
        self.regex.is_some()
    }

    /// The groups of the regular expression that matched, by number and by name.
    ///
    /// The expression is run once more, so ask only for what will be used. As in Kong the text is
    /// that of the path with all escapes but those of reserved characters decoded.
    #[must_use]
    pub fn captures(&self) -> Option<Captures<'_>> {
        self.regex.and_then(|regex| regex.captures(&self.subject))
    }

    /// The names of the expression's groups, in order, `None` for those without a name.
    ///
    /// The first stands for the whole match.
    pub fn capture_names(&self) -> impl Iterator<Item = Option<&str>> {
        self.regex.into_iter().flat_map(|regex| regex.capture_names())
    }

    /// What `strip_path` leaves of the path: all behind the matched part.
    ///
    /// Without a path in the route only the first slash goes. A dot segment that appears where
    /// the path was cut is removed, for it could climb out of the service's path.
    #[must_use]
    pub fn rest<'p>(&self, path: &'p str) -> &'p str {
        let cut = self.matched.as_ref().map_or(1, ExactSizeIterator::len);
        let rest = path.get(cut..).unwrap_or_default();
        match rest {
            "." | ".." => "",
            _ => rest.strip_prefix("./").or_else(|| rest.strip_prefix("../")).unwrap_or(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(matched: Option<usize>, path: &str, rest: &str) {
        let found = Match { rule: 0, matched: matched.map(|end| 0..end), regex: None, subject: Cow::Borrowed(path) };
        assert_eq!(found.rest(path), rest, "{matched:?} of {path}");
    }

    #[test]
    fn what_is_left_after_stripping() {
        check(None, "/a/b", "a/b");
        check(None, "/", "");
        check(None, "", "");
        check(Some(2), "/a/b", "/b");
        check(Some(2), "/a", "");
        check(Some(2), "/a.", "");
        check(Some(2), "/a..", "");
        check(Some(2), "/a./b", "b");
        check(Some(2), "/a../b", "b");
        check(Some(2), "/a.../b", ".../b");
        check(Some(2), "/a.b", ".b");
        check(Some(9), "/a", "");
    }
}
