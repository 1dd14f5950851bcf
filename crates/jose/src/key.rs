//! A verification key: key material bound to the one algorithm it may be used with.

mod pem;
mod rsa;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters};

use crate::algorithm::Algorithm;
use crate::jwk::{Curve, Jwk, Material as JwkMaterial};

/// Why key material does not make a [`VerifyingKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The algorithm takes another kind of key. This is what makes the confusion of a public key
    /// with an HMAC secret impossible (RFC 8725 section 2.1).
    #[error("the algorithm does not take this kind of key")]
    Family,
    /// The JWK's own `alg` names another algorithm (RFC 7517 section 4.4).
    #[error("the key is meant for another algorithm")]
    Algorithm,
    /// An HMAC secret must be at least as long as the hash (RFC 7518 section 3.2).
    #[error("the secret is shorter than the {0} bytes the algorithm needs")]
    SecretTooShort(usize),
    /// An empty secret authenticates nothing.
    #[error("the secret is empty")]
    SecretEmpty,
    /// The text is not one PEM block (RFC 7468) of a public key.
    #[error("not a PEM public key")]
    Pem,
    /// A private key stands where a public key belongs.
    #[error("a private key where a public key belongs")]
    PrivateKey,
    /// The DER inside the PEM block is not a public key.
    #[error("the public key's DER encoding is malformed")]
    Der,
    /// RSA keys have 2048 to 8192 bits (RFC 7518 sections 3.3 and 3.5).
    #[error("an RSA modulus of {0} bits, not 2048 to 8192")]
    RsaModulusLength(usize),
    /// The modulus is even or starts with a zero octet (RFC 7518 section 6.3.1.1).
    #[error("the RSA modulus is malformed")]
    RsaModulus,
    /// The public exponent must be odd and at least 65537; past 33 bits it only costs time.
    #[error("the RSA public exponent is not an odd number from 65537 to 2^33")]
    RsaExponent,
    /// The modulus has the structure of the keys that CVE-2017-15361 (ROCA) factors.
    #[error("the RSA modulus is one of the factorable ROCA kind")]
    RsaRoca,
    /// The key is on another curve than the algorithm's (RFC 7518 section 3.4).
    #[error("the key is not on the algorithm's curve")]
    Curve,
    /// The coordinates are no point of the curve.
    #[error("the key is not a point of its curve")]
    Point,
}

/// Why a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The signature has not the length its algorithm fixes. A DER-encoded ECDSA signature ends
    /// here (RFC 7518 section 3.4).
    #[error("the signature has not the length of its algorithm")]
    Length,
    /// The signature is not this key's over this input.
    #[error("the signature is invalid")]
    Invalid,
}

/// Key material and the only algorithm it verifies. The material is parsed once; clones share it.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Secret(Arc<hmac::Key>),
    Public(Arc<ParsedPublicKey>),
}

impl VerifyingKey {
    /// A shared secret for HS256, HS384 or HS512, at least as long as the hash (RFC 7518 section
    /// 3.2).
    pub fn hmac(algorithm: Algorithm, secret: &[u8]) -> Result<VerifyingKey, KeyError> {
        let hash = hmac_algorithm(algorithm)?.digest_algorithm().output_len();
        if !secret.is_empty() && secret.len() < hash {
            return Err(KeyError::SecretTooShort(hash));
        }
        VerifyingKey::hmac_of_any_length(algorithm, secret)
    }

    /// A shared secret of any length but zero, for secrets that an existing configuration already
    /// holds and that cannot be changed on this side alone. Everything else uses
    /// [`VerifyingKey::hmac`].
    pub fn hmac_of_any_length(algorithm: Algorithm, secret: &[u8]) -> Result<VerifyingKey, KeyError> {
        let hash = hmac_algorithm(algorithm)?;
        if secret.is_empty() {
            return Err(KeyError::SecretEmpty);
        }
        let material = Material::Secret(Arc::new(hmac::Key::new(hash, secret)));
        Ok(VerifyingKey { algorithm, material })
    }

    /// A public key from one PEM block (RFC 7468): a SubjectPublicKeyInfo (`PUBLIC KEY`, RFC 5280
    /// section 4.1) or, for RSA, a PKCS#1 `RSA PUBLIC KEY` (RFC 8017 appendix A.1.1). An elliptic
    /// curve is given by name; a key restricted to RSASSA-PSS by its own identifier is not taken.
    pub fn from_pem(algorithm: Algorithm, pem: &str) -> Result<VerifyingKey, KeyError> {
        let block = pem::block(pem)?;
        match public_algorithm(algorithm)? {
            Public::Rsa(parameters) => {
                let (n, e) = block.rsa()?;
                Ok(VerifyingKey::public(algorithm, rsa::public_key(parameters, n, e)?))
            }
            Public::Ecdsa(curve, ecdsa) => VerifyingKey::point(algorithm, ecdsa, block.ec(curve)?),
            Public::Ed25519 => VerifyingKey::ed25519(algorithm, block.ed25519()?),
        }
    }

    /// A key from a JWK (RFC 7517). The JWK's `alg`, where it has one, must be `algorithm`.
    pub fn from_jwk(jwk: &Jwk, algorithm: Algorithm) -> Result<VerifyingKey, KeyError> {
        if jwk.algorithm().is_some_and(|own| own != algorithm) {
            return Err(KeyError::Algorithm);
        }
        let material = jwk.material();
        if let JwkMaterial::Symmetric(secret) = material {
            return VerifyingKey::hmac(algorithm, secret);
        }
        match (public_algorithm(algorithm)?, material) {
            (Public::Rsa(parameters), JwkMaterial::Rsa { n, e }) => {
                Ok(VerifyingKey::public(algorithm, rsa::public_key(parameters, n, e)?))
            }
            (Public::Ecdsa(curve, _), JwkMaterial::Ec { curve: own, .. }) if curve != *own => Err(KeyError::Curve),
            (Public::Ecdsa(_, ecdsa), JwkMaterial::Ec { x, y, .. }) => {
                // SEC 1 section 2.3.3: 04 marks an uncompressed point.
                let point = [&[0x04], x.as_slice(), y.as_slice()].concat();
                VerifyingKey::point(algorithm, ecdsa, &point)
            }
            (Public::Ed25519, JwkMaterial::Ed25519(x)) => VerifyingKey::ed25519(algorithm, x),
            _ => Err(KeyError::Family),
        }
    }

    /// The only algorithm this key verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Verifies `signature` over `signing_input` (RFC 7515 section 5.2). HMACs are compared in
    /// constant time; an ECDSA signature is R and S as two numbers of fixed length, neither of
    /// them zero or past the group's order (RFC 7518 section 3.4).
    pub fn verify(&self, signing_input: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        if self.algorithm.signature_len().is_some_and(|length| length != signature.len()) {
            return Err(SignatureError::Length);
        }
        match &self.material {
            Material::Secret(key) => hmac::verify(key, signing_input, signature),
            Material::Public(key) => key.verify_sig(signing_input, signature),
        }
        .map_err(|_| SignatureError::Invalid)
    }

    fn public(algorithm: Algorithm, key: ParsedPublicKey) -> VerifyingKey {
        VerifyingKey { algorithm, material: Material::Public(Arc::new(key)) }
    }

    fn point(
        algorithm: Algorithm,
        ecdsa: &'static EcdsaVerificationAlgorithm,
        point: &[u8],
    ) -> Result<VerifyingKey, KeyError> {
        // The library refuses a point that is not on the curve, and with it the invalid-curve
        // attacks of RFC 8725 section 2.5.
        let key = ParsedPublicKey::new(ecdsa, point).map_err(|_| KeyError::Point)?;
        Ok(VerifyingKey::public(algorithm, key))
    }

    fn ed25519(algorithm: Algorithm, x: &[u8]) -> Result<VerifyingKey, KeyError> {
        let key = ParsedPublicKey::new(&signature::ED25519, x).map_err(|_| KeyError::Point)?;
        Ok(VerifyingKey::public(algorithm, key))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// What an asymmetric algorithm is to the cryptographic library.
enum Public {
    Rsa(&'static RsaParameters),
    Ecdsa(Curve, &'static EcdsaVerificationAlgorithm),
    Ed25519,
}

fn public_algorithm(algorithm: Algorithm) -> Result<Public, KeyError> {
    Ok(match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return Err(KeyError::Family),
        Algorithm::RS256 => Public::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Public::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Public::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Public::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Public::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Public::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Public::Ecdsa(Curve::P256, &signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Public::Ecdsa(Curve::P384, &signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::ES512 => Public::Ecdsa(Curve::P521, &signature::ECDSA_P521_SHA512_FIXED),
        Algorithm::EdDSA => Public::Ed25519,
    })
}

fn hmac_algorithm(algorithm: Algorithm) -> Result<hmac::Algorithm, KeyError> {
    match algorithm {
        Algorithm::HS256 => Ok(hmac::HMAC_SHA256),
        Algorithm::HS384 => Ok(hmac::HMAC_SHA384),
        Algorithm::HS512 => Ok(hmac::HMAC_SHA512),
        _ => Err(KeyError::Family),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_as_long_as_the_hash() {
        for (algorithm, length, expect) in [
            (Algorithm::HS256, 0, Err(KeyError::SecretEmpty)),
            (Algorithm::HS256, 31, Err(KeyError::SecretTooShort(32))),
            (Algorithm::HS256, 32, Ok(())),
            (Algorithm::HS384, 47, Err(KeyError::SecretTooShort(48))),
            (Algorithm::HS384, 48, Ok(())),
            (Algorithm::HS512, 63, Err(KeyError::SecretTooShort(64))),
            (Algorithm::HS512, 200, Ok(())),
            (Algorithm::RS256, 32, Err(KeyError::Family)),
            (Algorithm::ES256, 64, Err(KeyError::Family)),
            (Algorithm::EdDSA, 32, Err(KeyError::Family)),
        ] {
            let secret = vec![7; length];
            assert_eq!(VerifyingKey::hmac(algorithm, &secret).map(|_| ()), expect);
        }
    }

    #[test]
    fn a_secret_of_any_length_is_not_an_empty_one() {
        let any = |secret: &[u8]| VerifyingKey::hmac_of_any_length(Algorithm::HS512, secret).map(|_| ());
        assert_eq!(any(b"x"), Ok(()));
        assert_eq!(any(b""), Err(KeyError::SecretEmpty));
    }

    #[test]
    fn debug_shows_no_material() {
        let key = VerifyingKey::hmac_of_any_length(Algorithm::HS256, b"hunter2");
        assert_eq!(format!("{key:?}"), "Ok(VerifyingKey { algorithm: HS256, .. })");
    }
}
