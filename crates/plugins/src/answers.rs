//! What an authority said of credentials, for as long as it holds: for oauth2-introspection and LDAP.

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What was asked: a credential, and what else the answer depends on; hashed.
pub type Question = [u8; 32];

/// What was said of a good credential.
struct Said<T> {
    what: T,
    until: Instant,
    size: usize,
}

/// The memory for good credentials of one placement, in bytes.
const GOOD_BYTES: u64 = 32 * 1024 * 1024;
/// Those that are not good are kept apart, so that nobody can drive out the good ones with junk.
const BAD: u64 = 10_000;
/// For so long one that is not good is not asked about again.
const BAD_FOR: Duration = Duration::from_secs(5);

pub struct Answers<T> {
    good: Cache<Question, Arc<Said<T>>, Size>,
    bad: Cache<Question, Instant>,
    /// Questions that somebody asks at this moment.
    asked: Mutex<HashMap<Question, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Clone)]
struct Size;

impl<T> Weighter<Question, Arc<Said<T>>> for Size {
    fn weight(&self, _: &Question, said: &Arc<Said<T>>) -> u64 {
        (size_of::<Said<T>>() + said.size) as u64
    }
}

/// What is known of a credential.
pub enum Known<T> {
    Good(T),
    Bad,
    Nothing,
}

/// The turn to ask. Who comes meanwhile waits, and finds the answer.
pub struct Turn<'a, T> {
    answers: &'a Answers<T>,
    question: Question,
    lock: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl<T: Clone> Answers<T> {
    pub fn new() -> Answers<T> {
        Answers {
            good: Cache::with_weighter(1000, GOOD_BYTES, Size),
            bad: Cache::with_weighter(1000, BAD, quick_cache::UnitWeighter),
            asked: Mutex::default(),
        }
    }

    pub fn known(&self, question: &Question) -> Known<T> {
        let now = Instant::now();
        match (self.good.get(question), self.bad.get(question)) {
            (Some(said), _) if now < said.until => Known::Good(said.what.clone()),
            (_, Some(until)) if now < until => Known::Bad,
            _ => Known::Nothing,
        }
    }

    /// `size` is what it takes of the memory, in bytes.
    pub fn keep(&self, question: Question, what: T, size: usize, holds_for: Duration) {
        self.bad.remove(&question);
        self.good.insert(question, Arc::new(Said { what, size, until: Instant::now() + holds_for }));
    }

    pub fn keep_bad(&self, question: Question) {
        self.good.remove(&question);
        self.bad.insert(question, Instant::now() + BAD_FOR);
    }

    /// Waits for the turn to ask this.
    pub async fn turn(&self, question: Question) -> Turn<'_, T> {
        let lock = self.asked.lock().unwrap_or_else(PoisonError::into_inner).entry(question).or_default().clone();
        let lock = Some(lock.lock_owned().await);
        Turn { answers: self, question, lock }
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let mut asked = self.answers.asked.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock = None;
        // The last one leaves nothing behind.
        if asked.get(&self.question).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            asked.remove(&self.question);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_leaves_nothing_behind() {
        let answers = Answers::<()>::new();
        let first = answers.turn([1; 32]).await;
        let second = tokio::time::timeout(Duration::ZERO, answers.turn([1; 32])).await;
        assert!(second.is_err(), "it is somebody else's turn");
        drop(answers.turn([2; 32]).await);
        assert_eq!(answers.asked.lock().unwrap().len(), 1);
        drop(first);
        drop(answers.turn([1; 32]).await);
        assert!(answers.asked.lock().unwrap().is_empty());
    }

    #[test]
    fn answers_have_their_time() {
        let answers = Answers::new();
        answers.keep([1; 32], (), 0, Duration::from_secs(60));
        answers.keep([2; 32], (), 0, Duration::ZERO);
        assert!(matches!(answers.known(&[1; 32]), Known::Good(_)));
        assert!(matches!(answers.known(&[2; 32]), Known::Nothing));
        answers.keep_bad([1; 32]);
        assert!(matches!(answers.known(&[1; 32]), Known::Bad));
    }

    #[test]
    fn junk_drives_nothing_out() {
        let answers = Answers::new();
        answers.keep([0; 32], (), 0, Duration::from_secs(60));
        for number in 1..20_000_u32 {
            let mut question = [0; 32];
            question[..4].copy_from_slice(&number.to_be_bytes());
            answers.keep_bad(question);
        }
        assert!(answers.bad.len() <= BAD as usize);
        assert!(matches!(answers.known(&[0; 32]), Known::Good(_)));
    }
}
