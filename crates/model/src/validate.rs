//! Rules over the whole set: references lead somewhere, names are unique, plugins exist and fit.

use crate::declarative::{Broken, Draft, Wanted};
use crate::invalid::{Invalid, Offence};
use schema::{Catalog, Map, Value, Violations, json};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// All drafts with their references filled in, or everything that is wrong.
pub(crate) fn whole(
    mut drafts: Vec<Draft>,
    broken: &[Broken],
    mut invalid: Invalid,
    catalog: &Catalog,
) -> Result<Vec<Draft>, Invalid> {
    let index = Index::new(&drafts, broken);
    let mut found: Vec<Violations> = drafts.iter().map(|_| Violations::default()).collect();
    for (draft, found) in drafts.iter_mut().zip(&mut found) {
        index.fill(draft, found);
    }
    uniqueness(&drafts, &mut found);
    for (draft, found) in drafts.iter().zip(&mut found) {
        match draft.kind.name {
            "plugins" => placement(draft, catalog, found),
            "routes" | "services" => carried(draft, found),
            _ => {}
        }
    }
    for (draft, violations) in drafts.iter().zip(found) {
        if !violations.is_empty() {
            let (place, entity) = (draft.place.clone(), Value::Object(draft.json.clone()));
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
    fn new(drafts: &[Draft], broken: &[Broken]) -> Index {
        let ids = drafts.iter().map(|draft| (draft.kind.name, draft.id));
        let ids = ids.chain(broken.iter().map(|broken| (broken.kind, broken.id))).collect();
        let keys = drafts.iter().filter_map(|draft| {
            let key = draft.json.get(draft.kind.endpoint_key?)?.as_str()?;
            Some(((draft.kind.name, key.to_owned()), draft.id))
        });
        let broken = broken.iter().filter_map(|broken| Some(((broken.kind, broken.key.clone()?), broken.id)));
        Index { ids, keys: keys.chain(broken).collect() }
    }

    fn fill(&self, draft: &mut Draft, found: &mut Violations) {
        for (field, wanted) in &draft.references {
            let Some(target) = draft.kind.references().find(|(name, _)| name == field).map(|(_, kind)| kind) else {
                continue;
            };
            let (id, named) = match wanted {
                Wanted::Id(id) => (self.ids.get(&(target, *id)).map(|(_, id)| *id), id.to_string()),
                Wanted::Key(key) => (self.keys.get(&(target, key.clone())).copied(), key.clone()),
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
        claim("primary key", draft.id.to_string());
        for field in kind.unique_fields() {
            if let Some(value) = draft.json.get(field.name).and_then(Value::as_str) {
                // A secret must not be read off an error message.
                claim(field.name, shown(field.name, kind.name, value));
            }
        }
        for fields in kind.unique_together {
            let value = |field: &&str| match draft.json.get(*field) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Object(reference)) => {
                    reference.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
                }
                _ => String::new(),
            };
            let values: Vec<String> = fields.iter().map(value).collect();
            // Keys outside a set need not differ.
            if kind.name == "keys" && values.iter().any(String::is_empty) {
                continue;
            }
            claim(&fields.join(", "), values.join(", "));
        }
    }
}

/// A unique value as an error may show it: API keys and tokens by their hash.
fn shown(field: &str, kind: &str, value: &str) -> String {
    let secret =
        matches!((kind, field), ("keyauth_credentials", "key") | ("oauth2_tokens", "access_token" | "refresh_token"));
    match secret {
        true => format!("[secret {}]", jose::digest::sha256_hex(value.as_bytes()).get(..12).unwrap_or_default()),
        false => value.to_owned(),
    }
}

/// Reads a plugin's `config` against the plugin's own schema.
pub(crate) fn plugin_config(plugin: &mut Map<String, Value>, catalog: &Catalog, found: &mut Violations) {
    let Some(name) = plugin.get("name").and_then(Value::as_str) else { return };
    let Some(schema) = catalog.plugin(name) else {
        let text = format!("plugin '{name}' not enabled; add it to the 'plugins' configuration property");
        return found.add("name", text);
    };
    let mut config = match plugin.remove("config") {
        None | Some(Value::Null) => json!({}),
        Some(config) => config,
    };
    if let Err(mut violations) = schema.config.read(&mut config) {
        // Rules over several options belong to the plugin as a whole.
        let fields = violations.to_json();
        let entity = fields.get("@entity").and_then(Value::as_array).cloned().unwrap_or_default();
        entity.iter().filter_map(Value::as_str).for_each(|text| found.add_entity(text));
        violations = Violations::default();
        for (name, violation) in fields.as_object().into_iter().flatten().filter(|(name, _)| *name != "@entity") {
            violations.add(name, violation.clone());
        }
        if !violations.is_empty() {
            found.merge(violations.under("config"));
        }
    }
    plugin.insert("config".to_owned(), config);
}

fn placement(draft: &Draft, catalog: &Catalog, found: &mut Violations) {
    let Some(schema) = draft.json.get("name").and_then(Value::as_str).and_then(|name| catalog.plugin(name)) else {
        return;
    };
    let on_consumer = draft.json.get("consumer").is_some_and(|consumer| !consumer.is_null());
    if on_consumer && !schema.on_consumer {
        found.add("consumer", "value must be null");
    }
}

/// What the gate does not carry is refused by name: half a gate would be worse than none.
fn carried(draft: &Draft, found: &mut Violations) {
    const CARRIED: &[&str] = &["http", "https"];
    let name = || match draft.json.get("name").and_then(Value::as_str) {
        Some(name) => name.to_owned(),
        None => draft.id.to_string(),
    };
    let protocols = draft.json.get("protocols").and_then(Value::as_array).into_iter().flatten();
    let other: Vec<&str> = protocols.filter_map(Value::as_str).filter(|protocol| !CARRIED.contains(protocol)).collect();
    if let (Some(first), "routes") = (other.first(), draft.kind.name) {
        let kind = if first.starts_with("grpc") { "gRPC" } else { "stream" };
        let text =
            format!("route '{}' is a {kind} route ({}): this gate carries http and https", name(), other.join(", "));
        found.add("protocols", text);
    }
    if let ("services", Some(protocol)) = (draft.kind.name, draft.json.get("protocol").and_then(Value::as_str))
        && !CARRIED.contains(&protocol)
    {
        found.add("protocol", format!("service '{}' speaks {protocol}: this gate carries http and https", name()));
    }
}
