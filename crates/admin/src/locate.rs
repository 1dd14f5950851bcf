//! Finds the entity that a path means, by identity or by name.

use crate::call::Call;
use crate::error::Error;
use model::{EntityKind, Row, target};
use schema::{Record, Rule, Value, json};
use uuid::Uuid;

/// What a path means, whether it is there or not.
pub(crate) struct Located<'a> {
    pub(crate) row: Option<&'a Row>,
    pub(crate) by: By,
}

/// How a path names its entity.
pub(crate) enum By {
    Id(Uuid),
    Field(&'static str, String),
}

/// Only the entities below one parent.
#[derive(Clone, Copy)]
pub(crate) struct Scope {
    /// The field that names the parent.
    pub(crate) field: &'static str,
    pub(crate) parent: Uuid,
    pub(crate) parent_kind: &'static str,
}

impl Scope {
    pub(crate) fn holds(self, row: &Row) -> bool {
        reference(row, self.field) == Some(self.parent)
    }
}

/// The entity at `key`. A key that cannot be one is an error; one that is only absent is none.
pub(crate) fn locate<'a>(
    call: &Call<'a>,
    kind: &'static EntityKind,
    key: &str,
    scope: Option<Scope>,
) -> Result<Located<'a>, Error> {
    let by_id = |id| {
        let row = call.configuration.row(kind.name, id);
        Located { row: row.filter(|row| is_seen(call, row, scope)), by: By::Id(id) }
    };
    if let Some(id) = uuid(key) {
        return Ok(by_id(id));
    }
    if kind.name == "certificates" {
        let named = |row: &&Row| row.json.get("name").and_then(Value::as_str) == Some(key);
        let sni = call.configuration.rows("snis").iter().find(named).ok_or(Error::SniNotFound)?;
        return reference(sni, "certificate").map(by_id).ok_or(Error::SniNotFound);
    }
    let field = match (kind.name, scope) {
        // Within one consumer a group is as good as an identity.
        ("acls", Some(scope)) if scope.parent_kind == "consumers" => Some("group"),
        _ => kind.endpoint_key,
    };
    let field = field.ok_or(Error::PrimaryKey)?;
    let key = match target::split(key) {
        Some((host, port)) if kind.name == "targets" => format!("{host}:{port}"),
        _ => key.to_owned(),
    };
    valid_name(kind, field, &key)?;
    let found =
        |row: &&Row| row.json.get(field).and_then(Value::as_str) == Some(key.as_str()) && is_seen(call, row, scope);
    Ok(Located { row: call.configuration.rows(kind.name).iter().find(found), by: By::Field(field, key) })
}

/// The identity that a row's field refers to.
pub(crate) fn reference(row: &Row, field: &str) -> Option<Uuid> {
    row.json.get(field)?.get("id")?.as_str()?.parse().ok()
}

/// Whether a row is still good: an API key may have been given for a time only.
pub(crate) fn is_alive(call: &Call, row: &Row) -> bool {
    row.expires_at.is_none_or(|end| end > call.now)
}

fn is_seen(call: &Call, row: &Row, scope: Option<Scope>) -> bool {
    is_alive(call, row) && scope.is_none_or(|scope| scope.holds(row))
}

/// Kong takes the hyphenated form for an identity, and all else for a name.
pub(crate) fn uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| text.parse().ok()).flatten()
}

/// A name that no entity could have is a mistake, not an absence.
fn valid_name(kind: &EntityKind, field: &'static str, key: &str) -> Result<(), Error> {
    let Some(definition) = kind.record.field(field).filter(|field| field.has(&Rule::Unique)) else { return Ok(()) };
    let record = Record { fields: vec![definition.clone()], ..Record::default() };
    match record.read(&mut json!({ (field): key })) {
        Ok(()) => Ok(()),
        Err(violations) => {
            let text = violations.flat().into_iter().next().map_or_else(String::new, |(_, text)| text);
            Err(Error::Unique { field, text })
        }
    }
}
