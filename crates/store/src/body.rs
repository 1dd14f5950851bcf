//! Entities as bytes: as they are, or sealed where they hold secrets.

use crate::sql::odd;
use jose::seal::{KeyedHash, Ring};
use model::EntityKind;
use model::rows::Unavailable;
use schema::{Map, Value};
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

/// The kinds without secrets. All others are sealed as a whole, also those that are yet to come.
const OPEN: &[&str] = &[
    "services",
    "routes",
    "upstreams",
    "targets",
    "snis",
    "ca_certificates",
    "key_sets",
    "consumers",
    "consumer_groups",
    "consumer_group_consumers",
    "acls",
];

const AS_IT_IS: u8 = 0;
const SEALED: u8 = 1;

/// Writes and reads bodies.
pub(crate) struct Sealer {
    pub(crate) ring: Arc<Ring>,
    /// The key is in the database: there is none before that was reached.
    pub(crate) hash: OnceLock<KeyedHash>,
}

impl Sealer {
    pub(crate) fn write(
        &self,
        kind: &EntityKind,
        id: Uuid,
        entity: &Map<String, Value>,
    ) -> Result<Vec<u8>, Unavailable> {
        let text = serde_json::to_vec(entity).map_err(|error| Unavailable(error.to_string()))?;
        if OPEN.contains(&kind.name) {
            return Ok([&[AS_IT_IS], text.as_slice()].concat());
        }
        let sealed = self.ring.seal(&place(kind.name, id), &text);
        Ok([&[SEALED], sealed.map_err(|error| Unavailable(error.to_string()))?.as_slice()].concat())
    }

    pub(crate) fn read(&self, kind: &str, id: Uuid, body: &[u8]) -> Result<Map<String, Value>, Unavailable> {
        let wrong = |why: String| Unavailable(format!("'{kind}' entity {id} cannot be read: {why}"));
        let text = match body.split_first() {
            Some((&AS_IT_IS, text)) => text.to_vec(),
            Some((&SEALED, sealed)) => {
                self.ring.open(&place(kind, id), sealed).map_err(|error| wrong(error.to_string()))?
            }
            _ => return Err(wrong("it is in a form that this version does not know".to_owned())),
        };
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
    }

    /// Whether a body is under the key that seals now, or under none.
    pub(crate) fn is_current(&self, body: &[u8]) -> bool {
        match body.split_first() {
            Some((&SEALED, sealed)) => self.ring.is_current(sealed),
            _ => true,
        }
    }

    /// The values of a claim as they are kept: a secret as its keyed hash.
    pub(crate) fn claimed(&self, kind: &EntityKind, fields: &[&str], values: &[String]) -> Result<String, Unavailable> {
        let value = |(field, value): (&&str, &String)| match kind.is_secret(field) {
            true => self.hash.get().map(|hash| hash.of(value)).ok_or_else(odd),
            false => Ok(value.clone()),
        };
        let values = fields.iter().zip(values).map(value).collect::<Result<Vec<String>, _>>()?;
        Ok(match values.as_slice() {
            [one] => one.clone(),
            many => Value::from(many.to_vec()).to_string(),
        })
    }
}

/// What a sealed body belongs to; it opens nowhere else.
fn place(kind: &str, id: Uuid) -> Vec<u8> {
    [kind.as_bytes(), b"/", id.as_bytes()].concat()
}
