//! Authenticates users by a directory (LDAP).

use crate::directory::{Door, Manner, Place, Users};
use proxy::Exchange;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::identity::{Credential, Identity, header_value};
use proxy::plugin;
use schema::{Check, Condition, Schema, Violations};
use serde::Deserialize;

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
    #[serde(flatten)]
    place: Place,
    /// Read, and without effect: certificates are always verified, unless `tls_verify` says no.
    #[schema(default = false)]
    #[expect(dead_code, reason = "Kong's configurations name it")]
    verify_ldap_host: bool,
    #[serde(flatten)]
    users: Users,
    #[serde(flatten)]
    manner: Manner,
    /// Whether its certificate is verified. **Without, anybody on the way can read passwords.**
    #[schema(ours, default = true)]
    tls_verify: Option<bool>,
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
        let verify = config.tls_verify.unwrap_or(true);
        Ok(LdapAuth { door: Door::new(config.place, verify, config.users, config.manner, None, None)? })
    }

    fn placed(&mut self, place: &plugin::Place) -> Result<(), Violations> {
        self.door.placed(place);
        Ok(())
    }

    fn options(config: &Config) -> Options {
        config.manner.options()
    }

    fn hide(&self, exchange: &mut Exchange) {
        self.door.hide(exchange);
    }

    async fn authenticate(&self, exchange: &mut Exchange) -> Result<Identity, Refusal> {
        let found = self.door.prove(exchange).await?;
        Ok(Identity { consumer: None, credential: Some(Credential::elsewhere(header_value(&found.name))) })
    }
}
