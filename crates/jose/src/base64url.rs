//! Base64url as JOSE has it: one alphabet, no padding, one encoding per value (RFC 7515 section 2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The text is not the base64url encoding of anything.
///
/// That covers padding, white space, the `+` and `/` of the other alphabet, an impossible length,
/// and trailing bits that are not zero. The last would let one signature be written in several
/// ways, which defeats every list of tokens already seen or revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64url without padding")]
pub struct DecodeError;

/// Decodes base64url without padding (RFC 7515 section 2, RFC 4648 section 5).
pub fn decode(text: impl AsRef<[u8]>) -> Result<Vec<u8>, DecodeError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| DecodeError)
}

/// Encodes as base64url without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<&[u8]>) {
        assert_eq!(decode(text).ok().as_deref(), expect, "{text:?}");
        if let Some(bytes) = expect {
            assert_eq!(encode(bytes), text);
        }
    }

    #[test]
    fn decodes_only_the_canonical_form() {
        check("", Some(b""));
        check("Zg", Some(b"f"));
        check("Zm8", Some(b"fo"));
        check("Zm9v", Some(b"foo"));
        check("A-z_4ME", Some(&[3, 236, 255, 224, 193])); // RFC 7515 appendix C
        for text in [
            "Zg==", "Zm8=", "=", "Z", "Zm9vZ", // padding, impossible lengths
            " Zm9v", "Zm9v ", "Zm 9v", "Zm9v\n", "\tZm9v", "Zm9v\0", // white space
            "A+z/4ME", "A+z_4ME", "A-z/4ME", // the other alphabet
            "Zh", "Zm9", "AB", // trailing bits
            "Zm?v", "Zm9v.", "Zm%39v", "Zmé", // other characters
        ] {
            check(text, None);
        }
    }
}
