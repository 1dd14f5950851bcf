//! Writes of single entities are validated, and then refused with Kong's words.

use crate::gate::{SHOP, admin, fits, write};
use schema::{Value, json};

fn check(method: &str, path: &str, body: &str, status: u16, expected: Value) {
    let answer = write(&admin(SHOP), method, path, body);
    assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.text);
    assert!(fits(&expected, &answer.json()), "{method} {path}: {} is not {expected}", answer.text);
}

fn refused(method: &str, path: &str, body: &str, what: &str) {
    let message = format!("cannot {what} when not using a database");
    let expected = json!({"name": "operation unsupported", "code": 12, "message": message});
    check(method, path, body, 405, expected);
}

#[test]
fn writes_are_refused_by_verb_and_key() {
    const BY_ID: &str = "/services/11111111-1111-4111-8111-111111111111";
    refused("POST", "/services", r#"{"host": "h"}"#, "create 'services' entities");
    refused("PUT", "/services/s", r#"{"host": "h"}"#, "create or update 'services' entities by 'name'");
    refused("PUT", "/services/zz", r#"{"host": "h"}"#, "create or update 'services' entities by 'name'");
    refused("PUT", BY_ID, r#"{"host": "h"}"#, "create or update 'services' entities");
    refused("PATCH", "/services/s", r#"{"host": "h"}"#, "update 'services' entities by 'name'");
    refused("PATCH", BY_ID, r#"{"url": "https://x.test/p"}"#, "update 'services' entities");
    refused("DELETE", "/services/s", "", "remove 'services' entities by 'name'");
    refused("DELETE", BY_ID, "", "remove 'services' entities");
    refused("DELETE", "/certificates/a.test", "", "remove 'certificates' entities");
    refused("POST", "/consumers/c/key-auth", "{}", "create 'keyauth_credentials' entities");
    refused("POST", "/consumers/c/key-auth", r#"{"ttl": 60}"#, "create 'keyauth_credentials' entities");
    refused("POST", "/consumers/c/key-auth", "", "create 'keyauth_credentials' entities");
    refused("DELETE", "/consumers/c/key-auth/k", "", "remove 'keyauth_credentials' entities by 'key'");
    refused("PUT", "/consumers/new", "{}", "create or update 'consumers' entities by 'username'");
    refused("POST", "/upstreams/u.test/targets", r#"{"target": "10.0.0.2:80"}"#, "create 'targets' entities");
    refused("PATCH", "/routes/r/service", r#"{"retries": 1}"#, "update 'services' entities");
    refused("POST", "/routes", r#"{"paths": ["/"], "service": {"name": "s"}}"#, "create 'routes' entities");
    refused("POST", "/routes", r#"{"hosts": ["g.test"], "protocols": ["grpc"]}"#, "create 'routes' entities");
    refused(
        "PATCH",
        "/plugins/ka",
        r#"{"config": {"hide_credentials": true}}"#,
        "update 'plugins' entities by 'instance_name'",
    );
    refused("POST", "/services/s/plugins", r#"{"name": "key-auth"}"#, "create 'plugins' entities");
}

#[test]
fn what_is_absent() {
    check("DELETE", "/services/zz", "", 204, Value::Null);
    check("DELETE", "/services/99999999-9999-4999-8999-999999999999", "", 204, Value::Null);
    for (method, path) in [
        ("DELETE", "/consumers/c/jwt/k9"),
        ("DELETE", "/services/other/routes/r"),
        ("PATCH", "/services/other/routes/r"),
        ("POST", "/services/nope/routes"),
        ("PUT", "/routes/alone/service"),
    ] {
        check(method, path, "", 404, json!({"message": "Not found"}));
    }
    let by_name = json!({
        "code": 6, "name": "not found", "message": "could not find the entity with '{name=\"zz\"}'",
        "fields": {"name": "zz"},
    });
    check("PATCH", "/services/zz", r#"{"host": "h"}"#, 404, by_name);
    let by_id = json!({
        "code": 6, "name": "not found", "fields": {"id": "99999999-9999-4999-8999-999999999999"},
        "message": "could not find the entity with primary key '{id=\"99999999-9999-4999-8999-999999999999\"}'",
    });
    check("PATCH", "/services/99999999-9999-4999-8999-999999999999", r#"{"host": "h"}"#, 404, by_id);
}

#[test]
fn a_key_in_a_path_is_not_repeated() {
    let answer = write(&admin(SHOP), "PATCH", "/key-auths/topsecret", "{}");
    assert_eq!(answer.status.as_u16(), 404);
    assert!(!answer.text.contains("topsecret"), "{}", answer.text);
}

fn violates(method: &str, path: &str, body: &str, message: &str, fields: Value) {
    let expected = json!({"code": 2, "name": "schema violation", "message": message, "fields": fields});
    check(method, path, body, 400, expected);
}

#[test]
fn the_schema_comes_first() {
    let host = || json!({"host": "required field missing"});
    violates("POST", "/services", "{}", "schema violation (host: required field missing)", host());
    violates("POST", "/services", "", "schema violation (host: required field missing)", host());
    violates("PUT", "/services/s", "{}", "schema violation (host: required field missing)", host());
    violates("POST", "/services?name=q&host=q.test", "{}", "schema violation (host: required field missing)", host());
    violates(
        "PATCH",
        "/services/s",
        r#"{"retries": "x", "nope": 1}"#,
        "2 schema violations (nope: unknown field; retries: expected an integer)",
        json!({"nope": "unknown field", "retries": "expected an integer"}),
    );
    violates(
        "POST",
        "/key-auths",
        r#"{"key": "x"}"#,
        "schema violation (consumer: required field missing)",
        json!({"consumer": "required field missing"}),
    );
    violates(
        "POST",
        "/routes",
        r#"{"paths": ["/"], "service": "s"}"#,
        "schema violation (service.id: missing primary key)",
        json!({"service": {"id": "missing primary key"}}),
    );
    violates(
        "PATCH",
        "/upstreams/u.test",
        r#"{"healthchecks": {"active": {"http_path": "x"}}}"#,
        "schema violation (healthchecks.active.http_path: should start with: /)",
        json!({"healthchecks": {"active": {"http_path": "should start with: /"}}}),
    );
}

#[test]
fn plugins_are_held_against_their_own_schema() {
    violates(
        "POST",
        "/plugins",
        r#"{"name": "nope"}"#,
        "schema violation (name: plugin 'nope' not enabled; add it to the 'plugins' configuration property)",
        json!({"name": "plugin 'nope' not enabled; add it to the 'plugins' configuration property"}),
    );
    violates(
        "POST",
        "/plugins",
        r#"{"name": "key-auth", "config": {"hide_credentials": "x", "foo": 1}}"#,
        "2 schema violations (config.foo: unknown field; config.hide_credentials: expected a boolean)",
        json!({"config": {"foo": "unknown field", "hide_credentials": "expected a boolean"}}),
    );
    let text = "only one or none of these fields must be set: 'config.realm', 'config.anonymous'";
    violates(
        "POST",
        "/plugins",
        r#"{"name": "key-auth", "config": {"realm": "a", "anonymous": "b"}}"#,
        &format!("schema violation ({text})"),
        json!({"@entity": [text]}),
    );
    violates(
        "POST",
        "/consumers/c/plugins",
        r#"{"name": "key-auth"}"#,
        "schema violation (consumer: value must be null)",
        json!({"consumer": "value must be null"}),
    );
    violates(
        "POST",
        "/vaults",
        r#"{"name": "env", "prefix": "x-1", "config": {"prefix": "1"}}"#,
        "schema violation (config.prefix: invalid value: 1)",
        json!({"config": {"prefix": "invalid value: 1"}}),
    );
}

#[test]
fn references_by_name_must_lead_somewhere() {
    let text = "the foreign key cannot be resolved with '{name=\"x\"}' for an existing 'routes' entity";
    let expected = json!({
        "code": 13, "name": "foreign keys unresolved",
        "message": format!("foreign key unresolved (route.name: {text})"), "fields": {"route": {"name": text}},
    });
    check("POST", "/plugins", r#"{"name": "key-auth", "route": {"name": "x"}}"#, 400, expected);
}
