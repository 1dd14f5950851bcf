//! Gives each request an identity that goes on to the service, and back to the caller if wanted.

use http::response::Parts;
use http::{HeaderName, HeaderValue};
use proxy::Exchange;
use proxy::plugin::{Plugin, Verdict};
use schema::{Schema, Violations};
use serde::Deserialize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Gives each request an identity that goes on to the service, and back to the caller if wanted.
#[derive(Deserialize, Schema)]
pub struct Config {
    /// The header that carries the identity; one that the caller sent is kept.
    #[schema(default = "Kong-Request-ID")]
    header_name: Option<String>,
    /// How an identity is made: random, random with a counter, or from the connection.
    #[schema(default = "uuid#counter")]
    generator: Generator,
    /// Whether the caller gets it too.
    #[schema(default = false)]
    echo_downstream: bool,
}

#[derive(Clone, Copy, Deserialize, Schema)]
enum Generator {
    #[serde(rename = "uuid")]
    Uuid,
    #[serde(rename = "uuid#counter")]
    Counter,
    #[serde(rename = "tracker")]
    Tracker,
}

pub struct CorrelationId {
    header: HeaderName,
    generator: Generator,
    echo: bool,
    /// What counted identities start with, new at each load.
    prefix: Uuid,
    counter: AtomicU64,
}

impl Plugin for CorrelationId {
    const NAME: &'static str = "correlation-id";
    const PRIORITY: i32 = 100_001;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let name = config.header_name.unwrap_or_else(|| "Kong-Request-ID".to_owned());
        let header = name.parse().map_err(|_| Violations::field("header_name", "this cannot be a header's name"))?;
        Ok(CorrelationId {
            header,
            generator: config.generator,
            echo: config.echo_downstream,
            prefix: Uuid::new_v4(),
            counter: AtomicU64::new(0),
        })
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        let given = exchange.request.headers.get(&self.header).filter(|value| !value.is_empty()).cloned();
        let value = match given {
            Some(value) => value,
            None => {
                let value = self.generate(exchange);
                exchange.request.headers.insert(self.header.clone(), value.clone());
                value
            }
        };
        if self.echo {
            exchange.correlation_id = Some(value);
        }
        Ok(ControlFlow::Continue(()))
    }

    fn on_response(&self, exchange: &mut Exchange, response: &mut Parts) {
        if let Some(value) = exchange.correlation_id.clone().filter(|_| self.echo) {
            response.headers.insert(self.header.clone(), value);
        }
    }
}

impl CorrelationId {
    fn generate(&self, exchange: &Exchange) -> HeaderValue {
        let text = match self.generator {
            Generator::Uuid => Uuid::new_v4().to_string(),
            Generator::Counter => format!("{}#{}", self.prefix, self.counter.fetch_add(1, Relaxed) + 1),
            // Address, port, process, connection, request on the connection, and the time in seconds.
            Generator::Tracker => {
                let caller = &exchange.caller;
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                format!(
                    "{}-{}-{}-{}-{}-{now:.3}",
                    caller.peer.ip().to_canonical(),
                    caller.port,
                    std::process::id(),
                    caller.connection,
                    caller.request_on_connection,
                )
            }
        };
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::check;
    use schema::json;

    #[tokio::test]
    async fn an_identity_is_kept_or_made() {
        let sent = "kong-request-id: mine";
        check("correlation-id", json!({}), &[sent], "service\nkong-request-id: mine").await;
        check(
            "correlation-id",
            json!({"header_name": "x-c", "generator": "uuid"}),
            &[],
            "service\nx-c: ~[0-9a-f-]{36}",
        )
        .await;
        check("correlation-id", json!({}), &[], "service\nkong-request-id: ~[0-9a-f-]{36}#1").await;
        check(
            "correlation-id",
            json!({"generator": "tracker"}),
            &[],
            r"service
kong-request-id: ~127\.0\.0\.1-8000-\d+-1-1-\d+\.\d{3}",
        )
        .await;
        check(
            "correlation-id",
            json!({"header_name": "a b"}),
            &[],
            r#"{"header_name":"this cannot be a header's name"}"#,
        )
        .await;
    }
}
