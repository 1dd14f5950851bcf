//! Conditions on one field, as the two halves of a conditional check.

use serde_json::{Value, json};

/// What a field must look like for a check to apply, or to hold.
#[derive(Clone, Copy, Debug)]
pub enum Condition {
    OneOf(&'static [&'static str]),
    NotOneOf(&'static [&'static str]),
    /// No element of the set is one of these.
    NoElementOneOf(&'static [&'static str]),
    /// Exactly this word; stated as Kong does, as an anchored pattern.
    Is(&'static str),
    /// Exactly this word; stated as such.
    Equals(&'static str),
    /// One of these words; stated as anchored patterns.
    IsAny(&'static [&'static str]),
    True,
    False,
    Null,
    Required,
    Empty,
    GreaterThan(i64),
    Contains(&'static str),
}

impl Condition {
    /// Whether the condition holds; the error is the text for the field.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        let is = |words: &[&str]| value.as_str().is_some_and(|word| words.contains(&word));
        let holds = |holds: bool, text: &dyn Fn() -> String| if holds { Ok(()) } else { Err(text()) };
        match self {
            Condition::OneOf(words) => holds(is(words), &|| format!("expected one of: {}", words.join(", "))),
            Condition::NotOneOf(words) => holds(!is(words), &|| format!("must not be one of: {}", words.join(", "))),
            Condition::NoElementOneOf(words) => {
                let items = || value.as_array().into_iter().flatten().filter_map(Value::as_str);
                holds(!items().any(|item| words.contains(&item)), &|| {
                    format!("must not be one of: {}", words.join(", "))
                })
            }
            Condition::Is(word) | Condition::Equals(word) => holds(is(&[word]), &|| format!("invalid value: {value}")),
            Condition::IsAny(words) => holds(is(words), &|| format!("invalid value: {value}")),
            Condition::True => holds(value == &json!(true), &|| "value must be true".to_owned()),
            Condition::False => holds(value == &json!(false), &|| "value must be false".to_owned()),
            Condition::Null => holds(value.is_null(), &|| "value must be null".to_owned()),
            Condition::Required => holds(!value.is_null(), &|| "required field missing".to_owned()),
            Condition::Empty => {
                let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
                holds(empty, &|| "length must be 0".to_owned())
            }
            Condition::GreaterThan(bound) => {
                let greater = value.as_f64().is_some_and(|n| n > *bound as f64);
                holds(greater, &|| format!("value must be greater than {bound}"))
            }
            Condition::Contains(word) => {
                // Kong accepts the absence of the whole list here.
                let contains =
                    value.is_null() || value.as_array().is_some_and(|items| items.iter().any(|item| item == word));
                holds(contains, &|| format!("expected to contain: {word}"))
            }
        }
    }

    pub(crate) fn to_kong(self) -> Value {
        match self {
            Condition::OneOf(words) => json!({ "one_of": words }),
            Condition::NotOneOf(words) => json!({ "not_one_of": words }),
            Condition::NoElementOneOf(words) => json!({ "elements": { "not_one_of": words, "type": "string" } }),
            Condition::Is(word) => json!({ "match": format!("^{word}$") }),
            Condition::Equals(word) => json!({ "eq": word }),
            Condition::IsAny(words) => {
                let patterns: Vec<String> = words.iter().map(|word| format!("^{word}$")).collect();
                json!({ "match_any": { "patterns": patterns } })
            }
            Condition::True => json!({ "eq": true }),
            Condition::False => json!({ "eq": false }),
            Condition::Null => json!({ "eq": null }),
            Condition::Required => json!({ "required": true }),
            Condition::Empty => json!({ "len_eq": 0 }),
            Condition::GreaterThan(bound) => json!({ "gt": bound }),
            Condition::Contains(word) => json!({ "contains": word }),
        }
    }
}
