//! Single entities, by identity, by name, below a parent, and from a child to its parent.

use crate::gate::{SHOP, admin, fits, get};
use schema::{Value, json};

fn check(path: &str, status: u16, expected: Value) {
    let answer = get(&admin(SHOP), path);
    assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
    assert!(fits(&expected, &answer.json()), "{path}: {} is not {expected}", answer.text);
}

#[test]
fn entities_are_found() {
    check("/services/s", 200, json!({"name": "s", "host": "h.test", "port": 80, "path": null, "retries": 5}));
    check("/services/s/", 200, json!({"name": "s"}));
    check("/services/11111111-1111-4111-8111-111111111111", 200, json!({"name": "other"}));
    check("/consumers/j%C3%B6%20hn", 200, json!({"id": "22222222-2222-4222-8222-222222222222"}));
    check("/plugins/ka", 200, json!({"name": "key-auth", "config": {"key_names": ["apikey"]}, "service": {"id": "*"}}));
    check("/vaults/my-env", 200, json!({"name": "env", "config": {"prefix": "X_"}}));
    check("/key-sets/ks", 200, json!({"name": "ks"}));
    check("/key-auths/k", 200, json!({"key": "k", "tags": null, "consumer": {"id": "*"}}));
    check("/jwts/jk", 200, json!({"algorithm": "HS256", "secret": "js"}));
    check("/basic-auths/u", 200, json!({"username": "u", "password": "*"}));
}

#[test]
fn the_same_names_give_the_ids_of_kong() {
    let admin =
        admin("_format_version: '3.0'\nservices: [{name: my-service, host: h}]\nconsumers: [{username: my-user}]");
    assert_eq!(get(&admin, "/services/my-service").json()["id"], "0855b320-0dd2-547d-891d-601e9b38647f");
    let consumer = get(&admin, "/consumers/my-user").json();
    assert!(consumer["id"].as_str().unwrap().starts_with("4b1b701d-"));
}

#[test]
fn certificates_show_their_names_and_are_found_by_them() {
    let certificate = json!({"id": "33333333-3333-4333-8333-333333333333", "snis": ["a.test", "b.test"]});
    check("/certificates/a.test", 200, certificate.clone());
    check("/certificates/33333333-3333-4333-8333-333333333333", 200, certificate.clone());
    check("/snis/b.test/certificate", 200, certificate.clone());
    check("/certificates", 200, json!({"data": [certificate]}));
    check("/certificates/b.test/snis/a.test", 200, json!({"name": "a.test"}));
    check("/certificates/none.test", 404, json!({"message": "SNI not found"}));
    check("/certificates/none.test/snis", 404, json!({"message": "SNI not found"}));
}

#[test]
fn children_are_found_below_their_own_parent_only() {
    check("/services/s/routes/r", 200, json!({"name": "r"}));
    check("/consumers/c/key-auth/k", 200, json!({"key": "k"}));
    check("/consumers/c/acls/g", 200, json!({"group": "g"}));
    check("/consumers/c/jwt/jk", 200, json!({"key": "jk"}));
    check("/key-sets/ks/keys/k1", 200, json!({"kid": "1"}));
    check("/services/s/plugins/ka", 200, json!({"name": "key-auth"}));
    // Two upstreams have a target of this address.
    check("/upstreams/u.test/targets/10.0.0.1:80", 200, json!({"weight": 100}));
    check("/upstreams/v.test/targets/10.0.0.1:80", 200, json!({"weight": 7}));
    check("/upstreams/u.test/targets/10.0.0.2", 200, json!({"target": "10.0.0.2:8000"}));
    for path in [
        "/services/other/routes/r",
        "/services/s/routes/alone",
        "/services/nope/routes",
        "/services/nope/routes/r",
        "/consumers/j%C3%B6%20hn/key-auth/k",
        "/upstreams/v.test/targets/10.0.0.2",
        "/services/other/plugins/ka",
    ] {
        check(path, 404, json!({"message": "Not found"}));
    }
}

#[test]
fn parents_are_found_from_their_children() {
    check("/routes/r/service", 200, json!({"name": "s"}));
    check("/key-auths/k/consumer", 200, json!({"username": "c"}));
    check("/plugins/ka/service", 200, json!({"name": "s"}));
    check("/keys/k1/set", 200, json!({"name": "ks"}));
    check("/routes/alone/service", 404, json!({"message": "Not found"}));
    check("/plugins/ka/route", 404, json!({"message": "Not found"}));
    check("/services/s/client_certificate", 404, json!({"message": "Not found"}));
    check("/routes/nope/service", 404, json!({"message": "Not found"}));
}

#[test]
fn keys_for_a_time_tell_how_long_and_then_are_gone() {
    check("/key-auths/short", 200, json!({"key": "short", "ttl": 40}));
    assert!(get(&admin(SHOP), "/key-auths/k").json().get("ttl").is_none());
    check("/key-auths/gone", 404, json!({"message": "Not found"}));
    check("/consumers/c/key-auth/gone", 404, json!({"message": "Not found"}));
    check("/key-auths", 200, json!({"data": ["*", "*"]}));
}

#[test]
fn what_cannot_be_a_key_is_a_mistake_and_what_is_not_there_is_not() {
    for path in [
        "/services/nope",
        "/services/99999999-9999-4999-8999-999999999999",
        "/plugins/not-a-uuid",
        "/keys/none",
        "/snis/none.test",
        "/targets",
        "/key-auth",
        "/services/s/nope",
    ] {
        check(path, 404, json!({"message": "Not found"}));
    }
    let primary_key = json!({
        "code": 1, "name": "invalid primary key",
        "message": "invalid primary key: '{id=\"expected a valid UUID\"}'",
        "fields": {"id": "expected a valid UUID"},
    });
    check("/ca_certificates/not-a-uuid", 400, primary_key.clone());
    check("/acls/none", 400, primary_key);
    let unique = json!({
        "code": 10, "name": "invalid unique name",
        "message": "invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~",
    });
    check("/services/a%20b", 400, unique);
}
