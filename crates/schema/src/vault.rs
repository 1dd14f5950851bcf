//! References to secrets, `{vault://env/NAME}`, in the fields that may hold them.

use crate::{Field, Kind, Record, Rule, Violations};
use serde_json::Value;

/// Why a reference could not be resolved; the text names the reference, never a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Unresolved(pub String);

pub(crate) fn is_reference(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("{vault://") && text.ends_with('}'))
}

/// A reference with a slip: taken literally it would be a secret that everybody can read.
pub(crate) fn is_nearly_reference(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains("{vault://")) && !is_reference(value)
}

impl Record {
    /// Replaces every reference in a referenceable field by what `resolve` gives for it.
    ///
    /// Kong goes on with an empty text where a secret is missing; here that is a violation, since an
    /// empty secret opens a door.
    pub fn resolve(
        &self,
        value: &mut Value,
        resolve: &dyn Fn(&str) -> Result<String, Unresolved>,
    ) -> Result<(), Violations> {
        let mut found = Violations::default();
        for field in &self.fields {
            let dependent = value.as_object().and_then(|given| self.dependent(field.name, given));
            let Some(value) = value.get_mut(field.name) else { continue };
            let resolved = match dependent {
                Some(record) => record.resolve(value, resolve).map_err(|found| found.to_json()),
                None => field.resolve(value, resolve),
            };
            if let Err(violation) = resolved {
                found.add(field.name, violation);
            }
        }
        found.into_result()
    }
}

impl Field {
    fn resolve(&self, value: &mut Value, resolve: &dyn Fn(&str) -> Result<String, Unresolved>) -> Result<(), Value> {
        match (&self.kind, value) {
            (Kind::Record(record), value) if value.is_object() => {
                record.resolve(value, resolve).map_err(|found| found.to_json())
            }
            (Kind::Array(element) | Kind::Set(element), Value::Array(items)) => {
                items.iter_mut().try_for_each(|item| element.resolve(item, resolve))
            }
            (Kind::Map(_, element), Value::Object(map)) => {
                map.values_mut().try_for_each(|item| element.resolve(item, resolve))
            }
            (_, value) if self.has(&Rule::Referenceable) && is_reference(value) => {
                let resolved = resolve(value.as_str().unwrap_or_default()).map_err(|error| Value::from(error.0))?;
                *value = Value::from(resolved);
                self.rules.iter().try_for_each(|rule| rule.check(value)).map_err(Value::from)
            }
            _ => Ok(()),
        }
    }
}
