//! What was used here and Redis was not told yet (`sync_rate`).

use super::counters::Counters;
use super::period::PERIODS;
use super::{Ask, Limit, SCRIPT, Who, Windows, arguments, counts_of, key};
use futures_util::future::join_all;
use net::fetch::Fetcher;
use net::redis::Redis;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub struct Ledger {
    every: Duration,
    entries: Mutex<Entries>,
    /// Whether Redis could not be told the last time.
    behind: AtomicBool,
}

#[derive(Default)]
struct Entries {
    /// By caller and second: what is told late counts in the window that it was used in.
    used: HashMap<(Who, i64), u64>,
    /// Whether somebody tells it already.
    being_told: bool,
}

/// Who tells Redis, and whom Redis tells.
pub struct Keeper {
    pub redis: Arc<Redis>,
    pub counters: Arc<Counters>,
    pub prefix: String,
    pub limits: Vec<Limit>,
}

/// So many questions are on their way at once.
const AT_ONCE: usize = 256;
/// What Redis cannot be told is kept up to here.
const ENTRIES: usize = 100_000;

impl Ledger {
    pub fn new(every: Duration) -> Ledger {
        Ledger { every, entries: Mutex::default(), behind: AtomicBool::new(false) }
    }

    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    /// Notes what was used, to be told in time.
    pub fn note(
        self: &Arc<Ledger>,
        fetcher: &Arc<Fetcher>,
        who: Who,
        amount: u64,
        now_ms: i64,
        keeper: impl FnOnce() -> Keeper,
    ) {
        let mut entries = self.entries();
        let entry = (who, now_ms.div_euclid(1000));
        if entries.used.len() < ENTRIES || entries.used.contains_key(&entry) {
            *entries.used.entry(entry).or_default() += amount;
        }
        if !entries.being_told {
            entries.being_told = true;
            let (ledger, own, keeper) = (self.clone(), fetcher.clone(), keeper());
            fetcher.start(async move { ledger.tell(own, keeper).await });
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells Redis again and again, until there is nothing to tell.
    async fn tell(self: Arc<Ledger>, fetcher: Arc<Fetcher>, keeper: Keeper) {
        loop {
            tokio::time::sleep(self.every).await;
            let due: HashMap<(Who, i64), u64> = {
                let mut entries = self.entries();
                if entries.used.is_empty() {
                    entries.being_told = false;
                    return;
                }
                std::mem::take(&mut entries.used)
            };
            // One caller's entries are told one after the other: each answer is held against what it was told.
            let mut callers: HashMap<Who, Vec<(i64, u64)>> = HashMap::new();
            for ((who, second), amount) in due {
                callers.entry(who).or_default().push((second, amount));
            }
            let callers: Vec<(Who, Vec<(i64, u64)>)> = callers.into_iter().collect();
            let mut behind = false;
            for some in callers.chunks(AT_ONCE) {
                let told = some.iter().map(|(who, entries)| keeper.tell_all(&fetcher, who, entries));
                for (untold, (who, _)) in join_all(told).await.into_iter().zip(some) {
                    behind |= !untold.is_empty();
                    let mut entries = self.entries();
                    for (second, amount) in untold {
                        if entries.used.len() < ENTRIES {
                            *entries.used.entry((who.clone(), second)).or_default() += amount;
                        }
                    }
                }
            }
            self.behind.store(behind, Ordering::Relaxed);
        }
    }
}

impl Keeper {
    /// Tells of one caller, and returns what could not be told.
    async fn tell_all(&self, fetcher: &Arc<Fetcher>, who: &Who, entries: &[(i64, u64)]) -> Vec<(i64, u64)> {
        let mut entries = entries.to_vec();
        entries.sort_unstable();
        for (index, (second, amount)) in entries.iter().enumerate() {
            if self.tell(fetcher, who, *second, *amount).await.is_err() {
                return entries.split_off(index);
            }
        }
        Vec::new()
    }

    async fn tell(&self, fetcher: &Arc<Fetcher>, who: &Who, second: i64, amount: u64) -> Result<(), String> {
        let now_ms = second * 1000;
        let counter = self.counters.counter(who.clone());
        let before: [u64; PERIODS.len()] = counter.counts().map(|count| count.used);
        let arguments = arguments(&self.limits, Windows::Fixed, amount, Ask::ComeWhatMay, now_ms);
        let answer = self.redis.run(fetcher, &SCRIPT, key(&self.prefix, who), arguments).await?;
        let mut counts = counter.counts();
        for (limit, (used, in_the_one_before)) in self.limits.iter().zip(counts_of(&answer)) {
            let count = &mut counts[limit.period as usize];
            let window = limit.period.window(now_ms);
            count.go_on_to(&window);
            if count.start_ms == window.start_ms {
                // What was used here since comes on top.
                let since = count.used.saturating_sub(before[limit.period as usize]);
                count.take_over(used.saturating_add(since), in_the_one_before);
            }
        }
        Ok(())
    }
}
