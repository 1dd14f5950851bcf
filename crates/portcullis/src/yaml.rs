//! JSON as YAML, for people to read and to keep in version control.

use schema::{Map, Value};

/// A document; objects keep the order of their names.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => object(map, 0, &mut out),
        other => {
            scalar(other, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

fn object(map: &Map<String, Value>, depth: usize, out: &mut String) {
    for (index, (name, value)) in map.iter().enumerate() {
        if index > 0 {
            indent(depth, out);
        }
        text(name, depth, out);
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                indent(depth + 1, out);
                object(inner, depth + 1, out);
            }
            Value::Array(items) if !items.is_empty() => {
                for item in items {
                    out.push('\n');
                    indent(depth, out);
                    out.push_str("- ");
                    match item {
                        Value::Object(inner) if !inner.is_empty() => {
                            object(inner, depth + 1, out);
                            // What follows begins a line of its own.
                            out.pop();
                        }
                        other => scalar(other, depth + 1, out),
                    }
                }
                out.push('\n');
            }
            other => {
                out.push(' ');
                scalar(other, depth + 1, out);
                out.push('\n');
            }
        }
    }
}

/// Anything that stands on one line; lists within lists, too.
fn scalar(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::String(own) => text(own, depth, out),
        other => out.push_str(&other.to_string()),
    }
}

fn text(text: &str, depth: usize, out: &mut String) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let begins = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let is_plain = begins && text.chars().all(is_word) && !is_reserved(text);
    // Certificates and keys are read by people line by line.
    let is_block = text.starts_with("-----BEGIN ") && text.is_ascii() && !text.contains(['\r', '\t']);
    if is_plain {
        out.push_str(text);
    } else if is_block && depth > 0 {
        out.push_str(if text.ends_with('\n') { "|" } else { "|-" });
        for line in text.trim_end_matches('\n').split('\n') {
            out.push('\n');
            indent(depth, out);
            out.push_str(line);
        }
    } else {
        // A JSON text is a YAML text.
        out.push_str(&Value::from(text).to_string());
    }
}

/// Words that some reader of YAML takes for something else than a text.
fn is_reserved(text: &str) -> bool {
    ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

fn indent(depth: usize, out: &mut String) {
    (0..depth).for_each(|_| out.push_str("  "));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use schema::json;

    fn check(value: Value, expected: &str) {
        assert_eq!(write(&value), expected);
        assert_eq!(model::document::parse(expected).unwrap().to_value(), value);
    }

    #[test]
    fn a_document_reads_well() {
        check(json!({}), "{}\n");
        check(
            json!({ "_format_version": "3.0", "services": [{ "name": "a", "port": 80, "tags": ["x", "on"], "none": null }] }),
            "_format_version: \"3.0\"\nservices:\n- name: a\n  none: null\n  port: 80\n  tags:\n  - x\n  - \"on\"\n",
        );
        check(
            json!({ "plugins": [{ "config": { "a": {}, "b": [], "c": { "d": [[1, 2], { "e": 1 }] } } }, { "name": "é" }] }),
            "plugins:\n- config:\n    a: {}\n    b: []\n    c:\n      d:\n      - [1,2]\n      - e: 1\n- name: \"é\"\n",
        );
        check(
            json!({ "certificates": [{ "cert": "-----BEGIN A-----\nxy\n-----END A-----\n", "id": "1" }] }),
            "certificates:\n- cert: |\n    -----BEGIN A-----\n    xy\n    -----END A-----\n  id: \"1\"\n",
        );
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~\\n\u{e9}]{0,12}".prop_map(Value::from),
            Just(Value::from("-----BEGIN X-----\n a\n\n-----END X-----")),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z0-9 :#-]{1,6}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever is written is read again as it was.
        #[test]
        fn what_is_written_is_read_again(map in prop::collection::btree_map("[a-z]{1,6}", anything(), 0..5)) {
            let value = Value::Object(map.into_iter().collect());
            let text = write(&value);
            prop_assert_eq!(model::document::parse(&text).unwrap().to_value(), value, "{}", text);
        }
    }
}
