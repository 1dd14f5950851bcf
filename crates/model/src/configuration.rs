//! A whole configuration: complete rows, every reference resolved.

use crate::complete::{Hashing, hash_secrets, is_enabled, record};
use crate::entity::{self, EntityKind, KINDS};
use crate::invalid::{Invalid, Offence, Place};
use crate::vault::{Vault, Vaults};
use schema::{Catalog, Map, Schema, Value, Violations, json};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// One entity.
#[derive(Clone)]
pub struct Row {
    pub id: Uuid,
    /// Every field with its value, as the Admin API shows it; references to vaults unresolved.
    pub json: Map<String, Value>,
    /// Where it stood in the document.
    pub place: Place,
    /// When it stops being good, in seconds since 1970 (an API key's `ttl`).
    pub expires_at: Option<u64>,
}

impl Row {
    /// A row of an entity that is complete; nothing if it has no identity.
    pub fn new(json: Map<String, Value>, expires_at: Option<u64>) -> Option<Row> {
        let id = json.get("id")?.as_str()?.parse().ok()?;
        Some(Row { id, json, place: Place::new(), expires_at })
    }
}

/// Rows by kind.
#[derive(Clone, Default)]
pub struct Configuration {
    tables: HashMap<&'static str, Table>,
    pub(crate) vaults: Arc<Vaults>,
    /// 32 hexadecimal digits that change with the document; zeros before the first.
    pub hash: String,
}

#[derive(Clone, Default)]
struct Table {
    rows: Vec<Row>,
    by_id: HashMap<Uuid, usize>,
}

/// A row as its type, with secrets fetched from their vaults.
pub fn typed<T: Schema>(kind: &EntityKind, row: &Row, vaults: &Vaults) -> Result<T, Violations> {
    let mut value = Value::Object(row.json.clone());
    kind.record.resolve(&mut value, &|reference| vaults.resolve(reference))?;
    T::from_read(value)
}

/// The hash of a gate that was never given a configuration.
pub const EMPTY_HASH: &str = "00000000000000000000000000000000";

impl Configuration {
    pub fn empty() -> Configuration {
        Configuration { hash: EMPTY_HASH.to_owned(), ..Configuration::default() }
    }

    /// Of rows that come out of a database, changed there one by one. The error is every secret that cannot be fetched.
    pub fn changed(
        &self,
        changes: impl IntoIterator<Item = (&'static EntityKind, Uuid, Option<Row>)>,
        catalog: &Catalog,
        environment: &HashMap<String, String>,
        number: u64,
    ) -> (Configuration, Invalid) {
        let mut new = Configuration { hash: format!("{number:032x}"), ..self.clone() };
        for (kind, id, row) in changes {
            new.remove(kind, id);
            if let Some(row) = row {
                new.insert(kind, row);
            }
        }
        let mut vaults = Vaults::new(environment.clone());
        for row in new.rows("vaults") {
            if let Ok(vault) = Vault::from_read(Value::Object(row.json.clone())) {
                vaults.add(&vault);
            }
        }
        new.vaults = Arc::new(vaults);
        let invalid = new.not_to_be_had(catalog);
        (new, invalid)
    }

    fn remove(&mut self, kind: &'static EntityKind, id: Uuid) {
        let Some(table) = self.tables.get_mut(kind.name) else { return };
        if let Some(index) = table.by_id.remove(&id) {
            table.rows.swap_remove(index);
            if let Some(moved) = table.rows.get_mut(index) {
                moved.place = vec![(kind.name.to_owned(), index)];
                table.by_id.insert(moved.id, index);
            }
        }
    }

    pub(crate) fn insert(&mut self, kind: &'static EntityKind, mut row: Row) {
        let table = self.tables.entry(kind.name).or_default();
        if row.place.is_empty() {
            row.place = vec![(kind.name.to_owned(), table.rows.len())];
        }
        table.by_id.insert(row.id, table.rows.len());
        table.rows.push(row);
    }

    /// The rows of a kind, in the order of the document.
    pub fn rows(&self, kind: &str) -> &[Row] {
        self.tables.get(kind).map_or(&[], |table| &table.rows)
    }

    pub fn row(&self, kind: &str, id: Uuid) -> Option<&Row> {
        let table = self.tables.get(kind)?;
        table.rows.get(*table.by_id.get(&id)?)
    }

    /// The row that stood at this place of the document.
    pub fn at(&self, place: &Place) -> Option<&Row> {
        self.tables.values().flat_map(|table| &table.rows).find(|row| row.place == *place)
    }

    /// The row with this identity or endpoint key.
    pub fn find(&self, kind: &EntityKind, key: &str) -> Option<&Row> {
        if let Ok(id) = Uuid::try_parse(key)
            && let Some(row) = self.row(kind.name, id)
        {
            return Some(row);
        }
        let field = kind.endpoint_key?;
        self.rows(kind.name).iter().find(|row| row.json.get(field).and_then(Value::as_str) == Some(key))
    }

    /// Every row of a kind as its type, with secrets fetched from their vaults.
    ///
    /// The error names the row whose secret is not to be had.
    pub fn typed<T: Schema>(&self, kind: &'static str) -> Vec<(&Row, Result<T, Violations>)> {
        let Some(kind) = entity::kind(kind) else { return Vec::new() };
        self.rows(kind.name).iter().map(|row| (row, typed(kind, row, &self.vaults))).collect()
    }

    /// Where references to secrets are looked up.
    pub fn vaults(&self) -> &Vaults {
        &self.vaults
    }

    /// A plugin's config with secrets fetched from their vaults.
    pub fn resolve_config(&self, record: &schema::Record, config: &Map<String, Value>) -> Result<Value, Violations> {
        let mut value = Value::Object(config.clone());
        record
            .resolve(&mut value, &|reference| self.vaults.resolve(reference))
            .map_err(|found| found.under("config"))?;
        Ok(value)
    }

    /// Every secret that cannot be fetched, whether or not anything reads it, and every plugin that may not be used.
    pub(crate) fn not_to_be_had(&self, catalog: &Catalog) -> Invalid {
        let mut invalid = Invalid::default();
        for kind in KINDS.iter() {
            for row in self.rows(kind.name) {
                let name = row.json.get("name").and_then(Value::as_str);
                let record = record(kind, catalog, name);
                let mut value = Value::Object(row.json.clone());
                let resolved = record.resolve(&mut value, &|reference| self.vaults.resolve(reference));
                if let Err(violations) = resolved.and_then(|()| is_enabled(kind, catalog, name)) {
                    let (place, entity) = (row.place.clone(), Value::Object(row.json.clone()));
                    invalid.entities.push(Offence { place, entity_type: kind.singular, entity, violations });
                }
            }
        }
        invalid
    }

    /// How many rows there are, by kind, for kinds that have any.
    pub fn counts(&self) -> Vec<(&'static str, usize)> {
        KINDS.iter().map(|kind| (kind.name, self.rows(kind.name).len())).filter(|(_, count)| *count > 0).collect()
    }

    /// Kind to identity to entity: the answer to a successful `POST /config`.
    pub fn to_json(&self) -> Value {
        let tables = KINDS.iter().filter(|kind| !self.rows(kind.name).is_empty()).map(|kind| {
            let rows = self.rows(kind.name).iter().map(|row| (row.id.to_string(), Value::Object(row.json.clone())));
            (kind.name.to_owned(), Value::Object(rows.collect()))
        });
        Value::Object(tables.collect())
    }

    /// The configuration as a declarative document with every default written out. `now` is in seconds since 1970.
    pub fn to_document(&self, now: u64) -> Value {
        document(KINDS.iter().map(|kind| (kind, self.rows(kind.name))), now)
    }

    /// Puts passwords into the form that they are kept in.
    pub(crate) fn hash_secrets(&mut self) -> Result<(), Invalid> {
        for (name, table) in &mut self.tables {
            let Some(kind) = entity::kind(name) else { continue };
            for row in &mut table.rows {
                hash_secrets(kind, &mut row.json, Hashing::Kong).map_err(|violations| {
                    let (place, entity) = (row.place.clone(), Value::Null);
                    let offence = Offence { place, entity_type: kind.singular, entity, violations };
                    Invalid { entities: vec![offence], ..Invalid::default() }
                })?;
            }
        }
        Ok(())
    }
}

/// Rows as a declarative document with every default written out; without those whose time is over.
pub fn document<'a>(rows: impl IntoIterator<Item = (&'static EntityKind, &'a [Row])>, now: u64) -> Value {
    let mut document = Map::new();
    document.insert("_format_version".to_owned(), json!("3.0"));
    document.insert("_transform".to_owned(), json!(false));
    for (kind, rows) in rows {
        let entry = |name: &String, value: &Value| {
            // References are written as the identity alone.
            let bare = kind.references().any(|(field, _)| field == name).then(|| value["id"].clone());
            (name.clone(), bare.unwrap_or_else(|| value.clone()))
        };
        let entity = |row: &Row| {
            let set = row.json.iter().filter(|(_, value)| !value.is_null());
            let mut entity: Map<String, Value> = set.map(|(name, value)| entry(name, value)).collect();
            if let Some(end) = row.expires_at {
                // What was given for a time must not come back as given for ever.
                entity.insert("ttl".to_owned(), json!(end.saturating_sub(now)));
            }
            Value::Object(entity)
        };
        let entities: Vec<Value> = rows.iter().filter(|row| row.is_alive(now)).map(entity).collect();
        if !entities.is_empty() {
            document.insert(kind.name.to_owned(), Value::Array(entities));
        }
    }
    Value::Object(document)
}
