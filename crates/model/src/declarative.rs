//! A declarative document to a configuration: every entity read, every reference resolved, or all that is wrong.

use crate::complete::{Complete, complete, fill};
use crate::configuration::{Configuration, Row};
use crate::document::{self, Node};
use crate::entity::{self, EntityKind, KINDS};
use crate::invalid::{Invalid, Offence, Place};
use crate::vault::{Vault, Vaults};
use crate::{format, id, validate};
use schema::{Catalog, Map, Schema, Value, Violations, json};
use std::sync::Arc;
use uuid::Uuid;

/// What reading a document depends on besides its text.
pub struct Context<'a> {
    /// The plugins of this build.
    pub catalog: &'a Catalog,
    /// Where `{vault://env/...}` is looked up.
    pub vaults: Vaults,
    /// Now, in seconds since 1970: for `created_at` and for keys that expire.
    pub now: u64,
}

/// Reads YAML or JSON text.
pub fn read_text(text: &str, context: Context) -> Result<Configuration, (Invalid, Option<Node>)> {
    let node = document::parse(text).map_err(|error| (unparsed(error), None))?;
    let read = read_value(node.to_value(), &hash(text), context).and_then(|mut read| {
        if !read.is_hashed {
            read.configuration.hash_secrets()?;
        }
        Ok(read.configuration)
    });
    read.map_err(|invalid| (invalid, Some(node)))
}

/// A document as it is written.
pub struct Written {
    pub configuration: Configuration,
    /// Whether passwords stand there as they are kept (`_transform: false`).
    pub is_hashed: bool,
}

/// Reads YAML or JSON text, and leaves passwords as they are.
pub fn read_as_written(text: &str, context: Context) -> Result<Written, Invalid> {
    let node = document::parse(text).map_err(unparsed)?;
    read_value(node.to_value(), &hash(text), context)
}

fn unparsed(error: document::SyntaxError) -> Invalid {
    let invalid = Invalid::unreadable(format!("failed parsing declarative configuration: {error}"));
    Invalid { line: Some(error.line), ..invalid }
}

/// 32 hexadecimal digits that change with a document's text.
pub fn hash(text: &str) -> String {
    let digest = jose::digest::sha256_hex(text.as_bytes());
    digest.get(..32).unwrap_or_default().to_owned()
}

/// Reads a document that is parsed already.
fn read_value(document: Value, hash: &str, context: Context) -> Result<Written, Invalid> {
    let Value::Object(mut document) = document else {
        return Err(Invalid::unreadable("failed parsing declarative configuration: expected an object"));
    };
    let mut reader = Reader {
        context: &context,
        version: String::new(),
        transform: true,
        drafts: Vec::new(),
        invalid: Invalid::default(),
    };
    reader.header(&mut document);
    reader.entities(document);
    let Reader { drafts, invalid, transform, .. } = reader;
    let drafts = validate::whole(drafts, invalid)?;
    let mut vaults = context.vaults;
    let mut configuration = Configuration::empty();
    hash.clone_into(&mut configuration.hash);
    for draft in drafts {
        if draft.kind.name == "vaults"
            && let Ok(vault) = Vault::from_read(Value::Object(draft.json.clone()))
        {
            vaults.add(&vault);
        }
        let row = Row { id: draft.id, json: draft.json, place: draft.place, expires_at: draft.expires_at };
        configuration.insert(draft.kind, row);
    }
    configuration.vaults = Arc::new(vaults);
    match configuration.not_to_be_had(context.catalog) {
        invalid if invalid.is_empty() => Ok(Written { configuration, is_hashed: !transform }),
        invalid => Err(invalid),
    }
}

/// An entity on its way: read, but its references not looked up yet.
pub(crate) struct Draft {
    pub kind: &'static EntityKind,
    pub id: Uuid,
    /// Whether the document said the identity itself.
    pub given_id: bool,
    /// Complete, unless there is a fault.
    pub json: Map<String, Value>,
    /// As it stood in the document, without its children.
    pub given: Value,
    /// What is wrong with the entity by itself.
    pub fault: Violations,
    pub place: Place,
    pub expires_at: Option<u64>,
    /// References to look up: the field, and how the entity is named there.
    pub references: Vec<(&'static str, Wanted)>,
}

/// How a reference names its entity.
pub(crate) enum Wanted {
    Id(Uuid),
    /// By identity or endpoint key.
    Key(String),
}

struct Reader<'a> {
    context: &'a Context<'a>,
    version: String,
    transform: bool,
    drafts: Vec<Draft>,
    invalid: Invalid,
}

/// The parent an entity is nested in.
struct Parent<'a> {
    kind: &'static EntityKind,
    id: Uuid,
    place: &'a Place,
}

impl Reader<'_> {
    fn header(&mut self, document: &mut Map<String, Value>) {
        match document.remove("_format_version") {
            None | Some(Value::Null) => self.invalid.document.add("_format_version", "required field missing"),
            Some(Value::String(version)) if format::VERSIONS.contains(&version.as_str()) => self.version = version,
            Some(Value::String(_)) => {
                let text = format!("expected one of: {}", format::VERSIONS.join(", "));
                self.invalid.document.add("_format_version", text);
            }
            Some(_) => self.invalid.document.add("_format_version", "expected a string"),
        }
        match document.remove("_transform") {
            None | Some(Value::Null) => {}
            Some(Value::Bool(transform)) => self.transform = transform,
            Some(_) => self.invalid.document.add("_transform", "expected a boolean"),
        }
        if !self.transform && matches!(self.version.as_str(), "1.1") {
            let text = "_transform: false is not supported in format version '1.1'";
            self.invalid.document.add_entity(text);
        }
        document.remove("_comment");
        document.remove("_ignore");
    }

    fn entities(&mut self, document: Map<String, Value>) {
        for (name, list) in document {
            match entity::kind(&name) {
                Some(kind) => self.list(kind, list, None),
                None => self.invalid.document.add(&name, "unknown field"),
            }
        }
    }

    fn list(&mut self, kind: &'static EntityKind, list: Value, parent: Option<Parent>) {
        let items = match list {
            Value::Array(items) => items,
            Value::Null => return,
            // How tools that speak Lua write an empty list.
            Value::Object(map) if map.is_empty() => return,
            _ => {
                let violations = Violations::field(kind.name, "expected an array");
                return match parent {
                    None => self.invalid.document.merge(violations),
                    Some(parent) => self.offend(parent.kind, parent.place.clone(), Value::Null, violations),
                };
            }
        };
        for (index, item) in items.into_iter().enumerate() {
            let mut place = parent.as_ref().map_or_else(Place::new, |parent| parent.place.clone());
            place.push((kind.name.to_owned(), index));
            match item {
                Value::Object(entity) => self.entity(kind, entity, place, parent.as_ref()),
                // A certificate's `snis` may be names alone.
                Value::String(name) if kind.name == "snis" && parent.is_some() => {
                    let entity = Map::from_iter([("name".to_owned(), Value::String(name))]);
                    self.entity(kind, entity, place, parent.as_ref());
                }
                other => self.offend(kind, place, other, Violations::entity("expected a record")),
            }
        }
    }

    fn entity(
        &mut self,
        kind: &'static EntityKind,
        mut entity: Map<String, Value>,
        place: Place,
        parent: Option<&Parent>,
    ) {
        entity.remove("_comment");
        entity.remove("_ignore");
        memberships(kind, &mut entity);
        let children: Vec<(&'static EntityKind, Value)> = KINDS
            .iter()
            .filter(|child| child.reference_to(kind.name).is_some())
            .filter_map(|child| Some((child, entity.remove(child.name)?)))
            .collect();
        let given = Value::Object(entity.clone());
        if kind.name == "routes" {
            format::migrate_route(&self.version, &mut entity);
        }
        let (references, contradiction) = references(kind, &mut entity, parent);
        let (id, given_id) = identity(kind, &entity, &references);
        if !given_id && entity.get("id").is_none_or(Value::is_null) {
            entity.insert("id".to_owned(), json!(id));
        }
        let (json, ttl, fault) = match self.complete(kind, entity.clone(), contradiction) {
            Ok(Complete { json, ttl }) => (json, ttl, Violations::default()),
            Err(violations) => (entity, None, violations),
        };
        self.drafts.push(Draft {
            kind,
            id,
            given_id,
            json,
            given,
            fault,
            place: place.clone(),
            expires_at: ttl.map(|ttl| self.context.now.saturating_add(ttl)),
            references,
        });
        for (child, list) in children {
            self.list(child, list, Some(Parent { kind, id, place: &place }));
        }
    }

    /// Reads the entity against its schema, and fills in what the gate makes itself.
    fn complete(
        &self,
        kind: &'static EntityKind,
        entity: Map<String, Value>,
        contradiction: Option<&'static str>,
    ) -> Result<Complete, Violations> {
        let mut read = complete(kind, self.context.catalog, entity);
        if let Some(field) = contradiction {
            let mut found = read.err().unwrap_or_default();
            found.add(field, "value must be null");
            return Err(found);
        }
        if let Ok(complete) = &mut read {
            fill(kind, &mut complete.json, self.context.now)?;
        }
        read
    }

    fn offend(&mut self, kind: &'static EntityKind, place: Place, entity: Value, violations: Violations) {
        self.invalid.entities.push(Offence { place, entity_type: kind.singular, entity, violations });
    }
}

/// Who is in which group, said at either end: `groups` of a consumer, `consumers` of a group.
fn memberships(kind: &EntityKind, entity: &mut Map<String, Value>) {
    let (list, other) = match kind.name {
        "consumers" => ("groups", "consumer_group"),
        "consumer_groups" => ("consumers", "consumer"),
        _ => return,
    };
    let Some(Value::Array(named)) = entity.remove(list) else { return };
    let said = named.into_iter().map(|one| json!({ other: one }));
    // What else stands there is refused as what it is.
    if let Value::Array(all) = entity.entry("consumer_group_consumers").or_insert_with(|| json!([])) {
        all.extend(said);
    }
}

/// The references of an entity, and a field that contradicts where it is nested.
type References = (Vec<(&'static str, Wanted)>, Option<&'static str>);

/// Takes the references out, to be looked up when every entity is known. What is left in the entity is
/// an identity of the right form, so that the schema has nothing to say about it.
fn references(kind: &EntityKind, entity: &mut Map<String, Value>, parent: Option<&Parent>) -> References {
    let (mut wanted, mut contradiction) = (Vec::new(), None);
    for (field, target) in kind.references() {
        let nested = parent.filter(|parent| kind.reference_to(parent.kind.name) == Some(field));
        let given = match nested {
            Some(parent) => {
                if entity.get(field).is_some_and(|value| !value.is_null()) {
                    contradiction = Some(field);
                }
                Some(Wanted::Id(parent.id))
            }
            None => entity.get(field).and_then(|value| named(target, value)),
        };
        if let Some(given) = given {
            let id = match given {
                Wanted::Id(id) => id,
                Wanted::Key(_) => Uuid::nil(),
            };
            entity.insert(field.to_owned(), json!({ "id": id }));
            wanted.push((field, given));
        }
    }
    (wanted, contradiction)
}

/// `name`, `{id: ...}` or `{name: ...}`. A bare text may be either, and is looked up as both.
fn named(target: &str, value: &Value) -> Option<Wanted> {
    match value {
        Value::String(text) => Some(Wanted::Key(text.to_owned())),
        Value::Object(map) => {
            if let Some(id) = map.get("id").and_then(Value::as_str) {
                return strict_uuid(id).map(Wanted::Id);
            }
            let key = entity::kind(target).and_then(|kind| kind.endpoint_key)?;
            map.get(key).and_then(Value::as_str).map(|name| Wanted::Key(name.to_owned()))
        }
        _ => None,
    }
}

/// The hyphenated form and no other, as Kong takes it.
pub(crate) fn strict_uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == 36)
}

/// The identity given, or the one that Kong derives; and whether it was given.
fn identity(kind: &EntityKind, entity: &Map<String, Value>, references: &[(&'static str, Wanted)]) -> (Uuid, bool) {
    if let Some(id) = entity.get("id").and_then(Value::as_str).and_then(strict_uuid) {
        return (id, true);
    }
    let part = |field: &str| match references.iter().find(|(name, _)| *name == field) {
        Some((_, Wanted::Id(id))) => id.to_string(),
        Some((_, Wanted::Key(key))) => key.clone(),
        None => entity.get(field).and_then(Value::as_str).unwrap_or_default().to_owned(),
    };
    if let Some(key) = kind.endpoint_key.filter(|key| entity.get(*key).is_some_and(Value::is_string)) {
        let unique = kind.record.field(key).is_some_and(|field| field.has(&schema::Rule::Unique));
        // A target's address is unique within its upstream only, so both make its identity.
        let name = if unique { part(key) } else { format!("{}:{}", part(key), part("upstream")) };
        return (id::derived(kind.name, &name), false);
    }
    if kind.composite_key.is_empty() {
        return (Uuid::new_v4(), false);
    }
    let besides = kind.besides.filter(|field| references.iter().any(|(name, _)| name == field));
    let parts: Vec<String> = kind.composite_key.iter().copied().chain(besides).map(part).collect();
    (id::derived(kind.name, &format!("{}:{}", kind.name, parts.join(":"))), false)
}
