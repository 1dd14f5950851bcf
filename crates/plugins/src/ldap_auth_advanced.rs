//! Authenticates users by a directory (LDAP) in which they are searched, and finds their groups.

use crate::claims::{forbidden, split};
use crate::consumer_by::{self, ConsumerBy};
use crate::directory::Door;
use crate::guessing::{BruteForceProtection, Guard};
use crate::ldap_auth::timeout;
use net::fetch::Tls;
use net::ldap::{AT_ONCE, Directory, Encryption, Groups, Searcher};
use proxy::Exchange;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::identity::{Credential, Identity, header_value};
use proxy::plugin::Place;
use schema::{Check, Schema, Secret, Violations};
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Authenticates users by a directory (LDAP) in which they are searched, and finds their groups.
///
/// With `bind_dn` the gate searches for the entry whose `attribute` is the user's name, wherever it is under `base_dn`,
/// and then tries the password with it. Without, it is `ATTRIBUTE=NAME,BASE_DN`. Whatever callers send is escaped
/// (RFC 4514, RFC 4515). Services get the name as the directory spells it.
///
/// Groups are the user's authenticated groups, for acl. What was found holds for `cache_ttl` seconds, what was refused
/// for 5; no password is kept for that. While the directory cannot be asked, users get a 503.
#[derive(Deserialize, Schema)]
#[schema(
    check(Check::MutuallyRequired(&["bind_dn", "ldap_password"])),
)]
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
    /// Whether its certificate is verified: for `ldap_host`, by the authorities of `lua_ssl_trusted_certificate`.
    /// **Without, anybody on the way can read passwords.**
    #[schema(default = true)]
    verify_ldap_host: bool,
    /// Who searches for users.
    #[schema(referenceable)]
    bind_dn: Option<String>,
    /// The password of who searches.
    #[schema(encrypted, referenceable)]
    ldap_password: Option<Secret>,
    /// Under which entry users are.
    base_dn: String,
    /// The attribute that holds a user's name.
    attribute: String,
    /// Under which entry groups are. Without, they are under `base_dn`.
    group_base_dn: Option<String>,
    /// The attribute that holds a group's name. Without this and `groups_required` no groups are looked for.
    group_name_attribute: Option<String>,
    /// The attribute of a user that names its groups (`memberOf`); or of a group that names its members, such as
    /// `member`, `uniqueMember`, `memberUid`.
    #[schema(default = "memberOf")]
    group_member_attribute: String,
    /// The groups that a user must be in: one of these entries, and of an entry with spaces each word.
    groups_required: Option<Vec<String>>,
    /// By what a user's name names the consumer, tried in this order.
    #[schema(default = ["username", "custom_id"])]
    consumer_by: Option<Vec<ConsumerBy>>,
    /// Whether a user needs no consumer.
    #[schema(default = false)]
    consumer_optional: bool,
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
    /// Protection against those who try passwords out.
    #[schema(ours)]
    brute_force_protection: BruteForceProtection,
}

pub struct LdapAuthAdvanced {
    door: Door,
    groups_required: Vec<Vec<String>>,
    tells_groups: bool,
    consumer_by: Vec<ConsumerBy>,
    consumer_optional: bool,
}

impl Authenticator for LdapAuthAdvanced {
    const NAME: &'static str = "ldap-auth-advanced";
    const PRIORITY: i32 = 1200;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let guard = Guard::new(Some(config.brute_force_protection))?;
        if config.ldaps && config.start_tls {
            return Err(Violations::entity("'ldaps' and 'start_tls' cannot be enabled simultaneously"));
        }
        let tls = Tls { server_name: None, verify: config.verify_ldap_host };
        let groups_required: Vec<Vec<String>> =
            config.groups_required.iter().flatten().map(|entry| split(entry)).collect();
        let groups = (config.group_name_attribute.is_some() || !groups_required.is_empty()).then(|| Groups {
            base: config.group_base_dn.unwrap_or_else(|| config.base_dn.clone()),
            name: config.group_name_attribute.unwrap_or_else(|| config.attribute.clone()),
            member: config.group_member_attribute,
        });
        let tells_groups = groups.is_some();
        let searcher = config.bind_dn.zip(config.ldap_password);
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
            searcher: searcher.map(|(dn, password)| Searcher { dn, password: password.reveal().to_owned() }),
            groups,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        };
        Ok(LdapAuthAdvanced {
            door: Door::new(directory, config.header_type, config.hide_credentials, config.cache_ttl, guard)?,
            groups_required,
            tells_groups,
            consumer_by: config.consumer_by.unwrap_or_default(),
            consumer_optional: config.consumer_optional,
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
        let groups = &found.groups;
        let enough = |entry: &Vec<String>| entry.iter().all(|group| groups.contains(group));
        if !self.groups_required.is_empty() && !self.groups_required.iter().any(enough) {
            return Err(forbidden());
        }
        let consumer = consumer_by::find(exchange.registry(), &self.consumer_by, &found.name);
        if consumer.is_none() && !self.consumer_optional {
            return Err(forbidden());
        }
        exchange.authenticated_groups = self.tells_groups.then(|| groups.clone());
        Ok(Identity { consumer, credential: Some(Credential { identifier: header_value(&found.name) }) })
    }
}
