//! The whole configuration, out and in.

use crate::body::{self, Body};
use crate::call::Call;
use crate::error::Error;
use crate::gate::Gate;
use crate::reply::{self, Response};
use http::StatusCode;
use model::{Configuration, Invalid, Row, declarative};
use schema::{Value, json};

/// The document that gives this configuration: JSON, indented, which is YAML too.
pub(crate) fn export(call: &Call) -> Result<Response, Error> {
    let configuration = call.document.ok_or(Error::Database)?;
    let mut document = configuration.to_document();
    keep_ends(call, configuration, &mut document);
    Ok(reply::ok(&json!({ "config": format!("{document:#}") })))
}

/// A key given for a time must not come back from an export as one given for ever.
fn keep_ends(call: &Call, configuration: &Configuration, document: &mut Value) {
    for (kind, shown) in document.as_object_mut().into_iter().flatten() {
        let Value::Array(shown) = shown else { continue };
        let held = configuration.rows(kind);
        let alive = std::mem::take(shown).into_iter().zip(held).filter(|(_, row)| row.is_alive(call.now));
        *shown = alive.map(|(entity, row)| with_end(call, entity, row)).collect();
    }
}

fn with_end(call: &Call, mut entity: Value, row: &Row) -> Value {
    if let (Value::Object(members), Some(end)) = (&mut entity, row.expires_at) {
        members.insert("ttl".to_owned(), json!(end.saturating_sub(call.now)));
    }
    entity
}

/// Replaces the configuration, or says everything that is wrong with the new one.
pub(crate) fn load(gate: &impl Gate, call: &Call) -> Result<Response, Error> {
    let in_force = call.document.ok_or(Error::Database)?;
    let document = given(call)?;
    if call.query.is_on("check_hash") && declarative::hash(&document) == in_force.hash {
        return Ok(reply::empty(StatusCode::NOT_MODIFIED));
    }
    match gate.load(&document) {
        Ok(configuration) => Ok(reply::json(StatusCode::CREATED, &configuration.to_json())),
        Err(invalid) => Err(refusal(&invalid, call.query.is_on("flatten_errors"))),
    }
}

fn given(call: &Call) -> Result<String, Error> {
    match body::read_with_yaml(call)? {
        Body::Yaml(text) if !text.trim().is_empty() => Ok(text),
        // The text itself goes on: what JSON forgives (a name given twice) a configuration does not.
        Body::Json(members) if members.contains_key("_format_version") => {
            String::from_utf8(call.body.to_vec()).map_err(|_| Error::Json)
        }
        Body::Json(mut members) => match members.remove("config") {
            Some(Value::String(text)) => Ok(text),
            _ => Err(Error::NoConfiguration),
        },
        Body::Form(pairs) => {
            let config = pairs.into_iter().find(|(name, _)| name == "config");
            config.map(|(_, text)| text).ok_or(Error::NoConfiguration)
        }
        Body::Yaml(_) | Body::Empty => Err(Error::NoConfiguration),
    }
}

/// Flattened, the errors of entities stand in their own list, and only those of the document in `fields`.
fn refusal(invalid: &Invalid, flatten: bool) -> Error {
    match flatten {
        true => Error::Configuration { fields: invalid.document.to_json(), flattened: Some(invalid.flattened()) },
        false => Error::Configuration { fields: invalid.fields(), flattened: None },
    }
}
