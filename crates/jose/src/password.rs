//! Passwords as they are kept: Argon2id (RFC 9106) in the text form of the PHC.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

/// 19 MiB, two passes, one lane: what OWASP asks for at least. About 20 ms.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

/// What is kept of a password. `salt` is random; nothing where the library refuses.
pub fn hash(password: &str, salt: [u8; 16]) -> Option<String> {
    let salt = SaltString::encode_b64(&salt).ok()?;
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    Some(argon2.hash_password(password.as_bytes(), &salt).ok()?.to_string())
}

/// Whether this is what is kept of some password, and not in a form of somebody else's.
pub fn is_hash(text: &str) -> bool {
    text.starts_with("$argon2id$") && PasswordHash::new(text).is_ok()
}

/// Whether `kept` is of this password. Takes as long as [`hash`], and compares in constant time.
pub fn verify(password: &str, kept: &str) -> bool {
    // The parameters are those that stand in it: an older one goes on to work.
    PasswordHash::new(kept).is_ok_and(|kept| Argon2::default().verify_password(password.as_bytes(), &kept).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_is_the_password() {
        let kept = hash("a password", [7; 16]).unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(is_hash(&kept) && verify("a password", &kept));
        for wrong in ["", "a passwor", "A password", "a password\0"] {
            assert!(!verify(wrong, &kept), "{wrong:?}");
        }
        assert_ne!(hash("a password", [8; 16]).unwrap(), kept);
        assert!(!is_hash("5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8") && !verify("password", "$argon2id$"));
    }

    /// The example of the reference implementation.
    #[test]
    fn others_hashes_are_read() {
        let kept = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(verify("password", kept) && !verify("Password", kept));
    }
}
