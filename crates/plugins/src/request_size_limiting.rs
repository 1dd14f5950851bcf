//! Refuses requests whose body is too large.

use http::header::{CONTENT_LENGTH, EXPECT};
use http::{StatusCode, Version};
use http_body::Body as _;
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::body::Body;
use proxy::plugin::{Plugin, Verdict};
use schema::{Schema, Violations};
use serde::Deserialize;
use std::ops::ControlFlow;

/// Refuses requests whose body is too large: before it is read where its length is stated, or else as soon as there
/// is too much of it.
#[derive(Deserialize, Schema)]
pub struct Config {
    /// The largest body, in `size_unit`.
    #[schema(default = 128)]
    allowed_payload_size: Option<i64>,
    /// The unit of `allowed_payload_size`: 1,048,576 bytes, 1,024 bytes, or bytes.
    #[schema(default = "megabytes")]
    size_unit: Unit,
    /// Whether requests that state no length are refused (411). Those with chunked bodies are not.
    #[schema(default = false)]
    require_content_length: bool,
}

#[derive(Clone, Copy, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
enum Unit {
    Megabytes,
    Kilobytes,
    Bytes,
}

pub struct RequestSizeLimiting {
    limit_bytes: u64,
    require_content_length: bool,
}

impl Plugin for RequestSizeLimiting {
    const NAME: &'static str = "request-size-limiting";
    const PRIORITY: i32 = 951;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let unit = match config.size_unit {
            Unit::Megabytes => 1 << 20,
            Unit::Kilobytes => 1 << 10,
            Unit::Bytes => 1,
        };
        let size = u64::try_from(config.allowed_payload_size.unwrap_or(128));
        let size = size.map_err(|_| Violations::field("allowed_payload_size", "a size cannot be negative"))?;
        let require_content_length = config.require_content_length;
        Ok(RequestSizeLimiting { limit_bytes: size.saturating_mul(unit), require_content_length })
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        let headers = &exchange.request.headers;
        let stated = exchange.body.size_hint().exact();
        if stated.is_some_and(|length| length > self.limit_bytes) {
            // Kong's way to tell a caller that asked first.
            let status =
                match headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
                    true => StatusCode::EXPECTATION_FAILED,
                    false => StatusCode::PAYLOAD_TOO_LARGE,
                };
            return refuse(status, "Request size limit exceeded");
        }
        // A body without a length, be it that another plugin has read it meanwhile.
        let chunked = exchange.request.version == Version::HTTP_11 && !matches!(exchange.body, Body::Empty);
        if self.require_content_length && !headers.contains_key(CONTENT_LENGTH) && !chunked {
            return refuse(StatusCode::LENGTH_REQUIRED, "A valid Content-Length header is required");
        }
        exchange.body.limit(self.limit_bytes);
        Ok(ControlFlow::Continue(()))
    }
}

fn refuse(status: StatusCode, message: &'static str) -> Verdict {
    Ok(ControlFlow::Break(Answer::error(status, message)))
}

#[cfg(test)]
mod tests {
    use crate::testing::check;
    use schema::json;

    const TOO_LARGE: &str = "413 {\"message\":\"Request size limit exceeded\"}";

    #[tokio::test]
    async fn bodies_up_to_the_limit_pass() {
        let ten = json!({"allowed_payload_size": 10, "size_unit": "bytes"});
        check("request-size-limiting", ten.clone(), &["POST /", "", "0123456789"], "service\n\n0123456789").await;
        check("request-size-limiting", ten.clone(), &["POST /", "", "0123456789x"], TOO_LARGE).await;
        check("request-size-limiting", ten.clone(), &[], "service").await;
        let asked = &["POST /", "expect: 100-continue", "", "0123456789x"];
        check("request-size-limiting", ten, asked, "417 {\"message\":\"Request size limit exceeded\"}").await;
        let kilobyte = json!({"allowed_payload_size": 1, "size_unit": "kilobytes"});
        check("request-size-limiting", kilobyte.clone(), &["POST /", "", &"x".repeat(1025)], TOO_LARGE).await;
        let whole = format!("service\n\n{}", "x".repeat(1024));
        check("request-size-limiting", kilobyte, &["POST /", "", &"x".repeat(1024)], &whole).await;
    }

    #[tokio::test]
    async fn a_length_can_be_required() {
        let required = json!({"require_content_length": true});
        let refused = "411 {\"message\":\"A valid Content-Length header is required\"}";
        check("request-size-limiting", required.clone(), &[], refused).await;
        let stated = &["POST /", "content-length: 1", "", "x"];
        check("request-size-limiting", required, stated, "service\ncontent-length: 1\n\nx").await;
        let negative = json!({"allowed_payload_size": -1});
        let violation = r#"{"allowed_payload_size":"a size cannot be negative"}"#;
        check("request-size-limiting", negative, &[], violation).await;
    }
}
