//! Public keys in PEM (RFC 7468), and as much DER as they need.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::KeyError;
use crate::jwk::Curve;

// AlgorithmIdentifiers, whole: RFC 8017 appendix A.1, RFC 5480 section 2.1.1, RFC 8410 section 3.
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
const EC: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";
const P521: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x23";

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// The one block of a PEM text.
pub(super) enum Block {
    SubjectPublicKeyInfo(Vec<u8>),
    RsaPublicKey(Vec<u8>),
}

/// Reads a PEM text of exactly one public key. White space is free, as in RFC 7468's lax syntax:
/// keys pass through forms and YAML before they come here.
pub(super) fn block(pem: &str) -> Result<Block, KeyError> {
    let body = pem.trim().strip_prefix("-----BEGIN ").ok_or(KeyError::Pem)?;
    let (label, body) = body.split_once("-----").ok_or(KeyError::Pem)?;
    let (body, end) = body.split_once("-----END ").ok_or(KeyError::Pem)?;
    if label.ends_with("PRIVATE KEY") {
        return Err(KeyError::PrivateKey);
    }
    if end.strip_suffix("-----") != Some(label) {
        return Err(KeyError::Pem);
    }
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).map_err(|_| KeyError::Pem)?;
    match label {
        "PUBLIC KEY" => Ok(Block::SubjectPublicKeyInfo(der)),
        "RSA PUBLIC KEY" => Ok(Block::RsaPublicKey(der)),
        _ => Err(KeyError::Pem),
    }
}

impl Block {
    /// The modulus and the public exponent.
    pub(super) fn rsa(&self) -> Result<(&[u8], &[u8]), KeyError> {
        let der = match self {
            Block::RsaPublicKey(der) => der,
            Block::SubjectPublicKeyInfo(der) => match subject_public_key(der)? {
                (RSA, key) => key,
                _ => return Err(KeyError::Family),
            },
        };
        rsa_public_key(der).ok_or(KeyError::Der)
    }

    /// The encoded point of a key on `curve`.
    pub(super) fn ec(&self, curve: Curve) -> Result<&[u8], KeyError> {
        let Block::SubjectPublicKeyInfo(der) = self else { return Err(KeyError::Family) };
        let (identifier, point) = subject_public_key(der)?;
        let named = match curve {
            Curve::P256 => P256,
            Curve::P384 => P384,
            Curve::P521 => P521,
        };
        match identifier.strip_prefix(EC) {
            None => Err(KeyError::Family),
            Some(parameters) if parameters == named => Ok(point),
            Some(_) => Err(KeyError::Curve),
        }
    }

    /// The 32 bytes of an Ed25519 key.
    pub(super) fn ed25519(&self) -> Result<&[u8], KeyError> {
        let Block::SubjectPublicKeyInfo(der) = self else { return Err(KeyError::Family) };
        match subject_public_key(der)? {
            (ED25519, key) if key.len() == 32 => Ok(key),
            (ED25519, _) => Err(KeyError::Der),
            _ => Err(KeyError::Family),
        }
    }
}

/// Splits a SubjectPublicKeyInfo into the contents of its AlgorithmIdentifier and of its key.
fn subject_public_key(der: &[u8]) -> Result<(&[u8], &[u8]), KeyError> {
    let read = || {
        let info = whole(der, SEQUENCE)?;
        let (identifier, key) = element(info, SEQUENCE)?;
        // The first octet of a BIT STRING counts its unused bits: none, for every key here.
        let key = whole(key, BIT_STRING)?.strip_prefix(&[0])?;
        Some((identifier, key))
    };
    read().ok_or(KeyError::Der)
}

/// Reads an RSAPublicKey (RFC 8017 appendix A.1.1).
fn rsa_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (n, rest) = element(whole(der, SEQUENCE)?, INTEGER)?;
    Some((positive(n)?, positive(whole(rest, INTEGER)?)?))
}

/// The magnitude of a positive INTEGER in its shortest form: a zero octet stands only before a
/// set top bit, which would otherwise be a sign (X.690 section 8.3).
fn positive(integer: &[u8]) -> Option<&[u8]> {
    match integer {
        [0, rest @ ..] => rest.first().is_some_and(|&b| b >= 0x80).then_some(rest),
        [first, ..] if *first < 0x80 => Some(integer),
        _ => None,
    }
}

/// The contents of an element that is all of `der`.
fn whole(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (contents, rest) = element(der, tag)?;
    rest.is_empty().then_some(contents)
}

/// Splits `der` into the contents of its first element, which must have `tag`, and what follows.
/// Lengths are definite and in their shortest form (X.690 section 10.1), up to two octets.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der {
        [found, ..] if *found != tag => return None,
        [_, length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
        [_, 0x81, length @ 0x80..=0xff, rest @ ..] => (usize::from(*length), rest),
        [_, 0x82, high @ 1..=0xff, low, rest @ ..] => (usize::from(*high) << 8 | usize::from(*low), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_the_shortest_length() {
        for (der, expect) in [
            (&[0x30, 0][..], Some((&[][..], &[][..]))),
            (&[0x30, 1, 7, 8], Some((&[7], &[8]))),
            (&[0x30, 2, 7], None),
            (&[0x31, 0], None),
            (&[0x30], None),
            (&[], None),
            (&[0x30, 0x80, 0, 0], None),
            (&[0x30, 0x81, 1, 7], None),
            (&[0x30, 0x82, 0, 1, 7], None),
            (&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], None),
        ] {
            assert_eq!(element(der, SEQUENCE), expect, "{der:?}");
        }
        let long = [&[0x30, 0x82, 1, 0][..], &[5; 256]].concat();
        assert_eq!(element(&long, SEQUENCE), Some((&[5; 256][..], &[][..])));
    }

    #[test]
    fn integers_are_positive_and_shortest() {
        for (integer, expect) in [
            (&[1][..], Some(&[1][..])),
            (&[0, 0x80], Some(&[0x80])),
            (&[0], None),
            (&[0, 1], None),
            (&[0x80], None),
            (&[], None),
        ] {
            assert_eq!(positive(integer), expect, "{integer:?}");
        }
    }

    #[test]
    fn one_block_of_a_public_key() {
        let ed25519 = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let wrap =
            |label: &str, body: &str| format!("\n-----BEGIN {label}-----\r\n  {body}\n-----END {label}-----\n\n");
        let check = |pem: &str, expect: Result<(), KeyError>| {
            let key = block(pem).and_then(|block| block.ed25519().map(|_| ()));
            assert_eq!(key, expect, "{pem:?}");
        };
        check(&wrap("PUBLIC KEY", ed25519), Ok(()));
        check(&wrap("PUBLIC KEY", "MCowBQYDK2VwAyEA\n11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="), Ok(()));
        check(&wrap("PRIVATE KEY", ed25519), Err(KeyError::PrivateKey));
        check(&wrap("RSA PRIVATE KEY", ed25519), Err(KeyError::PrivateKey));
        check(&wrap("CERTIFICATE", ed25519), Err(KeyError::Pem));
        check(&wrap("RSA PUBLIC KEY", ed25519), Err(KeyError::Family));
        check(&wrap("PUBLIC KEY", "####"), Err(KeyError::Pem));
        check(&wrap("PUBLIC KEY", ""), Err(KeyError::Der));
        check(&wrap("PUBLIC KEY", "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURoA"), Err(KeyError::Der));
        check(&wrap("PUBLIC KEY", ed25519).replace("END PUBLIC", "END RSA PUBLIC"), Err(KeyError::Pem));
        check(&wrap("PUBLIC KEY", ed25519).repeat(2), Err(KeyError::Pem));
        check(ed25519, Err(KeyError::Pem));
        check("", Err(KeyError::Pem));
        check("-----BEGIN -----", Err(KeyError::Pem));
    }
}
