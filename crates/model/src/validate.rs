//! Rules over the whole set: references lead somewhere, names are unique, plugins exist and fit.

use crate::declarative::{Draft, Wanted, strict_uuid};
use crate::entity::EntityKind;
use crate::invalid::{Invalid, Offence};
use schema::{Map, Value, Violations, json};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// All drafts with their references filled in, or everything that is wrong.
pub(crate) fn whole(mut drafts: Vec<Draft>, mut invalid: Invalid) -> Result<Vec<Draft>, Invalid> {
    let index = Index::new(&drafts);
    let mut found: Vec<Violations> = drafts.iter_mut().map(|draft| std::mem::take(&mut draft.fault)).collect();
    for (draft, found) in drafts.iter_mut().zip(&mut found) {
        index.fill(draft, found);
    }
    uniqueness(&drafts, &mut found);
    for (draft, found) in drafts.iter().zip(&mut found) {
        found.merge(carried(draft.kind, &draft.json));
        if draft.kind.name == "admin_tokens"
            && ["digest", "consumer"].iter().all(|field| draft.json.get(*field).is_none_or(Value::is_null))
        {
            found.add("digest", "required field missing: in a document a token stands as its SHA-256");
        }
    }
    for (draft, violations) in drafts.iter_mut().zip(found) {
        if !violations.is_empty() {
            let (place, entity) = (draft.place.clone(), std::mem::take(&mut draft.given));
            invalid.entities.push(Offence { place, entity_type: draft.kind.singular, entity, violations });
        }
    }
    if invalid.is_empty() { Ok(drafts) } else { Err(invalid) }
}

/// Which entities there are, by kind and identity, and by kind and endpoint key.
struct Index {
    ids: HashSet<(&'static str, Uuid)>,
    keys: HashMap<(&'static str, String), Uuid>,
}

impl Index {
    fn new(drafts: &[Draft]) -> Index {
        let ids = drafts.iter().map(|draft| (draft.kind.name, draft.id)).collect();
        let keys = drafts.iter().filter_map(|draft| {
            let key = draft.json.get(draft.kind.endpoint_key?)?.as_str()?;
            Some(((draft.kind.name, key.to_owned()), draft.id))
        });
        Index { ids, keys: keys.collect() }
    }

    fn fill(&self, draft: &mut Draft, found: &mut Violations) {
        for (field, wanted) in &draft.references {
            let Some(target) = draft.kind.references().find(|(name, _)| name == field).map(|(_, kind)| kind) else {
                continue;
            };
            let (id, named) = match wanted {
                Wanted::Id(id) => (self.ids.get(&(target, *id)).map(|(_, id)| *id), id.to_string()),
                Wanted::Key(key) => {
                    let by_id = || strict_uuid(key).filter(|id| self.ids.contains(&(target, *id)));
                    (self.keys.get(&(target, key.clone())).copied().or_else(by_id), key.clone())
                }
            };
            match id {
                Some(id) => {
                    draft.json.insert((*field).to_owned(), json!({ "id": id }));
                }
                None => {
                    let text = format!("invalid reference '{field}: {named}' (no such entry in '{target}')");
                    found.add(field, text);
                }
            }
        }
    }
}

fn uniqueness(drafts: &[Draft], found: &mut [Violations]) {
    let mut seen: HashSet<(&str, String)> = HashSet::with_capacity(drafts.len() * 2);
    for (draft, found) in drafts.iter().zip(found) {
        let kind = draft.kind;
        let mut claim = |fields: &str, value: String| {
            if !seen.insert((kind.name, format!("{fields}={value}"))) {
                let text = format!(
                    "uniqueness violation: '{}' entity with {fields} set to '{value}' already declared",
                    kind.name
                );
                found.add_entity(text);
            }
        };
        // An identity derived from a name is told by the name.
        if draft.given_id {
            claim("primary key", draft.id.to_string());
        }
        for unique in kind.claims(&draft.json) {
            let value = unique.fields.iter().zip(&unique.values).map(|(field, value)| shown(kind, field, value));
            claim(&unique.fields.join(", "), value.collect::<Vec<_>>().join(", "));
        }
    }
}

/// A unique value as an error may show it: API keys and tokens by their hash.
fn shown(kind: &EntityKind, field: &str, value: &str) -> String {
    match kind.is_secret(field) {
        true => format!("[secret {}]", jose::digest::sha256_hex(value.as_bytes()).get(..12).unwrap_or_default()),
        false => value.to_owned(),
    }
}

/// What the gate does not carry is refused by name: half a gate would be worse than none.
pub fn carried(kind: &EntityKind, entity: &Map<String, Value>) -> Violations {
    const CARRIED: &[&str] = &["http", "https", "grpc", "grpcs"];
    let mut found = Violations::default();
    let name = || entity.get("name").and_then(Value::as_str).unwrap_or("without a name");
    let protocols = entity.get("protocols").and_then(Value::as_array).into_iter().flatten();
    let other: Vec<&str> = protocols.filter_map(Value::as_str).filter(|protocol| !CARRIED.contains(protocol)).collect();
    if let ("routes", false) = (kind.name, other.is_empty()) {
        let text = format!("route '{}' is a stream route ({}): this gate carries {HTTP}", name(), other.join(", "));
        found.add("protocols", text);
    }
    if let ("services", Some(protocol)) = (kind.name, entity.get("protocol").and_then(Value::as_str))
        && !CARRIED.contains(&protocol)
    {
        found.add("protocol", format!("service '{}' speaks {protocol}: this gate carries {HTTP}", name()));
    }
    found
}

const HTTP: &str = "http, https, grpc and grpcs";
