//! JWS compact serialization (RFC 7515 section 7.1) and the JWT inside it (RFC 7519).

use std::fmt;

use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::base64url;
use crate::json::{self, JsonError, Object};
use crate::key::{SignatureError, VerifyingKey};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// The longest `kid`, in bytes. It is an opaque name to look up, in tokens as in keys.
pub const MAX_KEY_ID: usize = 256;

/// Why a text is no token to verify. Nothing of the token is repeated in it.
///
/// A token with several faults is refused for the first of them in this order: `TooLong`, `Json`,
/// `Algorithm`, `Claims`, `Signature`, `KeyId`, `Critical`, `Header`. Those from `Json` to
/// `Signature` are in the order in which Kong's jwt plugin finds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The token is longer than [`MAX_TOKEN`].
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    /// There are not three parts, or the header or the payload is not what it must be.
    #[error(transparent)]
    Json(#[from] Malformed),
    /// `alg` is missing, no string, or no supported algorithm. `none` is not one.
    #[error("the header names no supported algorithm")]
    Algorithm,
    /// The claims are absent, or JSON but not an object (RFC 7519 section 7.2).
    #[error("the claims are not an object")]
    Claims,
    /// The signature part is empty or not base64url.
    #[error("the signature is empty or not base64url")]
    Signature,
    /// `kid` is no string, or longer than [`MAX_KEY_ID`].
    #[error("the header's kid is not a string of at most {MAX_KEY_ID} bytes")]
    KeyId,
    /// `crit` demands an extension, and none is known here (RFC 7515 section 4.1.11).
    #[error("the header demands an extension that is not supported")]
    Critical,
    /// A member changes what the token means in a way that is not supported: an unencoded payload
    /// (`b64`, RFC 7797), compression (`zip`), or a password-based key (`p2c`).
    #[error("the header member {0} is not supported")]
    Header(&'static str),
}

/// What is wrong with the token's form; the details of [`ParseError::Json`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There are not exactly three parts with dots between them.
    #[error("the token has not three parts")]
    Parts,
    /// The header is not base64url.
    #[error("the header is not base64url")]
    HeaderEncoding,
    /// The header is not a JSON object, or not strictly one.
    #[error("the header: {0}")]
    Header(JsonError),
    /// The payload is not base64url.
    #[error("the payload is not base64url")]
    PayloadEncoding,
    /// The claims are not JSON, or not strictly so.
    #[error("the claims: {0}")]
    Claims(JsonError),
}

/// Why a token is refused for its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The header names another algorithm than the key's (RFC 8725 section 3.1).
    #[error("the token is signed with {header}, the key is for {key}")]
    Algorithm {
        /// The algorithm of the token's header.
        header: Algorithm,
        /// The algorithm of the key.
        key: Algorithm,
    },
    /// The signature is not the key's.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// A parsed token, of which nothing is to be believed before [`Compact::verify`].
///
/// The payload `P` is the bytes that were signed or, in a [`Jwt`], the claims read from them.
pub struct Compact<'a, P = Vec<u8>> {
    signing_input: &'a str,
    header: Object,
    algorithm: Algorithm,
    payload: P,
    signature: Vec<u8>,
}

/// A parsed token whose payload is a claims set.
pub type Jwt<'a> = Compact<'a, Object>;

/// The content of a token whose signature was verified. Only [`Compact::verify`] makes one.
pub struct Verified<P> {
    header: Object,
    payload: P,
}

impl<'a> Compact<'a> {
    /// Parses a token whose payload may be any bytes (RFC 7515 section 5.2).
    pub fn parse(token: &'a str) -> Result<Compact<'a>, ParseError> {
        let parts = Parts::split(token)?;
        let header = parts.header()?;
        let payload = parts.payload()?;
        parts.compact(header, || Ok(payload))
    }
}

impl<'a> Compact<'a, Object> {
    /// Parses a token whose payload is a claims set (RFC 7519 section 7.2).
    pub fn parse_jwt(token: &'a str) -> Result<Jwt<'a>, ParseError> {
        let parts = Parts::split(token)?;
        let header = parts.header()?;
        let claims = match parts.payload()?.as_slice() {
            [] => Value::Null,
            text => json::value(text).map_err(Malformed::Claims)?,
        };
        parts.compact(header, || match claims {
            Value::Object(claims) => Ok(claims),
            _ => Err(ParseError::Claims),
        })
    }

    /// The claims before any verification: good for finding the key to verify with, and for
    /// nothing else.
    pub fn unverified_claims(&self) -> &Object {
        &self.payload
    }
}

impl<'a, P> Compact<'a, P> {
    /// The JOSE header, before any verification.
    pub fn header(&self) -> &Object {
        &self.header
    }

    /// The algorithm that the header names. It chooses among keys; it never decides how a key is
    /// used.
    pub fn alg(&self) -> Algorithm {
        self.algorithm
    }

    /// The `kid` of the header (RFC 7515 section 4.1.4).
    pub fn kid(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }

    /// The ASCII text that is signed: header and payload as they came (RFC 7515 section 5.2).
    pub fn signing_input(&self) -> &'a str {
        self.signing_input
    }

    /// The signature's bytes.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Verifies the signature with `key` and gives the content out.
    pub fn verify(self, key: &VerifyingKey) -> Result<Verified<P>, VerifyError> {
        self.check(key)?;
        Ok(Verified { header: self.header, payload: self.payload })
    }

    /// Verifies the signature with the first of `keys` that fits, for the candidates of a key
    /// set. Without any key that is [`SignatureError::Invalid`]; otherwise the last key's error.
    pub fn verify_with_any<'k>(
        self,
        keys: impl IntoIterator<Item = &'k VerifyingKey>,
    ) -> Result<Verified<P>, VerifyError> {
        let mut error = VerifyError::Signature(SignatureError::Invalid);
        for key in keys {
            match self.check(key) {
                Ok(()) => return Ok(Verified { header: self.header, payload: self.payload }),
                Err(refused) => error = refused,
            }
        }
        Err(error)
    }

    fn check(&self, key: &VerifyingKey) -> Result<(), VerifyError> {
        if self.algorithm != key.algorithm() {
            return Err(VerifyError::Algorithm { header: self.algorithm, key: key.algorithm() });
        }
        Ok(key.verify(self.signing_input.as_bytes(), &self.signature)?)
    }
}

impl<P> Verified<P> {
    /// The verified JOSE header.
    pub fn header(&self) -> &Object {
        &self.header
    }

    /// The verified payload.
    pub fn payload(&self) -> &P {
        &self.payload
    }

    /// Takes the verified payload out.
    pub fn into_payload(self) -> P {
        self.payload
    }
}

impl Verified<Object> {
    /// The verified claims.
    pub fn claims(&self) -> &Object {
        &self.payload
    }
}

// A token is a credential and its claims are personal data, so neither is shown.
impl<P> fmt::Debug for Compact<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compact").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl<P> fmt::Debug for Verified<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}

/// The three parts of a token, still encoded.
struct Parts<'a> {
    signing_input: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Parts<'a>, ParseError> {
        if token.len() > MAX_TOKEN {
            return Err(ParseError::TooLong);
        }
        let split = || {
            let (signing_input, signature) = token.rsplit_once('.')?;
            let (header, payload) = signing_input.split_once('.')?;
            Some(Parts { signing_input, header, payload, signature })
        };
        let parts = split().filter(|parts| !parts.payload.contains('.'));
        Ok(parts.ok_or(Malformed::Parts)?)
    }

    fn header(&self) -> Result<Object, Malformed> {
        let text = base64url::decode(self.header).map_err(|_| Malformed::HeaderEncoding)?;
        json::object(&text).map_err(Malformed::Header)
    }

    fn payload(&self) -> Result<Vec<u8>, Malformed> {
        base64url::decode(self.payload).map_err(|_| Malformed::PayloadEncoding)
    }

    /// Makes the checks that follow the parts' form, in the order [`ParseError`] promises.
    fn compact<P>(
        &self,
        header: Object,
        payload: impl FnOnce() -> Result<P, ParseError>,
    ) -> Result<Compact<'a, P>, ParseError> {
        let algorithm = header
            .get("alg")
            .and_then(Value::as_str)
            .and_then(|name| name.parse().ok())
            .ok_or(ParseError::Algorithm)?;
        let payload = payload()?;
        let signature = base64url::decode(self.signature)
            .ok()
            .filter(|signature| !signature.is_empty())
            .ok_or(ParseError::Signature)?;
        check_header(&header)?;
        let signing_input = self.signing_input;
        Ok(Compact { signing_input, header, algorithm, payload, signature })
    }
}

fn check_header(header: &Object) -> Result<(), ParseError> {
    match header.get("kid") {
        None => {}
        Some(Value::String(kid)) if kid.len() <= MAX_KEY_ID => {}
        Some(_) => return Err(ParseError::KeyId),
    }
    // No extension is known, so an empty or malformed list is refused as well: RFC 7515 section
    // 4.1.11 forbids both.
    if header.contains_key("crit") {
        return Err(ParseError::Critical);
    }
    if header.get("b64").is_some_and(|b64| *b64 != Value::Bool(true)) {
        return Err(ParseError::Header("b64"));
    }
    match ["zip", "p2c"].into_iter().find(|name| header.contains_key(*name)) {
        Some(name) => Err(ParseError::Header(name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Joins parts given as text, an already encoded one marked by `=`.
    fn token(header: &str, payload: &str, signature: &str) -> String {
        let part = |text: &str| match text.strip_prefix('=') {
            Some(raw) => raw.to_owned(),
            None => base64url::encode(text),
        };
        [part(header), part(payload), part(signature)].join(".")
    }

    #[test]
    fn faults_in_their_order() {
        const HS: &str = r#"{"alg":"HS256"}"#;
        let syntax = JsonError::Syntax;
        for (header, payload, signature, expect) in [
            (HS, "{}", "s", None),
            (HS, r#"{"iss":"a","aud":[]}"#, "s", None),
            (r#"{"alg":"HS256","kid":"a","typ":"JWT","b64":true}"#, "{}", "s", None),
            // (1) form
            ("=", "{}", "s", Some(Malformed::Header(syntax).into())),
            ("={}", "{}", "s", Some(Malformed::HeaderEncoding.into())),
            ("=e30=", "{}", "s", Some(Malformed::HeaderEncoding.into())),
            ("x", "=*", "=*", Some(Malformed::Header(syntax).into())),
            ("[]", "{}", "s", Some(Malformed::Header(JsonError::NotAnObject).into())),
            ("\"HS256\"", "{}", "s", Some(Malformed::Header(JsonError::NotAnObject).into())),
            (r#"{"alg":"HS256","alg":"HS256"}"#, "{}", "s", Some(Malformed::Header(JsonError::Duplicate).into())),
            (HS, "= e30", "s", Some(Malformed::PayloadEncoding.into())),
            (HS, "=e31", "s", Some(Malformed::PayloadEncoding.into())), // trailing bits
            (HS, " ", "s", Some(Malformed::Claims(syntax).into())),
            (HS, "{", "s", Some(Malformed::Claims(syntax).into())),
            (HS, r#"{"a":{"b":1,"b":1}}"#, "s", Some(Malformed::Claims(JsonError::Duplicate).into())),
            ("{}", "{", "=", Some(Malformed::Claims(syntax).into())),
            // (2) algorithm
            ("{}", "[]", "=", Some(ParseError::Algorithm)),
            (r#"{"alg":"none"}"#, "{}", "=", Some(ParseError::Algorithm)),
            (r#"{"alg":"None"}"#, "{}", "s", Some(ParseError::Algorithm)),
            (r#"{"alg":"NONE"}"#, "{}", "s", Some(ParseError::Algorithm)),
            (r#"{"alg":"nOnE"}"#, "{}", "s", Some(ParseError::Algorithm)),
            (r#"{"alg":"hs256"}"#, "{}", "s", Some(ParseError::Algorithm)),
            (r#"{"alg":""}"#, "{}", "s", Some(ParseError::Algorithm)),
            (r#"{"alg":null}"#, "{}", "s", Some(ParseError::Algorithm)),
            (r#"{"alg":["HS256"]}"#, "{}", "s", Some(ParseError::Algorithm)),
            (r#"{"alg":1}"#, "{}", "s", Some(ParseError::Algorithm)),
            (r#"{"ALG":"HS256"}"#, "{}", "s", Some(ParseError::Algorithm)),
            (r#"{"alg":"RSA-OAEP"}"#, "{}", "s", Some(ParseError::Algorithm)),
            // (3) claims
            (HS, "[]", "=", Some(ParseError::Claims)),
            (HS, "=", "s", Some(ParseError::Claims)),
            (HS, "=", "=", Some(ParseError::Claims)),
            (HS, "null", "s", Some(ParseError::Claims)),
            (HS, "\"{}\"", "s", Some(ParseError::Claims)),
            // (4) signature
            (HS, "{}", "=", Some(ParseError::Signature)),
            (HS, "{}", "=cw==", Some(ParseError::Signature)),
            (HS, "{}", "=cw ", Some(ParseError::Signature)),
            (HS, "{}", "=+/+/", Some(ParseError::Signature)),
            (HS, "{}", "=cx", Some(ParseError::Signature)), // trailing bits
            // (5) the rest of the header
            (r#"{"alg":"HS256","kid":1}"#, "{}", "s", Some(ParseError::KeyId)),
            (r#"{"alg":"HS256","kid":null}"#, "{}", "s", Some(ParseError::KeyId)),
            (r#"{"alg":"HS256","kid":["a"]}"#, "{}", "s", Some(ParseError::KeyId)),
            (r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, "{}", "s", Some(ParseError::Critical)),
            (r#"{"alg":"HS256","crit":["alg"]}"#, "{}", "s", Some(ParseError::Critical)),
            (r#"{"alg":"HS256","crit":[]}"#, "{}", "s", Some(ParseError::Critical)),
            (r#"{"alg":"HS256","crit":null}"#, "{}", "s", Some(ParseError::Critical)),
            (r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#, "{}", "s", Some(ParseError::Critical)),
            (r#"{"alg":"HS256","b64":false}"#, "{}", "s", Some(ParseError::Header("b64"))),
            (r#"{"alg":"HS256","b64":"false"}"#, "{}", "s", Some(ParseError::Header("b64"))),
            (r#"{"alg":"HS256","zip":"DEF"}"#, "{}", "s", Some(ParseError::Header("zip"))),
            (r#"{"alg":"HS256","p2c":1000000000}"#, "{}", "s", Some(ParseError::Header("p2c"))),
        ] {
            let token = token(header, payload, signature);
            assert_eq!(Compact::parse_jwt(&token).err(), expect, "{header} {payload} {signature}");
        }
    }

    #[test]
    fn three_parts_of_bounded_length() {
        let parts = Some(ParseError::Json(Malformed::Parts));
        let long = |length: usize| {
            let head = token(r#"{"alg":"HS256"}"#, "{}", "=");
            format!("{head}{}", "A".repeat(length - head.len()))
        };
        for (token, expect) in [
            (String::new(), parts),
            ("..".to_owned(), Some(Malformed::Header(JsonError::Syntax).into())),
            ("e30.e30".to_owned(), parts),
            ("e30".to_owned(), parts),
            ("e30.e30.cw.".to_owned(), parts),
            ("e30.e30.cw.cw".to_owned(), parts),
            ("e30.e30.cw.cw.cw".to_owned(), parts),
            (r#"{"payload":"e30","signatures":[]}"#.to_owned(), parts),
            (".".repeat(MAX_TOKEN), parts),
            (".".repeat(MAX_TOKEN + 1), Some(ParseError::TooLong)),
            (long(MAX_TOKEN - 1), None),
            (long(MAX_TOKEN + 1), Some(ParseError::TooLong)),
        ] {
            let error = Compact::parse_jwt(&token).err();
            // A long signature may have an impossible length in base64url; that is not its fault.
            assert_eq!(error.filter(|e| *e != ParseError::Signature), expect, "{}", token.len());
        }
    }

    #[test]
    fn a_payload_need_not_be_json() {
        let token = token(r#"{"alg":"ES256"}"#, "\u{1}not JSON", "s");
        let compact = Compact::parse(&token).unwrap();
        assert_eq!(compact.payload, b"\x01not JSON");
        assert_eq!(compact.alg(), Algorithm::ES256);
        assert_eq!(compact.kid(), None);
        assert_eq!(compact.signature(), b"s");
        assert_eq!(Some(compact.signing_input()), token.rsplit_once('.').map(|(input, _)| input));
    }

    #[test]
    fn an_absurdly_long_kid_is_refused() {
        let kid = |n: usize| token(&format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(n)), "{}", "s");
        assert!(Compact::parse_jwt(&kid(MAX_KEY_ID)).is_ok());
        assert_eq!(Compact::parse_jwt(&kid(MAX_KEY_ID + 1)).err(), Some(ParseError::KeyId));
    }

    #[test]
    fn debug_shows_no_token() {
        let token = token(r#"{"alg":"HS256","kid":"k"}"#, r#"{"sub":"alice"}"#, "s");
        let jwt = Compact::parse_jwt(&token).unwrap();
        assert_eq!(format!("{jwt:?}"), "Compact { algorithm: HS256, .. }");
    }
}
