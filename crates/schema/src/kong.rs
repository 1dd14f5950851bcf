//! Renders a record as the JSON that `GET /schemas/...` answers with.

use crate::{Field, Kind, Record, Rule};
use serde_json::{Map, Value, json};

impl Record {
    /// The whole document: fields in order, and the checks that span them.
    pub fn to_kong(&self) -> Value {
        json!({ "entity_checks": self.kong_checks(), "fields": self.kong_fields() })
    }

    pub(crate) fn kong_fields(&self) -> Vec<Value> {
        self.fields.iter().map(|field| json!({ (field.name): field.to_kong() })).collect()
    }

    /// The options that have moved, which `plugin` still takes under their old names.
    pub(crate) fn kong_moved(&self, plugin: &str) -> Vec<Value> {
        let stated = self.moved.iter().filter_map(|moved| {
            let (now, (record, name)) = (moved.field(self)?, moved.to);
            let mut out = now.kind.to_kong();
            now.rules.iter().filter(|rule| matches!(rule, Rule::LenMin(_))).for_each(|rule| rule.to_kong(&mut out));
            let message =
                format!("{plugin}: config.{} is deprecated, please use config.{record}.{name} instead", moved.name);
            let replaced = json!([{ "path": [record, name] }]);
            let deprecation = json!({ "message": message, "removal_in_version": "4.0", "replaced_with": replaced });
            out.insert("deprecation".into(), deprecation);
            Some(json!({ (moved.name): out }))
        });
        stated.collect()
    }

    pub(crate) fn kong_checks(&self) -> Vec<Value> {
        self.checks.iter().filter(|check| check.is_stated()).map(|check| check.to_kong(self.prefix)).collect()
    }
}

impl Field {
    pub(crate) fn to_kong(&self) -> Value {
        let mut out = self.kind.to_kong();
        if !self.doc.is_empty() {
            out.insert("description".into(), json!(self.doc));
        }
        if self.required && !self.has(&Rule::Auto) {
            out.insert("required".into(), json!(true));
        }
        if let Some(default) = &self.default {
            out.insert("default".into(), default.clone());
        }
        self.rules.iter().for_each(|rule| rule.to_kong(&mut out));
        Value::Object(out)
    }
}

impl Kind {
    fn to_kong(&self) -> Map<String, Value> {
        let stated = match self {
            Kind::Boolean => json!({ "type": "boolean" }),
            Kind::Integer(..) => json!({ "type": "integer" }),
            Kind::Number => json!({ "type": "number" }),
            Kind::Text => json!({ "type": "string" }),
            Kind::OneOf(words) => json!({ "type": "string", "one_of": words }),
            Kind::Array(element) => json!({ "type": "array", "elements": element.element() }),
            Kind::Set(element) => json!({ "type": "set", "elements": element.element() }),
            Kind::Map(key, element) => {
                json!({ "type": "map", "keys": key.element(), "values": element.element() })
            }
            Kind::Record(record) => {
                let mut stated = json!({ "type": "record", "fields": record.kong_fields() });
                if !record.checks.is_empty() {
                    stated["entity_checks"] = Value::Array(record.kong_checks());
                }
                stated
            }
            Kind::Abstract => json!({ "type": "record", "abstract": true }),
            Kind::Foreign(entity) => json!({ "type": "foreign", "reference": entity }),
        };
        match stated {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }
}

impl Field {
    /// Elements are never null; Kong says so only where a schema spells it out (`Rule::NotNull`).
    fn element(&self) -> Value {
        Field { required: false, ..self.clone() }.to_kong()
    }
}

impl Rule {
    fn to_kong(&self, out: &mut Map<String, Value>) {
        let (key, value) = match self {
            Rule::Between(low, high) => ("between", json!([low, high])),
            Rule::GreaterThan(bound) => ("gt", json!(bound)),
            Rule::LenMin(length) => ("len_min", json!(length)),
            Rule::StartsWith(prefix) => ("starts_with", json!(prefix)),
            Rule::Pattern(pattern) => (pattern.keyword, serde_json::from_str(pattern.stated).unwrap_or(Value::Null)),
            Rule::Format(_) | Rule::Ours => return,
            Rule::Numbers(allowed) => ("one_of", json!(allowed)),
            Rule::NotOneOf(words) => ("not_one_of", json!(words)),
            Rule::ExclusiveSets(sets) => ("mutually_exclusive_subsets", json!(sets)),
            Rule::Uuid => ("uuid", json!(true)),
            Rule::Null => ("eq", Value::Null),
            Rule::Unique => ("unique", json!(true)),
            Rule::UniqueAcrossWorkspaces => ("unique_across_ws", json!(true)),
            Rule::Auto => ("auto", json!(true)),
            Rule::Timestamp => ("timestamp", json!(true)),
            Rule::Transient => ("transient", json!(true)),
            Rule::Referenceable => ("referenceable", json!(true)),
            Rule::Encrypted => ("encrypted", json!(true)),
            Rule::NotNull => ("required", json!(true)),
            Rule::Cascade => ("on_delete", json!("cascade")),
        };
        out.insert(key.to_owned(), value);
    }
}
