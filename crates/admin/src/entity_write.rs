//! Writes of single entities. Where the configuration is one document they are validated, and then refused.
//!
//! The order is Kong's: a tool that asks for something impossible learns that first.

use crate::body;
use crate::call::Call;
use crate::error::Error;
use crate::locate::{By, Located};
use crate::patch;
use crate::reply::{self, Response};
use crate::shown;
use crate::validate;
use http::StatusCode;
use model::rows::{Asked, Below};
use model::{Complete, EntityKind, Hashing, Row, Writes, api_key, entity};
use schema::{Map, Value, Violations, json};
use uuid::Uuid;

pub(crate) fn create(call: &Call, kind: &'static EntityKind, below: Option<Below>) -> Result<Response, Error> {
    let mut entity = body::entity(call, kind)?;
    put_below(&mut entity, below);
    let mut complete = validate::for_writing(call, kind, entity)?;
    let writes = call.writes.ok_or(Error::Unsupported { verb: "create", kind: kind.name })?;
    model::fill(kind, &mut complete.json, call.now)
        .and_then(|()| model::hash_secrets(kind, &mut complete.json, Hashing::Argon2))
        .map_err(Error::Schema)?;
    let change = Change::of(call, kind, complete, None)?;
    if call.rows.by_id(kind, change.row.id, call.now)?.is_some() {
        return Err(Error::TakenId(change.row.id));
    }
    change.make(call, writes, StatusCode::CREATED)
}

pub(crate) fn replace(
    call: &Call,
    kind: &'static EntityKind,
    located: Located,
    below: Option<Below>,
) -> Result<Response, Error> {
    let mut entity = body::entity(call, kind)?;
    put_below(&mut entity, below);
    // What the path says counts for more than the body.
    match &located.by {
        By::Id(id) => drop(entity.insert("id".to_owned(), json!(id))),
        By::Field(field, key) => {
            entity.insert((*field).to_owned(), json!(key));
            if let Some(row) = &located.row {
                entity.insert("id".to_owned(), json!(row.id));
            }
        }
    }
    let mut complete = validate::for_writing(call, kind, entity)?;
    let writes = call.writes.ok_or_else(|| unsupported("create or update", kind, &located.by))?;
    let is_elsewhere = || match (&located.row, &located.by) {
        (None, By::Id(id)) => call.rows.by_id(kind, *id, call.now).map(|row| row.is_some()),
        // Kong makes no target by its address alone.
        (None, By::Field(..)) => Ok(kind.name == "targets"),
        _ => Ok(false),
    };
    if is_elsewhere()? {
        return Err(Error::NotFound);
    }
    model::fill(kind, &mut complete.json, call.now)
        .and_then(|()| model::hash_secrets(kind, &mut complete.json, Hashing::Argon2))
        .map_err(Error::Schema)?;
    let change = Change::of(call, kind, complete, located.row.as_ref())?;
    // A new name with the identity of another entity would put this one in that one's place.
    if located.row.is_none() && call.rows.by_id(kind, change.row.id, call.now)?.is_some() {
        return Err(Error::TakenId(change.row.id));
    }
    change.make(call, writes, StatusCode::OK)
}

pub(crate) fn update(
    call: &Call,
    kind: &'static EntityKind,
    located: Located,
    below: Option<Below>,
) -> Result<Response, Error> {
    let mut given = body::entity(call, kind)?;
    let Some(row) = &located.row else { return Err(absent(kind, located.by, below)) };
    // What is below a parent stays there: the path counts for more than the body.
    put_below(&mut given, below);
    if let Some(shorthand) = kind.record.shorthand {
        shorthand(&mut given).map_err(Error::Schema)?;
    }
    let mut entity = row.json.clone();
    let name = given.get("name").or_else(|| entity.get("name")).and_then(Value::as_str);
    let record = model::record(kind, call.catalog, name);
    let has_secret = ["password", "client_secret"].iter().any(|field| given.contains_key(*field));
    let has_ttl = given.contains_key("ttl");
    patch::merge(&record, &mut entity, given);
    entity.insert("id".to_owned(), json!(row.id));
    let mut complete = validate::for_writing(call, kind, entity).map_err(|error| match error {
        // Kong says so of this rule alone.
        Error::Schema(found) => Error::Schema(found.map_entity(|text| match text.starts_with("at least one of") {
            true => format!("when updating, {text}"),
            false => text.to_owned(),
        })),
        other => other,
    })?;
    let writes = call.writes.ok_or_else(|| unsupported("update", kind, &located.by))?;
    if has_secret {
        model::hash_secrets(kind, &mut complete.json, Hashing::Argon2).map_err(Error::Schema)?;
    }
    let mut change = Change::of(call, kind, complete, Some(row))?;
    if !has_ttl {
        change.row.expires_at = row.expires_at;
    }
    change.make(call, writes, StatusCode::OK)
}

/// What is not there need not be removed; but below a parent Kong looks for it first.
pub(crate) fn remove(
    call: &Call,
    kind: &'static EntityKind,
    located: Located,
    below: Option<Below>,
) -> Result<Response, Error> {
    match (&located.row, below) {
        (Some(row), _) => {
            let writes = call.writes.ok_or_else(|| unsupported("remove", kind, &located.by))?;
            if kind.name == "certificates" {
                put_snis(call, writes, row.id, &[])?;
            }
            writes.remove(kind, row.id)?;
        }
        (None, None) => {}
        (None, Some(_)) => return Err(Error::NotFound),
    }
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// An entity as it is to be.
struct Change {
    kind: &'static EntityKind,
    row: Row,
    /// Server names that come with a certificate, and are entities of their own.
    snis: Option<Vec<String>>,
    /// A field that is kept in a form that nobody can read, and its value, to be told once.
    once: Option<(&'static str, String)>,
}

impl Change {
    fn of(call: &Call, kind: &'static EntityKind, complete: Complete, old: Option<&Row>) -> Result<Change, Error> {
        let Complete { mut json, ttl } = complete;
        let id = json.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let id = id.unwrap_or_else(Uuid::new_v4);
        json.insert("id".to_owned(), json!(id));
        if let Some(old) = old {
            if let Some(created_at) = old.json.get("created_at") {
                json.insert("created_at".to_owned(), created_at.clone());
            }
            if json.contains_key("updated_at") {
                json.insert("updated_at".to_owned(), Value::Null);
            }
        }
        model::fill(kind, &mut json, call.now).map_err(Error::Schema)?;
        let token = new_token(kind, &mut json)?.map(|token| ("token", token));
        let key = api_key::hide(kind, &mut json, old.map(|old| &old.json), call.readable_keys);
        let once = token.or(key.map(|key| ("key", key)));
        let snis = match kind.name {
            "certificates" => json
                .remove("snis")
                .as_ref()
                .and_then(Value::as_array)
                .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            _ => None,
        };
        let expires_at = ttl.map(|ttl| call.now.saturating_add(ttl));
        let row = Row { id, json, place: Default::default(), expires_at };
        Ok(Change { kind, row, snis, once })
    }

    fn make(self, call: &Call, writes: &dyn Writes, status: StatusCode) -> Result<Response, Error> {
        writes.put(self.kind, &self.row)?;
        if let Some(snis) = &self.snis {
            put_snis(call, writes, self.row.id, snis)?;
        }
        let mut shown = shown::shown(call, self.kind, &self.row)?;
        let tag = shown::tag(&shown);
        if let Some((field, value)) = &self.once {
            shown[*field] = json!(value);
        }
        Ok(reply::tagged(reply::json(status, &shown), &tag))
    }
}

/// A token for the Admin API, where nobody has said what it is. Its digest is kept, and nothing else.
fn new_token(kind: &EntityKind, entity: &mut Map<String, Value>) -> Result<Option<String>, Error> {
    let is_said = |field| entity.get(field).is_some_and(|value| !value.is_null());
    if kind.name != "admin_tokens" || is_said("digest") || is_said("consumer") {
        return Ok(None);
    }
    let token = model::id::random_key().map_err(|error| {
        Error::Schema(Violations::field("digest", format!("the system gives no random numbers: {error}")))
    })?;
    entity.insert("digest".to_owned(), json!(jose::digest::sha256_hex(token.as_bytes())));
    Ok(Some(token))
}

/// Makes these, and no others, the server names of a certificate.
fn put_snis(call: &Call, writes: &dyn Writes, certificate: Uuid, names: &[String]) -> Result<(), Error> {
    let Some(kind) = entity::kind("snis") else { return Ok(()) };
    let is_named = |row: &Row, name: &str| row.json.get("name").and_then(Value::as_str) == Some(name);
    let there = shown::snis(call, certificate)?;
    for row in there.iter().filter(|row| !names.iter().any(|name| is_named(row, name))) {
        writes.remove(kind, row.id)?;
    }
    for name in names.iter().filter(|name| !there.iter().any(|row| is_named(row, name))) {
        let asked = Asked { field: "name", value: name, below: None, now: call.now };
        if let Some(other) = call.rows.by_field(kind, &asked)?.and_then(|row| row.reference("certificate")) {
            let text = format!("{name} already associated with existing certificate '{other}'");
            return Err(Error::Schema(Violations::field("snis", text)));
        }
        let entity = json!({ "name": name, "certificate": { "id": certificate } });
        let complete = validate::against_schema(call, kind, entity.as_object().cloned().unwrap_or_default())?;
        writes.put(kind, &Change::of(call, kind, complete, None)?.row)?;
    }
    Ok(())
}

fn put_below(entity: &mut Map<String, Value>, below: Option<Below>) {
    if let Some(below) = below {
        entity.insert(below.field.to_owned(), json!({ "id": below.parent }));
    }
}

fn unsupported(verb: &'static str, kind: &'static EntityKind, by: &By) -> Error {
    match by {
        By::Id(_) => Error::Unsupported { verb, kind: kind.name },
        By::Field(field, _) => Error::UnsupportedBy { verb, kind: kind.name, field },
    }
}

fn absent(kind: &EntityKind, by: By, below: Option<Below>) -> Error {
    match (below, by) {
        (Some(_), _) => Error::NotFound,
        (None, By::Id(id)) => Error::NoEntity(id),
        // An API key or token that stands in a path is not repeated in the answer, where it might be logged.
        (None, By::Field(field, _)) if kind.is_secret(field) => Error::NoEntityBy { field, key: "[secret]".to_owned() },
        (None, By::Field(field, key)) => Error::NoEntityBy { field, key },
    }
}
