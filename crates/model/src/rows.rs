//! Entities, wherever they are kept: what can be asked of them, and how they are changed.

use crate::api_key;
use crate::configuration::{Configuration, Row};
use crate::entity::{EntityKind, KINDS};
use schema::{Map, Value};
use std::borrow::Cow;
use thiserror::Error;
use uuid::Uuid;

/// Entities at hand. Those whose time is over (`now`) are not.
pub trait Rows {
    fn by_id(&self, kind: &'static EntityKind, id: Uuid, now: u64) -> Result<Option<Row>, Unavailable>;

    /// The entity whose field has this value, of all or of those below a parent.
    fn by_field(&self, kind: &'static EntityKind, asked: &Asked) -> Result<Option<Row>, Unavailable>;

    /// A part of the entities of a kind, in the order of their identities.
    fn list(&self, kind: &'static EntityKind, part: &Part) -> Result<Vec<Row>, Unavailable>;

    /// A part of all pairs of entity and tag, in their order.
    fn tags(&self, part: &TagPart) -> Result<Vec<Tag>, Unavailable>;

    /// How many entities of a kind there are.
    fn count(&self, kind: &'static EntityKind) -> Result<u64, Unavailable>;

    /// Who changed what, in the order of the changes.
    fn audit(&self, part: &AuditPart) -> Result<Vec<Audited>, Unavailable>;
}

/// Entities that can be changed. What was changed is seen by what is asked afterwards.
pub trait Writes: Rows {
    /// Puts an entity there, in place of the one with its identity if there is one.
    fn put(&self, kind: &'static EntityKind, row: &Row) -> Result<(), Refused>;

    /// Takes an entity away, and with it what belongs to it alone. It may be gone already.
    fn remove(&self, kind: &'static EntityKind, id: Uuid) -> Result<(), Refused>;
}

/// Every entity of a kind, a page after the other: no single question takes long.
pub fn each<E: From<Unavailable>>(
    rows: &dyn Rows,
    kind: &'static EntityKind,
    below: Option<Below>,
    tagged: &Tagged,
    now: u64,
    mut take: impl FnMut(Row) -> Result<(), E>,
) -> Result<(), E> {
    const AT_ONCE: usize = 1000;
    let mut from = Uuid::nil();
    loop {
        let page = rows.list(kind, &Part { below, tagged, from, count: AT_ONCE, now })?;
        let is_last = page.len() < AT_ONCE;
        if let Some(last) = page.last() {
            from = Uuid::from_u128(last.id.as_u128().saturating_add(1));
        }
        page.into_iter().try_for_each(&mut take)?;
        if is_last {
            return Ok(());
        }
    }
}

/// Who has this value?
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub field: &'static str,
    pub value: &'a str,
    pub below: Option<Below>,
    /// In seconds since 1970.
    pub now: u64,
}

/// Only entities that refer to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Below {
    /// The field that names the parent.
    pub field: &'static str,
    pub parent: Uuid,
    pub parent_kind: &'static str,
}

/// Which entities of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub below: Option<Below>,
    pub tagged: &'a Tagged,
    /// From this identity on.
    pub from: Uuid,
    /// Not more than these.
    pub count: usize,
    /// In seconds since 1970.
    pub now: u64,
}

/// Entities by their tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tagged {
    Anyhow,
    /// With every one of these.
    Every(Vec<String>),
    /// With one of these.
    Any(Vec<String>),
}

/// A tag of an entity: kind, identity, tag.
pub type Tag = (String, Uuid, String);

/// Which pairs of entity and tag.
#[derive(Clone, Copy, Debug)]
pub struct TagPart<'a> {
    pub only: Option<&'a str>,
    /// From this one on.
    pub from: Option<&'a Tag>,
    pub count: usize,
    pub now: u64,
}

/// One change of one entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Audited {
    /// Of the change, in the feed.
    pub number: u64,
    /// Seconds since 1970.
    pub at: u64,
    pub who: String,
    pub kind: String,
    pub id: Uuid,
    /// Nothing where it was made.
    pub before: Option<Value>,
    /// Nothing where it was taken away.
    pub after: Option<Value>,
}

/// Which changes.
#[derive(Clone, Debug, Default)]
pub struct AuditPart<'a> {
    /// From this number on.
    pub from: u64,
    pub count: usize,
    pub who: Option<&'a str>,
    pub kind: Option<&'a str>,
    pub id: Option<Uuid>,
}

/// The entities cannot be asked at the moment.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Why a change is not made.
#[derive(Debug, Error)]
pub enum Refused {
    /// Another entity has what must be this one's alone.
    #[error("another one of '{kind}' has the same {}", .claim.fields.join(", "))]
    Taken { kind: &'static str, claim: Claim },
    /// A reference leads nowhere.
    #[error("{field}: there is no {parent} with the identity {id}")]
    NoParent { field: &'static str, parent: &'static str, id: Uuid },
    /// Others refer to what should go.
    #[error("an existing '{by}' entity references this '{kind}' entity")]
    InUse { kind: &'static str, by: &'static str },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Fields whose values together belong to one entity alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub fields: Vec<&'static str>,
    /// Empty where there is none; of a reference the identity.
    pub values: Vec<String>,
}

impl EntityKind {
    /// What must be this entity's alone.
    pub fn claims(&self, entity: &Map<String, Value>) -> Vec<Claim> {
        let value = |field: &&'static str| match entity.get(*field) {
            Some(Value::String(text)) => self.claimed(field, text).into_owned(),
            Some(Value::Object(reference)) => {
                reference.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
            }
            _ => String::new(),
        };
        let single = self.unique_fields().map(|field| field.name);
        let single = single.filter(|field| entity.get(*field).is_some_and(Value::is_string));
        let single = single.map(|field| Claim { fields: vec![field], values: vec![value(&field)] });
        let together = self.unique_together.iter().map(|fields| {
            let besides = self.besides.into_iter().filter(|field| !value(field).is_empty());
            let fields: Vec<&'static str> = fields.iter().copied().chain(besides).collect();
            Claim { values: fields.iter().map(value).collect(), fields }
        });
        // Keys outside a set need not differ.
        let together =
            together.filter(|claim| self.name != "keys" || claim.values.iter().all(|value| !value.is_empty()));
        single.chain(together).collect()
    }

    /// What a value of a field is known by: different ones may mean the same.
    pub fn claimed<'a>(&self, field: &str, value: &'a str) -> Cow<'a, str> {
        match (self.name, field) {
            ("keyauth_credentials", "key") => api_key::unreadable(value).into(),
            _ => value.into(),
        }
    }

    /// Whether the value of a field that names the entity is a secret, too.
    pub fn is_secret(&self, field: &str) -> bool {
        matches!(
            (self.name, field),
            ("keyauth_credentials", "key") | ("oauth2_tokens", "access_token" | "refresh_token")
        )
    }
}

impl Row {
    /// The identity that a field refers to.
    pub fn reference(&self, field: &str) -> Option<Uuid> {
        self.json.get(field)?.get("id")?.as_str()?.parse().ok()
    }

    /// Whether it is still good: an API key may have been given for a time only.
    pub fn is_alive(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|end| end > now)
    }

    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.json.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    fn is_below(&self, below: Option<Below>) -> bool {
        below.is_none_or(|below| self.reference(below.field) == Some(below.parent))
    }
}

impl Tagged {
    /// Whether an entity is one of those that are meant.
    pub fn holds(&self, row: &Row) -> bool {
        let has = |tag: &String| row.tags().any(|given| given == tag);
        match self {
            Tagged::Anyhow => true,
            Tagged::Every(wanted) => wanted.iter().all(has),
            Tagged::Any(wanted) => wanted.iter().any(has),
        }
    }
}

/// A configuration in memory.
impl Rows for Configuration {
    fn by_id(&self, kind: &'static EntityKind, id: Uuid, now: u64) -> Result<Option<Row>, Unavailable> {
        Ok(self.row(kind.name, id).filter(|row| row.is_alive(now)).cloned())
    }

    fn by_field(&self, kind: &'static EntityKind, asked: &Asked) -> Result<Option<Row>, Unavailable> {
        let claimed = kind.claimed(asked.field, asked.value);
        let is_it = |value: &str| kind.claimed(asked.field, value) == claimed;
        let found = |row: &&Row| {
            row.json.get(asked.field).and_then(Value::as_str).is_some_and(is_it)
                && row.is_alive(asked.now)
                && row.is_below(asked.below)
        };
        Ok(self.rows(kind.name).iter().find(found).cloned())
    }

    fn list(&self, kind: &'static EntityKind, part: &Part) -> Result<Vec<Row>, Unavailable> {
        let wanted = |row: &&Row| {
            row.id >= part.from && row.is_alive(part.now) && row.is_below(part.below) && part.tagged.holds(row)
        };
        let mut rows: Vec<&Row> = self.rows(kind.name).iter().filter(wanted).collect();
        rows.sort_unstable_by_key(|row| row.id);
        Ok(rows.into_iter().take(part.count).cloned().collect())
    }

    fn tags(&self, part: &TagPart) -> Result<Vec<Tag>, Unavailable> {
        let mut found: Vec<Tag> = Vec::new();
        for kind in KINDS.iter() {
            for row in self.rows(kind.name).iter().filter(|row| row.is_alive(part.now)) {
                let wanted = row.tags().filter(|tag| part.only.is_none_or(|only| only == *tag));
                found.extend(wanted.map(|tag| (kind.name.to_owned(), row.id, tag.to_owned())));
            }
        }
        found.retain(|tag| part.from.is_none_or(|from| tag >= from));
        found.sort_unstable();
        found.truncate(part.count);
        Ok(found)
    }

    fn count(&self, kind: &'static EntityKind) -> Result<u64, Unavailable> {
        Ok(self.rows(kind.name).len() as u64)
    }

    /// It comes as a whole: what was changed in it by itself is nothing.
    fn audit(&self, _: &AuditPart) -> Result<Vec<Audited>, Unavailable> {
        Ok(Vec::new())
    }
}
