//! Whether a password is the one that is kept.
//!
//! Argon2id is slow on purpose. It is paid once for a password, which is then known by a keyed hash of its own, and on
//! threads of which there are few: who guesses waits for others who guess, and requests do not.

use super::BasicCredential;
use jose::digest::{equal, sha1_hex};
use jose::seal::KeyedHash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// How many passwords are remembered.
const REMEMBERED: usize = 100_000;
/// How many may wait to be looked at; more are turned away.
const WAITING: usize = 256;

/// How many passwords are looked at at the same time: each takes a core, and 19 MiB.
static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(cores.div_ceil(2)))
});
static QUEUE: Semaphore = Semaphore::const_new(WAITING);

/// Too many passwords are being looked at.
#[derive(Debug)]
pub struct Busy;

/// Hears of a password that was right and is kept in Kong's form: the credential, what is kept, the password.
pub type Upgrade = Box<dyn Fn(Uuid, String, String) + Send + Sync>;

pub(super) struct Passwords {
    hash: KeyedHash,
    right: quick_cache::sync::Cache<String, ()>,
    /// Whether any credential is kept by Argon2id: then names that nobody has must cost as much.
    slow: AtomicBool,
    upgrade: OnceLock<Upgrade>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        let key = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        Passwords {
            hash: KeyedHash::new(&key),
            right: quick_cache::sync::Cache::new(REMEMBERED),
            slow: AtomicBool::new(false),
            upgrade: OnceLock::new(),
        }
    }
}

impl Passwords {
    pub(super) fn learn(&self, kept: &str) {
        if jose::password::is_hash(kept) {
            self.slow.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn upgrade_by(&self, upgrade: Upgrade) {
        let _ = self.upgrade.set(upgrade);
    }

    /// Whether this is the password of a credential; of none, it takes as long.
    pub(super) async fn verify(&self, credential: Option<&BasicCredential>, password: &str) -> Result<bool, Busy> {
        let kept = credential.map_or("", |credential| credential.password.as_str());
        let is_slow = match credential {
            Some(_) => jose::password::is_hash(kept),
            None => self.slow.load(Ordering::Relaxed),
        };
        if !is_slow {
            let salt = credential.map(|credential| credential.consumer).unwrap_or_default();
            let given = sha1_hex(format!("{password}{salt}").as_bytes());
            let is_right = equal(given.as_bytes(), kept.as_bytes());
            if let (true, Some(credential), Some(upgrade)) = (is_right, credential, self.upgrade.get()) {
                upgrade(credential.id, kept.to_owned(), password.to_owned());
            }
            return Ok(is_right);
        }
        // What is kept is part of it: another password, or the same one set again, is another entry.
        let known = self.hash.of(&format!("{kept}\0{password}"));
        if credential.is_some() && self.right.get(&known).is_some() {
            return Ok(true);
        }
        let waits = QUEUE.try_acquire().map_err(|_| Busy)?;
        let place = PLACES.clone().acquire_owned().await.map_err(|_| Busy)?;
        let kept = if credential.is_some() { kept.to_owned() } else { NOBODYS.clone() };
        let password = password.to_owned();
        // It is not over when the caller hangs up: its place is taken until it is.
        let looked_at = tokio::task::spawn_blocking(move || {
            let _taken = (waits, place);
            jose::password::verify(&password, &kept)
        });
        let is_right = looked_at.await.map_err(|_| Busy)? && credential.is_some();
        if is_right {
            self.right.insert(known, ());
        }
        Ok(is_right)
    }
}

/// What is kept of a password that nobody has.
static NOBODYS: LazyLock<String> =
    LazyLock::new(|| jose::password::hash(&Uuid::new_v4().to_string(), [0; 16]).unwrap_or_default());

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// Or whoever asks and hangs up, again and again, would have every core at work.
    #[tokio::test]
    async fn a_place_is_taken_until_the_work_is_over() {
        let (passwords, all) = (Passwords::default(), PLACES.available_permits());
        let credential = BasicCredential {
            id: Uuid::nil(),
            consumer: Uuid::nil(),
            identifier: HeaderValue::from_static("ann"),
            password: NOBODYS.clone(),
        };
        let asked = passwords.verify(Some(&credential), "a guess");
        // It is asked, and dropped before it has an answer.
        assert!(tokio::time::timeout(std::time::Duration::ZERO, asked).await.is_err());
        assert_eq!(PLACES.available_permits(), all - 1);
        // All of them come back.
        assert!(PLACES.acquire_many(u32::try_from(all).expect("few")).await.is_ok());
    }
}
