//! Reads input against a record: fills defaults, applies rules, collects every violation.

use crate::{Field, Kind, Record, Rule, Violations, rule};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

impl Record {
    /// Completes `input` in place; on error nothing may be taken from it.
    pub fn read(&self, input: &mut Value) -> Result<(), Violations> {
        match input {
            Value::Object(map) => self.read_map(map),
            _ => Err(Violations::entity("expected a record")),
        }
    }

    fn read_map(&self, input: &mut Map<String, Value>) -> Result<(), Violations> {
        let mut found = Violations::default();
        if let Some(shorthand) = self.shorthand
            && let Err(violations) = shorthand(input)
        {
            found.merge(violations);
        }
        self.read_moved(input, &mut found);
        for name in input.keys().filter(|name| self.field(name).is_none()) {
            found.add(name, "unknown field");
        }
        for field in &self.fields {
            let dependent = self.dependent(field.name, input);
            let value = input.entry(field.name).or_insert_with(|| field.default.clone().unwrap_or(Value::Null));
            let read = match dependent {
                Some(record) => {
                    if value.is_null() {
                        *value = json!({});
                    }
                    record.read(value).map_err(|found| found.to_json())
                }
                None => field.read(value),
            };
            if let Err(violation) = read {
                found.add(field.name, violation);
            }
        }
        for check in &self.checks {
            check.run(self.prefix, input, &mut found);
        }
        found.into_result()
    }
}

impl Record {
    /// Puts what is given under an old name where it belongs now.
    fn read_moved(&self, input: &mut Map<String, Value>, found: &mut Violations) {
        for moved in self.moved {
            let Some(value) = input.remove(moved.name).filter(|value| !value.is_null()) else { continue };
            let (record, name) = moved.to;
            let default = moved.field(self).and_then(|field| field.default.as_ref());
            let Value::Object(target) = input.entry(record).or_insert_with(|| json!({})) else { continue };
            match target.get(name) {
                Some(given) if *given != value && !given.is_null() && Some(given) != default => {
                    found.add(moved.name, format!("this is the old name of {record}.{name}, which says otherwise"));
                }
                _ => drop(target.insert(name.to_owned(), value)),
            }
        }
    }
}

impl Field {
    pub(crate) fn read(&self, value: &mut Value) -> Result<(), Value> {
        if value.is_null() {
            match (&self.kind, self.required && !self.has(&Rule::Auto)) {
                // A record fills itself in from its own defaults, even when it was not given.
                (Kind::Record(_), true) => *value = json!({}),
                (_, true) => return Err(json!("required field missing")),
                (_, false) => return Ok(()),
            }
        }
        if crate::vault::is_nearly_reference(value) {
            return Err(json!("this is no reference to a vault; write {vault://env/NAME} and nothing around it"));
        }
        if crate::vault::is_reference(value) {
            // Taken literally, the reference itself would be the secret, and everybody could read it.
            return match self.has(&Rule::Referenceable) {
                true => Ok(()),
                false => Err(json!("references to vaults are not read in this field")),
            };
        }
        if let Kind::Integer(..) = self.kind
            && value.is_number()
        {
            // The rule's range is the one that the documents state; the type's own is wider or equal.
            self.rules.iter().try_for_each(|rule| rule.check(value)).map_err(Value::from)?;
        }
        self.kind.read(value)?;
        // Kong's strings are never empty unless a schema says so.
        if matches!(self.kind, Kind::Text) && value == "" && !self.has(&Rule::LenMin(0)) {
            return Err(json!("length must be at least 1"));
        }
        self.rules.iter().try_for_each(|rule| rule.check(value)).map_err(Value::from)
    }
}

impl Kind {
    fn read(&self, value: &mut Value) -> Result<(), Value> {
        match self {
            Kind::Boolean if value.is_boolean() => Ok(()),
            Kind::Boolean => Err(json!("expected a boolean")),
            Kind::Integer(low, high) => integer(*low, *high, value),
            Kind::Number if value.is_number() => Ok(()),
            Kind::Number => Err(json!("expected a number")),
            Kind::Text => text(value).map(drop),
            Kind::OneOf(words) => match words.contains(&text(value)?) {
                true => Ok(()),
                false => Err(json!(format!("expected one of: {}", words.join(", ")))),
            },
            Kind::Array(element) => elements(element, value, "expected an array"),
            Kind::Set(element) => {
                elements(element, value, "expected a set")?;
                merge_duplicates(value);
                Ok(())
            }
            Kind::Map(key, element) => entries(key, element, value),
            Kind::Record(record) => record.read(value).map_err(|found| match value {
                Value::Object(_) => found.to_json(),
                _ => json!("expected a record"),
            }),
            Kind::Abstract if value.is_object() => Ok(()),
            Kind::Abstract => Err(json!("expected a record")),
            Kind::Foreign(_) => foreign(value),
        }
    }
}

fn integer(low: i64, high: i64, value: &mut Value) -> Result<(), Value> {
    let whole = value.as_i64().or_else(|| {
        let float = value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15)?;
        Some(float as i64)
    });
    match whole {
        Some(n) if low <= n && n <= high => {
            *value = json!(n);
            Ok(())
        }
        Some(_) => Err(json!(format!("value should be between {low} and {high}"))),
        None => Err(json!("expected an integer")),
    }
}

fn text(value: &Value) -> Result<&str, Value> {
    value.as_str().ok_or_else(|| json!("expected a string"))
}

fn elements(element: &Field, value: &mut Value, expected: &str) -> Result<(), Value> {
    // `{}` is how tools that speak Lua write an empty list.
    if value.as_object().is_some_and(Map::is_empty) {
        *value = json!([]);
    }
    let Value::Array(items) = value else { return Err(json!(expected)) };
    let found: Vec<Value> = items.iter_mut().map(|item| element.read(item).err().unwrap_or(Value::Null)).collect();
    let last = found.iter().rposition(|violation| !violation.is_null());
    match last {
        None => Ok(()),
        Some(last) => Err(Value::Array(found.into_iter().take(last + 1).collect())),
    }
}

fn merge_duplicates(value: &mut Value) {
    if let Value::Array(items) = value {
        let mut seen = HashSet::with_capacity(items.len());
        items.retain(|item| seen.insert(item.to_string()));
    }
}

fn entries(key: &Field, element: &Field, value: &mut Value) -> Result<(), Value> {
    if value.as_array().is_some_and(Vec::is_empty) {
        *value = json!({});
    }
    let Value::Object(map) = value else { return Err(json!("expected a map")) };
    for name in map.keys() {
        // Kong reports a bad key on the map as a whole.
        key.read(&mut json!(name))?;
    }
    let mut found = Map::new();
    for (name, item) in map {
        if let Err(violation) = element.read(item) {
            found.insert(name.clone(), violation);
        }
    }
    if found.is_empty() { Ok(()) } else { Err(Value::Object(found)) }
}

fn foreign(value: &Value) -> Result<(), Value> {
    match value.get("id").and_then(Value::as_str) {
        Some(id) if rule::is_uuid(id) => Ok(()),
        Some(_) => Err(json!({ "id": "expected a valid UUID" })),
        None => Err(json!({ "id": "missing primary key" })),
    }
}
