//! Everything that is wrong with a declarative document, in the shapes that people and tools read.

use crate::document::Node;
use crate::entity::{EntityKind, KINDS};
use schema::{Field, Kind, Map, Record, Rule, Value, Violations, json};
use std::fmt;

/// Where in a document an entity stands: `services`, 0, `routes`, 1.
pub type Place = Vec<(String, usize)>;

/// All violations of a document.
#[derive(Debug, Default)]
pub struct Invalid {
    /// Violations of the document itself: `_format_version`, unknown keys.
    pub document: Violations,
    /// Where reading stopped, if the text is neither YAML nor JSON.
    pub line: Option<usize>,
    pub entities: Vec<Offence>,
}

/// One entity and what is wrong with it.
#[derive(Debug)]
pub struct Offence {
    pub place: Place,
    /// The kind, in the singular.
    pub entity_type: &'static str,
    /// The entity as it was given, without its children.
    pub entity: Value,
    pub violations: Violations,
}

/// One violation for a person at a terminal.
#[derive(Debug, PartialEq)]
pub struct Finding {
    pub line: usize,
    /// Empty where the document as a whole is wrong.
    pub path: String,
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(formatter, "{}: {}", self.line, self.text),
            path => write!(formatter, "{}: {path}: {}", self.line, self.text),
        }
    }
}

impl Invalid {
    /// A document that is not even an object, or no document at all.
    pub fn unreadable(text: impl Into<String>) -> Invalid {
        Invalid { document: Violations::field("error", text.into()), ..Invalid::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.document.is_empty() && self.entities.is_empty()
    }

    /// The `fields` of Kong's error: violations in a mirror of the document.
    pub fn fields(&self) -> Value {
        let mut fields = self.document.to_json();
        for offence in &self.entities {
            if let (Some(Value::Object(slot)), Value::Object(found)) =
                (slot(&mut fields, &offence.place), offence.violations.to_json())
            {
                slot.extend(found);
            }
        }
        fields
    }

    /// The `flattened_errors` of Kong's error, as its ingress controller reads them.
    pub fn flattened(&self) -> Vec<Value> {
        let flat = |offence: &Offence| {
            let kind = KINDS.iter().find(|kind| kind.singular == offence.entity_type);
            let errors: Vec<Value> = offence
                .violations
                .flat()
                .into_iter()
                .map(|(path, text)| match path.as_str() {
                    "" => json!({ "type": "entity", "message": text }),
                    path => json!({ "type": "field", "field": path, "message": text }),
                })
                .collect();
            let mut out = Map::new();
            out.insert("entity_type".to_owned(), json!(offence.entity_type));
            let name = ["name", "username", "prefix", "target"].iter().find_map(|key| offence.entity.get(*key));
            for (key, value) in [
                ("entity_name", name),
                ("entity_id", offence.entity.get("id")),
                ("entity_tags", offence.entity.get("tags")),
            ] {
                if let Some(value) = value {
                    out.insert(key.to_owned(), value.clone());
                }
            }
            out.insert("entity".to_owned(), shown(kind, offence));
            out.insert("errors".to_owned(), json!(errors));
            Value::Object(out)
        };
        self.entities.iter().map(flat).collect()
    }

    /// Every violation with its line, in the order of the document.
    pub fn findings(&self, document: &Node) -> Vec<Finding> {
        let finding = |path: String, text: String| Finding { line: document.line_of(&path), path, text };
        // Kong's `error` is the document as a whole.
        let whole = |path: String| if path == "error" { String::new() } else { path };
        let mut findings: Vec<Finding> =
            self.document.flat().into_iter().map(|(path, text)| finding(whole(path), text)).collect();
        for offence in &self.entities {
            let place: Vec<String> =
                offence.place.iter().map(|(name, index)| format!("{name}.{}", index + 1)).collect();
            let place = place.join(".");
            for (path, text) in offence.violations.flat() {
                findings.push(finding(if path.is_empty() { place.clone() } else { format!("{place}.{path}") }, text));
            }
        }
        findings.sort_by_key(|finding| finding.line);
        findings
    }
}

/// The object for the entity at `place`, made on the way. `None` where a list is reported as being none.
fn slot<'a>(mut fields: &'a mut Value, place: &Place) -> Option<&'a mut Value> {
    for (name, index) in place {
        let list = fields.as_object_mut()?.entry(name.clone()).or_insert_with(|| json!([])).as_array_mut()?;
        if list.len() <= *index {
            list.resize(index + 1, Value::Null);
        }
        fields = &mut list[*index];
        if fields.is_null() {
            *fields = json!({});
        }
    }
    Some(fields)
}

/// The entity for an error message: what its kind knows and holds no secret. Of the rest, only the names
/// are shown, for a secret under a wrong name is a secret all the same.
fn shown(kind: Option<&EntityKind>, offence: &Offence) -> Value {
    let (Some(kind), Value::Object(map)) = (kind, &offence.entity) else { return Value::Null };
    let value = |(name, value): (&String, &Value)| {
        let known = kind.record.field(name).filter(|field| is_shown(field));
        let scalar = value.as_str().is_none_or(|text| text.len() <= 256 && !text.contains("-----"));
        let value = match known {
            // What is wrong may be wrong because it stands in the wrong place.
            Some(_) if scalar && !value.is_object() && !offence.violations.contains(name) => value.clone(),
            _ => Value::from("[not shown]"),
        };
        (name.clone(), value)
    };
    Value::Object(map.iter().map(value).collect())
}

/// An entity with `[secret]` in place of each of its secrets, those of its `config` too.
pub fn without_secrets(record: &Record, entity: &Map<String, Value>) -> Map<String, Value> {
    let value = |(name, value): (&String, &Value)| {
        let field = record.field(name);
        let value = match (field, value) {
            (_, Value::Null) => Value::Null,
            (Some(field), _) if is_shown(field) => hidden_within(&field.kind, value),
            (None, _) if ["ttl"].contains(&name.as_str()) => value.clone(),
            _ => Value::from("[secret]"),
        };
        (name.clone(), value)
    };
    entity.iter().map(value).collect()
}

fn hidden_within(kind: &Kind, value: &Value) -> Value {
    match (kind, value) {
        (Kind::Record(record), Value::Object(map)) => Value::Object(without_secrets(record, map)),
        (Kind::Array(field) | Kind::Set(field), Value::Array(items)) => match is_shown(field) {
            true => items.iter().map(|item| hidden_within(&field.kind, item)).collect(),
            false => Value::from("[secret]"),
        },
        (Kind::Map(_, field), Value::Object(map)) if !is_shown(field) => {
            map.keys().map(|key| (key.clone(), Value::from("[secret]"))).collect::<Map<_, _>>().into()
        }
        // Of a plugin that this build does not have, nobody knows which fields are secrets.
        (Kind::Abstract, Value::Object(_)) => Value::from("[secret]"),
        _ => value.clone(),
    }
}

/// Whether a field can hold no secret: neither by its mark, nor as a credential's own value.
fn is_shown(field: &Field) -> bool {
    const CREDENTIALS: &[&str] = &["key", "secret", "access_token", "refresh_token", "password"];
    !field.has(&Rule::Encrypted) && !field.has(&Rule::Referenceable) && !CREDENTIALS.contains(&field.name)
}
