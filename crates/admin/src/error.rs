//! What can be wrong with a request, and the one function that makes answers of it.

use crate::reply::{self, Response};
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use model::rows::{Claim, Refused, Unavailable};
use model::{Invalid, entity};
use schema::{Kind, Map, Value, Violations, json};
use thiserror::Error;
use uuid::Uuid;

/// Why a request is not answered with what it asked for; the texts are Kong's messages.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("Unauthorized")]
    Unauthorized,
    #[error("this token does not allow {0} {1}")]
    NotAllowed(Method, String),
    #[error("this host is not known; name it in the setting admin_hosts")]
    UnknownHost,
    #[error("requests of other sites' pages are not answered")]
    OtherOrigin,
    #[error("the entity is not as If-Match says: somebody has changed it")]
    Changed,
    #[error("Not found")]
    NotFound,
    #[error("SNI not found")]
    SniNotFound,
    #[error("No {what} named '{name}'")]
    NoSchema { what: &'static str, name: String },
    #[error("Method not allowed")]
    Method { allow: &'static str },
    #[error("Unsupported media type")]
    MediaType,
    #[error("Cannot parse JSON body")]
    Json,
    #[error("Cannot parse form body")]
    Form,
    #[error("expected a declarative configuration")]
    NoConfiguration,
    #[error("invalid primary key: '{{id=\"expected a valid UUID\"}}'")]
    PrimaryKey,
    #[error("{}", .0.message())]
    Schema(Violations),
    #[error("could not find the entity with primary key '{{id=\"{0}\"}}'")]
    NoEntity(Uuid),
    #[error("could not find the entity with '{{{field}=\"{key}\"}}'")]
    NoEntityBy { field: &'static str, key: String },
    #[error("'{offset}' is not a valid offset: {why}")]
    Offset { offset: String, why: &'static str },
    #[error("{0}")]
    Size(&'static str),
    #[error("{text}")]
    Unique { field: &'static str, text: String },
    #[error("invalid option (tags: {0})")]
    Tags(&'static str),
    #[error("cannot {verb} '{kind}' entities when not using a database")]
    Unsupported { verb: &'static str, kind: &'static str },
    #[error("cannot {verb} '{kind}' entities by '{field}' when not using a database")]
    UnsupportedBy { verb: &'static str, kind: &'static str, field: &'static str },
    #[error("foreign key unresolved ({field}.{key}: {})", unresolved(key, value, parent))]
    Reference { field: &'static str, key: &'static str, value: String, parent: &'static str },
    #[error("primary key violation on key '{{id=\"{0}\"}}'")]
    TakenId(Uuid),
    #[error("UNIQUE violation detected on '{}'", in_lua(fields))]
    Taken { fields: Map<String, Value> },
    #[error("the foreign key '{{id=\"{id}\"}}' does not reference an existing '{parent}' entity.")]
    NoParent { field: &'static str, parent: &'static str, id: Uuid },
    #[error("an existing '{by}' entity references this '{kind}' entity")]
    InUse { kind: &'static str, by: &'static str },
    #[error("this endpoint is only available when Kong is configured to not use a database")]
    Database,
    #[error("{0}")]
    Elsewhere(&'static str),
    #[error("no healthchecker found for {0}")]
    NoHealthChecker(String),
    #[error("the database cannot be asked at the moment; nothing was changed ({0})")]
    Unavailable(Unavailable),
    /// What would be done, for somebody who asked for no more: nothing is.
    #[error("nothing was changed")]
    Asked(Value),
    #[error("declarative config is invalid: {fields}")]
    Configuration { fields: Value, flattened: Option<Vec<Value>> },
}

fn unresolved(key: &str, value: &str, parent: &str) -> String {
    format!("the foreign key cannot be resolved with '{{{key}=\"{value}\"}}' for an existing '{parent}' entity")
}

/// As Lua writes tables: `{consumer={id="..."},group="g"}`.
fn in_lua(fields: &Map<String, Value>) -> String {
    let value = |value: &Value| match value {
        Value::Object(inner) => in_lua(inner),
        other => other.to_string(),
    };
    let fields: Vec<String> = fields.iter().map(|(name, own)| format!("{name}={}", value(own))).collect();
    format!("{{{}}}", fields.join(","))
}

impl From<Unavailable> for Error {
    fn from(error: Unavailable) -> Error {
        Error::Unavailable(error)
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        match refused {
            Refused::Taken { kind, claim } => Error::Taken { fields: claimed(kind, &claim) },
            Refused::NoParent { field, parent, id } => Error::NoParent { field, parent, id },
            Refused::InUse { kind, by } => Error::InUse { kind, by },
            Refused::Unavailable(error) => Error::Unavailable(error),
        }
    }
}

/// The gate could not work with what would come out. What is wrong is told of one entity.
impl From<Invalid> for Error {
    fn from(mut invalid: Invalid) -> Error {
        match invalid.entities.is_empty() {
            true => Error::Schema(invalid.document),
            false => Error::Schema(invalid.entities.swap_remove(0).violations),
        }
    }
}

fn claimed(kind: &str, claim: &Claim) -> Map<String, Value> {
    let kind = entity::kind(kind);
    let shown = |(field, value): (&&str, &String)| {
        let definition = kind.and_then(|kind| kind.record.field(field));
        let value = match definition.map(|field| &field.kind) {
            _ if kind.is_some_and(|kind| kind.is_secret(field)) => json!("[secret]"),
            Some(Kind::Foreign(_)) if value.is_empty() => Value::Null,
            Some(Kind::Foreign(_)) => json!({ "id": value }),
            _ => json!(value),
        };
        ((*field).to_owned(), value)
    };
    claim.fields.iter().zip(&claim.values).map(shown).collect()
}

impl Error {
    /// The error as HTTP: a message alone, or Kong's code, name and fields with it.
    pub(crate) fn answer(self) -> Response {
        let message = self.to_string();
        let plain = |status: StatusCode| reply::json(status, &json!({ "message": message }));
        let coded = |status: StatusCode, code: u8, name: &str, more: Value| {
            let mut body = json!({ "message": message, "name": name, "code": code });
            if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
                body.extend(more);
            }
            reply::json(status, &body)
        };
        let bad = StatusCode::BAD_REQUEST;
        match self {
            Error::Unauthorized => {
                let mut response = plain(StatusCode::UNAUTHORIZED);
                let challenge = HeaderValue::from_static("Bearer realm=\"admin\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                response
            }
            Error::NotAllowed(..) | Error::UnknownHost | Error::OtherOrigin => plain(StatusCode::FORBIDDEN),
            Error::Changed => plain(StatusCode::PRECONDITION_FAILED),
            Error::NotFound | Error::SniNotFound | Error::NoSchema { .. } => plain(StatusCode::NOT_FOUND),
            Error::Method { allow } => {
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
                response
            }
            Error::MediaType => plain(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Error::Json | Error::Form | Error::NoConfiguration | Error::Database => plain(bad),
            Error::Elsewhere(_) | Error::NoHealthChecker(_) => plain(bad),
            Error::Unavailable(_) => {
                let mut response = plain(StatusCode::SERVICE_UNAVAILABLE);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
            Error::TakenId(id) => coded(bad, 3, "primary key violation", json!({ "fields": { "id": id } })),
            Error::Taken { fields } => {
                coded(StatusCode::CONFLICT, 5, "unique constraint violation", json!({ "fields": fields }))
            }
            Error::NoParent { field, id, .. } => {
                coded(bad, 4, "foreign key violation", json!({ "fields": { (field): { "id": id } } }))
            }
            Error::InUse { by, .. } => {
                coded(bad, 4, "foreign key violation", json!({ "fields": { "@referenced_by": by } }))
            }
            Error::PrimaryKey => {
                coded(bad, 1, "invalid primary key", json!({ "fields": { "id": "expected a valid UUID" } }))
            }
            Error::Schema(violations) => coded(bad, 2, "schema violation", json!({ "fields": violations.to_json() })),
            Error::NoEntity(id) => coded(StatusCode::NOT_FOUND, 6, "not found", json!({ "fields": { "id": id } })),
            Error::NoEntityBy { field, key } => {
                coded(StatusCode::NOT_FOUND, 6, "not found", json!({ "fields": { (field): key } }))
            }
            Error::Offset { .. } => coded(bad, 7, "invalid offset", Value::Null),
            Error::Size(_) => coded(bad, 9, "invalid size", Value::Null),
            Error::Unique { field, .. } => coded(bad, 10, &format!("invalid unique {field}"), Value::Null),
            Error::Tags(why) => coded(bad, 11, "invalid options", json!({ "options": { "tags": why } })),
            Error::Unsupported { .. } | Error::UnsupportedBy { .. } => {
                coded(StatusCode::METHOD_NOT_ALLOWED, 12, "operation unsupported", Value::Null)
            }
            Error::Reference { field, key, value, parent } => {
                let fields = json!({ "fields": { (field): { (key): unresolved(key, &value, parent) } } });
                coded(bad, 13, "foreign keys unresolved", fields)
            }
            Error::Asked(told) => reply::ok(&told),
            Error::Configuration { fields, flattened } => {
                let mut more = json!({ "fields": fields });
                if let Some(flattened) = flattened {
                    more["flattened_errors"] = Value::Array(flattened);
                }
                coded(bad, 14, "invalid declarative configuration", more)
            }
        }
    }
}
