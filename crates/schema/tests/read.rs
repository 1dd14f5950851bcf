//! What inputs read as, and Kong's texts for what is wrong with them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use schema::{Check, Condition, Schema, Secret, Set, Value, json};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize, Schema)]
#[schema(
    prefix = "config.",
    check(Check::AtLeastOneOf(&["name", "words"])),
    check(Check::When {
        field: "colour",
        is: Condition::Is("red"),
        then: "limit",
        must: Condition::Required,
        error: None,
    })
)]
#[allow(dead_code, reason = "what is read is looked at as JSON")]
struct Config {
    /// A name.
    name: Option<String>,
    /// Words.
    #[schema(each(len_min(2)))]
    words: Option<Set<String>>,
    /// A limit.
    #[schema(between(1, 10))]
    limit: Option<u8>,
    /// A colour.
    #[schema(default = "blue")]
    colour: Colour,
    /// Inner options.
    inner: Inner,
    /// Labels.
    labels: Option<BTreeMap<String, Vec<i64>>>,
    /// A secret.
    #[schema(referenceable)]
    secret: Option<Secret>,
}

#[derive(Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Red,
    Blue,
}

#[derive(Deserialize, Schema)]
#[allow(dead_code, reason = "what is read is looked at as JSON")]
struct Inner {
    /// A switch.
    #[schema(default = true)]
    on: bool,
}

/// What an input reads as, or the message of its violations.
fn check(mut input: Value, expected: Result<Value, &str>) {
    let read = Config::record().read(&mut input).map_err(|found| found.message());
    match (read, expected) {
        (Ok(()), Ok(expected)) => {
            for (name, value) in expected.as_object().unwrap() {
                assert_eq!(&input[name], value, "{name}");
            }
            // The typed value can be made of whatever was accepted.
            assert!(Config::from_read(input).is_ok());
        }
        (Err(message), Err(expected)) => assert_eq!(message, expected),
        (read, _) => panic!("{read:?} for {input}"),
    }
}

#[test]
fn defaults_are_filled_in() {
    check(json!({"name": "a"}), Ok(json!({"colour": "blue", "inner": {"on": true}, "words": null})));
    check(json!({"name": "a", "inner": {}}), Ok(json!({"inner": {"on": true}})));
    check(json!({"words": {}, "name": "a"}), Ok(json!({"words": []})));
    check(json!({"words": ["ab", "ab", "cd"]}), Ok(json!({"words": ["ab", "cd"]})));
    check(json!({"name": "a", "limit": 3.0}), Ok(json!({"limit": 3})));
    check(json!({"name": "a", "secret": "{vault://env/x}"}), Ok(json!({"secret": "{vault://env/x}"})));
}

#[test]
fn violations_have_kongs_texts() {
    check(json!(1), Err("schema violation (expected a record)"));
    check(json!({"name": 1}), Err("schema violation (name: expected a string)"));
    check(json!({"name": ""}), Err("schema violation (name: length must be at least 1)"));
    check(json!({"name": "a", "limit": 11}), Err("schema violation (limit: value should be between 1 and 10)"));
    check(json!({"name": "a", "limit": 1.5}), Err("schema violation (limit: expected an integer)"));
    check(json!({"name": "a", "colour": "green"}), Err("schema violation (colour: expected one of: red, blue)"));
    check(json!({"name": "a", "colour": null}), Err("schema violation (colour: required field missing)"));
    check(json!({"name": "a", "words": "x"}), Err("schema violation (words: expected a set)"));
    check(json!({"words": ["ab", "c"]}), Err("schema violation (words.2: length must be at least 2)"));
    check(json!({"name": "a", "inner": 1}), Err("schema violation (inner: expected a record)"));
    check(json!({"name": "a", "labels": []}), Ok(json!({"labels": {}})));
    check(json!({"name": "a", "labels": {"x": [1, "y"]}}), Err("schema violation (labels.x.2: expected an integer)"));
    check(
        json!({}),
        Err("schema violation (at least one of these fields must be non-empty: 'config.name', 'config.words')"),
    );
    check(
        json!({"name": "a", "colour": "red", "size": 1, "inner": {"on": "x", "off": 1}}),
        Err("5 schema violations (failed conditional validation given value of field 'config.colour'; \
             inner.off: unknown field; inner.on: expected a boolean; limit: required field missing; size: unknown field)"),
    );
}

/// Taken literally, the reference would be the secret.
#[test]
fn a_reference_is_never_taken_for_a_value() {
    check(
        json!({"name": "{vault://env/x}"}),
        Err("schema violation (name: references to vaults are not read in this field)"),
    );
}
