//! API keys, and the form that nobody can read them in: `sha256:` and 64 hexadecimal digits.

use crate::entity::EntityKind;
use schema::{Map, Value};

const FORM: &str = "sha256:";

/// The SHA-256 of an API key, as it is written in a credential: the key itself, or that form.
pub fn digest(written: &str) -> [u8; 32] {
    from_form(written).unwrap_or_else(|| jose::digest::sha256(written.as_bytes()))
}

/// An API key in the form that nobody can read.
pub fn unreadable(written: &str) -> String {
    format!("{FORM}{}", jose::digest::hex(&digest(written)))
}

/// Whether an API key, as it is written in a credential, lets nobody in who reads it.
pub fn is_unreadable(written: &str) -> bool {
    from_form(written).is_some() || written.starts_with("{vault://")
}

fn from_form(written: &str) -> Option<[u8; 32]> {
    let digits = written.strip_prefix(FORM)?;
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    // A sign is no digit, though numbers may have one.
    let is_whole = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let bytes = is_whole.then(|| digits.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>())??;
    bytes.try_into().ok()
}

/// Puts the key of an API key into the form that nobody can read, if it shall be in it, and gives it back then. One that
/// is the same as `before` stays in the form that it is in.
pub fn hide(
    kind: &EntityKind,
    credential: &mut Map<String, Value>,
    before: Option<&Map<String, Value>>,
    readable: bool,
) -> Option<String> {
    if kind.name != "keyauth_credentials" {
        return None;
    }
    let given = credential.get("key")?.as_str().filter(|key| !is_unreadable(key))?.to_owned();
    let hidden = unreadable(&given);
    let kept = before.and_then(|before| before.get("key")?.as_str());
    if kept == Some(&given) || readable && kept != Some(&hidden) {
        return None;
    }
    credential.insert("key".to_owned(), Value::from(hidden));
    Some(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_the_same_key() {
        let hidden = unreadable("abc");
        assert_eq!(hidden, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest(&hidden), digest("abc"));
        assert_eq!(unreadable(&hidden.to_uppercase().replace("SHA", "sha")), hidden);
    }

    #[test]
    fn what_is_nearly_that_form_is_a_key() {
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for key in [
            &format!("sha256:{}", &digits[1..]),
            &format!("SHA256:{digits}"),
            &format!("sha256:{digits}0"),
            &format!("sha256:+{}", &digits[1..]),
            "sha256:",
            "",
        ] {
            assert!(!is_unreadable(key), "{key}");
        }
    }
}
