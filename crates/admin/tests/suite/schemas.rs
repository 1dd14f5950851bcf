//! Schemas, and validation without writing.

use crate::gate::{SHOP, admin, fits, get, write};
use model::entity::KINDS;
use schema::{Value, json};
use std::path::Path;

#[test]
fn every_entity_that_kong_has_a_schema_for_has_one() {
    let admin = admin(SHOP);
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kong/oracle/schemas");
    for kind in KINDS.iter().filter(|kind| kind.in_kong) {
        assert!(oracle.join(format!("{}.json", kind.name)).exists());
        let answer = get(&admin, &format!("/schemas/{}", kind.name));
        assert_eq!(answer.status.as_u16(), 200, "{}", kind.name);
        assert!(answer.json()["fields"].is_array(), "{}", kind.name);
    }
}

fn check(path: &str, status: u16, expected: Value) {
    let answer = get(&admin(SHOP), path);
    assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
    assert!(fits(&expected, &answer.json()), "{path}: {}", answer.text);
}

#[test]
fn schemas_of_plugins_and_vaults() {
    let plugin = json!({"fields": [{"consumer": {"eq": null}}, {"protocols": "*"}, {"config": {"type": "record"}}]});
    check("/schemas/plugins/key-auth", 200, plugin.clone());
    check("/plugins/schema/key-auth", 200, plugin);
    let prefix = json!({"prefix": {"type": "string", "match": "^[%a_-][%a%d_-]*$"}});
    let vault =
        json!({"entity_checks": [], "fields": [{"config": {"type": "record", "required": true, "fields": [prefix]}}]});
    check("/schemas/vaults/env", 200, vault);
    check("/schemas/plugins/nope", 404, json!({"message": "No plugin named 'nope'"}));
    check("/schemas/vaults/aws", 404, json!({"message": "No vault named 'aws'"}));
    check("/schemas/nope", 404, json!({"message": "No entity named 'nope'"}));
}

fn validate(path: &str, body: &str, status: u16, expected: Value) {
    let answer = write(&admin(SHOP), "POST", path, body);
    assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
    assert!(fits(&expected, &answer.json()), "{path}: {}", answer.text);
}

#[test]
fn validation_says_yes_or_what_is_wrong() {
    let yes = || json!({"message": "schema validation successful"});
    validate("/schemas/services/validate", r#"{"host": "h"}"#, 200, yes());
    validate("/schemas/plugins/validate", r#"{"name": "key-auth", "config": {"realm": "x"}}"#, 200, yes());
    validate("/schemas/vaults/validate", r#"{"name": "env", "prefix": "p-1", "config": {"prefix": "x"}}"#, 200, yes());
    validate(
        "/schemas/keyauth_credentials/validate",
        r#"{"consumer": {"id": "99999999-9999-4999-8999-999999999999"}}"#,
        200,
        yes(),
    );
    validate("/schemas/services/validate", "{}", 400, json!({"code": 2, "fields": {"host": "required field missing"}}));
    validate(
        "/schemas/plugins/validate",
        r#"{"name": "key-auth", "config": {"foo": 1}}"#,
        400,
        json!({"code": 2, "fields": {"config": {"foo": "unknown field"}}}),
    );
    validate(
        "/schemas/vaults/validate",
        r#"{"name": "aws", "prefix": "p-1"}"#,
        400,
        json!({"code": 2, "fields": {"name": "*"}}),
    );
    validate("/schemas/nope/validate", "{}", 404, json!({"message": "No entity named 'nope'"}));
}
