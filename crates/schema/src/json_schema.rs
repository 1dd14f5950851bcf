//! Renders a record as JSON Schema (draft 2020-12), as OpenAPI 3.1 takes it: what tools can hold a document against before
//! they send it. What only the gate can judge (formats of its own, rules that span fields) it does not say.

use crate::{Field, Kind, Record, Rule};
use serde_json::{Map, Value, json};

impl Record {
    /// What is shown: every field is there.
    pub fn to_json_schema(&self) -> Value {
        json!({ "type": "object", "description": self.doc, "properties": self.json_properties() })
    }

    /// What is sent: fields without which it is refused are named.
    pub fn to_json_schema_of_input(&self) -> Value {
        let must = |field: &&Field| field.required && field.default.is_none() && !field.has(&Rule::Auto);
        // A shorthand may stand for a field that must be there.
        let required: Vec<&str> = match self.shorthand {
            Some(_) => Vec::new(),
            None => self.fields.iter().filter(must).map(|field| field.name).collect(),
        };
        let mut schema = self.to_json_schema();
        schema["required"] = json!(required);
        schema
    }

    fn json_properties(&self) -> Map<String, Value> {
        self.fields.iter().map(|field| (field.name.to_owned(), field.to_json_schema())).collect()
    }
}

impl Field {
    fn to_json_schema(&self) -> Value {
        let mut schema = self.kind.to_json_schema();
        self.rules.iter().for_each(|rule| rule.to_json_schema(&mut schema));
        if !self.doc.is_empty() {
            schema["description"] = json!(self.doc);
        }
        if let Some(default) = &self.default {
            schema["default"] = default.clone();
        }
        if !self.required || self.has(&Rule::Auto) {
            let kind = schema["type"].take();
            schema["type"] = json!([kind, "null"]);
            if let Some(Value::Array(words)) = schema.get_mut("enum") {
                words.push(Value::Null);
            }
        }
        schema
    }

    /// Of a list, set or map: never null.
    fn json_element(&self) -> Value {
        Field { required: true, doc: "", default: None, ..self.clone() }.to_json_schema()
    }
}

impl Kind {
    fn to_json_schema(&self) -> Value {
        match self {
            Kind::Boolean => json!({ "type": "boolean" }),
            Kind::Integer(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
            Kind::Number => json!({ "type": "number" }),
            Kind::Text => json!({ "type": "string" }),
            Kind::OneOf(words) => json!({ "type": "string", "enum": words }),
            Kind::Array(element) => json!({ "type": "array", "items": element.json_element() }),
            Kind::Set(element) => json!({ "type": "array", "uniqueItems": true, "items": element.json_element() }),
            Kind::Map(_, element) => json!({ "type": "object", "additionalProperties": element.json_element() }),
            Kind::Record(record) => record.to_json_schema(),
            Kind::Abstract => json!({ "type": "object" }),
            Kind::Foreign(entity) => json!({
                "type": "object",
                "description": format!("one of {entity}"),
                "properties": { "id": { "type": "string", "format": "uuid" } },
            }),
        }
    }
}

impl Rule {
    fn to_json_schema(&self, schema: &mut Value) {
        match self {
            Rule::Between(low, high) => {
                schema["minimum"] = json!(low);
                schema["maximum"] = json!(high);
            }
            Rule::GreaterThan(bound) => schema["exclusiveMinimum"] = json!(bound),
            Rule::LenMin(length) => {
                let name = if schema["type"] == "array" { "minItems" } else { "minLength" };
                schema[name] = json!(length);
            }
            Rule::StartsWith("/") => schema["pattern"] = json!("^/"),
            Rule::Numbers(allowed) => schema["enum"] = json!(allowed),
            Rule::Uuid => schema["format"] = json!("uuid"),
            Rule::Encrypted => schema["format"] = json!("password"),
            _ => {}
        }
    }
}
