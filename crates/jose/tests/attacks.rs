//! Attacks by class, against keys and signatures made here, for every algorithm.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use jose::algorithm::Family;
use jose::{Algorithm, Compact, Jwk, KeyError, ParseError, SignatureError, VerifyError, VerifyingKey, base64url};

const SECRET: &[u8] = &[0x5a; 64];

struct Keys {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    p521: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let ec = |curve: &'static EcdsaSigningAlgorithm| EcdsaKeyPair::generate(curve).unwrap();
    Keys {
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        p256: ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        p384: ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        p521: ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
        ed25519: Ed25519KeyPair::generate().unwrap(),
    }
});

fn sign(algorithm: Algorithm, input: &[u8]) -> Vec<u8> {
    let mac = |hash| hmac::sign(&hmac::Key::new(hash, SECRET), input).as_ref().to_vec();
    let rsa = |encoding: &'static dyn RsaEncoding| {
        let mut signature = vec![0; KEYS.rsa.public_modulus_len()];
        KEYS.rsa.sign(encoding, &SystemRandom::new(), input, &mut signature).unwrap();
        signature
    };
    let ec = |key: &EcdsaKeyPair| key.sign(&SystemRandom::new(), input).unwrap().as_ref().to_vec();
    match algorithm {
        Algorithm::HS256 => mac(hmac::HMAC_SHA256),
        Algorithm::HS384 => mac(hmac::HMAC_SHA384),
        Algorithm::HS512 => mac(hmac::HMAC_SHA512),
        Algorithm::RS256 => rsa(&signature::RSA_PKCS1_SHA256),
        Algorithm::RS384 => rsa(&signature::RSA_PKCS1_SHA384),
        Algorithm::RS512 => rsa(&signature::RSA_PKCS1_SHA512),
        Algorithm::PS256 => rsa(&signature::RSA_PSS_SHA256),
        Algorithm::PS384 => rsa(&signature::RSA_PSS_SHA384),
        Algorithm::PS512 => rsa(&signature::RSA_PSS_SHA512),
        Algorithm::ES256 => ec(&KEYS.p256),
        Algorithm::ES384 => ec(&KEYS.p384),
        Algorithm::ES512 => ec(&KEYS.p521),
        Algorithm::EdDSA => KEYS.ed25519.sign(input).as_ref().to_vec(),
    }
}

/// The SubjectPublicKeyInfo of the key that serves an asymmetric algorithm.
fn spki(algorithm: Algorithm) -> Vec<u8> {
    match algorithm {
        Algorithm::ES256 => KEYS.p256.public_key().as_der().unwrap().as_ref().to_vec(),
        Algorithm::ES384 => KEYS.p384.public_key().as_der().unwrap().as_ref().to_vec(),
        Algorithm::ES512 => KEYS.p521.public_key().as_der().unwrap().as_ref().to_vec(),
        Algorithm::EdDSA => KEYS.ed25519.public_key().as_der().unwrap().as_ref().to_vec(),
        _ => KEYS.rsa.public_key().as_der().unwrap().as_ref().to_vec(),
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|l| str::from_utf8(l).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn key(algorithm: Algorithm) -> VerifyingKey {
    match algorithm.family() {
        Family::Hmac => VerifyingKey::hmac(algorithm, SECRET).unwrap(),
        _ => VerifyingKey::from_pem(algorithm, &pem("PUBLIC KEY", &spki(algorithm))).unwrap(),
    }
}

fn token_of(header: &str, payload: &str, algorithm: Algorithm) -> String {
    let input = format!("{}.{}", base64url::encode(header), base64url::encode(payload));
    let signature = base64url::encode(sign(algorithm, input.as_bytes()));
    format!("{input}.{signature}")
}

fn token(algorithm: Algorithm) -> String {
    token_of(&format!(r#"{{"alg":"{algorithm}"}}"#), r#"{"sub":"alice"}"#, algorithm)
}

/// Whether a token passes with a key, through all the steps a caller takes.
fn accepts(token: &str, key: &VerifyingKey) -> bool {
    Compact::parse_jwt(token).is_ok_and(|jwt| jwt.verify(key).is_ok())
}

#[test]
fn what_a_key_signed_it_verifies() {
    for algorithm in Algorithm::ALL {
        let token = token(algorithm);
        let verified = Compact::parse_jwt(&token).unwrap().verify(&key(algorithm)).unwrap();
        assert_eq!(verified.claims()["sub"], "alice", "{algorithm}");
        assert_eq!(verified.header()["alg"], algorithm.as_str());
    }
}

#[test]
fn no_key_verifies_a_token_of_another_algorithm() {
    for header in Algorithm::ALL {
        let token = token(header);
        for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| *algorithm != header) {
            let error = Compact::parse(&token).unwrap().verify(&key(algorithm)).err();
            assert_eq!(error, Some(VerifyError::Algorithm { header, key: algorithm }));
        }
    }
}

#[test]
fn a_relabelled_signature_is_refused() {
    // The header claims the key's algorithm; the signature was made with another one, where it
    // can be with the very same key.
    for claimed in Algorithm::ALL {
        for signed in Algorithm::ALL.into_iter().filter(|signed| *signed != claimed) {
            let token = token_of(&format!(r#"{{"alg":"{claimed}"}}"#), "{}", signed);
            let error = Compact::parse(&token).unwrap().verify(&key(claimed)).err();
            assert!(matches!(error, Some(VerifyError::Signature(_))), "{signed} as {claimed}");
        }
    }
}

#[test]
fn a_public_key_is_no_secret() {
    // RFC 8725 section 2.1: the attacker signs with HMAC under the bytes of the public key.
    for algorithm in Algorithm::ALL.into_iter().filter(|a| a.family() != Family::Hmac) {
        let der = spki(algorithm);
        let text = pem("PUBLIC KEY", &der);
        for secret in [text.as_bytes(), text.trim().as_bytes(), &der] {
            let input = format!("{}.e30", base64url::encode(r#"{"alg":"HS256"}"#));
            let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
            let token = format!("{input}.{}", base64url::encode(mac));
            assert!(!accepts(&token, &key(algorithm)), "{algorithm}");
        }
        for hash in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            assert_eq!(VerifyingKey::from_pem(hash, &text).err(), Some(KeyError::Family));
        }
    }
}

#[test]
fn none_is_refused_however_it_is_spelled() {
    for name in ["none", "None", "NONE", "nOnE", "none ", "", "null"] {
        let header = base64url::encode(format!(r#"{{"alg":"{name}"}}"#));
        for signature in ["", "AA", "e30"] {
            let error = Compact::parse(&format!("{header}.e30.{signature}")).err();
            assert_eq!(error, Some(ParseError::Algorithm), "{name:?}");
        }
    }
}

#[test]
fn no_single_character_can_change() {
    // Covers header, payload and signature, both dots, and the unused bits of each last character.
    for algorithm in Algorithm::ALL {
        let (token, key) = (token(algorithm), key(algorithm));
        assert!(accepts(&token, &key));
        for at in 0..token.len() {
            for replacement in ["A", "Q", "_", ".", "=", " ", "+", "", "AA"] {
                let changed = format!("{}{replacement}{}", &token[..at], &token[at + 1..]);
                assert!(changed == token || !accepts(&changed, &key), "{algorithm} {changed}");
            }
        }
        for changed in [
            format!("{token}="),
            format!("{token}=="),
            format!("{token} "),
            format!(" {token}"),
            format!("{token}\n"),
            format!("{token}."),
            format!("{token}A"),
            format!("{token}\0"),
            token.replace('.', ".."),
            token.replace('.', "=."),
            token.replace('.', " ."),
        ] {
            assert!(!accepts(&changed, &key), "{algorithm} {changed:?}");
        }
    }
}

#[test]
fn signatures_have_their_length() {
    for algorithm in Algorithm::ALL {
        let (key, good) = (key(algorithm), sign(algorithm, b"input"));
        assert_eq!(key.verify(b"input", &good), Ok(()));
        assert_eq!(key.verify(b"inpus", &good), Err(SignatureError::Invalid));
        for length in (0..good.len() * 2 + 2).filter(|length| *length != good.len()) {
            let bad: Vec<u8> = good.iter().copied().cycle().take(length).collect();
            let expect = match algorithm.family() {
                Family::Rsa => SignatureError::Invalid,
                _ => SignatureError::Length,
            };
            assert_eq!(key.verify(b"input", &bad), Err(expect), "{algorithm} {length}");
        }
        for padded in [[&[0], &*good].concat(), [&*good, &[0]].concat()] {
            assert!(key.verify(b"input", &padded).is_err(), "{algorithm}");
        }
        for constant in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let bad = vec![constant; good.len()];
            assert_eq!(key.verify(b"input", &bad), Err(SignatureError::Invalid), "{algorithm}");
        }
    }
}

#[test]
fn ecdsa_numbers_at_the_edges() {
    // FIPS 186-5 section 6.4.2: R and S lie between 1 and n - 1. Zero for both passes verifiers
    // that leave the check out (CVE-2022-21449), whatever the key and the message.
    const N256: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    const N384: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf\
                        581a0db248b0a77aecec196accc52973";
    const N521: &str = "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
                        fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409";
    for (algorithm, n) in [(Algorithm::ES256, N256), (Algorithm::ES384, N384), (Algorithm::ES512, N521)] {
        let key = key(algorithm);
        let order: Vec<u8> =
            (0..n.len()).step_by(2).map(|at| u8::from_str_radix(&n[at..at + 2], 16).unwrap()).collect();
        let length = algorithm.signature_len().unwrap() / 2;
        assert_eq!(order.len(), length);
        let last = |delta: i16| {
            let mut number = order.clone();
            *number.last_mut().unwrap() = (i16::from(*order.last().unwrap()) + delta) as u8;
            number
        };
        let small = |value: u8| [vec![0; length - 1], vec![value]].concat();
        let good = sign(algorithm, b"input");
        let (r, s) = good.split_at(length);
        let edges = [small(0), small(1), last(-1), order.clone(), last(1), vec![0xff; length]];
        for edge in &edges {
            for other in &edges {
                let both = [edge.as_slice(), other].concat();
                assert_eq!(key.verify(b"input", &both), Err(SignatureError::Invalid));
            }
            for half in [[r, edge].concat(), [edge, s].concat()] {
                assert_eq!(key.verify(b"input", &half), Err(SignatureError::Invalid));
            }
        }
        assert!(key.verify(b"input", &[s, r].concat()).is_err());
    }
}

#[test]
fn der_encoded_ecdsa_signatures_are_refused() {
    for (algorithm, signer) in [
        (Algorithm::ES256, &signature::ECDSA_P256_SHA256_ASN1_SIGNING),
        (Algorithm::ES384, &signature::ECDSA_P384_SHA384_ASN1_SIGNING),
        (Algorithm::ES512, &signature::ECDSA_P521_SHA512_ASN1_SIGNING),
    ] {
        let pair = EcdsaKeyPair::generate(signer).unwrap();
        let der = pair.public_key().as_der().unwrap();
        let key = VerifyingKey::from_pem(algorithm, &pem("PUBLIC KEY", der.as_ref())).unwrap();
        let signature = pair.sign(&SystemRandom::new(), b"input").unwrap();
        assert!(key.verify(b"input", signature.as_ref()).is_err());
    }
}

#[test]
fn ed25519_signatures_are_not_malleable() {
    // RFC 8032 section 5.1.7: S is below the group's order L. S + L would verify otherwise.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut signature = sign(Algorithm::EdDSA, b"input");
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(carry, 0);
    let key = key(Algorithm::EdDSA);
    assert_eq!(key.verify(b"input", &signature), Err(SignatureError::Invalid));
}

#[test]
fn keys_inside_a_token_are_never_used() {
    // The header brings the attacker's own key and signs with it; `alice`'s key is another one.
    let mallory = Ed25519KeyPair::generate().unwrap();
    let x = base64url::encode(mallory.public_key());
    for member in [
        format!(r#""jwk":{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#),
        r#""jku":"https://mallory.example/keys""#.to_owned(),
        r#""x5u":"https://mallory.example/cert""#.to_owned(),
        r#""x5c":["MIIB"]"#.to_owned(),
    ] {
        let header = format!(r#"{{"alg":"EdDSA",{member}}}"#);
        let input = format!("{}.e30", base64url::encode(&header));
        let forged = format!("{input}.{}", base64url::encode(mallory.sign(input.as_bytes())));
        assert!(!accepts(&forged, &key(Algorithm::EdDSA)), "{member}");
        let honest = token_of(&header, "{}", Algorithm::EdDSA);
        assert!(accepts(&honest, &key(Algorithm::EdDSA)), "{member}");
    }
}

#[test]
fn a_pem_key_serves_only_its_own_kind() {
    let asymmetric = Algorithm::ALL.into_iter().filter(|a| a.family() != Family::Hmac);
    for owner in asymmetric.clone() {
        let text = pem("PUBLIC KEY", &spki(owner));
        for algorithm in Algorithm::ALL {
            let same = match algorithm.family() {
                Family::Ecdsa => algorithm == owner,
                family => family == owner.family(),
            };
            let expect = match (owner.family(), algorithm.family()) {
                _ if same => None,
                (Family::Ecdsa, Family::Ecdsa) => Some(KeyError::Curve),
                _ => Some(KeyError::Family),
            };
            assert_eq!(VerifyingKey::from_pem(algorithm, &text).err(), expect, "{owner} {algorithm}");
        }
    }
    let pkcs1 = pem("RSA PUBLIC KEY", KEYS.rsa.public_key().as_ref());
    for algorithm in asymmetric {
        let made = VerifyingKey::from_pem(algorithm, &pkcs1);
        assert_eq!(made.is_ok(), algorithm.family() == Family::Rsa, "{algorithm}");
        if let Ok(key) = made {
            assert_eq!(key.verify(b"input", &sign(algorithm, b"input")), Ok(()));
        }
    }
}

#[test]
fn damaged_pem_keys_never_panic() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::ES512, Algorithm::EdDSA] {
        let der = spki(algorithm);
        for at in 0..der.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = der.clone();
                damaged[at] ^= flip;
                // A flipped bit of a modulus is another modulus, so not each of them is refused.
                let made = VerifyingKey::from_pem(algorithm, &pem("PUBLIC KEY", &damaged));
                if let Ok(other) = made {
                    assert!(other.verify(b"input", &sign(algorithm, b"input")).is_err());
                }
            }
            assert!(VerifyingKey::from_pem(algorithm, &pem("PUBLIC KEY", &der[..at])).is_err());
        }
        let longer = pem("PUBLIC KEY", &[&*der, &[0]].concat());
        assert_eq!(VerifyingKey::from_pem(algorithm, &longer).err(), Some(KeyError::Der));
    }
}

#[test]
fn weak_rsa_keys_are_refused() {
    let modulus = |bytes: usize| base64url::encode([vec![0xc3; bytes - 1], vec![0x01]].concat());
    for (n, e, expect) in [
        (modulus(256), "AQAB", None),
        (modulus(128), "AQAB", Some(KeyError::RsaModulusLength(1024))),
        (modulus(255), "AQAB", Some(KeyError::RsaModulusLength(2040))),
        (modulus(1025), "AQAB", Some(KeyError::RsaModulusLength(8200))),
        (modulus(256), "AQ", Some(KeyError::RsaExponent)),
        (modulus(256), "Aw", Some(KeyError::RsaExponent)),
        (modulus(256), "AQAA", Some(KeyError::RsaExponent)),
        (modulus(256), "AAEAAQ", Some(KeyError::RsaExponent)),
        (modulus(256), "", Some(KeyError::RsaExponent)),
        (format!("AA{}", modulus(256)), "AQAB", Some(KeyError::RsaModulus)),
        (String::new(), "AQAB", Some(KeyError::RsaModulus)),
    ] {
        let jwk = Jwk::parse(format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#).as_bytes());
        let Ok(jwk) = jwk else {
            assert!(n.starts_with("AA"), "{n}");
            continue;
        };
        assert_eq!(VerifyingKey::from_jwk(&jwk, Algorithm::RS256).err(), expect, "{n} {e}");
    }
}

#[test]
fn refusals_come_before_any_cryptography() {
    let deep = format!(r#"{{"alg":"HS256","a":{}{}}}"#, "[".repeat(4_000), "]".repeat(4_000));
    for header in [
        deep.as_str(),
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","b64":false}"#,
        r#"{"alg":"HS256","zip":"DEF"}"#,
        r#"{"alg":"HS256","p2c":2147483647}"#,
        r#"{"alg":"HS256","kid":{"a":1}}"#,
        r#"["HS256"]"#,
    ] {
        let token = token_of(header, "{}", Algorithm::HS256);
        assert!(Compact::parse(&token).is_err(), "{header}");
    }
    let long = token_of(r#"{"alg":"HS256"}"#, &"x".repeat(13_000), Algorithm::HS256);
    assert_eq!(Compact::parse(&long).err(), Some(ParseError::TooLong));
}
