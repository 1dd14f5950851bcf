//! Renders a record as a reference page in Markdown.

use crate::{Field, Kind, Record, Rule};
use std::fmt::Write;

impl Record {
    /// A table of every option: name, type, default, rules, purpose.
    pub fn to_markdown(&self) -> String {
        let mut page = String::from("| option | type | default | what it does |\n|---|---|---|---|\n");
        self.rows(self.prefix, &mut page);
        page
    }

    fn rows(&self, prefix: &str, page: &mut String) {
        for field in &self.fields {
            let default = match &field.default {
                Some(value) if !matches!(field.kind, Kind::Record(_)) => format!("`{value}`"),
                _ if field.required && !field.has(&Rule::Auto) && !matches!(field.kind, Kind::Record(_)) => {
                    "required".to_owned()
                }
                _ => String::new(),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                page,
                "| `{prefix}{}` | {} | {default} | {}{} |",
                field.name,
                field.kind.in_words(),
                field.doc,
                field.rules_in_words(),
            );
            if let Kind::Record(record) = &field.kind {
                record.rows(&format!("{prefix}{}.", field.name), page);
            }
        }
    }
}

impl Field {
    fn rules_in_words(&self) -> String {
        let words = self.rules.iter().filter_map(|rule| match rule {
            Rule::Between(low, high) => Some(format!("From {low} to {high}.")),
            Rule::GreaterThan(bound) => Some(format!("Greater than {bound}.")),
            Rule::LenMin(0) => Some("May be empty.".to_owned()),
            Rule::LenMin(length) => Some(format!("At least {length} long.")),
            Rule::StartsWith(prefix) => Some(format!("Starts with `{prefix}`.")),
            Rule::Numbers(allowed) => Some(format!("One of {allowed:?}.")),
            Rule::Unique => Some("Unique.".to_owned()),
            Rule::Referenceable => Some("May be a `{vault://...}` reference.".to_owned()),
            Rule::Encrypted => Some("A secret.".to_owned()),
            _ => None,
        });
        words.fold(String::new(), |text, word| text + " " + &word)
    }
}

impl Kind {
    fn in_words(&self) -> String {
        match self {
            Kind::Boolean => "boolean".to_owned(),
            Kind::Integer(..) => "integer".to_owned(),
            Kind::Number => "number".to_owned(),
            Kind::Text => "string".to_owned(),
            Kind::OneOf(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
            Kind::Array(element) => format!("list of {}", element.kind.in_words()),
            Kind::Set(element) => format!("set of {}", element.kind.in_words()),
            Kind::Map(_, element) => format!("map to {}", element.kind.in_words()),
            Kind::Record(_) | Kind::Abstract => "record".to_owned(),
            Kind::Foreign(entity) => format!("reference to {entity}"),
        }
    }
}
