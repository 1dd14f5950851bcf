//! Entities of a kind, a page at a time, all of them or those with certain tags.

use crate::call::Call;
use crate::error::Error;
use crate::locate::{self, Scope};
use crate::page;
use crate::reply::{self, Response};
use crate::shown;
use crate::tags::Filter;
use model::{EntityKind, Row};
use schema::{Value, json};
use uuid::Uuid;

pub(crate) fn list(call: &Call, kind: &EntityKind, scope: Option<Scope>) -> Result<Response, Error> {
    let rows = call.configuration.rows(kind.name).iter().filter(|row| locate::is_alive(call, row));
    if let (Some(custom_id), "consumers", None) = (call.query.get("custom_id"), kind.name, scope) {
        let named = |row: &&Row| row.json.get("custom_id").and_then(Value::as_str) == Some(custom_id);
        let found: Vec<Value> = rows.filter(named).map(|row| shown::shown(call, kind, row)).collect();
        return Ok(reply::ok(&json!({ "data": found, "next": null })));
    }
    // Below a parent Kong does not filter by tags.
    let filter = match scope {
        None => Filter::read(&call.query)?,
        Some(_) => Filter::All,
    };
    let mut rows: Vec<(Uuid, &Row)> = rows
        .filter(|row| scope.is_none_or(|scope| scope.holds(row)) && filter.holds(row))
        .map(|row| (row.id, row))
        .collect();
    rows.sort_unstable_by_key(|(id, _)| *id);
    page::answer(call, rows, |row| shown::shown(call, kind, row))
}
