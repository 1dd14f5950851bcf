//! The health of targets. The gate makes no health checks: it finds out with each request whether a target can be reached,
//! and goes on to the next.

use crate::call::Call;
use crate::error::Error;
use crate::gate::Facts;
use crate::locate;
use crate::page;
use crate::reply::{self, Response};
use crate::shown;
use model::rows::{Below, Tagged};
use model::{EntityKind, Row, entity, target};
use schema::{Value, json};

pub(crate) fn of_upstream(call: &Call, key: &str, facts: &Facts) -> Result<Response, Error> {
    let (kind, _, targets) = targets(call, key)?;
    let health = |row: &Row| {
        let mut shown = shown::shown(call, kind, row)?;
        let address = shown["target"].as_str().and_then(target::split).map(|(host, port)| (host.to_owned(), port));
        shown["health"] = json!("HEALTHCHECKS_OFF");
        if let Some((host, port)) = address {
            shown["data"] = json!({ "host": host, "port": port, "weight": { "total": shown["weight"] } });
        }
        Ok(shown)
    };
    let data: Vec<Value> = targets.iter().map(health).collect::<Result<_, Error>>()?;
    Ok(reply::ok(&json!({ "total": data.len(), "node_id": facts.node_id, "data": data, "next": null })))
}

pub(crate) fn all_targets(call: &Call, key: &str) -> Result<Response, Error> {
    let (kind, _, targets) = targets(call, key)?;
    let data: Vec<Value> = targets.iter().map(|row| shown::shown(call, kind, row)).collect::<Result<_, _>>()?;
    Ok(reply::ok(&json!({ "data": data, "next": null })))
}

/// Kong's answer where an upstream has no health checks.
pub(crate) fn set(call: &Call, key: &str) -> Result<Response, Error> {
    let (_, upstream, _) = targets(call, key)?;
    let name = upstream.json.get("name").and_then(Value::as_str).unwrap_or_default();
    Err(Error::NoHealthChecker(name.to_owned()))
}

fn targets(call: &Call, key: &str) -> Result<(&'static EntityKind, Row, Vec<Row>), Error> {
    let (upstreams, targets) = entity::kind("upstreams").zip(entity::kind("targets")).ok_or(Error::NotFound)?;
    let upstream = locate::locate(call, upstreams, key, None)?.row.ok_or(Error::NotFound)?;
    let below = Below { field: "upstream", parent: upstream.id, parent_kind: "upstreams" };
    Ok((targets, upstream, page::all(call, targets, Some(below), &Tagged::Anyhow)?))
}
