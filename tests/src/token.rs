//! Tokens for the tests, signed by the openssl program and so apart from the gate's own code.

use crate::{TempDir, run};
use serde_json::Value;
use std::process::Command;

/// A JWT signed with HMAC-SHA256.
pub fn hs256(secret: &str, claims: &Value) -> String {
    let head = base64url(br#"{"alg":"HS256","typ":"JWT"}"#);
    let input = format!("{head}.{}", base64url(claims.to_string().as_bytes()));
    let dir = TempDir::new();
    let key = format!("key:{secret}");
    let mut command = Command::new("openssl");
    command.args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &key, "-binary"]).arg(dir.write("input", &input));
    format!("{input}.{}", base64url(&run(&mut command).expect_code(0).stdout))
}

/// base64 as Basic authentication wants it.
pub fn base64(bytes: &[u8]) -> String {
    let padding = "=".repeat((3 - bytes.len() % 3) % 3);
    encode(bytes, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") + &padding
}

/// base64url as JWS wants it (RFC 7515, 2).
pub fn base64url(bytes: &[u8]) -> String {
    encode(bytes, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
}

fn encode(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let padded = [group[0], *group.get(1).unwrap_or(&0), *group.get(2).unwrap_or(&0)];
        let number = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for position in 0..=group.len() {
            text.push(char::from(alphabet[((number >> (18 - 6 * position)) & 63) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_the_vectors_of_rfc_4648() {
        for (bytes, expect) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), expect);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }
}
