//! The black-box cases that were recorded on a running Kong without a database, as far as they are about the Admin API.

use crate::gate::{Rig, admin, fits, send};
use admin::Admin;
use schema::Value;
use std::fs;

/// L12 needs plugins that are not in this catalog.
const CASES: [&str; 6] = ["L03", "L04", "L06", "L07", "L10", "L11"];

#[test]
fn the_cases_of_kong_hold() {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/../../kong/cases.json");
    let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(cases).unwrap()).unwrap();
    let mut answered = 0;
    for id in CASES {
        let case = cases.iter().find(|case| case["id"] == id).unwrap();
        let config = match case["config"].as_str().unwrap() {
            "" => "_format_version: '3.0'",
            config => config,
        };
        let admin = admin(&config.replace("__ECHO_PORT__", "9000"));
        let pairs = case["requests"].as_array().unwrap().iter().zip(case["expect"].as_array().unwrap());
        for (request, expected) in pairs.filter(|(request, _)| request["target"] == "admin") {
            check(id, &admin, request, expected);
            answered += 1;
        }
    }
    assert_eq!(answered, 41);
}

fn check(id: &str, admin: &Admin<Rig>, request: &Value, expected: &Value) {
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    let answer =
        send(admin, text("method"), text("path"), request["headers"]["Content-Type"].as_str(), text("body").as_bytes());
    let at = format!("{id} {} {}: {} {}", text("method"), text("path"), answer.status, answer.text);
    assert_eq!(answer.status.as_u16(), expected["status"], "{at}");
    assert!(expected["body_json"].is_null() || fits(&expected["body_json"], &answer.json()), "{at}\n{expected}");
    let strings = |name: &str| expected[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    assert!(strings("body_contains").all(|part| answer.text.contains(part)), "{at}");
    assert!(strings("body_json_absent").all(|name| answer.json().get(name).is_none()), "{at}");
    assert!(expected["body_equals"].is_null() || expected["body_equals"] == answer.text.as_str(), "{at}");
}
