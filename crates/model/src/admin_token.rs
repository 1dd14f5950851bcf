//! Tokens of the Admin API that may do some things and not others.

use crate::text;
use schema::{Reference, Schema, Set};
use serde::Deserialize;
use std::str::FromStr;
use uuid::Uuid;

/// A token of the Admin API: who has it may do what it allows, until it ends or is taken away.
///
/// The token itself is told once, in the answer to the request that makes it.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct AdminToken {
    /// The entity's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<i64>,
    /// Its name, by which the audit log knows who has it.
    #[schema(unique, format(text::name))]
    pub name: String,
    /// The SHA-256 of the token, in hexadecimal. Without it, and without `consumer`, a token is made.
    #[schema(unique, format(digest))]
    pub digest: Option<String>,
    /// The consumer who has these rights, without a token, on a service whose url is `internal://admin`.
    #[schema(references = "consumers", cascade)]
    pub consumer: Option<Reference>,
    /// What may be done: methods (with commas between, or `*`) and a path, in which `*` stands for one segment and `**`, at
    /// the end, for any that follow. `GET` counts for `HEAD` and `OPTIONS`.
    ///
    /// For example `POST /consumers`, or `GET,POST,DELETE /consumers/*/key-auth/**`.
    #[schema(len_min(1), each(not_null, format(allowance)))]
    pub allow: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub expires_at: Option<i64>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
}

fn digest(text: &str) -> Result<(), String> {
    match text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        true => Ok(()),
        false => Err("expected 64 hexadecimal digits in lower case: the SHA-256 of a token".to_owned()),
    }
}

fn allowance(text: &str) -> Result<(), String> {
    text.parse::<Allowance>().map(drop)
}

/// One line of `allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// All of them where there is none.
    methods: Vec<String>,
    segments: Vec<String>,
}

impl FromStr for Allowance {
    type Err = String;

    fn from_str(text: &str) -> Result<Allowance, String> {
        let wrong = || Err("write methods and a path, such as GET,POST /consumers/* or * /**".to_owned());
        let Some((methods, path)) = text.split_once(' ') else { return wrong() };
        let Some(path) = path.strip_prefix('/') else { return wrong() };
        let segments: Vec<String> = path.split('/').filter(|_| !path.is_empty()).map(str::to_owned).collect();
        let misplaced = segments.iter().rev().skip(1).any(|segment| segment == "**");
        if misplaced || segments.iter().any(String::is_empty) || path.contains([' ', '?']) {
            return wrong();
        }
        const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];
        let methods: Vec<String> = match methods {
            "*" => Vec::new(),
            named => named.split(',').map(str::to_owned).collect(),
        };
        if let Some(odd) = methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            return Err(format!("'{odd}' is not one of *, {}", METHODS.join(", ")));
        }
        Ok(Allowance { methods, segments })
    }
}

impl Allowance {
    /// Whether it covers a request with these segments of its path.
    pub fn covers(&self, method: &str, path: &[&str]) -> bool {
        let method = if matches!(method, "HEAD" | "OPTIONS") { "GET" } else { method };
        let methods = self.methods.is_empty() || self.methods.iter().any(|own| own == method);
        let (fixed, open) = match self.segments.split_last() {
            Some((last, rest)) if last == "**" => (rest, true),
            _ => (self.segments.as_slice(), false),
        };
        let length = if open { path.len() >= fixed.len() } else { path.len() == fixed.len() };
        methods && length && fixed.iter().zip(path).all(|(own, given)| own == "*" || own == given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: &str, method: &str, path: &str, expected: bool) {
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let covers = rule.parse::<Allowance>().map(|rule| rule.covers(method, &segments));
        assert_eq!(covers, Ok(expected), "{rule}: {method} {path}");
    }

    #[test]
    fn a_rule_covers_what_it_says_and_no_more() {
        check("POST /consumers", "POST", "/consumers", true);
        check("POST /consumers", "GET", "/consumers", false);
        check("POST /consumers", "POST", "/consumers/ann", false);
        check("POST /consumers", "POST", "/services", false);
        check("POST /consumers/*/key-auth", "POST", "/consumers/ann/key-auth", true);
        check("POST /consumers/*/key-auth", "POST", "/consumers/ann/jwt", false);
        check("GET,DELETE /consumers/**", "DELETE", "/consumers/ann/key-auth/k", true);
        check("GET,DELETE /consumers/**", "HEAD", "/consumers", true);
        check("GET,DELETE /consumers/**", "PATCH", "/consumers/ann", false);
        check("* /**", "PUT", "/anything/at/all", true);
        check("* /**", "GET", "/", true);
        check("GET /", "GET", "/", true);
        check("GET /", "GET", "/status", false);
    }

    #[test]
    fn what_is_no_rule() {
        for text in
            ["", "GET", "GET consumers", "FETCH /", "GET,/ /", "get /", "GET /a/**/b", "GET //a", "GET /a?b", "GET  /a"]
        {
            assert!(text.parse::<Allowance>().is_err(), "{text}");
        }
    }
}
