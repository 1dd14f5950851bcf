//! What tokens say of their callers, and what is demanded of it: for jwt and oauth2-introspection.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderName, HeaderValue, StatusCode};
use jose::Object;
use proxy::answer::Answer;
use proxy::authenticate::Refusal;
use proxy::identity::{header_value, list_value};
use schema::{Value, Violations, json};
use std::collections::BTreeMap;

/// What a token must say beyond being good, and what services are told of it; the same for all issuers.
pub struct Demands {
    /// Each of one entry's scopes, for one of the entries.
    pub scopes: Vec<Vec<String>>,
    pub scopes_claim: String,
    /// One of these.
    pub roles: Vec<String>,
    pub roles_claim: String,
    pub groups_claim: Option<String>,
    pub headers: Vec<(String, HeaderName)>,
}

impl Demands {
    pub fn check(&self, claims: &Object) -> Result<(), Refusal> {
        let scopes = scopes(claims.get(&self.scopes_claim));
        let enough = |entry: &Vec<String>| entry.iter().all(|scope| scopes.contains(scope));
        if !self.scopes.is_empty() && !self.scopes.iter().any(enough) {
            let wanted: Vec<String> = self.scopes.iter().map(|entry| entry.join(" ")).collect();
            let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", wanted.join(" "));
            let answer = Answer::exit_json(StatusCode::FORBIDDEN, &json!({ "message": "Insufficient scope" }));
            return Err(Refusal::Final(Box::new(answer.with_header(WWW_AUTHENTICATE, header_value(&challenge)))));
        }
        let roles = texts(claims.get(&self.roles_claim));
        match self.roles.is_empty() || self.roles.iter().any(|role| roles.contains(role)) {
            true => Ok(()),
            false => Err(forbidden()),
        }
    }

    /// The groups of the caller, where a claim tells them.
    pub fn groups(&self, claims: &Object) -> Option<Vec<String>> {
        self.groups_claim.as_ref().map(|claim| texts(claims.get(claim)))
    }

    /// The headers that tell the claims which are there.
    pub fn told(&self, claims: &Object) -> Vec<(HeaderName, HeaderValue)> {
        let told = self.headers.iter().filter_map(|(claim, name)| Some((name.clone(), header(claims, claim)?)));
        told.collect()
    }
}

/// A claim as the value of a header.
pub fn header(claims: &Object, claim: &str) -> Option<HeaderValue> {
    match claims.get(claim)? {
        Value::Null => None,
        Value::String(text) => Some(header_value(text)),
        Value::Array(items) if items.iter().all(Value::is_string) => Some(list_value(&texts(claims.get(claim)))),
        other => Some(header_value(&other.to_string())),
    }
}

/// The scopes of a claim: an array, or one text with spaces between them (RFC 8693 section 4.2).
pub fn scopes(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::String(text)) => split(text),
        claim => texts(claim),
    }
}

/// The texts of a claim. A single one is whole: `Payroll admin` is no `admin`.
pub fn texts(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

pub const BOUND: &str = "The token is bound to a key that was not proven";

/// Whether a token is for one of these: at least one of its audiences is accepted.
pub fn is_for(claims: &Object, accepted: &[String]) -> bool {
    accepted.iter().any(|accepted| audiences(claims).any(|audience| matches(accepted, audience)))
}

/// Whom a token is for (RFC 7519 section 4.1.3).
fn audiences(claims: &Object) -> impl Iterator<Item = &str> {
    let (one, many) = match claims.get("aud") {
        Some(Value::String(audience)) => (Some(audience.as_str()), None),
        Some(Value::Array(audiences)) => (None, Some(audiences)),
        _ => (None, None),
    };
    one.into_iter().chain(many.into_iter().flatten().filter_map(Value::as_str))
}

/// Whether an audience is one that is accepted: the same, or with one label in place of `*`.
fn matches(accepted: &str, audience: &str) -> bool {
    match accepted.strip_prefix('*') {
        None => accepted == audience,
        Some("") => true,
        Some(rest) => audience.strip_suffix(rest).is_some_and(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        }),
    }
}

/// Claims with the headers that tell them.
pub fn headers(told: BTreeMap<String, String>) -> Result<Vec<(String, HeaderName)>, Violations> {
    let read = told.into_iter().map(|(claim, header)| {
        let header =
            header.parse().map_err(|_| Violations::field("claims_to_headers", "this cannot be a header's name"));
        Ok((claim, header?))
    });
    read.collect()
}

/// The words of a text.
pub fn split(words: &str) -> Vec<String> {
    words.split_ascii_whitespace().map(str::to_owned).collect()
}

pub fn forbidden() -> Refusal {
    Refusal::Final(Box::new(Answer::exit_json(StatusCode::FORBIDDEN, &json!({ "message": "Forbidden" }))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_label_may_stand_for_a_star() {
        for (accepted, audience, expected) in [
            ("api", "api", true),
            ("api", "API", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", "https://a.example.com", false),
            ("*.example.com", "evil.test/a.example.com", false),
            ("*", "anything", true),
        ] {
            assert_eq!(matches(accepted, audience), expected, "{accepted} {audience}");
        }
    }
}
