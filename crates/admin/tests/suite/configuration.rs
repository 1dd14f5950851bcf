//! The whole configuration, out and in.

use crate::gate::{Rig, SHOP, admin, fits, get, send, write};
use admin::Admin;
use schema::{Value, json};

const JSON: Option<&str> = Some("application/json");

fn empty() -> Admin<Rig> {
    admin("_format_version: '3.0'")
}

fn check(path: &str, content_type: Option<&str>, body: &str, status: u16, expected: Value) {
    let admin = empty();
    let before = get(&admin, "/status").json();
    let answer = send(&admin, "POST", path, content_type, body.as_bytes());
    assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text);
    assert!(fits(&expected, &answer.json()), "{body}: {} is not {expected}", answer.text);
    let changed = get(&admin, "/status").json() != before;
    assert_eq!(changed, status == 201, "{body}: only what was accepted is in force");
}

#[test]
fn a_document_comes_in_many_ways() {
    let expected = || json!({"consumers": "*"});
    let loaded = |content_type: &str, body: &str| {
        let admin = empty();
        let answer = send(&admin, "POST", "/config", Some(content_type), body.as_bytes());
        assert_eq!(answer.status.as_u16(), 201, "{content_type}: {}", answer.text);
        assert!(fits(&expected(), &answer.json()), "{}", answer.text);
        assert_eq!(get(&admin, "/consumers/b").status.as_u16(), 200, "{content_type}");
    };
    let yaml = "_format_version: \"3.0\"\nconsumers:\n- username: b\n";
    loaded("application/json", &json!({"config": yaml}).to_string());
    loaded("application/json; charset=utf-8", r#"{"_format_version": "3.0", "consumers": [{"username": "b"}]}"#);
    loaded(
        "application/json",
        &json!({"config": r#"{"_format_version": "3.0", "consumers": [{"username": "b"}]}"#}).to_string(),
    );
    for media_type in ["application/yaml", "text/yaml", "application/x-yaml", "text/x-yaml"] {
        loaded(media_type, yaml);
    }
    loaded(
        "application/x-www-form-urlencoded",
        "config=_format_version%3A+%223.0%22%0Aconsumers%3A%0A-+username%3A+b%0A",
    );
    let part = format!(
        "--x\r\nContent-Disposition: form-data; name=\"config\"; filename=\"k.yml\"\r\n\r\n{yaml}\r\n--x--\r\n"
    );
    loaded("multipart/form-data; boundary=x", &part);
}

#[test]
fn without_a_document_there_is_nothing_to_load() {
    let expected = || json!({"message": "expected a declarative configuration"});
    check("/config", None, "", 400, expected());
    check("/config", JSON, "{}", 400, expected());
    check("/config", JSON, r#"{"config": {}}"#, 400, expected());
    check("/config", Some("application/x-www-form-urlencoded"), "a=b", 400, expected());
    check("/config", Some("application/yaml"), " ", 400, expected());
    check("/config", JSON, "{", 400, json!({"message": "Cannot parse JSON body"}));
    check("/config", Some("text/plain"), "a: 1", 415, json!({"message": "Unsupported media type"}));
    check("/config", Some("multipart/form-data"), "a: 1", 400, json!({"message": "Cannot parse form body"}));
}

#[test]
fn what_is_wrong_stands_in_a_mirror_of_the_document() {
    let invalid = |fields: Value| {
        json!({
            "code": 14, "name": "invalid declarative configuration", "fields": fields,
            "message": format!("declarative config is invalid: {fields}"),
        })
    };
    let unreadable = json!({"error": "failed parsing declarative configuration: expected an object"});
    check("/config", JSON, r#"{"config": "bobby tables"}"#, 400, invalid(unreadable));
    check(
        "/config",
        JSON,
        &json!({"config": "_format_version: \"1.1\"\nservices:\n- port: -12\n"}).to_string(),
        400,
        invalid(
            json!({"services": [{"host": "required field missing", "port": "value should be between 0 and 65535"}]}),
        ),
    );
    check(
        "/config",
        JSON,
        r#"{"_format_version": "3.0", "routes": [{"name": "r", "paths": ["/x"], "service": "ghost"}]}"#,
        400,
        invalid(json!({"routes": [{"service": "invalid reference 'service: ghost' (no such entry in 'services')"}]})),
    );
    check("/config", JSON, r#"{"_format_version": 3}"#, 400, invalid(json!({"_format_version": "expected a string"})));
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let answer = send(&empty(), "POST", "/config", Some("text/yaml"), b"_format_version: \"3.0\"\n#\xFF");
    assert_eq!(answer.status.as_u16(), 400);
    assert_eq!(answer.json()["code"], 14);
}

/// Kong's case L10.
#[test]
fn errors_can_be_flattened() {
    let document = json!({
        "_format_version": "3.0",
        "_transform": true,
        "services": [{
            "name": "bad", "host": "h:1", "tags": ["t"],
            "routes": [{"name": "rr", "paths": ["x"], "plugins": [{"name": "key-auth", "config": {"foo": 1}}]}],
        }],
        "consumers": [{"username": "u", "acls": [{"group": 1}]}, {"tags": ["z"]}],
        "plugins": [{"name": "nope", "tags": ["p"]}],
    });
    let answer = write(&empty(), "POST", "/config?flatten_errors=1", &document.to_string()).json();
    let expected = json!({
        "code": 14,
        "name": "invalid declarative configuration",
        "message": "declarative config is invalid: {}",
        "fields": {},
    });
    assert!(fits(&expected, &answer), "{answer}");
    let flattened = answer["flattened_errors"].as_array().unwrap();
    assert_eq!(flattened.len(), 6, "{answer}");
    let service = json!({
        "entity_type": "service", "entity_name": "bad", "entity_tags": ["t"],
        "errors": [{"field": "host", "type": "field", "message": "must not have a port"}],
    });
    assert!(flattened.iter().any(|offence| fits(&service, offence)), "{answer}");
    check("/config?flatten_errors=1", JSON, r#"{"_format_version": "3.0", "consumers": []}"#, 201, json!({}));
    check(
        "/config?flatten_errors=1",
        JSON,
        r#"{"config": "bobby tables"}"#,
        400,
        json!({"fields": {"error": "*"}, "flattened_errors": []}),
    );
}

#[test]
fn the_same_document_is_not_loaded_twice() {
    let admin = empty();
    let text = json!({"config": "_format_version: '3.0'\nconsumers: [{username: b}]"}).to_string();
    let members = r#"{"_format_version": "3.0", "consumers": [{"username": "b"}]}"#;
    let status = |path: &str, body: &str| {
        let answer = write(&admin, "POST", path, body);
        (answer.status.as_u16(), answer.text.is_empty())
    };
    assert_eq!(status("/config?check_hash=1", &text), (201, false));
    assert_eq!(status("/config?check_hash=1", &text), (304, true));
    assert_eq!(status("/config?check_hash=0", &text), (201, false));
    assert_eq!(status("/config", &text), (201, false));
    assert_eq!(status("/config?check_hash=1", members), (201, false));
    assert_eq!(status("/config?check_hash=1", members), (304, true));
}

#[test]
fn an_export_gives_the_same_configuration_again() {
    let admin = admin(SHOP);
    let exported = get(&admin, "/config").json()["config"].as_str().unwrap().to_owned();
    let lists = |admin: &Admin<Rig>| -> Vec<Value> {
        let paths = ["/services", "/routes", "/plugins", "/consumers", "/key-auths", "/basic-auths", "/acls", "/snis"];
        paths.iter().map(|path| get(admin, path).json()["data"].clone()).collect()
    };
    let before = lists(&admin);
    let answer = send(&admin, "POST", "/config", Some("application/yaml"), exported.as_bytes());
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.text);
    // The key that was given for a time, too: it did not become one for ever.
    assert_eq!(lists(&admin), before);
}
