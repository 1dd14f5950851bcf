//! YAML and JSON text to values that know their line.
//!
//! Built on the parser's events, so that `"no"` in quotes stays a text, a repeated key is an error
//! instead of a silent loss, and aliases cannot grow a small file into gigabytes of memory.

use granit_parser::{Event, Parser, ScalarStyle, Span};
use schema::{Value, json};
use std::collections::HashMap;
use std::rc::Rc;
use thiserror::Error;

/// A value and the line it starts on.
#[derive(Clone, Debug)]
pub struct Node {
    pub line: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Scalar(Value),
    List(Vec<Rc<Node>>),
    Map(Entries),
}

/// A mapping, in the order of the document.
type Entries = Vec<(String, Rc<Node>)>;

/// The text is neither YAML nor JSON.
#[derive(Debug, Error, PartialEq)]
#[error("line {line}, column {column}: {reason}")]
pub struct SyntaxError {
    pub line: usize,
    pub column: usize,
    pub reason: String,
}

/// No honest configuration nests this deep.
const MAX_DEPTH: usize = 64;
/// How many values aliases may add, beside ten for each value that is written out: enough for honest
/// anchors, too few for a small file to grow into gigabytes.
const MAX_ALIASED: usize = 100_000;

/// Reads one YAML or JSON document.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut builder = Builder { events: Parser::new_from_str(text), anchors: HashMap::new(), written: 0, aliased: 0 };
    let mut root = None;
    while let Some((event, span)) = builder.next()? {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
            _ if root.is_some() => return Err(at(&span, "only one document may stand in a file")),
            event => root = Some(builder.node(event, &span, 0)?.0),
        }
    }
    match root {
        Some(root) => Ok(Rc::unwrap_or_clone(root)),
        None => Ok(Node { line: 1, kind: Kind::Scalar(Value::Null) }),
    }
}

impl Node {
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => Value::Array(items.iter().map(|item| item.to_value()).collect()),
            Kind::Map(entries) => {
                Value::Object(entries.iter().map(|(name, node)| (name.clone(), node.to_value())).collect())
            }
        }
    }

    /// The line of the value at a dotted path (positions count from 1), or of what holds it.
    pub fn line_of(&self, path: &str) -> usize {
        let mut node = self;
        for step in path.split('.').filter(|step| !step.is_empty()) {
            let below = match &node.kind {
                Kind::Map(entries) => entries.iter().find(|(name, _)| name == step).map(|(_, node)| node),
                Kind::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index.checked_sub(1)?)),
                Kind::Scalar(_) => None,
            };
            match below {
                Some(below) => node = below,
                None => break,
            }
        }
        node.line
    }
}

struct Builder<'a> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, (Rc<Node>, usize)>,
    written: usize,
    aliased: usize,
}

fn at(span: &Span, reason: impl Into<String>) -> SyntaxError {
    SyntaxError { line: span.start.line(), column: span.start.col() + 1, reason: reason.into() }
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, SyntaxError> {
        match self.events.next() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => {
                Err(SyntaxError { line: error.marker().line(), column: error.marker().col() + 1, reason: error.info() })
            }
        }
    }

    fn expect(&mut self, span: &Span) -> Result<(Event<'a>, Span), SyntaxError> {
        self.next()?.ok_or_else(|| at(span, "the document ends too early"))
    }

    /// The node that starts with `event`, and how many nodes it is with aliases expanded.
    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<(Rc<Node>, usize), SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(at(span, format!("nested deeper than {MAX_DEPTH}")));
        }
        let (kind, size, anchor) = match event {
            Event::Alias(id) => {
                let (node, size) = self.anchors.get(&id).cloned().ok_or_else(|| at(span, "unknown alias"))?;
                self.aliased += size;
                if self.aliased > MAX_ALIASED + 10 * self.written {
                    return Err(at(span, "aliases stand for too many values; write them out"));
                }
                return Ok((node, size));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let quoted =
                    style != ScalarStyle::Plain || tag.as_ref().is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let value = if quoted { Value::String(text.into_owned()) } else { plain(&text) };
                self.written += 1;
                (Kind::Scalar(value), 1, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let (items, size) = self.list(span, depth)?;
                (Kind::List(items), size, anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let (entries, size) = self.map(span, depth)?;
                (Kind::Map(entries), size, anchor)
            }
            _ => return Err(at(span, "expected a value")),
        };
        let node = Rc::new(Node { line: span.start.line(), kind });
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok((node, size))
    }

    fn list(&mut self, start: &Span, depth: usize) -> Result<(Vec<Rc<Node>>, usize), SyntaxError> {
        let (mut items, mut total) = (Vec::new(), 1);
        loop {
            match self.expect(start)? {
                (Event::SequenceEnd, _) => return Ok((items, total)),
                (event, span) => {
                    let (item, size) = self.node(event, &span, depth + 1)?;
                    items.push(item);
                    total += size;
                }
            }
        }
    }

    fn map(&mut self, start: &Span, depth: usize) -> Result<(Entries, usize), SyntaxError> {
        let (mut entries, mut total) = (Entries::new(), 1);
        let mut known = std::collections::HashSet::new();
        let mut merged = Vec::new();
        loop {
            let (name, span) = match self.expect(start)? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(name, style, ..), span) => ((name.into_owned(), style), span),
                (_, span) => return Err(at(&span, "a key must be a text")),
            };
            let (event, value_span) = self.expect(&span)?;
            let (value, size) = self.node(event, &value_span, depth + 1)?;
            total += size;
            match name {
                (name, ScalarStyle::Plain) if name == "<<" => merged.push(value),
                (name, _) if known.insert(name.clone()) => entries.push((name, value)),
                (name, _) => return Err(at(&span, format!("the key '{name}' stands here twice"))),
            }
        }
        // Merge keys give what the mapping itself does not have; the first of several wins.
        for source in merged {
            let sources = match &source.kind {
                Kind::List(items) => items.clone(),
                _ => vec![source],
            };
            for source in sources {
                let Kind::Map(more) = &source.kind else { return Err(at(start, "`<<` needs a mapping")) };
                for (name, value) in more {
                    if known.insert(name.clone()) {
                        entries.push((name.clone(), value.clone()));
                    }
                }
            }
        }
        Ok((entries, total))
    }
}

/// A plain scalar, as Kong's YAML reader takes it: YAML 1.1 booleans, decimal and `0x` numbers.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return json!(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return json!(false),
        _ => {}
    }
    let starts_like_a_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    if !starts_like_a_number {
        return json!(text);
    }
    let hexadecimal = text.strip_prefix("0x").and_then(|digits| i64::from_str_radix(digits, 16).ok());
    if let Some(number) = text.parse::<i64>().ok().or(hexadecimal) {
        return json!(number);
    }
    let looks_decimal = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    match text.parse::<f64>() {
        Ok(number) if looks_decimal && number.is_finite() => json!(number),
        _ => json!(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<Value, &str>) {
        let read = parse(text).map(|node| node.to_value()).map_err(|error| error.to_string());
        assert_eq!(read, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn scalars_are_what_kong_takes_them_for() {
        check(
            r#"{a: no, b: "no", c: 'yes', d: 1, e: 1.5, f: 0x10, g: ~, h: 1.2.3, i: -4}"#,
            Ok(json!({
                "a": false, "b": "no", "c": "yes", "d": 1, "e": 1.5, "f": 16, "g": null, "h": "1.2.3", "i": -4,
            })),
        );
        check("a: !!str 12", Ok(json!({"a": "12"})));
        check("bobby tables", Ok(json!("bobby tables")));
    }

    #[test]
    fn json_is_read_too() {
        check("{\"a\": [1, {\"b\": null}],\n\t\"c\": \"\\u00e9\"}", Ok(json!({"a": [1, {"b": null}], "c": "é"})));
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        check("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3", Ok(json!({"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}})));
    }

    #[test]
    fn a_repeated_key_is_an_error() {
        check("a: 1\nb: 2\na: 3", Err("line 3, column 1: the key 'a' stands here twice"));
    }

    /// The "billion laughs": nine levels of nine aliases each are 387 million values.
    #[test]
    fn aliases_cannot_grow_without_bound() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for level in 1..9 {
            let below = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(","));
        }
        assert_eq!(parse(&text).unwrap_err().reason, "aliases stand for too many values; write them out");
    }

    #[test]
    fn lines_are_found_by_path() {
        let node = parse("services:\n- name: a\n  routes:\n  - paths:\n    - /x\n    - y\n").unwrap();
        assert_eq!(node.line_of("services.1.routes.1.paths.2"), 6);
        assert_eq!(node.line_of("services.1.host"), 2);
    }
}
