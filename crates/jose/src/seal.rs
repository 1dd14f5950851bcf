//! Encryption at rest: AES-256-GCM (NIST SP 800-38D) under a key out of a ring.

use crate::digest::hex;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use std::fmt;
use thiserror::Error;

/// The keys that sealed data may be under. The first seals; all open.
pub struct Ring(Vec<SealingKey>);

struct SealingKey {
    /// The beginning of its hash: which key data are under.
    name: [u8; NAME],
    key: RandomizedNonceKey,
}

const NAME: usize = 4;

/// Why sealed data cannot be opened, or a ring not be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SealError {
    #[error("line {0} is no key: 64 hexadecimal digits are expected")]
    Key(usize),
    #[error("there is no key")]
    NoKey,
    #[error("it was encrypted with a key that is not among those given")]
    UnknownKey,
    #[error("it was changed, or moved from where it belongs")]
    Broken,
    #[error("the system gives no random numbers")]
    NoRandom,
}

impl Ring {
    /// Reads a key a line, in hexadecimal (32 bytes). Empty lines and lines that begin with `#` say nothing.
    pub fn read(text: &str) -> Result<Ring, SealError> {
        let said =
            text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let keys = said.map(|(index, line)| SealingKey::read(line).ok_or(SealError::Key(index + 1)));
        let keys: Vec<SealingKey> = keys.collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(SealError::NoKey) } else { Ok(Ring(keys)) }
    }

    /// Encrypts data. They can be opened only with the same `place`, so that they cannot be put elsewhere.
    pub fn seal(&self, place: &[u8], data: &[u8]) -> Result<Vec<u8>, SealError> {
        let first = self.0.first().ok_or(SealError::NoKey)?;
        let mut sealed = data.to_vec();
        let nonce = first.key.seal_in_place_append_tag(Aad::from(place), &mut sealed);
        let nonce = nonce.map_err(|_| SealError::NoRandom)?;
        Ok([first.name.as_slice(), nonce.as_ref(), &sealed].concat())
    }

    /// The data that were sealed for this place.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (name, rest) = sealed.split_first_chunk::<NAME>().ok_or(SealError::Broken)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Broken)?;
        let key = self.0.iter().find(|key| key.name == *name).ok_or(SealError::UnknownKey)?;
        let mut data = rest.to_vec();
        let opened = key.key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place), &mut data);
        let length = opened.map_err(|_| SealError::Broken)?.len();
        data.truncate(length);
        Ok(data)
    }

    /// Whether data are under the key that seals now.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        self.0.first().is_some_and(|first| sealed.starts_with(&first.name))
    }
}

impl SealingKey {
    fn read(line: &str) -> Option<SealingKey> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let pair = |pair: &[u8]| match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        };
        let bytes: Vec<u8> = line.as_bytes().chunks(2).map(pair).collect::<Option<_>>()?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?;
        let hash = crate::digest::sha256(&[b"portcullis sealing key ", bytes.as_slice()].concat());
        Some(SealingKey { name: *hash.first_chunk()?, key })
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "Ring({} keys)", self.0.len())
    }
}

/// A hash that nobody can make, or try guesses against, without the key (HMAC-SHA256), in hexadecimal.
pub struct KeyedHash(hmac::Key);

impl KeyedHash {
    pub fn new(key: &[u8]) -> KeyedHash {
        KeyedHash(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    pub fn of(&self, text: &str) -> String {
        hex(hmac::sign(&self.0, text.as_bytes()).as_ref())
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("KeyedHash([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys: &[&str]) -> Ring {
        Ring::read(&keys.join("\n")).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only_and_whole() {
        let (old, new) = ("11".repeat(32), "22".repeat(32));
        let before = ring(&["# the first", &old]);
        let sealed = before.seal(b"here", b"a secret").unwrap();
        assert_eq!(before.open(b"here", &sealed).unwrap(), b"a secret");
        assert_ne!(before.seal(b"here", b"a secret").unwrap(), sealed);
        assert_eq!(before.open(b"there", &sealed), Err(SealError::Broken));
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(before.open(b"here", &changed).is_err(), "{index}");
            assert!(before.open(b"here", &sealed[..index]).is_err(), "{index}");
        }
        let after = ring(&[&new, &old]);
        assert_eq!(after.open(b"here", &sealed).unwrap(), b"a secret");
        assert!(before.is_current(&sealed) && !after.is_current(&sealed));
        assert_eq!(ring(&[&new]).open(b"here", &sealed), Err(SealError::UnknownKey));
    }

    #[test]
    fn keys_are_read_whole_or_not_at_all() {
        let read = |text: &str| Ring::read(text).map(drop);
        assert_eq!(read("\n# none\n"), Err(SealError::NoKey));
        assert_eq!(read("# one\nabc"), Err(SealError::Key(2)));
        assert_eq!(read(&"1".repeat(66)), Err(SealError::Key(1)));
        assert_eq!(read(&"g".repeat(64)), Err(SealError::Key(1)));
        assert_eq!(format!("{:?}", ring(&[&"1".repeat(64)])), "Ring(1 keys)");
    }

    #[test]
    fn keyed_hashes_depend_on_both() {
        let hash = KeyedHash::new(b"k");
        assert_eq!(hash.of("a"), KeyedHash::new(b"k").of("a"));
        assert_ne!(hash.of("a"), KeyedHash::new(b"l").of("a"));
        assert_ne!(hash.of("a"), hash.of("b"));
    }
}
