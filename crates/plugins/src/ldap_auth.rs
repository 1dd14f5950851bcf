//! Authenticates users by a directory (LDAP).

use crate::directory::Door;
use crate::guessing::{BruteForceProtection, Guard};
use net::fetch::Tls;
use net::ldap::{AT_ONCE, Directory, Encryption};
use proxy::Exchange;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::identity::{Credential, Identity, header_value};
use proxy::plugin::Place;
use schema::{Check, Condition, Schema, Violations};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Authenticates users by a directory (LDAP): whose password it takes for `ATTRIBUTE=NAME,BASE_DN`.
///
/// Names are escaped (RFC 4514), so that none can mean another entry, and spelled alike, since directories take `BOB` for
/// `bob`: in lower case, with single spaces. What was found holds for `cache_ttl` seconds, what
/// was refused for 5; no password is kept for that. While the directory cannot be asked, users get a 503.
///
/// With `ldaps` or `start_tls` its certificate is always verified, for `ldap_host`, by the authorities of
/// `lua_ssl_trusted_certificate`. Without either, passwords are sent in the clear.
#[derive(Deserialize, Schema)]
#[schema(check(Check::Within(&ONE_TLS)))]
pub struct Config {
    /// The host of the directory.
    ldap_host: String,
    /// Its port.
    #[schema(default = 389, between(0, 65535))]
    ldap_port: i64,
    /// Whether to speak TLS from the first byte on.
    #[schema(default = false)]
    ldaps: bool,
    /// Whether to begin TLS before anything else is said.
    #[schema(default = false)]
    start_tls: bool,
    /// Read, and without effect: certificates are always verified, unless `tls_verify` says no.
    #[schema(default = false)]
    #[expect(dead_code, reason = "Kong's configurations name it")]
    verify_ldap_host: bool,
    /// Under which entry users are.
    base_dn: String,
    /// The attribute that holds a user's name.
    attribute: String,
    /// How many seconds holds what was found.
    #[schema(default = 60)]
    cache_ttl: f64,
    /// Whether the credentials are taken out before the request goes on to the service.
    #[schema(default = false)]
    hide_credentials: bool,
    /// How many milliseconds the directory may take.
    #[schema(default = 10_000)]
    timeout: Option<f64>,
    /// Read, and without effect: each question has a connection of its own.
    #[schema(default = 60_000)]
    #[expect(dead_code, reason = "Kong's configurations name it")]
    keepalive: Option<f64>,
    /// Consumer (id or username) to go on as when no password was good.
    anonymous: Option<String>,
    /// The word before the credentials, such as `basic`; `ldap` otherwise.
    #[schema(default = "ldap")]
    header_type: Option<String>,
    /// The realm named in the challenge.
    realm: Option<String>,
    /// Whether its certificate is verified. **Without, anybody on the way can read passwords.**
    #[schema(ours, default = true)]
    tls_verify: Option<bool>,
    /// Protection against those who try passwords out.
    #[schema(ours)]
    brute_force_protection: BruteForceProtection,
}

static ONE_TLS: Check = Check::When {
    field: "ldaps",
    is: Condition::True,
    then: "start_tls",
    must: Condition::False,
    error: Some("'ldaps' and 'start_tls' cannot be enabled simultaneously"),
};

pub struct LdapAuth {
    door: Door,
}

impl Authenticator for LdapAuth {
    const NAME: &'static str = "ldap-auth";
    const PRIORITY: i32 = 1200;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let guard = Guard::new(Some(config.brute_force_protection))?;
        let tls = Tls { server_name: None, verify: config.tls_verify.unwrap_or(true) };
        let directory = Directory {
            host: config.ldap_host,
            port: u16::try_from(config.ldap_port).unwrap_or(389),
            encryption: match (config.ldaps, config.start_tls) {
                (true, _) => Encryption::Tls(tls),
                (false, true) => Encryption::StartTls(tls),
                (false, false) => Encryption::None,
            },
            timeout: timeout(config.timeout)?,
            base: config.base_dn,
            attribute: config.attribute,
            searcher: None,
            groups: None,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        };
        Ok(LdapAuth {
            door: Door::new(directory, config.header_type, config.hide_credentials, config.cache_ttl, guard)?,
        })
    }

    fn placed(&mut self, place: &Place) -> Result<(), Violations> {
        self.door.placed(place);
        Ok(())
    }

    fn options(config: &Config) -> Options {
        Options {
            anonymous: config.anonymous.clone(),
            run_on_preflight: true,
            scheme: Door::challenge(config.header_type.as_deref()),
            realm: config.realm.clone(),
        }
    }

    fn hide(&self, exchange: &mut Exchange) {
        self.door.hide(exchange);
    }

    async fn authenticate(&self, exchange: &mut Exchange) -> Result<Identity, Refusal> {
        let found = self.door.prove(exchange).await?;
        Ok(Identity { consumer: None, credential: Some(Credential { identifier: header_value(&found.name) }) })
    }
}

/// A number of milliseconds that makes sense.
pub fn timeout(millis: Option<f64>) -> Result<Duration, Violations> {
    let millis = millis.unwrap_or(10_000.0);
    match (1.0..=600_000.0).contains(&millis) {
        true => Ok(Duration::from_secs_f64(millis / 1000.0)),
        false => Err(Violations::field("timeout", "give 1 to 600000 milliseconds")),
    }
}
