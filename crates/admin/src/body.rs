//! Request bodies, by their media type.

use crate::call::Call;
use crate::error::Error;
use crate::{form, multipart, query};
use http::header::CONTENT_TYPE;
use model::EntityKind;
use schema::{Map, Value, json};

/// What a body holds.
pub(crate) enum Body {
    Empty,
    Json(Map<String, Value>),
    /// A form's fields, in their order.
    Form(Vec<(String, String)>),
    Yaml(String),
}

/// The body of a request about an entity.
pub(crate) fn entity(call: &Call, kind: &'static EntityKind) -> Result<Map<String, Value>, Error> {
    match read(call, false)? {
        Body::Json(members) => Ok(members),
        Body::Form(pairs) => {
            let name = pairs.iter().find(|(field, _)| field == "name").map(|(_, name)| name.as_str());
            Ok(form::entity(&model::record(kind, call.catalog, name), pairs))
        }
        Body::Empty | Body::Yaml(_) => Ok(Map::new()),
    }
}

/// The body of a request about the whole configuration.
pub(crate) fn read_with_yaml(call: &Call) -> Result<Body, Error> {
    read(call, true)
}

fn read(call: &Call, yaml: bool) -> Result<Body, Error> {
    let content_type = call.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    if call.body.is_empty() {
        return Ok(Body::Empty);
    }
    let content_type = content_type.ok_or(Error::MediaType)?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/json" => match serde_json::from_slice(call.body) {
            Ok(Value::Object(members)) => Ok(Body::Json(members)),
            _ => Err(Error::Json),
        },
        "application/x-www-form-urlencoded" => {
            let text = std::str::from_utf8(call.body).map_err(|_| Error::Form)?;
            Ok(Body::Form(query::pairs(text)))
        }
        "multipart/form-data" => multipart::fields(content_type, call.body).map(Body::Form).ok_or(Error::Form),
        "application/yaml" | "text/yaml" | "application/x-yaml" | "text/x-yaml" if yaml => {
            let fields = || json!({ "error": "failed parsing declarative configuration: the text is not UTF-8" });
            let refused = |_| Error::Configuration { fields: fields(), flattened: None };
            let text = std::str::from_utf8(call.body).map_err(refused)?;
            Ok(Body::Yaml(text.to_owned()))
        }
        _ => Err(Error::MediaType),
    }
}
