//! Answers instead of the service: for maintenance, for closed routes, for the anonymous consumer.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::plugin::{Plugin, Verdict};
use proxy::query;
use schema::{Map, Schema, Value, Violations, json};
use serde::Deserialize;
use std::ops::ControlFlow;

/// Answers instead of the service: for maintenance, for closed routes, for the anonymous consumer.
#[derive(Deserialize, Schema)]
pub struct Config {
    /// The status to answer with.
    #[schema(default = 503, between(100, 599))]
    status_code: u16,
    /// The message of a JSON answer; without one, some statuses have a text of their own.
    message: Option<String>,
    /// The media type of `body`.
    content_type: Option<String>,
    /// The whole answer, in place of `message`.
    body: Option<String>,
    /// Whether the answer tells what was asked.
    #[schema(default = false)]
    echo: bool,
    /// A header or query argument without which the request goes on to the service.
    trigger: Option<String>,
}

pub struct RequestTermination {
    status: StatusCode,
    config: Config,
}

impl Plugin for RequestTermination {
    const NAME: &'static str = "request-termination";
    const PRIORITY: i32 = 2;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        if config.message.is_some() && (config.content_type.is_some() || config.body.is_some()) {
            return Err(Violations::entity("message cannot be used with content_type or body"));
        }
        if config.content_type.is_some() && config.body.is_none() {
            return Err(Violations::entity("content_type requires a body"));
        }
        let status = StatusCode::from_u16(config.status_code)
            .map_err(|_| Violations::field("status_code", "value should be between 100 and 599"))?;
        if status.is_informational() {
            return Err(Violations::field("status_code", "an answer cannot end with a status below 200"));
        }
        Ok(RequestTermination { status, config })
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        if self.config.trigger.as_ref().is_some_and(|trigger| !is_triggered(exchange, trigger)) {
            return Ok(ControlFlow::Continue(()));
        }
        let answer = match (self.config.echo, &self.config.body) {
            (true, _) => Answer::exit_json(self.status, &self.echo(exchange)),
            (false, Some(body)) => {
                let content_type = self.config.content_type.as_deref().unwrap_or("application/json; charset=utf-8");
                Answer::Exit {
                    status: self.status,
                    body: Bytes::from(body.clone()),
                    content_type: HeaderValue::from_str(content_type).ok(),
                    headers: http::HeaderMap::new(),
                }
            }
            (false, None) => match self.config.message.as_deref().or(default_message(self.status)) {
                Some(message) => Answer::exit_json(self.status, &json!({ "message": message })),
                None => Answer::Exit {
                    status: self.status,
                    body: Bytes::new(),
                    content_type: None,
                    headers: http::HeaderMap::new(),
                },
            },
        };
        Ok(ControlFlow::Break(answer))
    }
}

impl RequestTermination {
    /// What was asked, without what could be a credential: the caller may not be who sent it first.
    fn echo(&self, exchange: &Exchange) -> Value {
        let shown = ["host", "user-agent", "accept", CONTENT_TYPE.as_str(), "content-length"];
        let headers = &exchange.request.headers;
        let headers: Map<String, Value> = shown
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), json!(headers.get(*name)?.to_str().ok()?))))
            .collect();
        let arguments = query::pairs(exchange.target.query.as_deref().unwrap_or_default());
        let route = exchange.route();
        let service = route.and_then(|route| route.service.as_deref());
        json!({
            "message": self.config.message.as_deref().or(default_message(self.status)),
            "request": {
                "scheme": if exchange.caller.secure { "https" } else { "http" },
                "host": exchange.target.host,
                "method": exchange.request.method.as_str(),
                "path": exchange.target.raw_path,
                "headers": headers,
                "query": arguments.map(|(name, _)| name).collect::<Vec<_>>(),
            },
            "matched_route": route.map(|route| json!({ "id": route.id, "name": route.name })),
            "matched_service": service.map(|service| json!({ "id": service.id, "name": service.name })),
        })
    }
}

fn is_triggered(exchange: &Exchange, trigger: &str) -> bool {
    let in_query = || {
        let arguments = exchange.target.query.as_deref().unwrap_or_default();
        query::values(arguments, trigger).next().is_some()
    };
    exchange.request.headers.contains_key(trigger) || in_query()
}

fn default_message(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        401 => Some("Unauthorized"),
        404 => Some("Not found"),
        405 => Some("Method not allowed"),
        500 => Some("An unexpected error occurred"),
        502 => Some("Bad gateway"),
        503 => Some("Service unavailable"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::check;
    use schema::json;

    const NAME: &str = "request-termination";

    #[tokio::test]
    async fn answers_as_told() {
        check(NAME, json!({}), &[], "503 {\"message\":\"Service unavailable\"}").await;
        check(NAME, json!({"status_code": 403, "message": "So long"}), &[], "403 {\"message\":\"So long\"}").await;
        check(NAME, json!({"status_code": 451, "body": "<p>", "content_type": "text/html"}), &[], "451 <p>").await;
        check(NAME, json!({"status_code": 204}), &[], "204 ").await;
    }

    #[tokio::test]
    async fn waits_for_its_trigger() {
        check(NAME, json!({"trigger": "kill"}), &[], "service").await;
        check(NAME, json!({"trigger": "kill", "status_code": 404}), &["kill: 1"], "404 {\"message\":\"Not found\"}")
            .await;
        check(NAME, json!({"trigger": "Kill"}), &["GET /?Kill"], "503 {\"message\":\"Service unavailable\"}").await;
    }

    #[tokio::test]
    async fn contradictions_are_refused() {
        check(
            NAME,
            json!({"message": "a", "body": "b"}),
            &[],
            r#"{"@entity":["message cannot be used with content_type or body"]}"#,
        )
        .await;
    }
}
