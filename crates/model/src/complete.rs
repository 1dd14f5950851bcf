//! One entity against its schema: read whole, with `config` as its plugin or vault wants it.

use crate::entity::EntityKind;
use crate::vault::EnvConfig;
use schema::{Catalog, Kind, Map, Record, Schema, Value, Violations, json};
use std::borrow::Cow;

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
    if let ("plugins", Some(name)) = (kind.name, name)
        && catalog.plugin(&name).is_none()
    {
        found.add("name", format!("plugin '{name}' not enabled; add it to the 'plugins' configuration property"));
    }
    if let Err(violations) = &ttl {
        found.merge(violations.clone());
    }
    found.raised("config").into_result()?;
    match value {
        Value::Object(json) => Ok(Complete { json, ttl: ttl.unwrap_or_default() }),
        _ => Err(Violations::entity("expected a record")),
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
