//! JSON Web Keys for verification (RFC 7517, RFC 7518 section 6, RFC 8037 section 2).

mod set;

use std::fmt;

use serde_json::Value;

use crate::algorithm::{Algorithm, Family};
use crate::base64url;
use crate::json::{self, JsonError, Object};
use crate::jws::MAX_KEY_ID;
use crate::key::{KeyError, VerifyingKey};

pub use set::{JwkSet, JwkSetError};

/// Why a JWK is not used for verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// The JWK is not a JSON object.
    #[error("the key is not an object: {0}")]
    Json(#[from] JsonError),
    /// `kty` names a type that is not known here.
    #[error("the key type is not known")]
    KeyType,
    /// `crv` names a curve that no algorithm here uses.
    #[error("the curve is not known")]
    UnknownCurve,
    /// `use` is not `sig`, or `key_ops` lacks `verify` (RFC 7517 sections 4.2 and 4.3).
    #[error("the key is not meant for verifying signatures")]
    Use,
    /// `alg` is not a signature algorithm of this crate, or not one for this type of key.
    #[error("the key's algorithm is no supported signature algorithm for it")]
    Algorithm,
    /// A member is absent, of another type, or not base64url.
    #[error("the member {0} is missing or malformed")]
    Member(&'static str),
    /// A coordinate has not exactly the length of its curve (RFC 7518 section 6.2.1.2).
    #[error("a coordinate has not the length of its curve")]
    CoordinateLength,
    /// The key itself is unusable.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A curve of RFC 7518 section 6.2.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    fn coordinate_len(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Curve::P256 => Algorithm::ES256,
            Curve::P384 => Algorithm::ES384,
            Curve::P521 => Algorithm::ES512,
        }
    }
}

/// The public members of a key. Private ones (`d`, `p`, `q`, ...) are never read.
pub(crate) enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec { curve: Curve, x: Vec<u8>, y: Vec<u8> },
    Ed25519(Vec<u8>),
    Symmetric(Vec<u8>),
}

/// A JWK that may be used for verification. [`VerifyingKey::from_jwk`] makes a key of it.
pub struct Jwk {
    kid: Option<String>,
    algorithm: Option<Algorithm>,
    material: Material,
}

impl Jwk {
    /// Reads one JWK from JSON.
    pub fn parse(text: &[u8]) -> Result<Jwk, JwkError> {
        Jwk::from_object(&json::object(text)?)
    }

    /// Reads one JWK from an object. Members not known here are ignored (RFC 7517 section 4).
    pub fn from_object(members: &Object) -> Result<Jwk, JwkError> {
        let material = match text(members, "kty")? {
            "RSA" => Material::Rsa { n: bytes(members, "n")?, e: bytes(members, "e")? },
            "EC" => elliptic_curve(members)?,
            "OKP" => octet_key_pair(members)?,
            "oct" => Material::Symmetric(bytes(members, "k")?),
            _ => return Err(JwkError::KeyType),
        };
        check_use(members)?;
        let algorithm = match optional_text(members, "alg")? {
            None => None,
            Some(name) => Some(name.parse().map_err(|_| JwkError::Algorithm)?),
        };
        let jwk = Jwk { kid: key_id(members)?, algorithm, material };
        if algorithm.is_some_and(|algorithm| !jwk.material.serves(algorithm)) {
            return Err(JwkError::Algorithm);
        }
        Ok(jwk)
    }

    /// The key's `kid` (RFC 7517 section 4.5): an opaque name, only ever compared.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The key's `alg`, where it has one (RFC 7517 section 4.4).
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    pub(crate) fn material(&self) -> &Material {
        &self.material
    }

    /// One key for each algorithm this JWK serves: its `alg`, or else every one of its type. An
    /// `oct` key without `alg` serves those whose hash is no longer than the secret.
    fn verifying_keys(&self) -> Result<Vec<VerifyingKey>, KeyError> {
        let (mut keys, mut refused) = (Vec::new(), None);
        for algorithm in Algorithm::ALL {
            if self.material.serves(algorithm) && self.algorithm.is_none_or(|a| a == algorithm) {
                match VerifyingKey::from_jwk(self, algorithm) {
                    Ok(key) => keys.push(key),
                    Err(error) => refused = Some(error),
                }
            }
        }
        match refused {
            Some(error) if keys.is_empty() => Err(error),
            _ => Ok(keys),
        }
    }
}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Material {
    fn serves(&self, algorithm: Algorithm) -> bool {
        match self {
            Material::Rsa { .. } => algorithm.family() == Family::Rsa,
            Material::Ec { curve, .. } => algorithm == curve.algorithm(),
            Material::Ed25519(_) => algorithm == Algorithm::EdDSA,
            Material::Symmetric(_) => algorithm.family() == Family::Hmac,
        }
    }
}

fn elliptic_curve(members: &Object) -> Result<Material, JwkError> {
    let curve = match text(members, "crv")? {
        "P-256" => Curve::P256,
        "P-384" => Curve::P384,
        "P-521" => Curve::P521,
        _ => return Err(JwkError::UnknownCurve),
    };
    let coordinate = |name| match bytes(members, name)? {
        octets if octets.len() == curve.coordinate_len() => Ok(octets),
        _ => Err(JwkError::CoordinateLength),
    };
    Ok(Material::Ec { curve, x: coordinate("x")?, y: coordinate("y")? })
}

fn octet_key_pair(members: &Object) -> Result<Material, JwkError> {
    match text(members, "crv")? {
        "Ed25519" => {}
        _ => return Err(JwkError::UnknownCurve),
    }
    match bytes(members, "x")? {
        x if x.len() == 32 => Ok(Material::Ed25519(x)),
        _ => Err(JwkError::CoordinateLength),
    }
}

/// A key published for encryption must not verify signatures, whatever the token asks for (RFC
/// 7517 sections 4.2 and 4.3).
fn check_use(members: &Object) -> Result<(), JwkError> {
    if optional_text(members, "use")?.is_some_and(|name| name != "sig") {
        return Err(JwkError::Use);
    }
    match members.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|op| op == "verify") => Ok(()),
        Some(Value::Array(_)) => Err(JwkError::Use),
        Some(_) => Err(JwkError::Member("key_ops")),
    }
}

fn key_id(members: &Object) -> Result<Option<String>, JwkError> {
    match optional_text(members, "kid")? {
        Some(kid) if kid.len() > MAX_KEY_ID => Err(JwkError::Member("kid")),
        kid => Ok(kid.map(str::to_owned)),
    }
}

fn optional_text<'m>(members: &'m Object, name: &'static str) -> Result<Option<&'m str>, JwkError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JwkError::Member(name)),
    }
}

fn text<'m>(members: &'m Object, name: &'static str) -> Result<&'m str, JwkError> {
    optional_text(members, name)?.ok_or(JwkError::Member(name))
}

fn bytes(members: &Object, name: &'static str) -> Result<Vec<u8>, JwkError> {
    base64url::decode(text(members, name)?).map_err(|_| JwkError::Member(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn check(members: &str, expect: Result<(), JwkError>) {
        let members = members.replace("$X", X).replace("$Y", Y);
        assert_eq!(Jwk::parse(members.as_bytes()).map(|_| ()), expect, "{members}");
    }

    #[test]
    fn members_decide_whether_a_key_is_used() {
        let ec = |rest: &str| format!(r#"{{"kty":"EC","crv":"P-256","x":"$X","y":"$Y"{rest}}}"#);
        for (rest, expect) in [
            ("", Ok(())),
            (r#","alg":"ES256","use":"sig","key_ops":["verify"],"kid":"1""#, Ok(())),
            (r#","d":"not even base64url!","x5c":7,"whatever":{}"#, Ok(())),
            (r#","use":"enc""#, Err(JwkError::Use)),
            (r#","use":"SIG""#, Err(JwkError::Use)),
            (r#","use":["sig"]"#, Err(JwkError::Member("use"))),
            (r#","key_ops":["sign"]"#, Err(JwkError::Use)),
            (r#","key_ops":["sign, verify"]"#, Err(JwkError::Use)),
            (r#","key_ops":[]"#, Err(JwkError::Use)),
            (r#","key_ops":"verify""#, Err(JwkError::Member("key_ops"))),
            (r#","use":"sig","key_ops":["deriveKey"]"#, Err(JwkError::Use)),
            (r#","alg":"ES384""#, Err(JwkError::Algorithm)),
            (r#","alg":"ES521""#, Err(JwkError::Algorithm)),
            (r#","alg":"HS256""#, Err(JwkError::Algorithm)),
            (r#","alg":"none""#, Err(JwkError::Algorithm)),
            (r#","alg":"ECDH-ES""#, Err(JwkError::Algorithm)),
            (r#","alg":1"#, Err(JwkError::Member("alg"))),
            (r#","kid":1"#, Err(JwkError::Member("kid"))),
            (r#","kty":"EC""#, Err(JwkError::Json(JsonError::Duplicate))),
        ] {
            check(&ec(rest), expect);
        }
        check(&ec(&format!(r#","kid":"{}""#, "k".repeat(257))), Err(JwkError::Member("kid")));
    }

    #[test]
    fn types_curves_and_coordinates() {
        for (members, expect) in [
            (r#"{}"#, Err(JwkError::Member("kty"))),
            (r#"{"kty":"AKP","x":"$X"}"#, Err(JwkError::KeyType)),
            (r#"{"kty":"ec","crv":"P-256","x":"$X","y":"$Y"}"#, Err(JwkError::KeyType)),
            (r#"{"kty":"RSA","crv":"P-256","x":"$X","y":"$Y"}"#, Err(JwkError::Member("n"))),
            (r#"{"kty":"EC","crv":"secp256k1","x":"$X","y":"$Y"}"#, Err(JwkError::UnknownCurve)),
            (r#"{"kty":"EC","crv":"P-384","x":"$X","y":"$Y"}"#, Err(JwkError::CoordinateLength)),
            (r#"{"kty":"EC","crv":"P-256","x":"$X","y":"AA"}"#, Err(JwkError::CoordinateLength)),
            (r#"{"kty":"EC","crv":"P-256","x":"$X"}"#, Err(JwkError::Member("y"))),
            (r#"{"kty":"EC","crv":"P-256","x":"$X=","y":"$Y"}"#, Err(JwkError::Member("x"))),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"$X"}"#, Ok(())),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#, Err(JwkError::CoordinateLength)),
            (r#"{"kty":"OKP","crv":"X25519","x":"$X"}"#, Err(JwkError::UnknownCurve)),
            (r#"{"kty":"OKP","crv":"Ed448","x":"$X"}"#, Err(JwkError::UnknownCurve)),
            (r#"{"kty":"oct","k":"$X","alg":"A256GCM"}"#, Err(JwkError::Algorithm)),
            (r#"{"kty":"oct","k":"$X","alg":"ES256"}"#, Err(JwkError::Algorithm)),
            (r#"{"kty":"oct"}"#, Err(JwkError::Member("k"))),
            (r#"[]"#, Err(JwkError::Json(JsonError::NotAnObject))),
        ] {
            check(members, expect);
        }
    }

    #[test]
    fn a_key_is_made_only_for_its_algorithm() {
        let ec = format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"}}"#);
        let off_curve = ec.replace("5a0", "5a4");
        let pinned = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T","alg":"HS256"}"#;
        let rsa1024 = format!(r#"{{"kty":"RSA","e":"AQAB","n":"{}"}}"#, base64url::encode([0xff; 128]));
        for (jwk, algorithm, expect) in [
            (ec.as_str(), Algorithm::ES256, Ok(())),
            (&ec, Algorithm::ES384, Err(KeyError::Curve)),
            (&ec, Algorithm::RS256, Err(KeyError::Family)),
            (&ec, Algorithm::HS256, Err(KeyError::Family)),
            (&ec, Algorithm::EdDSA, Err(KeyError::Family)),
            (&off_curve, Algorithm::ES256, Err(KeyError::Point)),
            (pinned, Algorithm::HS256, Ok(())),
            (pinned, Algorithm::HS384, Err(KeyError::Algorithm)),
            (&rsa1024, Algorithm::RS256, Err(KeyError::RsaModulusLength(1024))),
            (&rsa1024, Algorithm::HS256, Err(KeyError::Family)),
        ] {
            let key = VerifyingKey::from_jwk(&Jwk::parse(jwk.as_bytes()).unwrap(), algorithm);
            assert_eq!(key.map(|_| ()), expect, "{jwk} {algorithm}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let jwk = Jwk::parse(br#"{"kty":"oct","k":"c2VjcmV0","kid":"a"}"#).unwrap();
        assert_eq!(format!("{jwk:?}"), r#"Jwk { kid: Some("a"), algorithm: None, .. }"#);
    }
}
