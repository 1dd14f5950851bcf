//! Renders a record as a reference page in Markdown.

use crate::{Check, Condition, Field, Kind, PluginSchema, Record, Rule};
use std::fmt::Write;

impl PluginSchema {
    /// The plugin's reference page.
    pub fn to_markdown(&self) -> String {
        let scopes = match self.on_consumer {
            true => "a route, a service, a consumer, any of these together, or everywhere",
            false => "a route, a service, both, or everywhere",
        };
        let mut page = format!(
            "# {}\n\n{}\n\nMay be put on {scopes}. Priority {}: higher runs earlier.\n\n{}",
            self.name,
            self.config.doc,
            self.priority,
            self.config.to_markdown(),
        );
        let checks = self.config.checks_in_words();
        if !checks.is_empty() {
            page += &format!("\n{checks}");
        }
        page
    }
}

impl Record {
    /// A table of every option: name, type, default, rules, purpose.
    pub fn to_markdown(&self) -> String {
        let mut page = String::from("| option | type | default | what it does |\n|---|---|---|---|\n");
        self.rows(self.prefix, &mut page);
        page
    }

    /// The rules that span options, a line each.
    pub fn checks_in_words(&self) -> String {
        let words = self.checks.iter().filter_map(|check| check.in_words());
        words.fold(String::new(), |page, words| format!("{page}- {words}\n"))
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
            let name = format!("{prefix}{}", field.name);
            match &field.kind {
                Kind::Record(record) => record.rows(&format!("{name}."), page),
                Kind::Array(element) | Kind::Set(element) => {
                    if let Kind::Record(record) = &element.kind {
                        record.rows(&format!("{name}[]."), page);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Check {
    fn in_words(&self) -> Option<String> {
        let listed = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match self {
            Check::AtLeastOneOf(names) => Some(format!("At least one of {} is set.", listed(names))),
            Check::OnlyOneOf(names) => Some(format!("Exactly one of {} is set.", listed(names))),
            Check::MutuallyExclusive(names) => Some(format!("At most one of {} is set.", listed(names))),
            Check::MutuallyRequired(names) => Some(format!("Either all of {} are set, or none.", listed(names))),
            Check::Distinct(names) => Some(format!("{} differ.", listed(names))),
            Check::When { field, is, then, must, .. } => Some(format!(
                "Where `{field}` {}, `{then}` must {}.",
                is.in_words("is", "is not"),
                must.in_words("be", "not be")
            )),
            Check::Unless(names, check) => {
                Some(format!("Unless one of {} is set: {}", listed(names), check.in_words()?))
            }
            Check::Within(check) => check.in_words(),
            Check::Custom(_) => None,
        }
    }
}

impl Condition {
    fn in_words(&self, be: &str, not_be: &str) -> String {
        let any = |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
        match self {
            Condition::OneOf(words) | Condition::IsAny(words) => format!("{be} {}", any(words)),
            Condition::NotOneOf(words) => format!("{not_be} {}", any(words)),
            Condition::NoElementOneOf(words) => format!("{not_be} among {}", any(words)),
            Condition::Is(word) | Condition::Equals(word) => format!("{be} `{word}`"),
            Condition::True => format!("{be} `true`"),
            Condition::False => format!("{be} `false`"),
            Condition::Null => format!("{be} unset"),
            Condition::Required => format!("{be} set"),
            Condition::Empty => format!("{be} empty"),
            Condition::GreaterThan(bound) => format!("{be} greater than {bound}"),
            Condition::Contains(word) => format!("{be} a list with `{word}`"),
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
