//! Authenticates a consumer by user name and password (RFC 7617).

use crate::guessing::{BruteForceProtection, Guard};
use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine};
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::identity::Identity;
use proxy::plugin::Place;
use proxy::registry::Busy;
use schema::{Schema, Violations};
use serde::Deserialize;

/// Authenticates a consumer by user name and password (RFC 7617).
#[derive(Deserialize, Schema)]
pub struct Config {
    /// Consumer (id or username) to go on as when no password was good.
    anonymous: Option<String>,
    /// Whether the credentials are taken out before the request goes on to the service.
    #[schema(default = false)]
    hide_credentials: bool,
    /// The realm named in the challenge.
    #[schema(default = "service")]
    realm: String,
    /// Protection against those who try passwords out.
    #[schema(ours)]
    brute_force_protection: BruteForceProtection,
}

pub struct BasicAuth {
    hide_credentials: bool,
    guard: Guard,
}

impl Authenticator for BasicAuth {
    const NAME: &'static str = "basic-auth";
    const PRIORITY: i32 = 1100;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let guard = Guard::new(Some(config.brute_force_protection))?;
        Ok(BasicAuth { hide_credentials: config.hide_credentials, guard })
    }

    fn placed(&mut self, place: &Place) -> Result<(), Violations> {
        self.guard.placed(place);
        Ok(())
    }

    fn options(config: &Config) -> Options {
        Options {
            anonymous: config.anonymous.clone(),
            run_on_preflight: true,
            scheme: "Basic",
            realm: Some(config.realm.clone()),
        }
    }

    fn hide(&self, exchange: &mut Exchange) {
        for header in [PROXY_AUTHORIZATION, AUTHORIZATION] {
            if self.hide_credentials && basic(exchange, &header).is_some() {
                exchange.request.headers.remove(header);
            }
        }
    }

    async fn authenticate(&self, exchange: &mut Exchange) -> Result<Identity, Refusal> {
        for header in [PROXY_AUTHORIZATION, AUTHORIZATION] {
            let Some(value) = basic(exchange, &header) else { continue };
            if self.hide_credentials {
                // Also where they are wrong: an almost right password is a secret.
                exchange.request.headers.remove(header);
            }
            let Some((username, password)) = credentials(&value) else { continue };
            self.guard.admit(exchange, &username).await?;
            let registry = exchange.registry();
            match registry.basic(&username, &password).await {
                Ok(Some(identity)) => return Ok(identity),
                Err(Busy) => return Err(busy()),
                Ok(None) => {
                    self.guard.failed(exchange, &username);
                    // A second guess in the same request is one too many.
                    if exchange.registry().has_basic(&username) {
                        break;
                    }
                }
            }
        }
        Err(Refusal::denied(Answer::error(StatusCode::UNAUTHORIZED, "Unauthorized")))
    }
}

/// Nobody knows yet whether the password is right.
fn busy() -> Refusal {
    let answer = Answer::error(StatusCode::SERVICE_UNAVAILABLE, "Too many passwords are being looked at");
    Refusal::Final(Box::new(answer.with_header(RETRY_AFTER, HeaderValue::from_static("1"))))
}

const WITH_PADDING_OR_WITHOUT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(engine::DecodePaddingMode::Indifferent),
);

/// What follows the scheme, if that is `Basic` or `basic`: Kong takes no other spelling.
fn basic(exchange: &Exchange, header: &HeaderName) -> Option<String> {
    let value = exchange.request.headers.get(header)?.to_str().ok()?.trim();
    let (scheme, encoded) = value.split_once(' ').unwrap_or((value, ""));
    matches!(scheme, "Basic" | "basic").then(|| encoded.trim().to_owned())
}

/// User name and password; the name ends at the first colon, the password may hold more.
pub fn credentials(encoded: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(WITH_PADDING_OR_WITHOUT.decode(encoded).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::testing::check;
    use schema::json;

    #[tokio::test]
    async fn a_password_proves_its_consumer() {
        let ann = "service\nx-consumer-id: 11111111-1111-4111-8111-111111111111\nx-consumer-username: ann\nx-credential-identifier: ann";
        // ann:pa:ss
        check("basic-auth", json!({"hide_credentials": true}), &["authorization: Basic YW5uOnBhOnNz"], ann).await;
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let refused = "401 {\"message\":\"Unauthorized\"} Basic realm=\"service\"";
        for authorization in
            ["Basic YW5uOnBh", "Basic !", "Basic YW5u", "Bearer YW5uOnBhOnNz", "Basic", "Basic Ym9iOnBhOnNz"]
        {
            check("basic-auth", json!({}), &[&format!("authorization: {authorization}")], refused).await;
        }
        check("basic-auth", json!({}), &[], refused).await;
    }
}
