//! Rows as the Admin API shows them.

use crate::call::Call;
use crate::error::Error;
use crate::page;
use model::rows::{Below, Tagged};
use model::{EntityKind, Row, entity};
use schema::{Value, json};
use uuid::Uuid;

/// A row with what is not kept in it: a certificate's names, and how long an API key is still good.
pub(crate) fn shown(call: &Call, kind: &EntityKind, row: &Row) -> Result<Value, Error> {
    let mut entity = row.json.clone();
    let name = row.json.get("name").and_then(Value::as_str);
    model::record(kind, call.catalog, name).show(&mut entity);
    if kind.name == "certificates" {
        let snis = snis(call, row.id)?;
        let mut names: Vec<&str> = snis.iter().filter_map(|sni| sni.json.get("name").and_then(Value::as_str)).collect();
        names.sort_unstable();
        entity.insert("snis".to_owned(), json!(names));
    }
    match row.expires_at {
        Some(end) => drop(entity.insert("ttl".to_owned(), json!(end.saturating_sub(call.now)))),
        // Kong says it also of those without an end, where entities come out of a database.
        None if kind.has_ttl && call.document.is_none() => drop(entity.insert("ttl".to_owned(), Value::Null)),
        None => {}
    }
    Ok(Value::Object(entity))
}

/// What changes with an entity as it is shown (RFC 9110 section 8.8.3), but for how long it is still good.
pub(crate) fn tag(shown: &Value) -> String {
    let mut lasting = shown.clone();
    if let Some(members) = lasting.as_object_mut() {
        members.remove("ttl");
    }
    let digest = jose::digest::sha256_hex(lasting.to_string().as_bytes());
    format!("\"{}\"", digest.get(..32).unwrap_or_default())
}

/// The server names of a certificate.
pub(crate) fn snis(call: &Call, certificate: Uuid) -> Result<Vec<Row>, Error> {
    let below = Below { field: "certificate", parent: certificate, parent_kind: "certificates" };
    match entity::kind("snis") {
        Some(kind) => page::all(call, kind, Some(below), &Tagged::Anyhow),
        None => Ok(Vec::new()),
    }
}
