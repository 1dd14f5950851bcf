//! What the gate says of itself.

use crate::KONG_VERSION;
use crate::call::Call;
use crate::endpoint::ENDPOINTS;
use crate::error::Error;
use crate::gate::Facts;
use crate::page;
use crate::reply::{self, Response};
use model::entity;
use model::rows::Tagged;
use schema::{Map, Value, json};
use std::collections::BTreeSet;

/// `GET /`: what tools read to learn whom they talk to.
pub(crate) fn root(call: &Call, facts: &Facts) -> Result<Response, Error> {
    let available: Map<String, Value> = call
        .catalog
        .plugins
        .iter()
        .map(|plugin| (plugin.name.to_owned(), json!({ "version": facts.version, "priority": plugin.priority })))
        .collect();
    let mut in_use: BTreeSet<String> = BTreeSet::new();
    if let Some(kind) = entity::kind("plugins") {
        let rows = page::all(call, kind, None, &Tagged::Anyhow)?;
        in_use.extend(rows.iter().filter_map(|row| row.json.get("name")?.as_str().map(str::to_owned)));
    }
    Ok(reply::ok(&json!({
        "tagline": "Welcome to portcullis",
        "version": KONG_VERSION,
        "portcullis_version": facts.version,
        "edition": "community",
        "hostname": facts.hostname,
        "node_id": facts.node_id,
        "pids": { "master": facts.pid },
        "plugins": { "available_on_server": available, "enabled_in_cluster": in_use },
        "configuration": facts.settings,
    })))
}

pub(crate) fn status(call: &Call, facts: &Facts) -> Response {
    let mut status = json!({ "server": facts.connections });
    match call.document {
        Some(document) => status["configuration_hash"] = json!(document.hash),
        None => status["database"] = json!({ "reachable": facts.database == Some(true) }),
    }
    reply::ok(&status)
}

pub(crate) fn log_level(facts: &Facts) -> Response {
    let level = facts.settings.get("log_level").and_then(Value::as_str).unwrap_or_default();
    reply::ok(&json!({ "message": format!("log level: {level}") }))
}

pub(crate) fn endpoints() -> Response {
    let paths: BTreeSet<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.path.as_str()).collect();
    reply::ok(&json!({ "data": paths }))
}

pub(crate) fn enabled_plugins(call: &Call) -> Response {
    let names: BTreeSet<&str> = call.catalog.plugins.iter().map(|plugin| plugin.name).collect();
    reply::ok(&json!({ "enabled_plugins": names }))
}
