//! The whole configuration, out and in.

use crate::body::{self, Body};
use crate::call::Call;
use crate::error::Error;
use crate::gate::Gate;
use crate::reply::{self, Response};
use http::StatusCode;
use model::{Invalid, declarative};
use schema::{Value, json};

/// The document that gives this configuration: JSON, indented, which is YAML too.
pub(crate) fn export(call: &Call) -> Result<Response, Error> {
    let configuration = call.document.ok_or(Error::Database)?;
    Ok(reply::ok(&json!({ "config": format!("{:#}", configuration.to_document(call.now)) })))
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

pub(crate) fn given(call: &Call) -> Result<String, Error> {
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
pub(crate) fn refusal(invalid: &Invalid, flatten: bool) -> Error {
    match flatten {
        true => Error::Configuration { fields: invalid.document.to_json(), flattened: Some(invalid.flattened()) },
        false => Error::Configuration { fields: invalid.fields(), flattened: None },
    }
}
