//! Host names to addresses. What was found is remembered for as long as DNS allows, for all workers.

use arc_swap::ArcSwap;
use resolver::{Found, NotFound, Resolver};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;

mod resolver;
mod settings;

pub use resolver::Place;
pub use settings::{Order, Settings};

/// The places of a name, at least one, the preferred ones first; or why there are none.
pub type Answer = Result<Arc<[Place]>, Arc<str>>;

/// The memory for names, and who is asked.
pub struct Names {
    /// Where questions are asked: whoever wants to know may be gone before the answer comes.
    runtime: Handle,
    resolver: ArcSwap<Resolver>,
    /// Counts the resolvers: what an earlier one found is looked up again.
    epoch: AtomicU64,
    /// The lock is held for a map access, never while waiting.
    slots: Mutex<HashMap<Box<str>, Arc<Slot>>>,
}

/// What is to be believed of a name.
#[derive(Clone, Debug)]
pub struct Known {
    pub answer: Answer,
    /// When to ask again.
    pub until: Instant,
}

/// One name.
#[derive(Default)]
struct Slot {
    memory: Mutex<Option<Memory>>,
    /// Held by the one who asks; the others wait for it, or use what is known.
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct Memory {
    answer: Answer,
    /// The record type that gave the answer.
    by: Option<settings::Kind>,
    epoch: u64,
    since: Instant,
    fresh_until: Instant,
    /// Until then it is used while, and should, the name not be found anew.
    stale_until: Instant,
    /// The last attempt to renew it failed.
    failing: bool,
}

/// Whoever uses what is stale looks again after this time whether something newer has come.
const RECHECK: Duration = Duration::from_millis(200);
/// The shortest life of an answer. Some servers give none, and would be asked for each request.
const SHORTEST: Duration = Duration::from_secs(1);

impl Names {
    /// `runtime` must run for as long as names are looked up.
    pub fn new(settings: Settings, runtime: Handle) -> Result<Arc<Names>, String> {
        let resolver = ArcSwap::from_pointee(Resolver::new(settings)?);
        Ok(Arc::new(Names { runtime, resolver, epoch: AtomicU64::new(0), slots: Mutex::default() }))
    }

    /// Goes by other settings from here on, and reads `resolv.conf` and the hosts file again. Each name is
    /// looked up anew; what is known is used until that has been done.
    pub fn configure(&self, settings: Settings) -> Result<(), String> {
        self.resolver.store(Arc::new(Resolver::new(settings)?));
        self.epoch.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Where the gate's own work is done.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Changes with the settings: who has kept an answer for itself must ask again.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Looks up a name, or remembers it. Nobody waits for an answer as long as an older one can be used.
    pub async fn look_up(self: &Arc<Names>, host: &str) -> Known {
        let began = Instant::now();
        let slot = self.slot(host);
        if let Some(known) = self.remembered(host, &slot, began) {
            return known;
        }
        let turn = slot.asking.clone().lock_owned().await;
        let answered_meanwhile = slot.lock().as_ref().filter(|memory| memory.since >= began).map(Memory::fresh);
        if let Some(known) = answered_meanwhile {
            return known;
        }
        let asked = self.runtime.spawn(self.clone().ask(host.into(), slot, turn)).await;
        asked.unwrap_or_else(|_| Known { answer: Err("the gate is stopping".into()), until: Instant::now() })
    }

    fn remembered(self: &Arc<Names>, host: &str, slot: &Arc<Slot>, now: Instant) -> Option<Known> {
        let memory = slot.lock();
        let memory = memory.as_ref()?;
        let current = memory.epoch == self.epoch();
        if current && now < memory.fresh_until {
            return Some(memory.fresh());
        }
        if memory.answer.is_err() || now >= memory.stale_until {
            return None;
        }
        if let Ok(turn) = slot.asking.clone().try_lock_owned() {
            self.runtime.spawn(self.clone().ask(host.into(), slot.clone(), turn));
        }
        Some(Known { answer: memory.answer.clone(), until: now + RECHECK })
    }

    async fn ask(self: Arc<Names>, host: Box<str>, slot: Arc<Slot>, _turn: OwnedMutexGuard<()>) -> Known {
        let (epoch, resolver) = (self.epoch(), self.resolver.load_full());
        let before = slot.lock().clone();
        let outcome = resolver.find(&host, before.as_ref().and_then(|memory| memory.by)).await;
        let memory = Memory::of(&host, outcome, before, resolver.settings(), epoch);
        let known = memory.fresh();
        *slot.lock() = Some(memory);
        known
    }

    fn slot(&self, host: &str) -> Arc<Slot> {
        let limit = self.resolver.load().settings().cache_size;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(host) {
            return slot.clone();
        }
        if slots.len() >= limit {
            let now = Instant::now();
            slots.retain(|_, slot| slot.lock().as_ref().is_some_and(|memory| now < memory.fresh_until));
            if slots.len() >= limit {
                slots.clear();
            }
        }
        slots.entry(host.into()).or_default().clone()
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// What to remember of a lookup, and of what was known `before`.
    fn of(
        host: &str,
        outcome: Result<Found, NotFound>,
        before: Option<Memory>,
        settings: &Settings,
        epoch: u64,
    ) -> Memory {
        let since = Instant::now();
        let failed = |reason: String, believed: Duration| {
            let until = since + believed;
            let answer = Err(reason.into());
            Memory { answer, by: None, epoch, since, fresh_until: until, stale_until: until, failing: false }
        };
        match outcome {
            Ok(Found { places, ttl, partly, by }) => {
                // What could be found in part only is asked for again soon.
                let ttl = if partly { settings.error_ttl } else { settings.valid_ttl.unwrap_or(ttl) };
                let fresh_until = since + ttl.max(SHORTEST);
                let stale_until = fresh_until + settings.stale_ttl;
                Memory { answer: Ok(places), by: Some(by), epoch, since, fresh_until, stale_until, failing: false }
            }
            Err(NotFound::Nowhere(reason)) => failed(reason, settings.not_found_ttl),
            Err(NotFound::Failed(reason)) => match before {
                Some(memory) if memory.answer.is_ok() && since < memory.stale_until => {
                    if !memory.failing {
                        tracing::warn!(host, "a name could not be looked up anew, its last addresses stand: {reason}");
                    }
                    Memory { epoch, since, fresh_until: since + settings.error_ttl, failing: true, ..memory }
                }
                _ => failed(reason, settings.error_ttl),
            },
        }
    }

    fn fresh(&self) -> Known {
        Known { answer: self.answer.clone(), until: self.fresh_until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_memory_is_bounded() {
        let settings = Settings { cache_size: 8, ..Settings::default() };
        let names = Names::new(settings, Handle::current()).unwrap();
        for number in 0..100 {
            // RFC 6761: answered without a server.
            let known = names.look_up(&format!("{number}.invalid")).await;
            assert!(known.answer.is_err());
            assert!(names.slots.lock().unwrap().len() <= 8);
        }
    }

    #[tokio::test]
    async fn a_failure_is_forgotten_earlier_than_an_absence() {
        let settings = Settings::default();
        let until = |outcome| {
            let memory = Memory::of("a.test", Err(outcome), None, &settings, 0);
            (memory.fresh_until - memory.since).as_secs()
        };
        assert_eq!(until(NotFound::Nowhere(String::new())), 30);
        assert_eq!(until(NotFound::Failed(String::new())), 1);
    }
}
