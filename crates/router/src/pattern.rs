//! Regular expressions of routes, and the literal that each must begin with.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, Look};

use crate::hash::Map;
use crate::normalize::spelled_literal;

/// A path given as a regular expression.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) regex: Regex,
    /// The spelling every path that matches begins with; empty if none is known.
    pub(crate) prefix: Vec<u8>,
}

/// Compiles expressions; routes often share them, so each is compiled once.
#[derive(Default)]
pub(crate) struct Patterns {
    paths: Map<String, Pattern>,
    headers: Map<String, Regex>,
}

impl Patterns {
    /// A path's expression, without the `~`.
    pub(crate) fn path(&mut self, text: &str) -> Result<Pattern, String> {
        if let Some(known) = self.paths.get(text) {
            return Ok(known.clone());
        }
        // not `^(?:…)`: Kong anchors the first alternative only, and routes may count on it
        let anchored = format!("^{text}");
        let regex = Regex::new(&anchored).map_err(|error| refusal(text, &error))?;
        let prefix = regex_syntax::parse(&anchored)
            .ok()
            .filter(|hir| hir.properties().look_set_prefix().contains(Look::Start))
            .map(|hir| leading_literal(&hir));
        let pattern = Pattern { regex, prefix: prefix.unwrap_or_default() };
        self.paths.insert(text.into(), pattern.clone());
        Ok(pattern)
    }

    /// A header's expression, without the `~*`.
    pub(crate) fn header(&mut self, text: &str) -> Result<Regex, String> {
        if let Some(known) = self.headers.get(text) {
            return Ok(known.clone());
        }
        let regex = RegexBuilder::new(text).case_insensitive(true).build().map_err(|error| refusal(text, &error))?;
        self.headers.insert(text.into(), regex.clone());
        Ok(regex)
    }
}

fn refusal(text: &str, error: &regex::Error) -> String {
    // syntax errors come with a drawing over several lines; the last says what is wrong
    let full = error.to_string();
    let reason = full.lines().last().unwrap_or_default();
    let reason = reason.strip_prefix("error: ").unwrap_or(reason);
    format!("invalid regex: '{text}' ({reason})")
}

/// The bytes that every match begins with: what all possible beginnings have in common.
fn leading_literal(hir: &Hir) -> Vec<u8> {
    let beginnings = Extractor::new().extract(hir);
    let common = beginnings.longest_common_prefix().unwrap_or_default();
    spelled_literal(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, prefix: &str) {
        let pattern = Patterns::default().path(text).expect(text);
        assert_eq!(String::from_utf8_lossy(&pattern.prefix), prefix, "{text}");
    }

    #[test]
    fn leading_literals() {
        check("/users/(?<id>\\d+)", "/users/");
        check("/re/(a|b)$", "/re/");
        check("/re/(abc|abd)$", "/re/ab");
        check("/(?i)case", "/");
        check("/(?i:case)/x", "/");
        check("/dot.html", "/dot");
        check("/dot\\.html$", "/dot.html");
        check("/a|/b", "");
        check("/ab+c", "/ab");
        check("/ab*c", "/a");
        check("/ab?c", "/a");
        check("/(ab){2}c", "/ababc");
        check("/(?<x>abc)/d", "/abc/d");
        check("/a\\b/c", "/a/c");
        check("/ü x", "/%C3%BC%20x");
        check("/a%2Fb", "/a%2Fb");
        check("", "");
        check("(/a|/b)", "/");
        check("/[a]b", "/ab");
        check("/[ab]c", "/");
        check("/v1/(?i)[a-z]+", "/v1/");
        check("/x/[0-9]{3}$", "/x/");
        check("/x/\\p{L}", "/x/");
        check("/x.*", "/x");
        check("/a|^/ab", "/a");
    }

    #[test]
    fn refusals() {
        fn check(text: &str, expected: &str) {
            let mut patterns = Patterns::default();
            assert_eq!(patterns.path(text).err().as_deref(), Some(expected));
            assert_eq!(patterns.header(text).err().as_deref(), Some(expected));
        }
        check("/(a", "invalid regex: '/(a' (unclosed group)");
        check(
            "/(?=a)",
            "invalid regex: '/(?=a)' (look-around, including look-ahead and look-behind, is not supported)",
        );
        check("/\\w{9999}{9}", "invalid regex: '/\\w{9999}{9}' (Compiled regex exceeds size limit of 10485760 bytes.)");
    }
}
