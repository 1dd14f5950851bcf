//! Consumers and their credentials, for lookups on the request path.
//!
//! They can be many, and change all the time: each is put and removed by itself, while requests look others up, which waits
//! for nobody. A credential names its consumer, which is looked up by itself: one that is gone takes its credentials
//! along at once.
//!
//! Secrets are kept as hashes or parsed keys, and looked up by hash, so that how long a lookup takes says
//! nothing about how much of a guess was right.

use crate::identity::{Credential, Identity, header_value, id_value};
use http::HeaderValue;
use jose::VerifyingKey;
use model::credential::{Algorithm, JwtSecret};
use model::invalid::Place;
use model::{Configuration, EntityKind, entity};
use papaya::Equivalent;
use schema::{Secret, Violations};
use std::cell::{Cell, RefCell};
use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

mod change;
mod passwords;

use passwords::Passwords;
pub use passwords::{Busy, Upgrade};

/// Seeded at random. Who may call is put here by operators: nobody else chooses what is hashed together.
type HashMap<K, V> = papaya::HashMap<K, V, foldhash::fast::RandomState>;
type HashSet<K> = papaya::HashSet<K, foldhash::fast::RandomState>;

/// Who may call.
#[derive(Default)]
pub struct Registry {
    consumers: HashSet<ById>,
    usernames: HashMap<Digest, Uuid>,
    custom_ids: HashMap<Digest, Uuid>,
    keys: HashMap<Digest, ApiKey>,
    jwts: HashMap<Box<str>, Arc<JwtCredential>>,
    basic: HashMap<Box<str>, Arc<BasicCredential>>,
    passwords: Passwords,
    hmac: HashMap<Box<str>, Arc<HmacCredential>>,
    certificates: HashMap<Box<str>, Arc<[CertificateCredential]>>,
    /// The names of groups of consumers.
    groups: HashMap<Uuid, Box<str>>,
    /// What each row has brought in, so that it can be taken out. Its lock lets one change happen at a time.
    held: Mutex<change::Held>,
}

/// A consumer. There may be millions of them: what services are told is made of this for each request, which costs less
/// than to fetch it from memory that has not been looked at for long.
#[derive(Clone)]
pub struct Consumer {
    pub id: Uuid,
    pub username: Option<Box<str>>,
    pub custom_id: Option<Box<str>>,
    /// Most are in none.
    groups: Option<Box<Groups>>,
    revoked: Revoked,
}

/// The groups that a consumer is in.
#[derive(Clone, Default, PartialEq)]
struct Groups {
    /// Those of the `acl` plugin, in the order of their names.
    acl: Vec<String>,
    /// Those that plugins can be put on, in the order of their names.
    consumer: Vec<ConsumerGroup>,
}

/// A consumer that is found by its identity, which stands in it.
struct ById(Arc<Consumer>);

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &ById) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Equivalent<ById> for Uuid {
    fn equivalent(&self, consumer: &ById) -> bool {
        *self == consumer.0.id
    }
}

/// Whether something that is remembered elsewhere has been changed or removed since.
#[derive(Default)]
struct Revoked(AtomicBool);

/// A group of consumers that plugins can be put on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsumerGroup {
    pub name: String,
    pub id: Uuid,
}

/// What a text is known by: the first half of its SHA-256. Nobody finds another text for it, and it is as short for all.
type Digest = [u8; 16];

fn digest(text: &str) -> Digest {
    half(jose::digest::sha256(text.as_bytes()))
}

fn half(whole: [u8; 32]) -> Digest {
    let mut half = [0; 16];
    half.iter_mut().zip(whole).for_each(|(own, byte)| *own = byte);
    half
}

/// An API key; the key itself is not kept.
struct ApiKey {
    /// As it was when the key came here. If it has been changed since, it is looked up anew.
    consumer: Arc<Consumer>,
    /// The credential's identity, which Kong shows to services.
    id: Uuid,
    /// Seconds since 1970.
    expires_at: Option<NonZeroU64>,
}

/// What tokens of one issuer are verified with.
pub struct JwtCredential {
    id: Uuid,
    consumer: Uuid,
    identifier: HeaderValue,
    pub algorithm: jose::Algorithm,
    /// The secret as it stands, or the public key.
    pub key: Option<VerifyingKey>,
    /// The secret where it is base64 (`secret_is_base64`).
    pub decoded_key: Option<VerifyingKey>,
    revoked: Revoked,
}

/// A name in certificates that stands for a consumer.
#[derive(Clone)]
struct CertificateCredential {
    id: Uuid,
    consumer: Uuid,
    /// The authority that must vouch for it, if not any.
    authority: Option<Uuid>,
}

/// Whether credentials know a name in a certificate.
pub enum Named {
    By(Identity),
    /// Only with other authorities.
    Elsewhere,
    Nowhere,
}

/// A user name with the hash of its password.
struct BasicCredential {
    id: Uuid,
    consumer: Uuid,
    identifier: HeaderValue,
    /// As it is kept: by Argon2id, or in Kong's form.
    password: String,
}

/// A user name with the secret that its signatures are made with.
pub struct HmacCredential {
    id: Uuid,
    consumer: Uuid,
    identifier: HeaderValue,
    pub secret: Secret,
}

/// A row that cannot take part, and why.
pub struct Unusable {
    pub entity_type: &'static str,
    pub place: Place,
    pub violations: Violations,
}

/// The kinds of entities that a registry holds, in the order in which they must come.
pub const KINDS: &[&str] = &[
    "consumers",
    "consumer_groups",
    "consumer_group_consumers",
    "acls",
    "keyauth_credentials",
    "jwt_secrets",
    "basicauth_credentials",
    "hmacauth_credentials",
    "mtls_auth_credentials",
];

impl Registry {
    /// Everybody whom a configuration knows.
    pub fn of(configuration: &Configuration, unusable: &mut Vec<Unusable>) -> Registry {
        let registry = Registry::default();
        for kind in KINDS.iter().filter_map(|kind| entity::kind(kind)) {
            for row in configuration.rows(kind.name) {
                if let Err(violations) = registry.put(kind, row, configuration.vaults()) {
                    unusable.push(Unusable { entity_type: kind.singular, place: row.place.clone(), violations });
                }
            }
        }
        registry
    }

    /// Whether entities of this kind belong here.
    pub fn holds(kind: &EntityKind) -> bool {
        KINDS.contains(&kind.name)
    }

    /// The consumer with this identity or user name: what `anonymous` may hold.
    pub fn consumer(&self, id_or_username: &str) -> Option<Arc<Consumer>> {
        self.consumer_by_id(id_or_username).or_else(|| self.consumer_by_username(id_or_username))
    }

    pub fn consumer_by_id(&self, id: &str) -> Option<Arc<Consumer>> {
        self.owner(Uuid::try_parse(id).ok()?)
    }

    pub fn consumer_by_username(&self, username: &str) -> Option<Arc<Consumer>> {
        self.owner(*self.usernames.pin().get(&digest(username))?)
    }

    pub fn consumer_by_custom_id(&self, custom_id: &str) -> Option<Arc<Consumer>> {
        self.owner(*self.custom_ids.pin().get(&digest(custom_id))?)
    }

    fn owner(&self, id: Uuid) -> Option<Arc<Consumer>> {
        self.consumers.pin().get(&id).map(|found| found.0.clone())
    }

    fn identity(&self, consumer: Uuid, id: Uuid, identifier: HeaderValue) -> Option<Identity> {
        let credential = Some(Credential { identifier, id: Some(id) });
        Some(Identity { consumer: Some(self.owner(consumer)?), credential })
    }

    /// The consumer of an identity as it is now; nothing if it, or the credential, has been taken away.
    fn renewed(&self, consumer: Uuid, credential: Option<Uuid>) -> Option<Arc<Consumer>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = credential.is_none_or(|id| held.contains_key(&id));
        self.owner(consumer).filter(|_| is_there)
    }

    /// Whose API key it is, if it has not expired. `now` is in seconds since 1970.
    pub fn api_key(&self, key: &str, now: u64) -> Option<Identity> {
        let keys = self.keys.pin();
        let found = keys.get(&digest(key))?;
        if found.expires_at.is_some_and(|expires_at| expires_at.get() <= now) {
            return None;
        }
        let consumer = match found.consumer.is_revoked() {
            false => found.consumer.clone(),
            true => self.owner(found.consumer.id)?,
        };
        let credential = Some(Credential { identifier: id_value(found.id), id: Some(found.id) });
        Some(Identity { consumer: Some(consumer), credential })
    }

    /// Whose a name in a certificate is that this authority vouches for: a credential for that authority counts before one
    /// for any.
    pub fn certificate(&self, name: &str, authority: Uuid) -> Named {
        let Some(named) = self.certificates.pin().get(name).cloned() else { return Named::Nowhere };
        let own = named.iter().find(|credential| credential.authority == Some(authority));
        let own = own.or_else(|| named.iter().find(|credential| credential.authority.is_none()));
        let own = own.and_then(|own| self.identity(own.consumer, own.id, id_value(own.id)));
        own.map_or(Named::Elsewhere, Named::By)
    }

    /// The credential whose `key` is this value of the key claim, and whose it is.
    pub fn jwt(&self, key: &str) -> Option<(Arc<JwtCredential>, Identity)> {
        let found = self.jwts.pin().get(key).cloned()?;
        let identity = self.identity(found.consumer, found.id, found.identifier.clone())?;
        Some((found, identity))
    }

    /// The credential that signs under this user name, and whose it is.
    pub fn hmac(&self, username: &str) -> Option<(Arc<HmacCredential>, Identity)> {
        let found = self.hmac.pin().get(username).cloned()?;
        let identity = self.identity(found.consumer, found.id, found.identifier.clone())?;
        Some((found, identity))
    }

    /// Whether there is a password for this user name.
    pub fn has_basic(&self, username: &str) -> bool {
        self.basic.pin().contains_key(username)
    }

    /// Whose user name it is, if the password is right.
    pub async fn basic(&self, username: &str, password: &str) -> Result<Option<Identity>, Busy> {
        let found = self.basic.pin().get(username).cloned();
        let is_right = self.passwords.verify(found.as_deref(), password).await?;
        Ok(found
            .filter(|_| is_right)
            .and_then(|found| self.identity(found.consumer, found.id, found.identifier.clone())))
    }

    /// Says who hears of passwords that are kept in Kong's form, when they are known.
    pub fn upgrade_passwords_by(&self, upgrade: Upgrade) {
        self.passwords.upgrade_by(upgrade);
    }
}

impl Consumer {
    /// The ACL groups it is a member of.
    pub fn groups(&self) -> &[String] {
        self.groups.as_deref().map_or(&[], |groups| &groups.acl)
    }

    /// The groups that plugins can be put on, in the order of their names.
    pub fn consumer_groups(&self) -> &[ConsumerGroup] {
        self.groups.as_deref().map_or(&[], |groups| &groups.consumer)
    }

    /// Whether it is not as it was any more. Whoever has remembered it must look it up again.
    pub fn is_revoked(&self) -> bool {
        self.revoked.is_set()
    }
}

/// Who an exchange that lasts belongs to: it ends with the credential that it began with.
pub struct Lasting {
    registry: Arc<Registry>,
    consumer: RefCell<Arc<Consumer>>,
    credential: Option<Uuid>,
    /// Since when it is known to be over.
    over: Cell<Option<Instant>>,
}

impl Lasting {
    /// Nothing where nobody can be taken away.
    pub fn of(identity: Option<&Identity>, registry: &Arc<Registry>) -> Option<Lasting> {
        let identity = identity?;
        let consumer = RefCell::new(identity.consumer.clone()?);
        let credential = identity.credential.as_ref().and_then(|credential| credential.id);
        Some(Lasting { registry: registry.clone(), consumer, credential, over: Cell::new(None) })
    }

    /// Whether that has been known for so long.
    pub fn is_over_for(&self, time: Duration) -> bool {
        match self.over.get() {
            Some(since) => since.elapsed() >= time,
            None => {
                if self.is_over() {
                    self.over.set(Some(Instant::now()));
                }
                false
            }
        }
    }

    /// Whether the consumer or the credential has been taken away since.
    pub fn is_over(&self) -> bool {
        let mut consumer = self.consumer.borrow_mut();
        if !consumer.is_revoked() {
            return false;
        }
        match self.registry.renewed(consumer.id, self.credential) {
            Some(fresh) => {
                *consumer = fresh;
                false
            }
            None => true,
        }
    }
}

impl Revoked {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Clone for Revoked {
    /// What takes the place of something is not revoked with it.
    fn clone(&self) -> Revoked {
        Revoked::default()
    }
}

impl JwtCredential {
    /// Whether it is not as it was any more.
    pub fn is_revoked(&self) -> bool {
        self.revoked.is_set()
    }

    fn new(row: JwtSecret) -> JwtCredential {
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
        let (id, consumer) = (row.id, row.consumer.id);
        JwtCredential { id, consumer, identifier, algorithm, key, decoded_key, revoked: Revoked::default() }
    }
}

/// Base64 in either alphabet, with or without padding, as Kong takes it.
fn decode(secret: &str) -> Option<Vec<u8>> {
    let bare: String = secret.trim_end_matches('=').replace('+', "-").replace('/', "_");
    jose::base64url::decode(&bare).ok()
}
