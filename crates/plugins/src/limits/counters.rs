//! Counts that this gate keeps for itself.

use super::period::{PERIODS, Window};
use super::{Limit, Who, Windows};
use quick_cache::sync::Cache;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many callers are counted at once; beyond that, those who came once and not again are forgotten.
const CALLERS: u64 = 1_000_000;

pub struct Counters(Cache<Who, Arc<Counter>>);

/// What one caller uses, by period.
#[derive(Default)]
pub struct Counter(Mutex<[Count; PERIODS.len()]>);

/// What was used in a window, and in the one before.
#[derive(Clone, Copy, Default)]
pub struct Count {
    pub start_ms: i64,
    pub used: u64,
    before: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Counters::of(CALLERS)
    }
}

impl Counters {
    fn of(callers: u64) -> Counters {
        Counters(Cache::with_weighter(1000, callers, quick_cache::UnitWeighter))
    }

    /// Adds to each window, if each has room. What had been used, in it and in the one before; and whether one had
    /// none.
    pub fn take(
        &self,
        who: Who,
        limits: &[Limit],
        windows: Windows,
        amount: u64,
        now_ms: i64,
    ) -> ([(u64, u64); PERIODS.len()], bool) {
        let counter = self.counter(who);
        let mut counts = counter.counts();
        let (mut found, mut exceeded) = ([(0, 0); PERIODS.len()], false);
        for (limit, found) in limits.iter().zip(&mut found) {
            let window = limit.period.window(now_ms);
            let count = &mut counts[limit.period as usize];
            count.go_on_to(&window);
            *found = (count.used, count.before);
            let used = count.used + windows.share_of_the_one_before(count.before, &window, now_ms);
            exceeded |= used.saturating_add(amount) > limit.most;
        }
        if !exceeded {
            for limit in limits {
                let count = &mut counts[limit.period as usize];
                count.used = count.used.saturating_add(amount);
            }
        }
        (found, exceeded)
    }

    /// Adds to each window, whether or not it has room.
    pub fn add(&self, who: Who, limits: &[Limit], amount: u64, now_ms: i64) {
        let counter = self.counter(who);
        let mut counts = counter.counts();
        for limit in limits {
            let count = &mut counts[limit.period as usize];
            count.go_on_to(&limit.period.window(now_ms));
            count.used = count.used.saturating_add(amount);
        }
    }

    /// The counts of a caller as they are.
    pub fn counter(&self, who: Who) -> Arc<Counter> {
        match self.0.get(&who) {
            Some(known) => known,
            // Of two who come at once both get the same one.
            None => self.0.get_or_insert_with(&who, || Ok::<_, ()>(Arc::default())).unwrap_or_default(),
        }
    }
}

impl Counter {
    pub fn counts(&self) -> MutexGuard<'_, [Count; PERIODS.len()]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    /// Begins a window, unless it has begun. A clock that was set back counts on in the newest.
    pub fn go_on_to(&mut self, window: &Window) {
        if self.start_ms < window.start_ms {
            self.before = if self.start_ms == window.before_ms { self.used } else { 0 };
            (self.start_ms, self.used) = (window.start_ms, 0);
        }
    }

    /// Takes over what all gates together have used in the window, and in the one before.
    pub fn take_over(&mut self, used: u64, before: u64) {
        (self.used, self.before) = (self.used.max(used), self.before.max(before));
    }
}

impl Windows {
    pub fn share_of_the_one_before(self, before: u64, window: &Window, now_ms: i64) -> u64 {
        match self {
            Windows::Fixed => 0,
            Windows::Sliding => {
                let weight = u128::try_from(window.weight_of_the_one_before(now_ms)).unwrap_or(0);
                u64::try_from(u128::from(before) * weight / 1_000_000).unwrap_or(u64::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Period;
    use super::*;

    const LIMITS: [Limit; 2] = [Limit { period: Period::Second, most: 2 }, Limit { period: Period::Minute, most: 3 }];

    fn take(counters: &Counters, windows: Windows, now_ms: i64) -> bool {
        !counters.take(Who::Path, &LIMITS, windows, 1, now_ms).1
    }

    #[test]
    fn what_is_refused_is_not_counted() {
        let counters = Counters::default();
        let passed: Vec<bool> = [0, 0, 0, 0, 1000, 1000, 60_000].map(|now| take(&counters, Windows::Fixed, now)).into();
        assert_eq!(passed, [true, true, false, false, true, false, true]);
    }

    /// Fixed windows let twice the limit pass around their borders; sliding ones do not.
    #[test]
    fn a_sliding_window_covers_the_border() {
        for (windows, expected) in [(Windows::Fixed, true), (Windows::Sliding, false)] {
            let counters = Counters::default();
            assert!(take(&counters, windows, 900) && take(&counters, windows, 900));
            assert_eq!(take(&counters, windows, 1000), expected, "{windows:?}");
        }
        let counters = Counters::default();
        assert!(take(&counters, Windows::Sliding, 900) && take(&counters, Windows::Sliding, 900));
        assert!(take(&counters, Windows::Sliding, 1600), "of 2 in the second before, 0.8 count");
    }

    #[test]
    fn counts_are_exact_however_many_come_at_once() {
        let (counters, limits) = (Counters::default(), [Limit { period: Period::Hour, most: 1000 }]);
        let passed: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|_| {
                    let take = || !counters.take(Who::Path, &limits, Windows::Fixed, 1, 0).1;
                    scope.spawn(move || (0..500).filter(|_| take()).count())
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(passed, 1000);
    }

    #[test]
    fn memory_is_bounded() {
        let counters = Counters::of(1000);
        for number in 0..10_000 {
            counters.counter(Who::Service(uuid::Uuid::from_u128(number)));
        }
        assert!(counters.0.len() <= 1000, "{}", counters.0.len());
    }
}
