//! What entities and plugins may be told, and whether what one has in mind would be accepted.

use crate::body;
use crate::call::Call;
use crate::error::Error;
use crate::reply::{self, Response};
use crate::validate;
use model::EntityKind;
use model::vault::EnvConfig;
use schema::{Schema, json};

pub(crate) fn entity(name: &str) -> Result<Response, Error> {
    let kind = model::entity::kind(name).ok_or_else(|| unknown("entity", name))?;
    Ok(reply::ok(&kind.record.to_kong()))
}

pub(crate) fn plugin(call: &Call, name: &str) -> Result<Response, Error> {
    let plugin = call.catalog.plugin(name).ok_or_else(|| unknown("plugin", name))?;
    Ok(reply::ok(&plugin.to_kong()))
}

pub(crate) fn vault(name: &str) -> Result<Response, Error> {
    if name != "env" {
        return Err(unknown("vault", name));
    }
    let fields = EnvConfig::record().to_kong()["fields"].take();
    let config = json!({ "config": { "type": "record", "required": true, "fields": fields } });
    Ok(reply::ok(&json!({ "entity_checks": [], "fields": [config] })))
}

/// References are not looked up: what they name may be made later.
pub(crate) fn validate(call: &Call, kind: &'static EntityKind) -> Result<Response, Error> {
    let entity = body::entity(call, kind)?;
    validate::against_schema(call, kind, entity)?;
    Ok(reply::ok(&json!({ "message": "schema validation successful" })))
}

fn unknown(what: &'static str, name: &str) -> Error {
    Error::NoSchema { what, name: name.to_owned() }
}
