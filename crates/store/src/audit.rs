//! Who changed what: written in the transaction of the change itself, so that neither is there without the other.

use crate::sql::{Cell, Sql, odd};
use model::EntityKind;
use model::rows::{AuditPart, Audited, Unavailable};
use schema::{Map, Value};
use uuid::Uuid;

/// Who makes a change, and how entities are shown in the log.
#[derive(Clone, Copy)]
pub struct Author<'a> {
    pub name: &'a str,
    /// An entity without its secrets.
    pub shown: &'a dyn Fn(&'static EntityKind, &Map<String, Value>) -> Value,
}

/// What `Tables` write: the change of this number.
pub(crate) struct Entry<'a> {
    pub(crate) number: u64,
    pub(crate) at: u64,
    pub(crate) kind: &'static EntityKind,
    pub(crate) id: Uuid,
    pub(crate) before: Option<&'a Map<String, Value>>,
    pub(crate) after: Option<&'a Map<String, Value>>,
}

pub(crate) fn write(sql: &dyn Sql, author: &Author, entry: &Entry) -> Result<(), Unavailable> {
    let shown = |entity: Option<&Map<String, Value>>| -> Cell {
        entity.map(|entity| (author.shown)(entry.kind, entity).to_string()).into()
    };
    let given = [
        entry.number.into(),
        entry.at.into(),
        author.name.into(),
        entry.kind.name.into(),
        entry.id.into(),
        shown(entry.before),
        shown(entry.after),
    ];
    sql.ask("INSERT INTO audit (number, at, who, kind, id, before, after) VALUES ($1, $2, $3, $4, $5, $6, $7)", &given)
        .map(drop)
}

/// Changes in their order.
pub(crate) fn read(sql: &dyn Sql, part: &AuditPart) -> Result<Vec<Audited>, Unavailable> {
    let mut given: Vec<Cell> = vec![part.from.into(), (part.count as u64).into()];
    let mut text = "SELECT number, at, who, kind, id, before, after FROM audit WHERE number >= $1".to_owned();
    let wanted: [(&str, Option<Cell>); 3] =
        [("who", part.who.map(Cell::from)), ("kind", part.kind.map(Cell::from)), ("id", part.id.map(Cell::from))];
    for (column, value) in wanted {
        if let Some(value) = value {
            given.push(value);
            text += &format!(" AND {column} = ${}", given.len());
        }
    }
    text += " ORDER BY number LIMIT $2";
    sql.ask(&text, &given)?.iter().map(|cells| audited(cells).ok_or_else(odd)).collect()
}

/// Takes away what is older than this, in seconds since 1970.
pub(crate) fn forget(sql: &dyn Sql, before: u64) -> Result<(), Unavailable> {
    sql.ask("DELETE FROM audit WHERE at < $1", &[before.into()]).map(drop)
}

fn audited(cells: &[Cell]) -> Option<Audited> {
    let [number, at, who, kind, id, before, after] = cells else { return None };
    let json = |cell: &Cell| cell.text().and_then(|text| serde_json::from_str(text).ok());
    Some(Audited {
        number: number.number()?,
        at: at.number()?,
        who: who.text()?.to_owned(),
        kind: kind.text()?.to_owned(),
        id: id.id()?,
        before: json(before),
        after: json(after),
    })
}
