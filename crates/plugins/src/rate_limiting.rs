//! Limits how many requests a caller may send in a window of time.

use crate::limits::{By, Meter, Numbers, PERIODS, Policy, Windows, in_order};
use crate::redis_config::{self, RedisConfig};
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode};
use net::redis::Redis;
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::plugin::{Place, Plugin, Verdict};
use schema::{Check, Condition, Custom, Pattern, Schema, Violations};
use serde::Deserialize;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Limits how many requests a caller may send in a second, a minute, an hour, a day, a month or a year.
///
/// Counts are exact: with a limit of 5 the sixth request is refused, however many come at once. A request that is
/// refused counts in no window.
///
/// With `policy: local` each gate counts for itself; counts outlive a change of the configuration, but not a restart.
/// With `policy: redis` all gates count together. While Redis cannot be asked, each gate counts what it sees itself
/// (`fault_tolerant: true`), or callers get a 500 (`false`). The first request that Redis does not answer waits for
/// `redis.timeout`; then it is left alone for a second, and one request after the other finds out whether it is back.
///
/// IPv6 callers are counted by network (/64): whoever has one address there has them all.
#[derive(Deserialize, Schema)]
#[schema(
    moved = redis_config::MOVED,
    check(Check::AtLeastOneOf(&["second", "minute", "hour", "day", "month", "year"])),
    check(redis_config::HOST),
    check(redis_config::PORT),
    check(redis_config::TIMEOUT),
    check(Check::When {
        field: "limit_by",
        is: Condition::Equals("header"),
        then: "header_name",
        must: Condition::Required,
        error: None,
    }),
    check(Check::When {
        field: "limit_by",
        is: Condition::Equals("path"),
        then: "path",
        must: Condition::Required,
        error: None,
    }),
    check(Check::Custom(&IN_ORDER)),
)]
pub struct Config {
    #[serde(flatten)]
    numbers: Numbers,
    /// Whose requests are counted together. Where a request does not tell, its address does.
    #[schema(default = "consumer")]
    limit_by: Option<LimitBy>,
    /// The header whose values are told apart, with `limit_by: header`.
    header_name: Option<String>,
    /// The one path whose requests are counted together, with `limit_by: path`.
    #[schema(starts_with("/"), pattern(&NO_EMPTY_SEGMENTS))]
    path: Option<String>,
    /// Where counts are kept: in each gate, or in Redis for all. `cluster`, in Kong's database, is refused.
    #[schema(default = "local", len_min(0))]
    policy: Option<PolicyName>,
    /// What happens while Redis cannot be asked: each gate counts for itself, or nobody passes (500).
    #[schema(default = true)]
    fault_tolerant: bool,
    /// Where Redis is, with `policy: redis`.
    redis: RedisConfig,
    /// Whether callers are told nothing of limits.
    #[schema(default = false)]
    hide_client_headers: bool,
    /// The status of a refusal.
    #[schema(default = 429, greater_than(0))]
    error_code: Option<f64>,
    /// The text of a refusal.
    #[schema(default = "API rate limit exceeded")]
    error_message: Option<String>,
    /// With `policy: redis`: -1 asks Redis for each request, which is exact.
    ///
    /// Any other number is the seconds after which Redis is told what was used here. Then limits can be exceeded by
    /// what all other gates let pass in that time.
    #[schema(default = -1)]
    sync_rate: f64,
    /// Whether windows begin with nothing, or slide: then of the window before counts the share that is not over.
    ///
    /// Fixed windows, which are Kong's, let up to twice the limit pass around their borders.
    #[schema(ours, default = "fixed")]
    window_type: Option<WindowType>,
}

#[derive(Clone, Copy, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
enum LimitBy {
    Consumer,
    Credential,
    Ip,
    Service,
    Header,
    Path,
}

#[derive(Clone, Copy, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum PolicyName {
    Local,
    Cluster,
    Redis,
}

#[derive(Clone, Copy, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
enum WindowType {
    Fixed,
    Sliding,
}

static IN_ORDER: Custom = Custom { fields: &[], run_with_missing_fields: false, check: in_order };

static NO_EMPTY_SEGMENTS: Pattern = Pattern {
    keyword: "match_none",
    stated: r#"[{"pattern": "//", "err": "must not have empty segments"}]"#,
    check: |path| match path.contains("//") {
        true => Err("must not have empty segments".to_owned()),
        false => Ok(()),
    },
};

pub struct RateLimiting {
    meter: Meter,
    by: By,
    refusal: (StatusCode, String),
    /// `None` where callers are told nothing.
    policy_header: Option<HeaderValue>,
}

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
/// As the IETF's draft-ietf-httpapi-ratelimit-headers has it.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

impl Plugin for RateLimiting {
    const NAME: &'static str = "rate-limiting";
    const PRIORITY: i32 = 910;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let limits = config.numbers.limits();
        let status = crate::status(config.error_code.unwrap_or(429.0));
        let status = status.ok_or_else(|| Violations::field("error_code", "this is no HTTP status"))?;
        let by = match config.limit_by.unwrap_or(LimitBy::Consumer) {
            LimitBy::Consumer => By::Consumer,
            LimitBy::Credential => By::Credential,
            LimitBy::Ip => By::Address,
            LimitBy::Service => By::Service,
            LimitBy::Path => By::Path(config.path.unwrap_or_default()),
            LimitBy::Header => {
                let name = config.header_name.unwrap_or_default();
                let wrong = |_| Violations::field("header_name", "this cannot be a header's name");
                By::Header(name.parse().map_err(wrong)?)
            }
        };
        let windows = match config.window_type {
            Some(WindowType::Sliding) => Windows::Sliding,
            Some(WindowType::Fixed) | None => Windows::Fixed,
        };
        let policies: Vec<String> = limits
            .iter()
            .map(|limit| format!("\"{}\";q={};w={}", limit.period.name(), limit.most, limit.period.longest_s()))
            .collect();
        let policy_header = HeaderValue::try_from(policies.join(", ")).ok();
        let policy = policy(config.policy, &config.redis.shared()?, config.fault_tolerant, config.sync_rate)?;
        Ok(RateLimiting {
            meter: Meter::new(limits, windows, policy)?,
            by,
            refusal: (status, config.error_message.unwrap_or_default()),
            policy_header: policy_header.filter(|_| !config.hide_client_headers),
        })
    }

    fn placed(&mut self, place: &Place) -> Result<(), Violations> {
        self.meter.placed(place.id, "");
        Ok(())
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        let who = self.by.who(exchange);
        let usage = self.meter.take(exchange, who, 1).await?;
        if let Some(policy) = &self.policy_header {
            let mut tightest = None;
            for left in self.meter.left(&usage, 1) {
                let [limit, remaining] = &NAMES[left.limit.period as usize];
                exchange.for_caller.push((limit.clone(), left.limit.most.into()));
                exchange.for_caller.push((remaining.clone(), left.remaining.into()));
                // Of two that leave as little, the longer one.
                if tightest.is_none_or(|(remaining, _)| left.remaining <= remaining) {
                    tightest = Some((left.remaining, left));
                }
            }
            if let Some((_, left)) = tightest {
                let now = format!("\"{}\";r={};t={}", left.limit.period.name(), left.remaining, left.reset_s);
                exchange.for_caller.push((LIMIT, left.limit.most.into()));
                exchange.for_caller.push((REMAINING, left.remaining.into()));
                exchange.for_caller.push((RESET, left.reset_s.into()));
                exchange.for_caller.push((RATE_LIMIT, proxy::identity::header_value(&now)));
                exchange.for_caller.push((RATE_LIMIT_POLICY, policy.clone()));
                if usage.exceeded {
                    exchange.for_caller.push((RETRY_AFTER, left.reset_s.into()));
                }
            }
        }
        if usage.exceeded {
            let (status, text) = &self.refusal;
            return Ok(ControlFlow::Break(Answer::error(*status, text.clone())));
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Where counts are kept.
pub fn policy(
    name: Option<PolicyName>,
    redis: &Option<Arc<Redis>>,
    fault_tolerant: bool,
    sync_rate: f64,
) -> Result<Policy, Violations> {
    match name.unwrap_or(PolicyName::Local) {
        PolicyName::Local => Ok(Policy::Local),
        PolicyName::Redis => {
            let redis = redis.clone().ok_or_else(|| Violations::field("redis", "required with policy redis"))?;
            Ok(Policy::Redis { redis, fault_tolerant, sync_rate })
        }
        PolicyName::Cluster => {
            let text = "counts are not kept in a database, where each would be a write; use redis, or local";
            Err(Violations::field("policy", text))
        }
    }
}

/// The names of the headers that tell of a period: limit and remaining.
static NAMES: [[HeaderName; 2]; PERIODS.len()] = [
    [HeaderName::from_static("x-ratelimit-limit-second"), HeaderName::from_static("x-ratelimit-remaining-second")],
    [HeaderName::from_static("x-ratelimit-limit-minute"), HeaderName::from_static("x-ratelimit-remaining-minute")],
    [HeaderName::from_static("x-ratelimit-limit-hour"), HeaderName::from_static("x-ratelimit-remaining-hour")],
    [HeaderName::from_static("x-ratelimit-limit-day"), HeaderName::from_static("x-ratelimit-remaining-day")],
    [HeaderName::from_static("x-ratelimit-limit-month"), HeaderName::from_static("x-ratelimit-remaining-month")],
    [HeaderName::from_static("x-ratelimit-limit-year"), HeaderName::from_static("x-ratelimit-remaining-year")],
];
