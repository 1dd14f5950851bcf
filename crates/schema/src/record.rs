//! Records, fields and kinds: what a configuration may look like.

use crate::{Check, Pattern, Rule, Typed, Violations};
use serde_json::{Map, Value};

/// An ordered set of fields with rules that span them.
#[derive(Clone, Default)]
pub struct Record {
    /// What it is, from the doc comment of the struct.
    pub doc: &'static str,
    pub fields: Vec<Field>,
    pub checks: Vec<Check>,
    /// Rewrites shorthand input (a service's `url`) into fields before anything is checked.
    pub shorthand: Option<Shorthand>,
    /// Older names of options that now stand in a record of their own.
    pub moved: &'static [Moved],
    /// A field whose options depend on another one.
    pub depends: Option<Depends>,
    /// Put before field names in texts and documents: plugins say `config.`.
    pub prefix: &'static str,
}

/// Rewrites the input of a record in place.
pub type Shorthand = fn(&mut Map<String, Value>) -> Result<(), Violations>;

/// An option that has moved: `redis_host` became `redis.host`. The old name is still read, and shown.
#[derive(Debug)]
pub struct Moved {
    pub name: &'static str,
    /// The record that it is in now, and its name there.
    pub to: (&'static str, &'static str),
}

/// A field that holds options of whatever another field names, such as a plugin's `config`.
#[derive(Clone, Copy)]
pub struct Depends {
    pub field: &'static str,
    pub on: &'static str,
    /// The options, by the other field's value.
    pub record: fn(&str) -> Option<Record>,
}

/// One named option, or the unnamed element of a list, set or map.
#[derive(Clone)]
pub struct Field {
    pub name: &'static str,
    /// What the option is for, from the doc comment of the Rust field.
    pub doc: &'static str,
    pub kind: Kind,
    /// Whether `null` is refused.
    pub required: bool,
    pub default: Option<Value>,
    pub rules: Vec<Rule>,
}

/// The shape of a value.
#[derive(Clone)]
pub enum Kind {
    Boolean,
    /// A whole number within what its Rust type can hold.
    Integer(i64, i64),
    Number,
    Text,
    /// One of a closed set of words.
    OneOf(&'static [&'static str]),
    Array(Box<Field>),
    Set(Box<Field>),
    Map(Box<Field>, Box<Field>),
    Record(Record),
    /// A record whose fields depend on another field: a plugin's `config`.
    Abstract,
    /// A reference to an entity of the named kind.
    Foreign(&'static str),
}

impl Field {
    /// The field for a Rust type; the derive macro adds the rules.
    pub fn of<T: Typed>(name: &'static str, doc: &'static str) -> Field {
        Field { name, doc, kind: T::kind(), required: T::REQUIRED, default: None, rules: Vec::new() }
    }

    /// Used when the field is absent; a field with a default may still be given as `null` if optional.
    pub fn default(mut self, value: Value) -> Field {
        self.default = Some(value);
        self
    }

    /// The defaults of the record's own fields, as one value (Kong prints them on the record too).
    pub fn default_from_fields(mut self) -> Field {
        if let Kind::Record(record) = &self.kind {
            self.default = Some(record.defaults());
        }
        self
    }

    pub fn between(self, low: i64, high: i64) -> Field {
        self.rule(Rule::Between(low, high))
    }

    pub fn greater_than(self, bound: i64) -> Field {
        self.rule(Rule::GreaterThan(bound))
    }

    pub fn len_min(self, length: usize) -> Field {
        self.rule(Rule::LenMin(length))
    }

    pub fn starts_with(self, prefix: &'static str) -> Field {
        self.rule(Rule::StartsWith(prefix))
    }

    pub fn pattern(self, pattern: &'static Pattern) -> Field {
        self.rule(Rule::Pattern(pattern))
    }

    /// A check that Kong's schema document does not show.
    pub fn format(self, check: fn(&str) -> Result<(), String>) -> Field {
        self.rule(Rule::Format(check))
    }

    pub fn numbers(self, allowed: &'static [i64]) -> Field {
        self.rule(Rule::Numbers(allowed))
    }

    pub fn not_one_of(self, words: &'static [&'static str]) -> Field {
        self.rule(Rule::NotOneOf(words))
    }

    pub fn exclusive_sets(self, sets: &'static [&'static [&'static str]]) -> Field {
        self.rule(Rule::ExclusiveSets(sets))
    }

    pub fn uuid(self) -> Field {
        self.rule(Rule::Uuid)
    }

    pub fn unique(self) -> Field {
        self.rule(Rule::Unique)
    }

    pub fn unique_across_ws(self) -> Field {
        self.rule(Rule::UniqueAcrossWorkspaces)
    }

    pub fn auto(self) -> Field {
        self.rule(Rule::Auto)
    }

    pub fn timestamp(self) -> Field {
        self.rule(Rule::Timestamp)
    }

    pub fn transient(self) -> Field {
        self.rule(Rule::Transient)
    }

    pub fn referenceable(self) -> Field {
        self.rule(Rule::Referenceable)
    }

    pub fn encrypted(self) -> Field {
        self.rule(Rule::Encrypted)
    }

    pub fn not_null(self) -> Field {
        self.rule(Rule::NotNull)
    }

    /// Kong has no such field.
    pub fn ours(self) -> Field {
        self.rule(Rule::Ours)
    }

    pub fn cascade(self) -> Field {
        self.rule(Rule::Cascade)
    }

    /// A field that may not be set at all (a plugin's `consumer`, where Kong forbids that scope).
    pub fn must_be_null(self) -> Field {
        self.rule(Rule::Null)
    }

    /// Rules for the elements of an array or set, or for the values of a map.
    pub fn each(mut self, rules: fn(Field) -> Field) -> Field {
        if let Kind::Array(element) | Kind::Set(element) | Kind::Map(_, element) = &mut self.kind {
            **element = rules((**element).clone());
        }
        self
    }

    /// Rules for the keys of a map.
    pub fn keys(mut self, rules: fn(Field) -> Field) -> Field {
        if let Kind::Map(key, _) = &mut self.kind {
            **key = rules((**key).clone());
        }
        self
    }

    /// An optional Rust type that must be given all the same, or the other way round.
    pub fn required(mut self, required: bool) -> Field {
        self.required = required;
        self
    }

    /// What stands for it where it is not given.
    fn usual(&self) -> Option<Value> {
        match (&self.default, &self.kind) {
            (Some(default), _) => Some(default.clone()),
            (None, Kind::Record(record)) => Some(record.usual()),
            (None, _) => None,
        }
    }

    pub fn has(&self, rule: &Rule) -> bool {
        self.rules.contains(rule)
    }

    fn rule(mut self, rule: Rule) -> Field {
        self.rules.push(rule);
        self
    }
}

impl Moved {
    /// The option as it is now.
    pub(crate) fn field<'a>(&self, record: &'a Record) -> Option<&'a Field> {
        match &record.field(self.to.0)?.kind {
            Kind::Record(inner) => inner.field(self.to.1),
            _ => None,
        }
    }
}

impl Record {
    /// The options of the field with this name, where they depend on what else is given.
    pub(crate) fn dependent(&self, name: &str, given: &Map<String, Value>) -> Option<Record> {
        let depends = self.depends.filter(|depends| depends.field == name)?;
        (depends.record)(given.get(depends.on)?.as_str()?)
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Makes of a value what tools for Kong expect to see: moved options stand under their old names, too, and options
    /// that Kong does not have only where they say something.
    pub fn show(&self, shown: &mut Map<String, Value>) {
        for field in &self.fields {
            let dependent = self.dependent(field.name, shown);
            if let (Some(record), Some(Value::Object(inner))) = (dependent, shown.get_mut(field.name)) {
                record.show(inner);
                continue;
            }
            match (shown.get_mut(field.name), &field.kind) {
                (Some(Value::Array(items)), Kind::Array(element)) => {
                    if let Kind::Record(record) = &element.kind {
                        items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| record.show(item));
                    }
                }
                (Some(value), _)
                    if field.has(&Rule::Ours) && (value.is_null() || field.usual().as_ref() == Some(value)) =>
                {
                    shown.remove(field.name);
                }
                (Some(Value::Object(inner)), Kind::Record(record)) => record.show(inner),
                _ => {}
            }
        }
        for moved in self.moved {
            let value = shown.get(moved.to.0).and_then(|record| record.get(moved.to.1)).cloned();
            shown.insert(moved.name.to_owned(), value.unwrap_or(Value::Null));
        }
    }

    /// What an empty input is completed to, with what is not there.
    fn usual(&self) -> Value {
        let values = self.fields.iter().map(|field| (field.name.to_owned(), field.usual().unwrap_or(Value::Null)));
        Value::Object(values.collect())
    }

    /// What an empty input reads as.
    pub fn defaults(&self) -> Value {
        let values = self.fields.iter().filter_map(|field| {
            let value = match (&field.default, &field.kind) {
                (Some(default), _) => default.clone(),
                (None, Kind::Record(record)) if field.required => record.defaults(),
                (None, _) => return None,
            };
            Some((field.name.to_owned(), value))
        });
        Value::Object(values.collect())
    }
}
