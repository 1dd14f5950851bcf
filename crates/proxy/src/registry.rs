//! Consumers and their credentials, for lookups on the request path.
//!
//! Secrets are kept as hashes or parsed keys, and looked up by hash, so that how long a lookup takes says
//! nothing about how much of a guess was right.

use crate::identity::header_value;
use http::HeaderValue;
use jose::VerifyingKey;
use model::consumer;
use model::consumer_group::{self, Membership};
use model::credential::{Acl, Algorithm, BasicAuth, HmacAuth, JwtSecret, KeyAuth, MtlsAuth};
use model::invalid::Place;
use model::{Configuration, Row};
use schema::{Schema, Secret, Violations};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// Who may call.
#[derive(Default)]
pub struct Registry {
    consumers: HashMap<Uuid, Arc<Consumer>>,
    by_username: HashMap<String, Uuid>,
    by_custom_id: HashMap<String, Uuid>,
    keys: HashMap<[u8; 32], ApiKey>,
    jwts: HashMap<String, Arc<JwtCredential>>,
    basic: HashMap<String, BasicCredential>,
    hmac: HashMap<String, HmacCredential>,
    certificates: HashMap<String, Vec<CertificateCredential>>,
}

/// A consumer, with its headers made once.
pub struct Consumer {
    pub id: Uuid,
    pub username: Option<String>,
    pub custom_id: Option<String>,
    /// The ACL groups it is a member of.
    pub groups: Vec<String>,
    /// The groups that plugins can be put on, in the order of their names.
    pub consumer_groups: Vec<ConsumerGroup>,
    pub id_header: HeaderValue,
    pub username_header: Option<HeaderValue>,
    pub custom_id_header: Option<HeaderValue>,
    /// The groups as services see them: `g1, g2`.
    pub groups_header: HeaderValue,
}

/// A group of consumers that plugins can be put on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsumerGroup {
    pub name: String,
    pub id: Uuid,
}

/// An API key; the key itself is not kept.
pub struct ApiKey {
    pub consumer: Arc<Consumer>,
    /// The credential's identity, which Kong shows to services.
    pub identifier: HeaderValue,
    /// Seconds since 1970.
    pub expires_at: Option<u64>,
}

/// What tokens of one issuer are verified with.
pub struct JwtCredential {
    pub consumer: Arc<Consumer>,
    pub identifier: HeaderValue,
    pub algorithm: jose::Algorithm,
    /// The secret as it stands, or the public key.
    pub key: Option<VerifyingKey>,
    /// The secret where it is base64 (`secret_is_base64`).
    pub decoded_key: Option<VerifyingKey>,
}

/// A name in certificates that stands for a consumer.
pub struct CertificateCredential {
    pub consumer: Arc<Consumer>,
    pub identifier: HeaderValue,
    /// The authority that must vouch for it, if not any.
    authority: Option<Uuid>,
}

/// Whether credentials know a name in a certificate.
pub enum Named<'a> {
    By(&'a CertificateCredential),
    /// Only with other authorities.
    Elsewhere,
    Nowhere,
}

/// A user name with the hash of its password.
pub struct BasicCredential {
    pub consumer: Arc<Consumer>,
    pub identifier: HeaderValue,
    password_sha1: String,
}

/// A user name with the secret that its signatures are made with.
pub struct HmacCredential {
    pub consumer: Arc<Consumer>,
    pub identifier: HeaderValue,
    pub secret: Secret,
}

/// A row that cannot take part, and why.
pub struct Unusable {
    pub entity_type: &'static str,
    pub place: Place,
    pub violations: Violations,
}

impl Registry {
    pub fn new(configuration: &Configuration, unusable: &mut Vec<Unusable>) -> Registry {
        let mut registry = Registry::default();
        let mut groups: HashMap<Uuid, Vec<String>> = HashMap::new();
        for acl in rows::<Acl>(configuration, "acls", "acl", unusable) {
            groups.entry(acl.1.consumer.id).or_default().push(acl.1.group);
        }
        let mut memberships = memberships(configuration, unusable);
        for (_, row) in rows::<consumer::Consumer>(configuration, "consumers", "consumer", unusable) {
            if let Some(username) = &row.username {
                registry.by_username.insert(username.clone(), row.id);
            }
            if let Some(custom_id) = &row.custom_id {
                registry.by_custom_id.insert(custom_id.clone(), row.id);
            }
            let groups = groups.remove(&row.id).unwrap_or_default();
            let consumer_groups = memberships.remove(&row.id).unwrap_or_default();
            registry.consumers.insert(row.id, Arc::new(Consumer::new(row, groups, consumer_groups)));
        }
        for (stored, row) in rows::<KeyAuth>(configuration, "keyauth_credentials", "keyauth_credential", unusable) {
            let Some(consumer) = registry.owner(row.consumer.id) else { continue };
            let hash = jose::digest::sha256(row.key.as_ref().map_or("", |key| key.reveal()).as_bytes());
            let identifier = header_value(&row.id.to_string());
            // Two references may lead to one secret; whose request it is must not be left to chance.
            if registry.keys.insert(hash, ApiKey { consumer, identifier, expires_at: stored.expires_at }).is_some() {
                let violations = Violations::field("key", "the same key belongs to another credential");
                unusable.push(Unusable { entity_type: "keyauth_credential", place: stored.place.clone(), violations });
            }
        }
        for (_, row) in rows::<JwtSecret>(configuration, "jwt_secrets", "jwt_secret", unusable) {
            let Some(consumer) = registry.owner(row.consumer.id) else { continue };
            let Some(key) = row.key.clone() else { continue };
            registry.jwts.insert(key, Arc::new(JwtCredential::new(row, consumer)));
        }
        for (_, row) in rows::<BasicAuth>(configuration, "basicauth_credentials", "basicauth_credential", unusable) {
            let Some(consumer) = registry.owner(row.consumer.id) else { continue };
            let identifier = header_value(&row.username);
            let password_sha1 = row.password.reveal().to_owned();
            registry.basic.insert(row.username, BasicCredential { consumer, identifier, password_sha1 });
        }
        for (_, row) in rows::<HmacAuth>(configuration, "hmacauth_credentials", "hmacauth_credential", unusable) {
            let (Some(consumer), Some(secret)) = (registry.owner(row.consumer.id), row.secret) else { continue };
            let identifier = header_value(&row.username);
            registry.hmac.insert(row.username, HmacCredential { consumer, identifier, secret });
        }
        for (_, row) in rows::<MtlsAuth>(configuration, "mtls_auth_credentials", "mtls_auth_credential", unusable) {
            let Some(consumer) = registry.owner(row.consumer.id) else { continue };
            let (identifier, authority) = (header_value(&row.id.to_string()), row.ca_certificate.map(|own| own.id));
            let same = registry.certificates.entry(row.subject_name).or_default();
            same.push(CertificateCredential { consumer, identifier, authority });
        }
        registry
    }

    fn owner(&self, id: Uuid) -> Option<Arc<Consumer>> {
        self.consumers.get(&id).cloned()
    }

    /// The consumer with this identity or user name: what `anonymous` may hold.
    pub fn consumer(&self, id_or_username: &str) -> Option<&Arc<Consumer>> {
        self.consumer_by_id(id_or_username).or_else(|| self.consumer_by_username(id_or_username))
    }

    pub fn consumer_by_id(&self, id: &str) -> Option<&Arc<Consumer>> {
        self.consumers.get(&Uuid::try_parse(id).ok()?)
    }

    pub fn consumer_by_username(&self, username: &str) -> Option<&Arc<Consumer>> {
        self.consumers.get(self.by_username.get(username)?)
    }

    pub fn consumer_by_custom_id(&self, custom_id: &str) -> Option<&Arc<Consumer>> {
        self.consumers.get(self.by_custom_id.get(custom_id)?)
    }

    /// The credential of an API key that has not expired. `now` is in seconds since 1970.
    pub fn api_key(&self, key: &str, now: u64) -> Option<&ApiKey> {
        let found = self.keys.get(&jose::digest::sha256(key.as_bytes()))?;
        found.expires_at.is_none_or(|expires_at| now < expires_at).then_some(found)
    }

    /// Whose a name in a certificate is that this authority vouches for: a credential for that authority counts before one
    /// for any.
    pub fn certificate(&self, name: &str, authority: Uuid) -> Named<'_> {
        let Some(named) = self.certificates.get(name) else { return Named::Nowhere };
        let own = named.iter().find(|credential| credential.authority == Some(authority));
        let own = own.or_else(|| named.iter().find(|credential| credential.authority.is_none()));
        own.map_or(Named::Elsewhere, Named::By)
    }

    /// The credential whose `key` is this value of the key claim.
    pub fn jwt(&self, key: &str) -> Option<&Arc<JwtCredential>> {
        self.jwts.get(key)
    }

    /// The credential that signs under this user name.
    pub fn hmac(&self, username: &str) -> Option<&HmacCredential> {
        self.hmac.get(username)
    }

    /// Whether there is a password for this user name.
    pub fn has_basic(&self, username: &str) -> bool {
        self.basic.contains_key(username)
    }

    /// The credential of this user name, if the password is its.
    pub fn basic(&self, username: &str, password: &str) -> Option<&BasicCredential> {
        let found = self.basic.get(username);
        let salt = found.map(|found| found.consumer.id).unwrap_or_default();
        // An unknown name costs the same work as a known one.
        let given = jose::digest::sha1_hex(format!("{password}{salt}").as_bytes());
        found.filter(|found| jose::digest::equal(given.as_bytes(), found.password_sha1.as_bytes()))
    }
}

/// The groups of each consumer.
fn memberships(configuration: &Configuration, unusable: &mut Vec<Unusable>) -> HashMap<Uuid, Vec<ConsumerGroup>> {
    let groups = rows::<consumer_group::ConsumerGroup>(configuration, "consumer_groups", "consumer_group", unusable);
    let names: HashMap<Uuid, String> = groups.into_iter().map(|(_, group)| (group.id, group.name)).collect();
    let mut of: HashMap<Uuid, Vec<ConsumerGroup>> = HashMap::new();
    let kind = ("consumer_group_consumers", "consumer_group_consumer");
    for (_, row) in rows::<Membership>(configuration, kind.0, kind.1, unusable) {
        if let Some(name) = names.get(&row.consumer_group.id) {
            let group = ConsumerGroup { name: name.clone(), id: row.consumer_group.id };
            of.entry(row.consumer.id).or_default().push(group);
        }
    }
    of.values_mut().for_each(|groups| groups.sort());
    of
}

/// Each row beside its type; rows whose secrets are not to be had are reported.
fn rows<'a, T: Schema>(
    configuration: &'a Configuration,
    kind: &'static str,
    entity_type: &'static str,
    unusable: &mut Vec<Unusable>,
) -> Vec<(&'a Row, T)> {
    let typed = configuration.typed::<T>(kind).into_iter();
    typed
        .filter_map(|(row, typed)| match typed {
            Ok(typed) => Some((row, typed)),
            Err(violations) => {
                unusable.push(Unusable { entity_type, place: row.place.clone(), violations });
                None
            }
        })
        .collect()
}

impl Consumer {
    fn new(row: consumer::Consumer, groups: Vec<String>, consumer_groups: Vec<ConsumerGroup>) -> Consumer {
        Consumer {
            id: row.id,
            id_header: header_value(&row.id.to_string()),
            username_header: row.username.as_deref().map(header_value),
            custom_id_header: row.custom_id.as_deref().map(header_value),
            groups_header: header_value(&groups.join(", ")),
            username: row.username,
            custom_id: row.custom_id,
            groups,
            consumer_groups,
        }
    }
}

impl JwtCredential {
    fn new(row: JwtSecret, consumer: Arc<Consumer>) -> JwtCredential {
        let algorithm = row.algorithm.unwrap_or(Algorithm::HS256).to_jose();
        let shared = algorithm.family() == jose::algorithm::Family::Hmac;
        let secret = row.secret.as_ref().map_or("", |secret| secret.reveal());
        let (key, decoded_key) = match (shared, row.rsa_public_key) {
            (true, _) => (
                VerifyingKey::hmac_of_any_length(algorithm, secret.as_bytes()).ok(),
                decode(secret).and_then(|secret| VerifyingKey::hmac_of_any_length(algorithm, &secret).ok()),
            ),
            (false, Some(pem)) => {
                let key = VerifyingKey::from_pem(algorithm, &pem).ok();
                (key.clone(), key)
            }
            (false, None) => (None, None),
        };
        let identifier = header_value(row.key.as_deref().unwrap_or_default());
        JwtCredential { consumer, identifier, algorithm, key, decoded_key }
    }
}

/// Base64 in either alphabet, with or without padding, as Kong takes it.
fn decode(secret: &str) -> Option<Vec<u8>> {
    let bare: String = secret.trim_end_matches('=').replace('+', "-").replace('/', "_");
    jose::base64url::decode(&bare).ok()
}
