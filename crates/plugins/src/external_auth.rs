//! The plugin `external-auth` of former years, for configurations that still have it.

use crate::formats;
use crate::forward_auth::{self, ForwardAuth};
use http::HeaderName;
use proxy::Exchange;
use proxy::plugin::{Place, Plugin, Verdict};
use schema::{Schema, Violations};
use serde::Deserialize;

/// Asks a service of your own whether a request may pass, with the options of the community's `kong-external-auth`.
///
/// As there, it is asked with the caller's method, path, query and headers, without the body. The answers are those of
/// `forward-auth`: one of 2xx lets a request pass, any other below 500 is the caller's answer (there it is always a 401), and
/// without an answer the caller gets a 503. New configurations use `forward-auth`.
#[derive(Deserialize, Schema)]
pub struct Config {
    /// Where to ask, such as `http://auth.internal:4181`. Its path stands before the caller's.
    #[schema(format(formats::url))]
    url: String,
    /// How many milliseconds a connection may take to be made.
    #[schema(default = 10_000, between(1, 60_000))]
    connect_timeout: i64,
    /// How many milliseconds the question may take to be sent, after the connection.
    #[schema(default = 60_000, between(1, 60_000))]
    send_timeout: i64,
    /// How many milliseconds the answer may take, after the question. The three are one time for all together.
    #[schema(default = 60_000, between(1, 60_000))]
    read_timeout: i64,
}

pub struct ExternalAuth(ForwardAuth);

impl Plugin for ExternalAuth {
    const NAME: &'static str = "external-auth";
    const PRIORITY: i32 = 900;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let timeout = config.connect_timeout.saturating_add(config.send_timeout).saturating_add(config.read_timeout);
        ForwardAuth::new(forward_auth::Config::with_own_target(config.url, timeout)).map(ExternalAuth)
    }

    fn placed(&mut self, place: &Place) -> Result<(), Violations> {
        self.0.placed(place)
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.0.reserves()
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        self.0.on_request(exchange).await
    }
}
