//! What is wrong with an input, in the nested shape and with the texts of Kong's Admin API.

use serde_json::{Map, Value, json};

/// Violations by field: a text, an array (by position, `null` where all is well), or a nested object.
///
/// Rules that span fields stand as an array under `@entity`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Violations(Map<String, Value>);

impl Violations {
    /// One violation that belongs to no single field.
    pub fn entity(text: impl Into<String>) -> Violations {
        let mut violations = Violations::default();
        violations.add_entity(text);
        violations
    }

    /// One violation of one field.
    pub fn field(name: &str, violation: impl Into<Value>) -> Violations {
        let mut violations = Violations::default();
        violations.add(name, violation);
        violations
    }

    /// Adds a violation; a field keeps its first one, except that objects merge.
    pub fn add(&mut self, name: &str, violation: impl Into<Value>) {
        let violation = violation.into();
        match (self.0.get_mut(name), violation) {
            (Some(Value::Object(held)), Value::Object(more)) => {
                for (key, value) in more {
                    held.entry(key).or_insert(value);
                }
            }
            (Some(_), _) => {}
            (None, violation) => {
                self.0.insert(name.to_owned(), violation);
            }
        }
    }

    pub fn add_entity(&mut self, text: impl Into<String>) {
        if let Value::Array(texts) = self.0.entry("@entity").or_insert_with(|| json!([])) {
            texts.push(Value::String(text.into()));
        }
    }

    /// Puts these violations under a field: a plugin's own stand under `config`.
    pub fn under(self, name: &str) -> Violations {
        Violations::field(name, Value::Object(self.0))
    }

    /// Raises rules over several fields of a nested record to this level: those of a plugin's `config`
    /// belong to the plugin as a whole.
    pub fn raised(mut self, name: &str) -> Violations {
        let Some(Value::Object(nested)) = self.0.get_mut(name) else { return self };
        let texts = nested.remove("@entity");
        if nested.is_empty() {
            self.0.remove(name);
        }
        for text in texts.iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str) {
            self.add_entity(text);
        }
        self
    }

    /// Other texts for the rules that span fields.
    pub fn map_entity(mut self, text: impl Fn(&str) -> String) -> Violations {
        if let Some(Value::Array(texts)) = self.0.get_mut("@entity") {
            texts.iter_mut().for_each(|own| *own = json!(text(own.as_str().unwrap_or_default())));
        }
        self
    }

    pub fn merge(&mut self, other: Violations) {
        for (name, violation) in other.0 {
            match violation {
                Value::Array(texts) if name == "@entity" => {
                    texts.iter().filter_map(Value::as_str).for_each(|text| self.add_entity(text));
                }
                violation => self.add(&name, violation),
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// `Ok` when nothing is wrong.
    pub fn into_result(self) -> Result<(), Violations> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// The `fields` member of an Admin API error.
    pub fn to_json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// Each violation as path and text. Paths count from 1, as Kong's do; `@entity` has the empty path.
    pub fn flat(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        flatten("", &Value::Object(self.0.clone()), &mut found);
        found
    }

    /// The `message` member of an Admin API error: `schema violation (host: required field missing)`.
    pub fn message(&self) -> String {
        let texts: Vec<String> = self
            .flat()
            .into_iter()
            .map(|(path, text)| if path.is_empty() { text } else { format!("{path}: {text}") })
            .collect();
        match texts.as_slice() {
            [one] => format!("schema violation ({one})"),
            many => format!("{} schema violations ({})", many.len(), many.join("; ")),
        }
    }
}

fn flatten(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        Value::Object(map) => {
            for (name, value) in map {
                match (name.as_str(), value) {
                    ("@entity", Value::Array(texts)) => {
                        texts.iter().for_each(|text| flatten(path, text, found));
                    }
                    _ => flatten(&below(name), value, found),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&below(&(index + 1).to_string()), item, found);
            }
        }
        _ => {}
    }
}
