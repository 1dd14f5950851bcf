//! Writes of single entities: validated, then refused, since the configuration is one document.
//!
//! The order is Kong's: a tool that asks for something impossible learns that first.

use crate::body;
use crate::call::Call;
use crate::error::Error;
use crate::locate::{By, Located, Scope};
use crate::patch;
use crate::reply::{self, Response};
use crate::validate;
use http::StatusCode;
use model::EntityKind;
use schema::{Map, Value, json};

pub(crate) fn create(call: &Call, kind: &'static EntityKind, scope: Option<Scope>) -> Result<Response, Error> {
    let mut entity = body::entity(call, kind)?;
    put_below(&mut entity, scope);
    validate::for_writing(call, kind, entity)?;
    Err(Error::Unsupported { verb: "create", kind: kind.name })
}

pub(crate) fn replace(
    call: &Call,
    kind: &'static EntityKind,
    located: Located,
    scope: Option<Scope>,
) -> Result<Response, Error> {
    let mut entity = body::entity(call, kind)?;
    put_below(&mut entity, scope);
    match &located.by {
        By::Id(id) => {
            entity.insert("id".to_owned(), json!(id));
        }
        By::Field(field, key) => {
            entity.entry(*field).or_insert_with(|| json!(key));
        }
    }
    validate::for_writing(call, kind, entity)?;
    Err(unsupported("create or update", kind, located.by))
}

pub(crate) fn update(
    call: &Call,
    kind: &'static EntityKind,
    located: Located,
    scope: Option<Scope>,
) -> Result<Response, Error> {
    let given = body::entity(call, kind)?;
    let Some(row) = located.row else { return Err(absent(kind, located.by, scope)) };
    let mut entity = row.json.clone();
    let name = given.get("name").or_else(|| entity.get("name")).and_then(Value::as_str);
    let record = model::record(kind, call.catalog, name);
    patch::merge(&record, &mut entity, given);
    validate::for_writing(call, kind, entity)?;
    Err(unsupported("update", kind, located.by))
}

/// What is not there need not be removed; but below a parent Kong looks for it first.
pub(crate) fn remove(kind: &'static EntityKind, located: Located, scope: Option<Scope>) -> Result<Response, Error> {
    match (located.row, scope) {
        (Some(_), _) => Err(unsupported("remove", kind, located.by)),
        (None, None) => Ok(reply::empty(StatusCode::NO_CONTENT)),
        (None, Some(_)) => Err(Error::NotFound),
    }
}

fn put_below(entity: &mut Map<String, Value>, scope: Option<Scope>) {
    if let Some(scope) = scope {
        entity.insert(scope.field.to_owned(), json!({ "id": scope.parent }));
    }
}

fn unsupported(verb: &'static str, kind: &'static EntityKind, by: By) -> Error {
    match by {
        By::Id(_) => Error::Unsupported { verb, kind: kind.name },
        By::Field(field, _) => Error::UnsupportedBy { verb, kind: kind.name, field },
    }
}

fn absent(kind: &EntityKind, by: By, scope: Option<Scope>) -> Error {
    match (scope, by) {
        (Some(_), _) => Error::NotFound,
        (None, By::Id(id)) => Error::NoEntity(id),
        (None, By::Field(field, key)) => Error::NoEntityBy { field, key: unless_secret(kind, key) },
    }
}

/// An API key or token that stands in a path is not repeated in the answer, where it might be logged.
fn unless_secret(kind: &EntityKind, key: String) -> String {
    match kind.name {
        "keyauth_credentials" | "oauth2_tokens" => "[secret]".to_owned(),
        _ => key,
    }
}
