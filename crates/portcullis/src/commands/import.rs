//! `portcullis import kong`: what a running Kong has, as a declarative document.

use crate::cli::ImportFlags;
use crate::client::Client;
use crate::commands::sync;
use http::{Method, StatusCode};
use model::EntityKind;
use model::entity::KINDS;
use schema::{Map, Value, json};
use std::io::Write;

/// How many entities are asked for at once; Kong gives no more.
const AT_ONCE: usize = 1000;

pub fn run(flags: &ImportFlags, out: &mut impl Write) -> Result<(), String> {
    let client = Client::new(&flags.place.settings()?, &flags.from, &flags.header)?;
    let mut document = Map::new();
    document.insert("_format_version".to_owned(), json!("3.0"));
    // Kong gives passwords as it keeps them.
    document.insert("_transform".to_owned(), json!(false));
    for kind in KINDS.iter() {
        let entities = match kind.name {
            "targets" => targets(&client, &document)?,
            _ => list(&client, &format!("/{}", kind.collection))?,
        };
        if entities.is_empty() {
            continue;
        }
        eprintln!("{}: {}", kind.name, entities.len());
        let entities = entities.into_iter().map(|entity| own(kind, entity)).collect();
        document.insert(kind.name.to_owned(), Value::Array(entities));
    }
    sync::save(flags.output.as_deref(), &Value::Object(document), out)
}

/// All pages of a list. A Kong without the plugin does not have the list of its credentials.
fn list(client: &Client, path: &str) -> Result<Vec<Value>, String> {
    let (mut found, mut next) = (Vec::new(), Some(format!("{path}?size={AT_ONCE}")));
    while let Some(page) = next {
        let (status, mut value) = client.ask(Method::GET, &page, None)?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        if !status.is_success() {
            return Err(client.refusal(status, &value));
        }
        if let Value::Array(entities) = value["data"].take() {
            found.extend(entities);
        }
        // Kong leaves the size out of the next page's address.
        next = value["offset"].as_str().map(|offset| {
            let offset = percent_encoding::utf8_percent_encode(offset, percent_encoding::NON_ALPHANUMERIC);
            format!("{path}?size={AT_ONCE}&offset={offset}")
        });
    }
    Ok(found)
}

/// Targets are listed below their upstream only.
fn targets(client: &Client, document: &Map<String, Value>) -> Result<Vec<Value>, String> {
    let upstreams = document.get("upstreams").and_then(Value::as_array).into_iter().flatten();
    let ids = upstreams.filter_map(|upstream| upstream["id"].as_str());
    let lists = ids.map(|id| list(client, &format!("/upstreams/{id}/targets"))).collect::<Result<Vec<_>, _>>()?;
    Ok(lists.concat())
}

/// What this version knows of an entity: Kong's Enterprise fields, unset, are no reason to refuse it.
fn own(kind: &EntityKind, entity: Value) -> Value {
    let Value::Object(entity) = entity else { return entity };
    let keep = |(name, value): &(String, Value)| {
        let is_known = kind.record.field(name).is_some() || name == "ttl" && kind.has_ttl;
        // Server names are entities of their own.
        !value.is_null() && (is_known || !(name == "snis" && kind.name == "certificates"))
    };
    Value::Object(entity.into_iter().filter(keep).collect())
}
