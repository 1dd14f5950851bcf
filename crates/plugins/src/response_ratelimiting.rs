//! Limits what callers use, as their services count it.

use crate::limits::{By, Meter, Numbers, PERIODS, Period, Usage, Who, Windows};
use crate::rate_limiting::{PolicyName, policy};
use crate::redis_config::{self, RedisConfig};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::plugin::{Place, Plugin, Verdict};
use schema::{Schema, Violations};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Limits what callers use, as their services count it: a service says in a header of its answer how much of what was
/// used, such as `X-Kong-Limit: videos=2, sms`.
///
/// When a limit is used up, the caller gets an empty 429 in place of the service's answer; or, with
/// `block_on_first_violation`, the service is not asked at all. Since only the answer tells what a request costs, those
/// under way at once can exceed a limit together.
///
/// Services are told what is left before they begin, in `X-RateLimit-Remaining-NAME`. Where counts are kept and what
/// happens without Redis is as for rate-limiting.
#[derive(Deserialize, Schema)]
#[schema(
    moved = redis_config::MOVED,
    check(redis_config::HOST),
    check(redis_config::PORT),
    check(redis_config::TIMEOUT),
)]
pub struct Config {
    /// The header of the service's answer. The caller does not get it.
    #[schema(default = "x-kong-limit")]
    header_name: Option<String>,
    /// Whose use is counted together. Where a request does not tell, its address does.
    #[schema(default = "consumer")]
    limit_by: Option<LimitBy>,
    /// Where counts are kept: in each gate, or in Redis for all. `cluster`, in Kong's database, is refused.
    #[schema(default = "local")]
    policy: Option<PolicyName>,
    /// What happens while Redis cannot be asked: each gate counts for itself, or nobody passes (500).
    #[schema(default = true)]
    fault_tolerant: bool,
    /// Where Redis is, with `policy: redis`.
    redis: RedisConfig,
    /// Whether the service is not asked when any limit is used up.
    #[schema(default = false)]
    block_on_first_violation: bool,
    /// Whether callers are told nothing of limits.
    #[schema(default = false)]
    hide_client_headers: bool,
    /// The limits, by the name that the service calls them.
    #[schema(len_min(1), each(not_null))]
    limits: BTreeMap<String, Numbers>,
}

#[derive(Clone, Copy, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
enum LimitBy {
    Consumer,
    Credential,
    Ip,
}

pub struct ResponseRatelimiting {
    header: HeaderName,
    by: By,
    block_on_first_violation: bool,
    hide_client_headers: bool,
    limits: Vec<Named>,
}

/// One name's limits.
struct Named {
    name: String,
    meter: Arc<Meter>,
    /// What services are told in.
    remaining: HeaderName,
    /// What callers are told in: limit and remaining, by period.
    periods: Vec<(Period, HeaderName, HeaderName)>,
}

/// What was found before the service was asked, for the answer.
#[derive(Clone)]
struct Found {
    who: Who,
    usages: Vec<Usage>,
}

impl Plugin for ResponseRatelimiting {
    const NAME: &'static str = "response-ratelimiting";
    const PRIORITY: i32 = 900;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let wrong = |name: &str| Violations::field("limits", format!("'{name}' cannot be part of a header's name"));
        let header = config.header_name.unwrap_or_default();
        let header = header.parse().map_err(|_| Violations::field("header_name", "this cannot be a header's name"))?;
        let mut limits = Vec::new();
        let redis = config.redis.shared()?;
        for (name, numbers) in config.limits {
            let header = |text: String| text.parse::<HeaderName>().map_err(|_| wrong(&name));
            let periods = PERIODS.into_iter().map(|period| {
                let period_name = period.name();
                let limit = header(format!("x-ratelimit-limit-{name}-{period_name}"))?;
                Ok((period, limit, header(format!("x-ratelimit-remaining-{name}-{period_name}"))?))
            });
            let periods = periods.collect::<Result<_, Violations>>()?;
            let remaining = header(format!("x-ratelimit-remaining-{name}"))?;
            let own = numbers.limits();
            let policy = policy(config.policy, &redis, config.fault_tolerant, -1.0)?;
            let meter = Arc::new(Meter::new(own, Windows::Fixed, policy)?);
            limits.push(Named { name, meter, remaining, periods });
        }
        Ok(ResponseRatelimiting {
            header,
            by: match config.limit_by.unwrap_or(LimitBy::Consumer) {
                LimitBy::Consumer => By::Consumer,
                LimitBy::Credential => By::Credential,
                LimitBy::Ip => By::Address,
            },
            block_on_first_violation: config.block_on_first_violation,
            hide_client_headers: config.hide_client_headers,
            limits,
        })
    }

    fn placed(&mut self, place: &Place) -> Result<(), Violations> {
        for named in &mut self.limits {
            if let Some(meter) = Arc::get_mut(&mut named.meter) {
                meter.placed(place.id, &named.name);
            }
        }
        Ok(())
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.limits.iter().map(|named| named.remaining.clone()).collect()
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        let who = self.by.who(exchange);
        let mut usages = Vec::new();
        for Named { name, meter, remaining, .. } in &self.limits {
            let usage = meter.take(exchange, who.clone(), 0).await?;
            let left = meter.left(&usage, 0).map(|left| left.remaining).min().unwrap_or(0);
            if left == 0 && self.block_on_first_violation {
                let text = format!("API rate limit exceeded for '{name}'");
                return Ok(ControlFlow::Break(Answer::error(StatusCode::TOO_MANY_REQUESTS, text)));
            }
            exchange.request.headers.insert(remaining.clone(), left.into());
            usages.push(usage);
        }
        exchange.request.extensions.insert(Found { who, usages });
        Ok(ControlFlow::Continue(()))
    }

    fn on_response(&self, exchange: &mut Exchange, response: &mut Parts) {
        // Who was refused before has used nothing.
        let Some(found) = exchange.request.extensions.remove::<Found>() else { return };
        let used = used(&response.headers, &self.header);
        response.headers.remove(&self.header);
        let mut over = false;
        for (named, usage) in self.limits.iter().zip(&found.usages) {
            let amount = used.get(&named.name).copied().unwrap_or(0);
            for left in named.meter.left(usage, 0) {
                // What was not used is not used up, whatever is left of it.
                over |= amount > 0 && left.remaining == 0;
                if !self.hide_client_headers
                    && let Some((_, limit, remaining)) = named.periods.get(left.limit.period as usize)
                {
                    let after = left.remaining.saturating_sub(amount);
                    exchange.for_caller.push((limit.clone(), HeaderValue::from(left.limit.most)));
                    exchange.for_caller.push((remaining.clone(), HeaderValue::from(after)));
                }
            }
        }
        if !over {
            for named in &self.limits {
                if let Some(amount) = used.get(&named.name).filter(|amount| **amount > 0) {
                    named.meter.note(exchange, found.who.clone(), *amount);
                }
            }
        }
        if over {
            let (body, headers) = (bytes::Bytes::new(), HeaderMap::new());
            let answer = Answer::Exit { status: StatusCode::TOO_MANY_REQUESTS, body, content_type: None, headers };
            exchange.instead = Some(Box::new(answer));
        }
    }
}

/// How much was used of what: `videos=2, sms` is 2 and 1.
fn used(headers: &HeaderMap, name: &HeaderName) -> BTreeMap<String, u64> {
    let mut used = BTreeMap::new();
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    for item in values.flat_map(|value| value.split(',')) {
        let (name, amount) = item.split_once('=').unwrap_or((item, "1"));
        if let Ok(amount) = amount.trim().parse::<u64>() {
            let all: &mut u64 = used.entry(name.trim().to_owned()).or_default();
            *all = all.saturating_add(amount);
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_say_what_was_used() {
        let mut headers = HeaderMap::new();
        headers.append("x-kong-limit", "videos=2, sms,odd=x".parse().unwrap());
        headers.append("x-kong-limit", "videos = 3".parse().unwrap());
        let used = used(&headers, &"x-kong-limit".parse().unwrap());
        assert_eq!(used, [("sms".to_owned(), 1), ("videos".to_owned(), 5)].into());
    }
}
