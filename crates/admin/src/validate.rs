//! Holds an entity of a request against its schema.

use crate::call::Call;
use crate::error::Error;
use crate::locate;
use model::EntityKind;
use model::vault::EnvConfig;
use schema::{Kind, Map, Record, Schema, Value, Violations, json};
use std::borrow::Cow;

/// An entity that someone wants to write: its references must lead somewhere, too.
pub(crate) fn for_writing(call: &Call, kind: &'static EntityKind, mut entity: Map<String, Value>) -> Result<(), Error> {
    for (field, parent) in kind.references() {
        let Some(parent) = model::entity::kind(parent) else { continue };
        let (Some(key), Some(Value::Object(reference))) = (parent.endpoint_key, entity.get(field)) else { continue };
        if reference.contains_key("id") {
            continue;
        }
        let Some(name) = reference.get(key).and_then(Value::as_str) else { continue };
        let unresolved = || Error::Reference { field, key, value: name.to_owned(), parent: parent.name };
        let row = locate::locate(call, parent, name, None)?.row.ok_or_else(unresolved)?;
        entity.insert(field.to_owned(), json!({ "id": row.id }));
    }
    against_schema(call, kind, entity)
}

/// An entity by itself.
pub(crate) fn against_schema(
    call: &Call,
    kind: &'static EntityKind,
    mut entity: Map<String, Value>,
) -> Result<(), Error> {
    if kind.name == "keyauth_credentials" && entity.get("ttl").is_some_and(is_ttl) {
        entity.remove("ttl");
    }
    if kind.name == "routes" && !entity.contains_key("strip_path") && is_grpc(&entity) {
        entity.insert("strip_path".to_owned(), json!(false));
    }
    let name = entity.get("name").and_then(Value::as_str).map(str::to_owned);
    let record = record(call, kind, name.as_deref());
    let mut found = record.read(&mut Value::Object(entity)).err().unwrap_or_default();
    if let ("plugins", Some(name)) = (kind.name, name)
        && call.catalog.plugin(&name).is_none()
    {
        let text = format!("plugin '{name}' not enabled; add it to the 'plugins' configuration property");
        found.add("name", text);
    }
    raised(found).into_result().map_err(Error::Schema)
}

/// The record of a kind; where `config` depends on the entity's name, with the one that belongs to it.
pub(crate) fn record(call: &Call, kind: &'static EntityKind, name: Option<&str>) -> Cow<'static, Record> {
    let plugin = name.filter(|_| kind.name == "plugins").and_then(|name| call.catalog.plugin(name));
    let config = match (kind.name, name) {
        ("vaults", Some("env")) => Some(EnvConfig::record()),
        _ => plugin.map(|plugin| plugin.config.clone()),
    };
    let Some(config) = config else { return Cow::Borrowed(&kind.record) };
    let mut record = kind.record.clone();
    if let Some(field) = record.fields.iter_mut().find(|field| field.name == "config") {
        field.kind = Kind::Record(config);
        field.required = true;
    }
    if plugin.is_some_and(|plugin| !plugin.on_consumer) {
        record.fields.iter_mut().filter(|field| field.name == "consumer").for_each(|field| {
            *field = field.clone().must_be_null();
        });
    }
    Cow::Owned(record)
}

/// Rules over several options of a plugin stand with the plugin, not within its `config`.
fn raised(found: Violations) -> Violations {
    let Value::Object(mut fields) = found.to_json() else { return found };
    let Some(Value::Object(config)) = fields.get_mut("config") else { return found };
    let Some(texts) = config.remove("@entity") else { return found };
    if config.is_empty() {
        fields.remove("config");
    }
    let mut raised = Violations::default();
    texts.as_array().into_iter().flatten().filter_map(Value::as_str).for_each(|text| raised.add_entity(text));
    for (name, violation) in fields {
        match (name.as_str(), violation) {
            ("@entity", Value::Array(texts)) => {
                texts.iter().filter_map(Value::as_str).for_each(|text| raised.add_entity(text));
            }
            (name, violation) => raised.add(name, violation),
        }
    }
    raised
}

/// How long a key may be given for, in seconds.
fn is_ttl(value: &Value) -> bool {
    value.as_u64().is_some_and(|seconds| seconds <= 100_000_000)
}

fn is_grpc(route: &Map<String, Value>) -> bool {
    let protocols = route.get("protocols").and_then(Value::as_array).into_iter().flatten();
    protocols.filter_map(Value::as_str).any(|protocol| protocol.starts_with("grpc"))
}
