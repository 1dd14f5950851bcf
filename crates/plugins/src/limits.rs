//! What callers use, counted in windows of time: for rate-limiting and response-ratelimiting.

use counters::Counters;
use ledger::Ledger;
use net::redis::{Redis, Script};
use net::shared::Shared;
use proxy::Exchange;
use proxy::plugin::Fault;
use schema::{Check, Schema, Violations};
use serde::Deserialize;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

mod counters;
mod ledger;
mod period;
mod who;

pub use period::{PERIODS, Period, in_order};
pub use who::{By, Who};

/// The most that may be used in a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    pub period: Period,
    pub most: u64,
}

/// The most that may be used, by window.
#[derive(Deserialize, Schema)]
#[schema(check(Check::AtLeastOneOf(&["second", "minute", "hour", "day", "month", "year"])))]
pub struct Numbers {
    /// The most in a second.
    #[schema(greater_than(0))]
    second: Option<f64>,
    /// The most in a minute.
    #[schema(greater_than(0))]
    minute: Option<f64>,
    /// The most in an hour.
    #[schema(greater_than(0))]
    hour: Option<f64>,
    /// The most in a day (UTC).
    #[schema(greater_than(0))]
    day: Option<f64>,
    /// The most in a calendar month (UTC).
    #[schema(greater_than(0))]
    month: Option<f64>,
    /// The most in a calendar year (UTC).
    #[schema(greater_than(0))]
    year: Option<f64>,
}

impl Numbers {
    /// The limits, the shortest window first.
    pub fn limits(&self) -> Vec<Limit> {
        let numbers = [self.second, self.minute, self.hour, self.day, self.month, self.year];
        let given = PERIODS.into_iter().zip(numbers);
        given.filter_map(|(period, most)| Some(Limit { period, most: most? as u64 })).collect()
    }
}

/// How windows follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Windows {
    /// Each begins with nothing, aligned to the clock.
    Fixed,
    /// One slides over the clock's: of the window before counts the share that it still covers.
    Sliding,
}

/// What was found when something was to be used.
#[derive(Clone, Debug)]
pub struct Usage {
    /// What had been used, for each limit: in its window, and in the one before.
    counts: [(u64, u64); PERIODS.len()],
    /// Whether there was no room for it. Then nothing was counted.
    pub exceeded: bool,
    /// When it was, in milliseconds since 1970.
    now_ms: i64,
}

/// What of one limit is left.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    pub limit: Limit,
    pub remaining: u64,
    /// Until there is more: seconds, at least 1.
    pub reset_s: u64,
}

/// Counts for one placement.
pub struct Meter {
    limits: Vec<Limit>,
    windows: Windows,
    counters: Arc<Counters>,
    beyond: Option<Beyond>,
}

/// Where counts are kept for all gates.
struct Beyond {
    redis: Arc<Redis>,
    /// What stands before the keys.
    prefix: String,
    fault_tolerant: bool,
    /// Where Redis is told from time to time, and not asked each time.
    ledger: Option<Arc<Ledger>>,
}

/// How counts are kept, as the configuration says it.
pub enum Policy {
    Local,
    Redis { redis: Arc<Redis>, fault_tolerant: bool, sync_rate: f64 },
}

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("limits/count.lua")));

/// What is counted here goes on from one configuration to the next.
static COUNTERS: Shared<(Uuid, String), Counters> = Shared::new();

impl Meter {
    pub fn new(limits: Vec<Limit>, windows: Windows, policy: Policy) -> Result<Meter, Violations> {
        let beyond = match policy {
            Policy::Local => None,
            Policy::Redis { redis, fault_tolerant, sync_rate } => {
                let every = match sync_rate {
                    rate if rate < 0.0 => None,
                    rate if (0.02..=3600.0).contains(&rate) => Some(Duration::from_secs_f64(rate)),
                    _ => return Err(Violations::field("sync_rate", "give -1, or 0.02 to 3600 seconds")),
                };
                let ledger = every.map(|every| Arc::new(Ledger::new(every)));
                Some(Beyond { redis, prefix: String::new(), fault_tolerant, ledger })
            }
        };
        Ok(Meter { limits, windows, counters: Arc::default(), beyond })
    }

    /// Learns whose counts these are; `name` tells several of one placement apart.
    pub fn placed(&mut self, id: Uuid, name: &str) {
        self.counters = COUNTERS.get_or((id, name.to_owned()), |_| Counters::default());
        if let Some(beyond) = &mut self.beyond {
            beyond.prefix = if name.is_empty() { id.to_string() } else { format!("{id}:{name}") };
        }
    }

    /// Uses so much, if there is room for it. In a rehearsal it is only found out whether there is.
    pub async fn take(&self, exchange: &Exchange, who: Who, amount: u64) -> Result<Usage, Fault> {
        if exchange.rehearsal {
            let mut usage = self.take_for_real(exchange, who, 0).await?;
            let exceeded = self.left(&usage, 0).any(|left| left.remaining < amount);
            usage.exceeded = exceeded;
            return Ok(usage);
        }
        self.take_for_real(exchange, who, amount).await
    }

    async fn take_for_real(&self, exchange: &Exchange, who: Who, amount: u64) -> Result<Usage, Fault> {
        let now_ms = now_ms().map_err(Fault::new)?;
        let Some(beyond) = &self.beyond else { return Ok(self.take_here(who, amount, now_ms)) };
        if let Some(ledger) = &beyond.ledger {
            if ledger.is_behind() && !beyond.fault_tolerant {
                return Err(Fault::new(format!("Redis at {} cannot be told what was used", beyond.redis)));
            }
            let usage = self.take_here(who.clone(), amount, now_ms);
            if !usage.exceeded && amount > 0 {
                let keeper = || ledger::Keeper {
                    redis: beyond.redis.clone(),
                    counters: self.counters.clone(),
                    prefix: beyond.prefix.clone(),
                    limits: self.limits.clone(),
                };
                ledger.note(&exchange.plan.fetcher, who, amount, now_ms, keeper);
            }
            return Ok(usage);
        }
        let key = key(&beyond.prefix, &who);
        let arguments = arguments(&self.limits, self.windows, amount, Ask::IfThereIsRoom, now_ms);
        match beyond.redis.run(&exchange.plan.fetcher, &SCRIPT, key, arguments).await {
            Ok(answer) if answer.len() == 2 * self.limits.len() + 1 => {
                let mut counts = [(0, 0); PERIODS.len()];
                for (count, answered) in counts.iter_mut().zip(counts_of(&answer)) {
                    *count = answered;
                }
                Ok(Usage { counts, exceeded: answer[0] == 0, now_ms })
            }
            // Nobody is let through uncounted: each gate counts what it sees itself.
            _ if beyond.fault_tolerant => Ok(self.take_here(who, amount, now_ms)),
            Ok(_) => Err(Fault::new(format!("Redis at {} gives no counts", beyond.redis))),
            Err(reason) => Err(Fault::new(format!("Redis at {} cannot be asked: {reason}", beyond.redis))),
        }
    }

    /// Notes what was used, room or not. Nobody waits for Redis.
    pub fn note(self: &Arc<Meter>, exchange: &Exchange, who: Who, amount: u64) {
        let Ok(now_ms) = now_ms() else { return };
        if let Some(beyond) = &self.beyond {
            let (meter, fetcher, redis) = (self.clone(), exchange.plan.fetcher.clone(), beyond.redis.clone());
            let key = key(&beyond.prefix, &who);
            exchange.plan.fetcher.start(async move {
                let arguments = arguments(&meter.limits, meter.windows, amount, Ask::ComeWhatMay, now_ms);
                if redis.run(&fetcher, &SCRIPT, key, arguments).await.is_err() {
                    meter.counters.add(who, &meter.limits, amount, now_ms);
                }
            });
        } else {
            self.counters.add(who, &self.limits, amount, now_ms);
        }
    }

    fn take_here(&self, who: Who, amount: u64, now_ms: i64) -> Usage {
        let (counts, exceeded) = self.counters.take(who, &self.limits, self.windows, amount, now_ms);
        Usage { counts, exceeded, now_ms }
    }

    /// What of each limit is left after `amount` was to be used.
    pub fn left(&self, usage: &Usage, amount: u64) -> impl Iterator<Item = Left> {
        let (windows, counts, exceeded, now_ms) = (self.windows, usage.counts, usage.exceeded, usage.now_ms);
        self.limits.iter().zip(counts).map(move |(limit, (used, before))| {
            let window = limit.period.window(now_ms);
            let all = used + windows.share_of_the_one_before(before, &window, now_ms);
            let full = exceeded && all.saturating_add(amount) > limit.most;
            let remaining = match (full, exceeded) {
                // Of a limit that has no room for the whole nothing is offered.
                (true, _) => 0,
                (false, true) => limit.most.saturating_sub(all),
                (false, false) => limit.most.saturating_sub(all.saturating_add(amount)),
            };
            let wait_ms = match (windows, full) {
                (Windows::Sliding, true) => window.until_there_is_room(used, before, amount, limit.most, now_ms),
                _ => window.end_ms - now_ms,
            };
            let reset_s = u64::try_from(wait_ms).unwrap_or(0).div_ceil(1000).max(1);
            Left { limit: *limit, remaining, reset_s }
        })
    }
}

fn now_ms() -> Result<i64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
    i64::try_from(now.as_millis()).map_err(|error| error.to_string())
}

/// The key in Redis: all of one placement's caller in one slot of a cluster.
fn key(prefix: &str, who: &Who) -> String {
    format!("portcullis:limits:{{{prefix}:{who}}}")
}

/// The counts in the script's answer: of each window, and of the one before.
fn counts_of(answer: &[i64]) -> impl Iterator<Item = (u64, u64)> {
    let number = |answered: i64| u64::try_from(answered).unwrap_or(0);
    let (pairs, _) = answer.get(1..).unwrap_or_default().as_chunks::<2>();
    pairs.iter().map(move |[used, before]| (number(*used), number(*before)))
}

/// What is asked of Redis.
#[derive(Clone, Copy, PartialEq)]
enum Ask {
    IfThereIsRoom,
    ComeWhatMay,
}

/// The script's arguments.
fn arguments(limits: &[Limit], windows: Windows, amount: u64, ask: Ask, now_ms: i64) -> Vec<i64> {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let longest = limits.iter().map(|limit| limit.period.longest_s()).max().unwrap_or(0);
    let mut arguments = vec![whole(amount), i64::from(ask == Ask::ComeWhatMay), 2 * longest];
    for limit in limits {
        let window = limit.period.window(now_ms);
        let weight = match windows {
            Windows::Fixed => 0,
            Windows::Sliding => window.weight_of_the_one_before(now_ms),
        };
        // Redis' scripts count in floating point numbers.
        let most = whole(limit.most).min(1 << 50);
        arguments.extend([limit.period as i64, window.start_ms / 1000, window.before_ms / 1000, weight, most]);
    }
    arguments
}
