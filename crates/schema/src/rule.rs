//! Rules for one field.

use serde_json::Value;

/// A rule that one value must keep, or a mark that says how it is treated.
#[derive(Clone, Debug)]
pub enum Rule {
    Between(i64, i64),
    GreaterThan(i64),
    LenMin(usize),
    StartsWith(&'static str),
    Pattern(&'static Pattern),
    /// A check without a counterpart in Kong's schema document.
    Format(fn(&str) -> Result<(), String>),
    /// A closed set of numbers.
    Numbers(&'static [i64]),
    NotOneOf(&'static [&'static str]),
    /// Members of the set must lie within one of these sets.
    ExclusiveSets(&'static [&'static [&'static str]]),
    Uuid,
    Null,
    Unique,
    UniqueAcrossWorkspaces,
    /// The gate fills the value in when it is absent.
    Auto,
    Timestamp,
    /// Written with the entity but kept elsewhere: a certificate's `snis`.
    Transient,
    /// The value may be a reference to a secret: `{vault://...}`.
    Referenceable,
    /// The value is a secret: encrypted at rest, never logged.
    Encrypted,
    /// Stated as required although elements are never null anyway (Kong's `tags`).
    NotNull,
    /// Deleting the referenced entity deletes this one.
    Cascade,
    /// Kong has no such field.
    Ours,
}

/// A text pattern: how Kong's schema document states it, and the check itself.
#[derive(Debug)]
pub struct Pattern {
    /// The keyword in the document: `match`, `match_all`, `match_any` or `match_none`.
    pub keyword: &'static str,
    /// The keyword's value, as JSON text.
    pub stated: &'static str,
    pub check: fn(&str) -> Result<(), String>,
}

impl PartialEq for Rule {
    /// Marks are equal to themselves; this is how a field is asked whether it is, say, `Unique`.
    fn eq(&self, other: &Rule) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Rule {
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        match self {
            Rule::Between(low, high) => match value.as_f64() {
                Some(n) if n < *low as f64 || n > *high as f64 => {
                    Err(format!("value should be between {low} and {high}"))
                }
                _ => Ok(()),
            },
            Rule::GreaterThan(bound) => match value.as_f64() {
                Some(n) if n <= *bound as f64 => Err(format!("value must be greater than {bound}")),
                _ => Ok(()),
            },
            Rule::LenMin(least) => match length(value) {
                Some(length) if length < *least => Err(format!("length must be at least {least}")),
                _ => Ok(()),
            },
            Rule::StartsWith(prefix) => match value.as_str() {
                Some(text) if !text.starts_with(prefix) => Err(format!("should start with: {prefix}")),
                _ => Ok(()),
            },
            Rule::Pattern(pattern) => value.as_str().map_or(Ok(()), pattern.check),
            Rule::Format(check) => value.as_str().map_or(Ok(()), check),
            Rule::Numbers(allowed) => match value.as_i64() {
                Some(n) if !allowed.contains(&n) => {
                    let allowed: Vec<String> = allowed.iter().map(i64::to_string).collect();
                    Err(format!("expected one of: {}", allowed.join(", ")))
                }
                _ => Ok(()),
            },
            Rule::NotOneOf(words) => match value.as_str() {
                Some(word) if words.contains(&word) => Err(format!("must not be one of: {}", words.join(", "))),
                _ => Ok(()),
            },
            Rule::ExclusiveSets(sets) => exclusive(sets, value),
            Rule::Uuid => match value.as_str() {
                Some(text) if !is_uuid(text) => Err("expected a valid UUID".to_owned()),
                _ => Ok(()),
            },
            Rule::Null => match value.is_null() {
                true => Ok(()),
                false => Err("value must be null".to_owned()),
            },
            Rule::Unique
            | Rule::UniqueAcrossWorkspaces
            | Rule::Auto
            | Rule::Timestamp
            | Rule::Transient
            | Rule::Referenceable
            | Rule::Encrypted
            | Rule::NotNull
            | Rule::Cascade
            | Rule::Ours => Ok(()),
        }
    }
}

/// Kong's own test of a UUID: the hyphenated form and nothing else.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::String(text) => Some(text.len()),
        Value::Array(items) => Some(items.len()),
        Value::Object(map) => Some(map.len()),
        _ => None,
    }
}

fn exclusive(sets: &[&[&str]], value: &Value) -> Result<(), String> {
    let given: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let touched: Vec<&&[&str]> = sets.iter().filter(|set| set.iter().any(|word| given.contains(word))).collect();
    if touched.len() < 2 {
        return Ok(());
    }
    let named: Vec<String> = touched
        .iter()
        .map(|set| format!("({})", set.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ")))
        .collect();
    Err(format!("these sets are mutually exclusive: {}", named.join(", ")))
}
