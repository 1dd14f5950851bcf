//! What the gate says of itself.

use crate::KONG_VERSION;
use crate::call::Call;
use crate::endpoint::ENDPOINTS;
use crate::gate::Facts;
use crate::reply::{self, Response};
use schema::{Map, Value, json};
use std::collections::BTreeSet;

/// `GET /`: what tools read to learn whom they talk to.
pub(crate) fn root(call: &Call, facts: &Facts) -> Response {
    let available: Map<String, Value> = call
        .catalog
        .plugins
        .iter()
        .map(|plugin| (plugin.name.to_owned(), json!({ "version": facts.version, "priority": plugin.priority })))
        .collect();
    let rows = call.configuration.rows("plugins").iter();
    let in_use: BTreeSet<&str> = rows.filter_map(|row| row.json.get("name").and_then(Value::as_str)).collect();
    reply::ok(&json!({
        "tagline": "Welcome to portcullis",
        "version": KONG_VERSION,
        "portcullis_version": facts.version,
        "edition": "community",
        "hostname": facts.hostname,
        "node_id": facts.node_id,
        "pids": { "master": facts.pid },
        "plugins": { "available_on_server": available, "enabled_in_cluster": in_use },
        "configuration": facts.settings,
    }))
}

pub(crate) fn status(call: &Call, facts: &Facts) -> Response {
    reply::ok(&json!({ "configuration_hash": call.configuration.hash, "server": facts.connections }))
}

pub(crate) fn endpoints() -> Response {
    let paths: BTreeSet<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.path.as_str()).collect();
    reply::ok(&json!({ "data": paths }))
}

pub(crate) fn enabled_plugins(call: &Call) -> Response {
    let names: BTreeSet<&str> = call.catalog.plugins.iter().map(|plugin| plugin.name).collect();
    reply::ok(&json!({ "enabled_plugins": names }))
}
