//! Entities of a kind, a page at a time, all of them or those with certain tags.

use crate::call::Call;
use crate::error::Error;
use crate::page;
use crate::reply::{self, Response};
use crate::shown;
use crate::tags;
use model::EntityKind;
use model::rows::{Asked, Below, Part, Tagged};
use schema::{Value, json};
use uuid::Uuid;

pub(crate) fn list(call: &Call, kind: &'static EntityKind, below: Option<Below>) -> Result<Response, Error> {
    if let (Some(value), "consumers", None) = (call.query.get("custom_id"), kind.name, below) {
        let asked = Asked { field: "custom_id", value, below, now: call.now };
        let found = call.rows.by_field(kind, &asked)?;
        let found: Vec<Value> = found.iter().map(|row| shown::shown(call, kind, row)).collect::<Result<_, _>>()?;
        return Ok(reply::ok(&json!({ "data": found, "next": null })));
    }
    // Below a parent Kong does not filter by tags.
    let tagged = match below {
        None => tags::filter(&call.query)?,
        Some(_) => Tagged::Anyhow,
    };
    let part = |from: Option<&Uuid>, count| {
        let from = from.copied().unwrap_or_default();
        let rows = call.rows.list(kind, &Part { below, tagged: &tagged, from, count, now: call.now })?;
        Ok(rows.into_iter().map(|row| (row.id, row)).collect())
    };
    page::answer(call, part, |row| shown::shown(call, kind, row))
}
