//! Tokens and keys: nothing that is fed here is signed, so nothing may verify.

#![no_main]

use jose::jwk::{Jwk, JwkSet};
use jose::jws::Compact;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Jwk::parse(data);
    let _ = JwkSet::parse(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (token, key) = text.split_once('\n').unwrap_or((text, KEY));
    let Ok(set) = JwkSet::parse(key.as_bytes()) else { return };
    let Ok(token) = Compact::parse_jwt(token) else { return };
    let keys = set.candidates(token.kid(), token.alg());
    assert!(keys.len() <= 64);
    if key == KEY {
        for key in keys {
            assert!(Compact::parse_jwt(text).is_ok_and(|token| token.verify(key).is_err()), "an unsigned token verified");
        }
    }
});

/// Keys whose private halves nobody has: RFC 7517 appendix A.1, and a secret that the corpus does not use.
const KEY: &str = r#"{"keys":[
{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"},
{"kty":"oct","k":"c2VjcmV0LW9mLXRoZS1mdXp6LXRhcmdldC10aGF0LW5vYm9keS11c2Vz"}]}"#;
