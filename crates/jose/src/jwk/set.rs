//! JWK Sets and the choice of keys for a token (RFC 7517 section 5).

use serde_json::Value;

use super::{Jwk, JwkError};
use crate::algorithm::{Algorithm, Family};
use crate::json::{self, JsonError};
use crate::key::VerifyingKey;

/// Why a text is no JWK Set at all. Keys in it that cannot be used are not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkSetError {
    /// The text is not a JSON object.
    #[error("the key set is not an object: {0}")]
    Json(#[from] JsonError),
    /// There is no `keys` array: an error page or `{}` must not pass for an empty set.
    #[error("the key set has no array of keys")]
    Keys,
}

/// The usable keys of a JWK Set, parsed once.
#[derive(Debug)]
pub struct JwkSet {
    keys: Vec<Entry>,
    skipped: Vec<JwkError>,
    /// The `kid` of each `oct` key, the skipped ones included.
    secrets: Vec<Option<String>>,
    /// Whether anything but an `oct` key is in the set.
    public: bool,
}

#[derive(Debug)]
struct Entry {
    kid: Option<String>,
    key: VerifyingKey,
}

impl JwkSet {
    /// Reads a JWK Set. A key of an unknown type, curve or use, or a malformed one, is skipped
    /// and leaves the others usable (RFC 7517 section 5).
    pub fn parse(text: &[u8]) -> Result<JwkSet, JwkSetError> {
        let set = json::object(text)?;
        let Some(Value::Array(elements)) = set.get("keys") else { return Err(JwkSetError::Keys) };
        let (mut keys, mut skipped, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
        for element in elements {
            if is_secret(element) {
                secrets.push(element.get("kid").and_then(Value::as_str).map(str::to_owned));
            }
            match read(element) {
                Ok(entries) => keys.extend(entries),
                Err(error) => skipped.push(error),
            }
        }
        let public = secrets.len() < elements.len();
        Ok(JwkSet { keys, skipped, secrets, public })
    }

    /// Whether no key of the set can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Why keys were skipped, in their order.
    pub fn skipped(&self) -> &[JwkError] {
        &self.skipped
    }

    /// The keys to try for a token with this `kid` and `alg`.
    ///
    /// With a `kid`, all keys of that name and algorithm: issuers do reuse names while they rotate
    /// keys. Without one, the only key of that algorithm, or none where there are several, since
    /// a token would otherwise be tried against keys it does not ask for.
    ///
    /// Shared secrets are offered only where that is unambiguous: from a set that holds nothing
    /// but secrets (a set with public keys is itself public, and so would be the secret) and
    /// under a name no other secret has, usable or not.
    pub fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<&VerifyingKey> {
        let symmetric = algorithm.family() == Family::Hmac;
        if symmetric && (self.public || kid.is_some_and(|kid| self.is_shared_by_secrets(kid))) {
            return Vec::new();
        }
        let found: Vec<&VerifyingKey> = self
            .keys
            .iter()
            .filter(|entry| entry.key.algorithm() == algorithm)
            .filter(|entry| kid.is_none() || entry.kid.as_deref() == kid)
            .map(|entry| &entry.key)
            .collect();
        if kid.is_none() && found.len() > 1 {
            return Vec::new();
        }
        found
    }

    fn is_shared_by_secrets(&self, kid: &str) -> bool {
        self.secrets.iter().filter(|name| name.as_deref() == Some(kid)).count() > 1
    }
}

fn is_secret(element: &Value) -> bool {
    element.get("kty").is_some_and(|kty| kty == "oct")
}

fn read(element: &Value) -> Result<Vec<Entry>, JwkError> {
    let members = element.as_object().ok_or(JsonError::NotAnObject)?;
    let jwk = Jwk::from_object(members)?;
    let keys = jwk.verifying_keys()?;
    Ok(keys.into_iter().map(|key| Entry { kid: jwk.kid().map(str::to_owned), key }).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::KeyError;

    const EC1: &str = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;
    const EC2: &str = r#""kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#;
    const ED: &str = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
    const OCT: &str = r#""kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA""#;

    fn set(keys: &[String]) -> JwkSet {
        JwkSet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).unwrap()
    }

    fn named(members: &str, kid: &str) -> String {
        format!(r#"{{{members},"kid":"{kid}"}}"#)
    }

    #[test]
    fn candidates_by_name_and_algorithm() {
        let unnamed = format!("{{{EC1}}}");
        let several = set(&[named(EC1, "a"), named(EC2, "a"), named(EC2, "b"), named(ED, "a")]);
        let single = set(&[named(EC1, "a"), named(ED, "b")]);
        let rotated = set(&[unnamed.clone(), named(EC2, "a")]);
        let mixed = set(&[named(EC1, "a"), named(OCT, "s")]);
        let encryption = set(&[named(&format!(r#"{EC1},"use":"enc""#), "a"), named(OCT, "s")]);
        let malformed = set(&[named(OCT, "s"), named(r#""kty":"oct","k":"*""#, "s")]);
        let secrets = set(&[named(OCT, "s"), named(OCT, "t"), named(OCT, "t")]);
        for (what, set, kid, algorithm, expect) in [
            ("duplicate names are all tried", &several, Some("a"), Algorithm::ES256, 2),
            ("one name", &several, Some("b"), Algorithm::ES256, 1),
            ("the same name of another type", &several, Some("a"), Algorithm::EdDSA, 1),
            ("an unknown name", &several, Some("c"), Algorithm::ES256, 0),
            ("an empty name is a name", &several, Some(""), Algorithm::ES256, 0),
            ("no name and several keys", &several, None, Algorithm::ES256, 0),
            ("no name and one key", &several, None, Algorithm::EdDSA, 1),
            ("no name and one key", &single, None, Algorithm::ES256, 1),
            ("another algorithm", &single, None, Algorithm::RS256, 0),
            ("a name never means an unnamed key", &rotated, Some("b"), Algorithm::ES256, 0),
            ("a secret beside public keys", &mixed, Some("s"), Algorithm::HS256, 0),
            ("a secret beside an unusable public key", &encryption, Some("s"), Algorithm::HS256, 0),
            ("a secret with a malformed namesake", &malformed, Some("s"), Algorithm::HS256, 0),
            ("public keys beside a secret", &mixed, Some("a"), Algorithm::ES256, 1),
            ("a secret by name", &secrets, Some("s"), Algorithm::HS256, 1),
            ("an ambiguous secret", &secrets, Some("t"), Algorithm::HS256, 0),
            ("a secret too short for the hash", &secrets, Some("s"), Algorithm::HS384, 0),
        ] {
            assert_eq!(set.candidates(kid, algorithm).len(), expect, "{what}");
        }
    }

    #[test]
    fn unusable_keys_are_skipped() {
        let set = set(&[
            named(r#""kty":"AKP","alg":"ML-DSA-44","pub":"AA""#, "pq"),
            named(r#""kty":"EC","crv":"secp256k1","x":"AA","y":"AA""#, "k1"),
            named(&format!(r#"{EC1},"use":"enc""#), "enc"),
            named(&EC1.replace("5a0", "5a4"), "off-curve"),
            named(r#""kty":"RSA","n":"_w","e":"AQAB""#, "short"),
            "7".to_owned(),
            named(EC1, "good"),
        ]);
        assert!(!set.is_empty());
        assert_eq!(set.candidates(Some("good"), Algorithm::ES256).len(), 1);
        assert_eq!(
            set.skipped(),
            [
                JwkError::KeyType,
                JwkError::UnknownCurve,
                JwkError::Use,
                JwkError::Key(KeyError::Point),
                JwkError::Key(KeyError::RsaModulusLength(8)),
                JwkError::Json(JsonError::NotAnObject),
            ]
        );
    }

    #[test]
    fn what_is_no_set() {
        for (text, expect) in [
            ("{}", JwkSetError::Keys),
            (r#"{"keys":{}}"#, JwkSetError::Keys),
            (r#"{"keys":null}"#, JwkSetError::Keys),
            ("[]", JwkSetError::Json(JsonError::NotAnObject)),
            ("", JwkSetError::Json(JsonError::Syntax)),
            ("<html></html>", JwkSetError::Json(JsonError::Syntax)),
            (r#"{"keys":[],"keys":[]}"#, JwkSetError::Json(JsonError::Duplicate)),
            (r#"{"keys":[{"kid":"a","kid":"b"}]}"#, JwkSetError::Json(JsonError::Duplicate)),
        ] {
            assert_eq!(JwkSet::parse(text.as_bytes()).err(), Some(expect), "{text}");
        }
        assert!(set(&[]).is_empty());
    }
}
