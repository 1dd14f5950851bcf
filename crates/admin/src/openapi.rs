//! `GET /openapi.json`: a description of this API, from the tables that it is served from (OpenAPI 3.1).

use crate::KONG_VERSION;
use crate::call::Call;
use crate::endpoint::ENDPOINTS;
use crate::gate::Facts;
use crate::reply::{self, Response};
use crate::resource::Resource;
use model::EntityKind;
use model::entity::KINDS;
use schema::{Map, Value, json};

pub(crate) fn describe(call: &Call, facts: &Facts) -> Response {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in ENDPOINTS.iter() {
        let methods = endpoint.resource.allow().split(", ").filter(|method| !["HEAD", "OPTIONS"].contains(method));
        let operations =
            methods.map(|method| (method.to_ascii_lowercase(), operation(&endpoint.path, endpoint.resource, method)));
        let mut item: Map<String, Value> = operations.collect();
        item.insert("parameters".to_owned(), parameters(&endpoint.path));
        paths.insert(endpoint.path.clone(), Value::Object(item));
    }
    let mut schemas: Map<String, Value> = Map::new();
    for kind in KINDS.iter() {
        schemas.insert(kind.singular.to_owned(), kind.record.to_json_schema());
        schemas.insert(format!("{}_input", kind.singular), input(kind));
    }
    for plugin in &call.catalog.plugins {
        schemas.insert(format!("{}_config", plugin.name), plugin.config.to_json_schema());
    }
    schemas.insert("error".to_owned(), error());
    reply::ok(&json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis Admin API",
            "version": facts.version,
            "description": format!("Kong {KONG_VERSION}'s Admin API, and what goes beyond it."),
            "license": { "name": "Apache-2.0" },
        },
        "security": [{ "token": [] }, { "bearer": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "apiKey", "in": "header", "name": "Kong-Admin-Token" },
                "bearer": { "type": "http", "scheme": "bearer" },
            },
        },
    }))
}

/// What may be sent of an entity.
fn input(kind: &EntityKind) -> Value {
    let mut schema = kind.record.to_json_schema_of_input();
    if kind.has_ttl {
        let doc = "How many seconds it is good for.";
        schema["properties"]["ttl"] = json!({ "type": ["integer", "null"], "minimum": 0, "description": doc });
    }
    if kind.name == "services" {
        let doc = "Short for protocol, host, port and path; `internal://admin` is this API.";
        schema["properties"]["url"] = json!({ "type": "string", "description": doc });
    }
    schema
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["message"],
        "properties": {
            "message": { "type": "string" },
            "code": { "type": "integer", "description": "Kong's number of the kind of error" },
            "name": { "type": "string" },
            "fields": { "type": "object", "description": "what is wrong, by field" },
        },
    })
}

fn parameters(path: &str) -> Value {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name: &str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } });
    names.map(parameter).collect()
}

fn operation(path: &str, resource: Resource, method: &str) -> Value {
    let kind = resource.kind();
    let mut operation = json!({
        "operationId": format!("{} {path}", method.to_ascii_lowercase()),
        "tags": [path.split('/').nth(1).unwrap_or_default()],
        "responses": responses(resource, kind, method),
    });
    if let Some(schema) = body(resource, kind, method) {
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
    }
    let query: &[(&str, &str)] = match (resource, method) {
        (Resource::Collection(_) | Resource::Children(_), "GET") => {
            &[("size", "integer"), ("offset", "string"), ("tags", "string")]
        }
        (Resource::Tags | Resource::Tag, "GET") => &[("size", "integer"), ("offset", "string")],
        (Resource::Audit, "GET") => {
            &[("size", "integer"), ("offset", "string"), ("who", "string"), ("kind", "string"), ("id", "string")]
        }
        (Resource::Declarative, "GET") => &[("select_tag", "string")],
        (Resource::Declarative, _) => &[("select_tag", "string"), ("dry_run", "string"), ("flatten_errors", "string")],
        (Resource::Configuration, "POST") => &[("check_hash", "string"), ("flatten_errors", "string")],
        _ => &[],
    };
    let query = query.iter().map(|(name, kind)| json!({ "name": name, "in": "query", "schema": { "type": kind } }));
    operation["parameters"] = query.collect();
    operation
}

fn body(resource: Resource, kind: Option<&EntityKind>, method: &str) -> Option<Value> {
    match (resource, method) {
        (_, "GET" | "DELETE") | (Resource::TargetHealth, _) => None,
        (_, "PATCH") => Some(json!({ "$ref": reference(kind?, "") })),
        (Resource::Explain | Resource::Configuration | Resource::Declarative | Resource::ValidateEntity, _) => {
            Some(json!({ "type": "object" }))
        }
        _ => Some(json!({ "$ref": reference(kind?, "_input") })),
    }
}

fn reference(kind: &EntityKind, more: &str) -> String {
    format!("#/components/schemas/{}{more}", kind.singular)
}

fn responses(resource: Resource, kind: Option<&EntityKind>, method: &str) -> Value {
    let entity = kind.map_or_else(|| json!({ "type": "object" }), |kind| json!({ "$ref": reference(kind, "") }));
    let of = |schema: Value, text: &str| json!({ "description": text, "content": { "application/json": { "schema": schema } } });
    let list = |entity: Value| {
        json!({
            "type": "object",
            "properties": {
                "data": { "type": "array", "items": entity },
                "next": { "type": ["string", "null"] },
                "offset": { "type": "string" },
            },
        })
    };
    let is_list = matches!(resource, Resource::Collection(_) | Resource::Children(_));
    let mut responses = Map::new();
    let mut add = |status: u16, response: Value| drop(responses.insert(status.to_string(), response));
    match (resource, method) {
        (Resource::Explain | Resource::Validate(_) | Resource::ValidateEntity | Resource::Declarative, _) => {
            add(200, of(json!({ "type": "object" }), "what was asked for"));
            add(201, of(json!({ "type": "object" }), "what was asked for"));
        }
        (_, "GET") if is_list => add(200, of(list(entity), "a page")),
        (_, "GET") => add(200, of(entity, "what is there")),
        (Resource::Configuration, _) => {
            add(201, of(json!({ "type": "object" }), "in force"));
            add(304, json!({ "description": "the same is in force (check_hash)" }));
        }
        (_, "POST") => add(201, of(entity, "in force")),
        (Resource::TargetHealth, _) => add(204, json!({ "description": "done" })),
        (_, "DELETE") => add(204, json!({ "description": "it is gone, or was not there" })),
        _ => add(200, of(entity, "in force")),
    }
    let error = |text: &str| of(json!({ "$ref": "#/components/schemas/error" }), text);
    for (status, text) in [
        (400, "what was sent is not right, or not to be had here"),
        (401, "no token, or one that is not good"),
        (403, "the token does not allow it, or a page of another site asks"),
        (404, "it is not there"),
        (405, "not by this method, or not without a database"),
        (409, "another entity has what must be this one's alone"),
        (412, "somebody has changed it (If-Match)"),
        (413, "too large"),
        (415, "the body is in a form that is not read"),
        (503, "the database does not answer; nothing was changed"),
    ] {
        add(status, error(text));
    }
    Value::Object(responses)
}
