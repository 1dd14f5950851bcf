//! Host names to addresses, with a short memory shared by all workers.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

/// How long an answer is used. The system resolver does not tell the TTL of a record, so this is short.
const FOUND_FOR: Duration = Duration::from_secs(5);
/// How long a failure is believed; enough that a dead name does not cost a lookup for each request.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// Upper bound of names remembered: names come from configuration, but a plugin may choose them.
const MAX_NAMES: usize = 1024;

/// The addresses of a name in the resolver's order, at least one; or why there are none.
pub(crate) type Answer = Result<Arc<[IpAddr]>, Arc<str>>;

/// Names looked up lately. The lock is held for a map access, never while waiting.
#[derive(Default)]
pub(crate) struct Names {
    recent: Mutex<HashMap<Box<str>, Slot>>,
}

/// Filled by the first who asks; the others who ask meanwhile wait for it. Should the first give up
/// (its deadline passed), one of the others takes over.
type Slot = Arc<OnceCell<Known>>;

struct Known {
    answer: Answer,
    until: Instant,
}

impl Names {
    /// Looks up a name, or remembers it.
    pub(crate) async fn addresses(&self, host: &str) -> Answer {
        let lookup = || async { Ok(tokio::net::lookup_host((host, 0)).await?.map(|addr| addr.ip()).collect()) };
        self.addresses_by(host, Instant::now(), lookup).await
    }

    async fn addresses_by<F>(&self, host: &str, now: Instant, lookup: impl FnOnce() -> F) -> Answer
    where
        F: Future<Output = io::Result<Vec<IpAddr>>>,
    {
        let slot = self.slot(host, now);
        let fill = || async {
            let answer = match lookup().await {
                Ok(found) if found.is_empty() => Err(Arc::from("the name has no address")),
                Ok(found) => Ok(found.into()),
                Err(error) => Err(error.to_string().into()),
            };
            let keep = if answer.is_ok() { FOUND_FOR } else { FAILED_FOR };
            Known { answer, until: now + keep }
        };
        slot.get_or_init(fill).await.answer.clone()
    }

    fn slot(&self, host: &str, now: Instant) -> Slot {
        let usable = |slot: &Slot| slot.get().is_none_or(|known| now < known.until);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = recent.get(host).filter(|slot| usable(slot)) {
            return Arc::clone(slot);
        }
        if recent.len() >= MAX_NAMES {
            recent.retain(|_, slot| usable(slot));
            if recent.len() >= MAX_NAMES {
                recent.clear();
            }
        }
        let slot = Slot::default();
        recent.insert(host.into(), Arc::clone(&slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn found() -> io::Result<Vec<IpAddr>> {
        Ok(vec![HERE])
    }

    #[tokio::test]
    async fn remembers_success_longer_than_failure() {
        async fn check(outcome: fn() -> io::Result<Vec<IpAddr>>, after_ms: u64, expect_lookups: u32) {
            let (names, start, lookups) = (Names::default(), Instant::now(), Cell::new(0));
            for now in [start, start + Duration::from_millis(after_ms)] {
                let answer = names.addresses_by("a.test", now, || async {
                    lookups.set(lookups.get() + 1);
                    outcome()
                });
                assert_eq!(answer.await.is_ok(), outcome().is_ok_and(|found| !found.is_empty()));
            }
            assert_eq!(lookups.get(), expect_lookups, "{after_ms} ms");
        }
        check(found, 4999, 1).await;
        check(found, 5000, 2).await;
        check(|| Err(io::Error::other("no such name")), 999, 1).await;
        check(|| Err(io::Error::other("no such name")), 1000, 2).await;
        check(|| Ok(Vec::new()), 999, 1).await;
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cause_one_lookup() {
        let (names, now, lookups) = (Names::default(), Instant::now(), Cell::new(0));
        let ask = || {
            names.addresses_by("a.test", now, || async {
                lookups.set(lookups.get() + 1);
                tokio::task::yield_now().await;
                found()
            })
        };
        let (first, second) = tokio::join!(ask(), ask());
        assert_eq!((first.unwrap()[0], second.unwrap()[0], lookups.get()), (HERE, HERE, 1));
    }

    #[tokio::test]
    async fn does_not_grow_without_end() {
        let (names, now) = (Names::default(), Instant::now());
        for number in 0..MAX_NAMES * 2 + 1 {
            let _ = names.addresses_by(&number.to_string(), now, || async { found() }).await;
        }
        assert!(names.recent.lock().unwrap().len() <= MAX_NAMES);
    }
}
