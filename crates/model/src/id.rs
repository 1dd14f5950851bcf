//! Identities: derived from names exactly as Kong derives them, and random values.

use uuid::Uuid;

/// Kong's namespace for identities of declarative entities.
const NAMESPACE: Uuid = Uuid::from_u128(0xfd02801f_0957_4a15_a55a_c8d9606f30b5);

/// The identity of an entity without an `id`: UUIDv5 of its key within UUIDv5 of its kind.
///
/// So the same file gives the same identities on every node and at every load.
pub fn derived(kind: &str, key: &str) -> Uuid {
    Uuid::new_v5(&Uuid::new_v5(&NAMESPACE, kind.as_bytes()), key.as_bytes())
}

/// 32 random letters and digits, as Kong makes keys and secrets: 190 bits from the system's generator.
pub fn random_key() -> Result<String, getrandom::Error> {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // 62 letters fit into 248 of 256 byte values; the rest are thrown away, or some letters were likelier.
    let mut key = String::with_capacity(32);
    while key.len() < 32 {
        let mut bytes = [0; 48];
        getrandom::fill(&mut bytes)?;
        let letters = bytes.iter().filter(|byte| **byte < 248);
        key.extend(letters.take(32 - key.len()).map(|byte| char::from(ALPHABET[usize::from(byte % 62)])));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_kong_derives() {
        // Recorded on a running Kong 3.9.3 (case L06).
        assert_eq!(derived("services", "my-service").to_string(), "0855b320-0dd2-547d-891d-601e9b38647f");
        assert!(derived("consumers", "my-user").to_string().starts_with("4b1b701d-"));
    }

    #[test]
    fn random_keys_differ() {
        let keys: Vec<String> = (0..50).map(|_| random_key().unwrap()).collect();
        assert!(keys.iter().all(|key| key.len() == 32 && key.bytes().all(|b| b.is_ascii_alphanumeric())));
        assert!(keys.iter().enumerate().all(|(i, key)| !keys[..i].contains(key)));
    }
}
