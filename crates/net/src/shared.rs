//! What several configurations share: a new one goes on with what the one before has made.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

/// Things in use, by what they are for. Whatever nobody uses any more is gone.
pub struct Shared<K, V>(LazyLock<Mutex<HashMap<K, Weak<V>>>>);

impl<K: Eq + Hash + Clone, V> Shared<K, V> {
    pub const fn new() -> Shared<K, V> {
        Shared(LazyLock::new(Mutex::default))
    }

    /// The thing that is in use, or a new one.
    pub fn get_or(&self, key: K, make: impl FnOnce(K) -> V) -> Arc<V> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, known| known.strong_count() > 0);
        let made = Arc::new(make(key.clone()));
        all.insert(key, Arc::downgrade(&made));
        made
    }
}

impl<K: Eq + Hash + Clone, V> Default for Shared<K, V> {
    fn default() -> Self {
        Shared::new()
    }
}
