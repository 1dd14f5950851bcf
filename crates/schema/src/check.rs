//! Rules that span fields of one record.

use crate::{Condition, Violations};
use serde_json::{Map, Value, json};

/// A rule over several fields of a record.
#[derive(Clone, Copy)]
pub enum Check {
    AtLeastOneOf(&'static [&'static str]),
    OnlyOneOf(&'static [&'static str]),
    MutuallyExclusive(&'static [&'static str]),
    MutuallyRequired(&'static [&'static str]),
    Distinct(&'static [&'static str]),
    /// If one field is so, another must be so.
    When {
        field: &'static str,
        is: Condition,
        then: &'static str,
        must: Condition,
        error: Option<&'static str>,
    },
    /// The check need not hold where one of these fields of ours is set. Stated as Kong does, without them.
    Unless(&'static [&'static str], &'static Check),
    /// A check that Kong states within the record, and not of the plugin as a whole.
    Within(&'static Check),
    Custom(&'static Custom),
}

/// A check that is code; Kong states only which fields it looks at.
#[derive(Debug)]
pub struct Custom {
    /// The `field_sources` of Kong's schema document; empty for a check that Kong does not have.
    pub fields: &'static [&'static str],
    /// Runs although fields in `fields` are absent (then part of the statement).
    pub run_with_missing_fields: bool,
    pub check: fn(&Map<String, Value>, &mut Found),
}

/// Collects what a [`Custom`] check finds.
pub struct Found<'a>(pub(crate) &'a mut Violations);

impl Found<'_> {
    pub fn entity(&mut self, text: impl Into<String>) {
        self.0.add_entity(text);
    }

    pub fn field(&mut self, name: &str, text: impl Into<Value>) {
        self.0.add(name, text);
    }
}

impl Check {
    pub(crate) fn run(&self, prefix: &str, record: &Map<String, Value>, found: &mut Violations) {
        // A field that is already wrong would only be blamed twice.
        if self.fields().iter().any(|field| found.contains(field)) {
            return;
        }
        let set = |name: &&&str| at(record, name).is_some_and(is_set);
        let named =
            |names: &[&str]| names.iter().map(|name| format!("'{prefix}{name}'")).collect::<Vec<_>>().join(", ");
        match self {
            Check::AtLeastOneOf(names) if names.iter().filter(set).count() == 0 => {
                found.add_entity(format!("at least one of these fields must be non-empty: {}", named(names)));
            }
            Check::OnlyOneOf(names) if names.iter().filter(set).count() != 1 => {
                found.add_entity(format!("exactly one of these fields must be non-empty: {}", named(names)));
            }
            Check::MutuallyExclusive(names) if names.iter().filter(set).count() > 1 => {
                found.add_entity(format!("only one or none of these fields must be set: {}", named(names)));
            }
            Check::MutuallyRequired(names) if ![0, names.len()].contains(&names.iter().filter(set).count()) => {
                found.add_entity(format!("all or none of these fields must be set: {}", named(names)));
            }
            Check::Distinct(names) => {
                let values: Vec<&Value> = names.iter().filter_map(|name| record.get(*name)).collect();
                let repeated = |(index, value): (usize, &&Value)| is_set(value) && values[..index].contains(value);
                if values.iter().enumerate().any(repeated) {
                    found.add_entity(format!("values of these fields must be distinct: {}", named(names)));
                }
            }
            Check::When { field, is, then, must, error } => {
                let value = |name: &str| at(record, name).unwrap_or(&Value::Null);
                if is.check(value(field)).is_ok()
                    && let Err(text) = must.check(value(then))
                {
                    match then.split_once('.') {
                        None => found.add(then, text),
                        Some((outer, inner)) => found.add(outer, json!({ inner: text })),
                    }
                    found.add_entity(error.map_or_else(
                        || format!("failed conditional validation given value of field '{prefix}{field}'"),
                        str::to_owned,
                    ));
                }
            }
            Check::Unless(names, check) if names.iter().filter(set).count() == 0 => check.run(prefix, record, found),
            Check::Within(check) => check.run("", record, found),
            Check::Custom(custom) => (custom.check)(record, &mut Found(found)),
            _ => {}
        }
    }

    /// The fields whose own violations make this check pointless.
    fn fields(&self) -> Vec<&'static str> {
        match self {
            Check::AtLeastOneOf(names)
            | Check::OnlyOneOf(names)
            | Check::MutuallyExclusive(names)
            | Check::MutuallyRequired(names)
            | Check::Distinct(names) => names.to_vec(),
            // Several conditions on one field each report, as Kong's do.
            Check::When { field, .. } => vec![field],
            Check::Unless(_, check) | Check::Within(check) => check.fields(),
            Check::Custom(custom) if custom.run_with_missing_fields => Vec::new(),
            Check::Custom(custom) => custom.fields.to_vec(),
        }
    }

    /// Whether Kong's schema document knows the check.
    pub(crate) fn is_stated(&self) -> bool {
        !matches!(self, Check::Custom(custom) if custom.fields.is_empty())
    }

    pub(crate) fn to_kong(self, prefix: &str) -> Value {
        let named = |names: &[&str]| names.iter().map(|name| format!("{prefix}{name}")).collect::<Vec<_>>();
        match self {
            Check::AtLeastOneOf(names) => json!({ "at_least_one_of": named(names) }),
            Check::OnlyOneOf(names) => json!({ "only_one_of": named(names) }),
            Check::MutuallyExclusive(names) => json!({ "mutually_exclusive": named(names) }),
            Check::MutuallyRequired(names) => json!({ "mutually_required": named(names) }),
            Check::Distinct(names) => json!({ "distinct": named(names) }),
            Check::When { field, is, then, must, error } => {
                let mut conditional = json!({
                    "if_field": format!("{prefix}{field}"),
                    "if_match": is.to_kong(),
                    "then_field": format!("{prefix}{then}"),
                    "then_match": must.to_kong(),
                });
                if let Some(error) = error {
                    conditional["then_err"] = json!(error);
                }
                json!({ "conditional": conditional })
            }
            Check::Unless(_, check) => check.to_kong(prefix),
            Check::Within(check) => check.to_kong(""),
            Check::Custom(custom) => {
                let mut stated = json!({ "field_sources": named(custom.fields) });
                if custom.run_with_missing_fields {
                    stated["run_with_missing_fields"] = json!(true);
                }
                json!({ "custom_entity_check": stated })
            }
        }
    }
}

/// The value of a field, or of a field within a record: `redis.host`.
fn at<'a>(record: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    match (record.get(first)?, rest) {
        (value, None) => Some(value),
        (Value::Object(inner), Some(rest)) => at(inner, rest),
        _ => None,
    }
}

fn is_set(value: &Value) -> bool {
    !value.is_null() && value != ""
}
