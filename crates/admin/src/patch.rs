//! Changes to a stored entity.

use schema::{Kind, Map, Record, Value};

/// Puts what was given over what is stored: records merge, all else is replaced, `null` clears.
pub(crate) fn merge(record: &Record, stored: &mut Map<String, Value>, given: Map<String, Value>) {
    for (name, value) in given {
        match (record.field(&name).map(|field| &field.kind), stored.get_mut(&name), value) {
            (Some(Kind::Record(record)), Some(Value::Object(stored)), Value::Object(given)) => {
                merge(record, stored, given);
            }
            (_, _, value) => {
                stored.insert(name, value);
            }
        }
    }
}
