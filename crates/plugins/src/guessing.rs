//! Protection against those who try passwords out: for basic-auth and LDAP.

use crate::limits::{Limit, Meter, Period, Policy, Who, Windows};
use crate::redis_config::RedisConfig;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::authenticate::Refusal;
use proxy::plugin::Place;
use schema::{Schema, Violations};
use serde::Deserialize;
use std::sync::Arc;

/// How wrong passwords are counted.
#[derive(Deserialize, Schema)]
pub struct BruteForceProtection {
    /// Where they are counted: nowhere, in each gate, or in Redis for all.
    #[schema(default = "memory")]
    strategy: Option<Strategy>,
    /// The most wrong passwords in a minute for one user name from one address, or network of IPv6 (/64). Then nobody
    /// there is let in by that name (429), right password or not, until the minute is over.
    #[schema(default = 20, between(1, 1_000_000))]
    failures: Option<i64>,
    /// Where Redis is. While it cannot be asked, each gate counts for itself.
    redis: RedisConfig,
}

#[derive(Clone, Copy, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
enum Strategy {
    Off,
    Memory,
    Redis,
}

/// Counts wrong passwords, or does not.
pub struct Guard(Option<Arc<Meter>>);

impl Guard {
    pub fn new(config: Option<BruteForceProtection>) -> Result<Guard, Violations> {
        let Some(config) = config else { return Ok(Guard(None)) };
        let policy = match config.strategy.unwrap_or(Strategy::Memory) {
            Strategy::Off => return Ok(Guard(None)),
            Strategy::Memory => Policy::Local,
            Strategy::Redis => {
                let redis = config.redis.shared().map_err(|wrong| wrong.under("brute_force_protection"))?;
                let missing =
                    || Violations::field("brute_force_protection", "redis: host: required with strategy redis");
                Policy::Redis { redis: redis.ok_or_else(missing)?, fault_tolerant: true, sync_rate: -1.0 }
            }
        };
        let most = u64::try_from(config.failures.unwrap_or(20)).unwrap_or(20);
        let meter = Meter::new(vec![Limit { period: Period::Minute, most }], Windows::Fixed, policy)?;
        Ok(Guard(Some(Arc::new(meter))))
    }

    pub fn placed(&mut self, place: &Place) {
        if let Some(meter) = self.0.as_mut().and_then(Arc::get_mut) {
            meter.placed(place.id, "guesses");
        }
    }

    /// Refuses those who have guessed too often. To be asked before a password is looked at.
    pub async fn admit(&self, exchange: &Exchange, username: &str) -> Result<(), Refusal> {
        let Some(meter) = &self.0 else { return Ok(()) };
        let usage = meter.take(exchange, Who::guessing(exchange, username), 0).await.map_err(Refusal::Fault)?;
        match meter.left(&usage, 0).find(|left| left.remaining == 0) {
            None => Ok(()),
            Some(left) => {
                let answer = Answer::error(StatusCode::TOO_MANY_REQUESTS, "Too many failed attempts");
                let answer = answer.with_header(RETRY_AFTER, HeaderValue::from(left.reset_s));
                Err(Refusal::Final(Box::new(answer)))
            }
        }
    }

    /// Notes a wrong password.
    pub fn failed(&self, exchange: &Exchange, username: &str) {
        if let Some(meter) = self.0.as_ref().filter(|_| !exchange.rehearsal) {
            meter.note(exchange, Who::guessing(exchange, username), 1);
        }
    }
}
