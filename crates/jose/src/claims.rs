//! Rules over a claims set, as pure functions of the claims and a time (RFC 7519 section 4.1).

use serde_json::Value;

use crate::json::Object;

/// Why a claims set is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// A claim that the rules need is absent.
    #[error("the claim {0} is missing")]
    Missing(&'static str),
    /// A time is not a JSON number (RFC 7519 section 2, NumericDate). A string of digits is none.
    #[error("the claim {0} is not a number")]
    NotANumber(&'static str),
    /// The time has reached `exp`.
    #[error("the token has expired")]
    Expired,
    /// The time has not reached `nbf`.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` lies in the future.
    #[error("the token was issued in the future")]
    IssuedInTheFuture,
    /// `iss` is not the expected issuer.
    #[error("the issuer is not the expected one")]
    Issuer,
    /// No accepted audience is named in `aud`, or `aud` is no string and no array of strings.
    #[error("the audience is not an accepted one")]
    Audience,
}

/// How far two clocks may differ, in seconds, never more than [`Leeway::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Leeway(f64);

impl Leeway {
    /// The largest leeway: a minute covers unsynchronised clocks, more would only extend tokens.
    pub const MAX: u8 = 60;

    /// A leeway of so many seconds, cut to [`Leeway::MAX`].
    pub fn seconds(seconds: u64) -> Leeway {
        Leeway(f64::from(u8::try_from(seconds).unwrap_or(Leeway::MAX).min(Leeway::MAX)))
    }
}

/// Reads a NumericDate (RFC 7519 section 2): an integer or a fraction, in seconds since 1970.
pub fn numeric_date(claims: &Object, name: &'static str) -> Result<Option<f64>, ClaimError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            number.as_f64().filter(|n| n.is_finite()).map(Some).ok_or(ClaimError::NotANumber(name))
        }
        Some(_) => Err(ClaimError::NotANumber(name)),
    }
}

/// Checks `exp` where it is present and returns it. A token has expired once the time *reaches*
/// `exp` (RFC 7519 section 4.1.4: "on or after").
pub fn not_expired(claims: &Object, now: f64, leeway: Leeway) -> Result<Option<f64>, ClaimError> {
    match numeric_date(claims, "exp")? {
        Some(exp) if now >= exp + leeway.0 => Err(ClaimError::Expired),
        exp => Ok(exp),
    }
}

/// Checks `nbf` where it is present and returns it (RFC 7519 section 4.1.5).
pub fn already_valid(claims: &Object, now: f64, leeway: Leeway) -> Result<Option<f64>, ClaimError> {
    match numeric_date(claims, "nbf")? {
        Some(nbf) if now + leeway.0 < nbf => Err(ClaimError::NotYetValid),
        nbf => Ok(nbf),
    }
}

/// Checks that `iat`, where it is present, is not in the future, and returns it (RFC 7519 section
/// 4.1.6).
pub fn already_issued(claims: &Object, now: f64, leeway: Leeway) -> Result<Option<f64>, ClaimError> {
    match numeric_date(claims, "iat")? {
        Some(iat) if now + leeway.0 < iat => Err(ClaimError::IssuedInTheFuture),
        iat => Ok(iat),
    }
}

/// Checks `iss`, compared by code points and nothing else: no case folding, no trailing slash
/// (RFC 7519 section 4.1.1).
pub fn issued_by(claims: &Object, issuer: &str) -> Result<(), ClaimError> {
    match claims.get("iss") {
        None => Err(ClaimError::Missing("iss")),
        Some(Value::String(found)) if found == issuer => Ok(()),
        Some(_) => Err(ClaimError::Issuer),
    }
}

/// Checks that `aud` names one of `accepted` (RFC 7519 section 4.1.3). It is a string or an array
/// of strings; an empty array is a token for nobody, not a token without an audience.
pub fn meant_for<S: AsRef<str>>(claims: &Object, accepted: &[S]) -> Result<(), ClaimError> {
    let accepts = |found: &str| accepted.iter().any(|audience| audience.as_ref() == found);
    let found = match claims.get("aud") {
        None => return Err(ClaimError::Missing("aud")),
        Some(Value::String(audience)) => accepts(audience),
        Some(Value::Array(audiences)) => {
            audiences.iter().all(Value::is_string) && audiences.iter().filter_map(Value::as_str).any(accepts)
        }
        Some(_) => false,
    };
    if found { Ok(()) } else { Err(ClaimError::Audience) }
}

/// What a verified claims set must satisfy. The default asks for an `exp`, allows no leeway and
/// leaves issuer and audience open.
#[derive(Clone, Debug)]
pub struct Rules<'a> {
    /// The only accepted `iss`; any or none where this is `None`.
    pub issuer: Option<&'a str>,
    /// The accepted values of `aud`, one of which must be named; unchecked where this is `None`.
    /// `Some(&[])` accepts no token.
    pub audiences: Option<&'a [&'a str]>,
    /// Whether a token without `exp` is refused.
    pub require_exp: bool,
    /// How far the clocks may differ; counted once against each time claim.
    pub leeway: Leeway,
}

impl Default for Rules<'_> {
    fn default() -> Self {
        Rules { issuer: None, audiences: None, require_exp: true, leeway: Leeway::default() }
    }
}

impl Rules<'_> {
    /// Checks the claims against the rules at the time `now`, in seconds since 1970.
    pub fn check(&self, claims: &Object, now: f64) -> Result<(), ClaimError> {
        let exp = not_expired(claims, now, self.leeway)?;
        if self.require_exp && exp.is_none() {
            return Err(ClaimError::Missing("exp"));
        }
        already_valid(claims, now, self.leeway)?;
        already_issued(claims, now, self.leeway)?;
        if let Some(issuer) = self.issuer {
            issued_by(claims, issuer)?;
        }
        if let Some(audiences) = self.audiences {
            meant_for(claims, audiences)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: f64 = 1_000.0;

    fn check(claims: &str, rules: &Rules<'_>, expect: Result<(), ClaimError>) {
        let object = crate::json::object(claims.as_bytes()).unwrap();
        assert_eq!(rules.check(&object, NOW), expect, "{claims} {rules:?}");
    }

    #[test]
    fn times_are_numbers_and_the_boundary_is_expired() {
        let rules = Rules { require_exp: false, ..Rules::default() };
        for (claims, expect) in [
            (r#"{}"#, Ok(())),
            (r#"{"exp":1001}"#, Ok(())),
            (r#"{"exp":1000}"#, Err(ClaimError::Expired)),
            (r#"{"exp":1000.5}"#, Ok(())),
            (r#"{"exp":1e3}"#, Err(ClaimError::Expired)),
            (r#"{"exp":1e300}"#, Ok(())),
            (r#"{"exp":-1}"#, Err(ClaimError::Expired)),
            (r#"{"exp":99999999999999999999999}"#, Ok(())),
            (r#"{"exp":"1001"}"#, Err(ClaimError::NotANumber("exp"))),
            (r#"{"exp":null}"#, Err(ClaimError::NotANumber("exp"))),
            (r#"{"exp":true}"#, Err(ClaimError::NotANumber("exp"))),
            (r#"{"exp":[1001]}"#, Err(ClaimError::NotANumber("exp"))),
            (r#"{"nbf":1000}"#, Ok(())),
            (r#"{"nbf":1000.001}"#, Err(ClaimError::NotYetValid)),
            (r#"{"nbf":"0"}"#, Err(ClaimError::NotANumber("nbf"))),
            (r#"{"iat":1000}"#, Ok(())),
            (r#"{"iat":1001}"#, Err(ClaimError::IssuedInTheFuture)),
            (r#"{"iat":{}}"#, Err(ClaimError::NotANumber("iat"))),
        ] {
            check(claims, &rules, expect);
        }
        check("{}", &Rules::default(), Err(ClaimError::Missing("exp")));
    }

    #[test]
    fn leeway_counts_once_and_is_capped() {
        let rules = |seconds| Rules { require_exp: false, leeway: Leeway::seconds(seconds), ..Rules::default() };
        for (claims, seconds, expect) in [
            (r#"{"exp":991}"#, 10, Ok(())),
            (r#"{"exp":990}"#, 10, Err(ClaimError::Expired)),
            (r#"{"nbf":1010}"#, 10, Ok(())),
            (r#"{"nbf":1011}"#, 10, Err(ClaimError::NotYetValid)),
            (r#"{"iat":1011}"#, 10, Err(ClaimError::IssuedInTheFuture)),
            (r#"{"exp":941}"#, 60, Ok(())),
            (r#"{"exp":940}"#, 61, Err(ClaimError::Expired)),
            (r#"{"exp":940}"#, 300, Err(ClaimError::Expired)),
            (r#"{"exp":940}"#, u64::MAX, Err(ClaimError::Expired)),
        ] {
            check(claims, &rules(seconds), expect);
        }
    }

    #[test]
    fn issuer_and_audience_are_exact() {
        let rules = Rules {
            issuer: Some("https://idp.example"),
            audiences: Some(&["a", "é"]),
            require_exp: false,
            ..Rules::default()
        };
        let aud = Err(ClaimError::Audience);
        for (aud_claim, expect) in [
            (r#""a""#, Ok(())),
            (r#"["x","a"]"#, Ok(())),
            (r#""\u00e9""#, Ok(())),
            (r#""e\u0301""#, aud), // the same letter in another normal form is another string
            (r#""A""#, aud),
            (r#""a ""#, aud),
            (r#"[]"#, aud),
            (r#"["x"]"#, aud),
            (r#"["a",1]"#, aud),
            (r#"[["a"]]"#, aud),
            (r#"{"a":"a"}"#, aud),
            (r#"null"#, aud),
        ] {
            check(&format!(r#"{{"iss":"https://idp.example","aud":{aud_claim}}}"#), &rules, expect);
        }
        check(r#"{"iss":"https://idp.example"}"#, &rules, Err(ClaimError::Missing("aud")));
        check(r#"{"aud":"a"}"#, &rules, Err(ClaimError::Missing("iss")));
        for iss in [r#""https://idp.example/""#, r#""https://IDP.example""#, r#"["https://idp.example"]"#] {
            check(&format!(r#"{{"iss":{iss},"aud":"a"}}"#), &rules, Err(ClaimError::Issuer));
        }
        let nobody = Rules { audiences: Some(&[]), require_exp: false, ..Rules::default() };
        check(r#"{"aud":"a"}"#, &nobody, Err(ClaimError::Audience));
    }
}
