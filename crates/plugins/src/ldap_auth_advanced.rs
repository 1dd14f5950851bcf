//! Authenticates users by a directory (LDAP) in which they are searched, and finds their groups.

use crate::claims::{forbidden, split};
use crate::consumer_by::{self, ConsumerBy};
use crate::directory::{Door, Manner, Place, Users};
use net::ldap::{Groups, Searcher};
use proxy::Exchange;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::identity::{Credential, Identity, header_value};
use proxy::plugin;
use schema::{Check, Schema, Secret, Violations};
use serde::Deserialize;

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
    #[serde(flatten)]
    place: Place,
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
    #[serde(flatten)]
    users: Users,
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
    #[serde(flatten)]
    manner: Manner,
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
        let groups_required: Vec<Vec<String>> =
            config.groups_required.iter().flatten().map(|entry| split(entry)).collect();
        let (base, attribute) = config.users.base_and_attribute();
        let groups = (config.group_name_attribute.is_some() || !groups_required.is_empty()).then(|| Groups {
            base: config.group_base_dn.unwrap_or(base),
            name: config.group_name_attribute.unwrap_or(attribute),
            member: config.group_member_attribute,
        });
        let tells_groups = groups.is_some();
        let searcher = config.bind_dn.zip(config.ldap_password);
        let searcher = searcher.map(|(dn, password)| Searcher { dn, password: password.reveal().to_owned() });
        let verify = config.verify_ldap_host;
        Ok(LdapAuthAdvanced {
            door: Door::new(config.place, verify, config.users, config.manner, searcher, groups)?,
            groups_required,
            tells_groups,
            consumer_by: config.consumer_by.unwrap_or_default(),
            consumer_optional: config.consumer_optional,
        })
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
        Ok(Identity { consumer, credential: Some(Credential::elsewhere(header_value(&found.name))) })
    }
}
