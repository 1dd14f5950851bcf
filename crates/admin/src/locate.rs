//! Finds the entity that a path means, by identity or by name.

use crate::call::Call;
use crate::error::Error;
use model::rows::{Asked, Below};
use model::{EntityKind, Row, entity, target};
use schema::{Record, Rule, json};
use uuid::Uuid;

/// What a path means, whether it is there or not.
pub(crate) struct Located {
    pub(crate) row: Option<Row>,
    pub(crate) by: By,
}

/// How a path names its entity.
pub(crate) enum By {
    Id(Uuid),
    Field(&'static str, String),
}

/// The entity at `key`. A key that cannot be one is an error; one that is only absent is none.
pub(crate) fn locate(
    call: &Call,
    kind: &'static EntityKind,
    key: &str,
    below: Option<Below>,
) -> Result<Located, Error> {
    let by_id = |id| {
        let row = call.rows.by_id(kind, id, call.now)?;
        let is_below = |row: &Row| below.is_none_or(|below| row.reference(below.field) == Some(below.parent));
        Ok(Located { row: row.filter(is_below), by: By::Id(id) })
    };
    if let Some(id) = uuid(key) {
        return by_id(id);
    }
    if kind.name == "certificates" {
        let asked = Asked { field: "name", value: key, below: None, now: call.now };
        let snis = entity::kind("snis").ok_or(Error::SniNotFound)?;
        let sni = call.rows.by_field(snis, &asked)?.ok_or(Error::SniNotFound)?;
        return sni.reference("certificate").map(by_id).ok_or(Error::SniNotFound)?;
    }
    let field = match (kind.name, below) {
        // Within one consumer a group is as good as an identity.
        ("acls", Some(below)) if below.parent_kind == "consumers" => Some("group"),
        _ => kind.endpoint_key,
    };
    let field = field.ok_or(Error::PrimaryKey)?;
    let key = match target::split(key) {
        Some((host, port)) if kind.name == "targets" => target::join(host, port),
        _ => key.to_owned(),
    };
    valid_name(kind, field, &key)?;
    let row = call.rows.by_field(kind, &Asked { field, value: &key, below, now: call.now })?;
    Ok(Located { row, by: By::Field(field, key) })
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
