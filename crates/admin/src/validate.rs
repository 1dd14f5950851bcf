//! Holds an entity of a request against its schema.

use crate::call::Call;
use crate::error::Error;
use crate::locate;
use model::{Complete, EntityKind};
use schema::{Map, Value, json};

/// An entity that someone wants to write: its references must lead somewhere, too.
pub(crate) fn for_writing(
    call: &Call,
    kind: &'static EntityKind,
    mut entity: Map<String, Value>,
) -> Result<Complete, Error> {
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
    let complete = against_schema(call, kind, entity)?;
    model::carried(kind, &complete.json).into_result().map_err(Error::Schema)?;
    Ok(complete)
}

/// An entity by itself.
pub(crate) fn against_schema(
    call: &Call,
    kind: &'static EntityKind,
    entity: Map<String, Value>,
) -> Result<Complete, Error> {
    model::complete(kind, call.catalog, entity).map_err(Error::Schema)
}
