//! One entity against its schema: read whole, with `config` as its plugin or vault wants it.

use crate::entity::EntityKind;
use crate::vault::EnvConfig;
use crate::{id, target};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use schema::{Catalog, Kind, Map, Record, Schema, Value, Violations, json};
use std::borrow::Cow;
use std::num::NonZeroU32;

/// An entity with every field, and what is kept beside them.
#[derive(Debug)]
pub struct Complete {
    pub json: Map<String, Value>,
    /// How long it is good for, in seconds, where its kind knows that and it was said.
    pub ttl: Option<u64>,
}

/// The longest that a credential may be given for, in seconds (Kong's limit).
const LONGEST_TTL: u64 = 100_000_000;

/// Reads an entity: fills in defaults, and finds everything that is wrong with it by itself.
pub fn complete(kind: &EntityKind, catalog: &Catalog, mut entity: Map<String, Value>) -> Result<Complete, Violations> {
    let ttl = ttl(kind, &mut entity);
    if kind.name == "routes" && !entity.contains_key("strip_path") && is_grpc(&entity) {
        entity.insert("strip_path".to_owned(), json!(false));
    }
    let name = entity.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut value = Value::Object(entity);
    let mut found = record(kind, catalog, name.as_deref()).read(&mut value).err().unwrap_or_default();
    for violations in [is_enabled(kind, catalog, name.as_deref()).err(), ttl.as_ref().err().cloned()] {
        found.merge(violations.unwrap_or_default());
    }
    found.raised("config").into_result()?;
    match value {
        Value::Object(json) => Ok(Complete { json, ttl: ttl.unwrap_or_default() }),
        _ => Err(Violations::entity("expected a record")),
    }
}

/// Whether a plugin is one that may be used; other entities may.
pub(crate) fn is_enabled(kind: &EntityKind, catalog: &Catalog, name: Option<&str>) -> Result<(), Violations> {
    match name.filter(|name| kind.name == "plugins" && catalog.plugin(name).is_none()) {
        Some(name) => {
            let text = format!("plugin '{name}' not enabled; add it to the 'plugins' configuration property");
            Err(Violations::field("name", text))
        }
        None => Ok(()),
    }
}

/// The record of a kind; where `config` depends on the entity's name, with the one that belongs to it.
pub fn record<'a>(kind: &'a EntityKind, catalog: &Catalog, name: Option<&str>) -> Cow<'a, Record> {
    let plugin = name.filter(|_| kind.name == "plugins").and_then(|name| catalog.plugin(name));
    let config = match (kind.name, name, plugin) {
        ("vaults", Some("env"), _) => Some(EnvConfig::record()),
        (_, _, Some(plugin)) => Some(plugin.config.clone()),
        _ => None,
    };
    let Some(config) = config else { return Cow::Borrowed(&kind.record) };
    let mut record = kind.record.clone();
    for field in &mut record.fields {
        match (field.name, plugin) {
            ("config", _) => {
                field.kind = Kind::Record(config.clone());
                field.required = true;
            }
            ("consumer" | "consumer_group", Some(plugin)) if !plugin.on_consumer => {
                *field = field.clone().must_be_null()
            }
            ("protocols", Some(plugin)) => plugin.restrict_protocols(field),
            _ => {}
        }
    }
    Cow::Owned(record)
}

/// What the gate makes itself where it was not said: times, keys, secrets; and addresses as they are kept.
pub fn fill(kind: &EntityKind, entity: &mut Map<String, Value>, now: u64) -> Result<(), Violations> {
    for field in ["created_at", "updated_at"] {
        if entity.get(field).is_some_and(Value::is_null) {
            entity.insert(field.to_owned(), json!(now));
        }
    }
    let made: &[&str] = match kind.name {
        "keyauth_credentials" => &["key"],
        "jwt_secrets" => &["key", "secret"],
        "hmacauth_credentials" => &["secret"],
        "oauth2_credentials" => &["client_id", "client_secret"],
        "oauth2_tokens" => &["access_token"],
        _ => &[],
    };
    for field in made {
        if entity.get(*field).is_some_and(|value| !value.is_null()) {
            continue;
        }
        let key = id::random_key().map_err(|error| {
            Violations::field(field, format!("the system gives no random numbers to make it from: {error}"))
        })?;
        entity.insert((*field).to_owned(), json!(key));
    }
    match kind.name {
        "targets" => {
            if let Some((host, port)) = target::split(text(entity, "target")) {
                let joined = target::join(host, port);
                entity.insert("target".to_owned(), json!(joined));
            }
        }
        "ca_certificates" => {
            let digest = pem_body(text(entity, "cert")).map(|der| jose::digest::sha256_hex(&der));
            entity.insert("cert_digest".to_owned(), json!(digest));
        }
        _ => {}
    }
    Ok(())
}

/// How passwords are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashing {
    /// As Kong keeps them, `sha1_hex(password + consumer id)`: for a document, which has them readable anyway.
    Kong,
    /// Argon2id, for a database.
    Argon2,
}

/// Puts secrets into the forms that they are kept in: passwords as said, secrets of clients that ask for it (`hash_secret`)
/// as PBKDF2, which is Kong's form. Documents with `_transform: false` hold them so already.
pub fn hash_secrets(
    kind: &EntityKind,
    credential: &mut Map<String, Value>,
    hashing: Hashing,
) -> Result<(), Violations> {
    let random = |field: &str| {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt)
            .map(|()| salt)
            .map_err(|error| Violations::field(field, format!("the system gives no random numbers: {error}")))
    };
    let (field, hash) = match kind.name {
        "basicauth_credentials" if hashing == Hashing::Argon2 => {
            let hash = jose::password::hash(text(credential, "password"), random("password")?);
            ("password", hash.ok_or_else(|| Violations::field("password", "it cannot be hashed"))?)
        }
        "basicauth_credentials" => ("password", kongs(credential)),
        "oauth2_credentials" if credential.get("hash_secret") == Some(&json!(true)) => {
            let salt = random("client_secret")?;
            let secret = text(credential, "client_secret").as_bytes();
            ("client_secret", pbkdf2(&salt, &jose::digest::pbkdf2_sha512(secret, &salt, ITERATIONS)))
        }
        _ => return Ok(()),
    };
    credential.insert(field.to_owned(), json!(hash));
    Ok(())
}

fn kongs(credential: &Map<String, Value>) -> String {
    let consumer = credential.get("consumer").and_then(|consumer| consumer["id"].as_str()).unwrap_or_default();
    jose::digest::sha1_hex(format!("{}{consumer}", text(credential, "password")).as_bytes())
}

/// For a database, as [`hash_secrets`]; but what is kept already stays where it is of what stands here.
pub fn keep_hashes(
    kind: &EntityKind,
    credential: &mut Map<String, Value>,
    before: Option<&Map<String, Value>>,
) -> Result<(), Violations> {
    let before = before.filter(|before| before.get("consumer") == credential.get("consumer"));
    for field in ["password", "client_secret"] {
        let Some(kept) = before.and_then(|before| before.get(field)?.as_str()) else { continue };
        let given = text(credential, field);
        let is_kept = match salted(kept) {
            Some((salt, derived)) => jose::digest::pbkdf2_sha512(given.as_bytes(), &salt, ITERATIONS) == *derived,
            None => jose::password::verify(given, kept) || kongs(credential) == kept,
        };
        if is_kept {
            let kept = json!(kept);
            credential.insert(field.to_owned(), kept);
            return Ok(());
        }
    }
    hash_secrets(kind, credential, Hashing::Argon2)
}

const ITERATIONS: NonZeroU32 = NonZeroU32::new(10_000).expect("it is not zero");

fn pbkdf2(salt: &[u8], derived: &[u8]) -> String {
    let (salt, derived) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(derived));
    format!("$pbkdf2-sha512$i={ITERATIONS},l=32${salt}${derived}")
}

/// Salt and hash of [`pbkdf2`].
fn salted(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let rest = text.strip_prefix(&format!("$pbkdf2-sha512$i={ITERATIONS},l=32$"))?;
    let (salt, derived) = rest.split_once('$')?;
    Some((STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(derived).ok()?))
}

fn text<'a>(entity: &'a Map<String, Value>, name: &str) -> &'a str {
    entity.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The bytes of the first PEM block.
fn pem_body(pem: &str) -> Option<Vec<u8>> {
    let body = pem.split("-----").nth(2)?;
    let letters: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(letters).ok()
}

/// Credentials and tokens may be given for a time only; the time stands beside the schema, as in Kong.
fn ttl(kind: &EntityKind, entity: &mut Map<String, Value>) -> Result<Option<u64>, Violations> {
    if !kind.has_ttl {
        return Ok(None);
    }
    match entity.remove("ttl") {
        None | Some(Value::Null) => Ok(None),
        Some(ttl) => match ttl.as_f64() {
            Some(seconds) if seconds.fract() != 0.0 => Err(Violations::field("ttl", "expected an integer")),
            Some(seconds) if (0.0..=LONGEST_TTL as f64).contains(&seconds) => {
                Ok(Some(seconds as u64).filter(|seconds| *seconds > 0))
            }
            Some(_) => Err(Violations::field("ttl", format!("value should be between 0 and {LONGEST_TTL}"))),
            None => Err(Violations::field("ttl", "expected an integer")),
        },
    }
}

fn is_grpc(route: &Map<String, Value>) -> bool {
    let protocols = route.get("protocols").and_then(Value::as_array).into_iter().flatten();
    protocols.filter_map(Value::as_str).any(|protocol| protocol.starts_with("grpc"))
}
