//! What the gate says of itself, and which methods its paths take.

use crate::gate::{SHOP, admin, fits, get, send};
use expect_test::expect;
use http::StatusCode;
use schema::{Value, json};

fn check(path: &str, expected: Value) {
    let answer = get(&admin(SHOP), path);
    assert_eq!(answer.status, StatusCode::OK, "{path}");
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert!(fits(&expected, &answer.json()), "{path}: {answer:?}");
}

#[test]
fn tools_learn_whom_they_talk_to() {
    expect![[r#"
        {
          "configuration": {
            "database": "off",
            "router_flavor": "traditional_compatible"
          },
          "edition": "community",
          "hostname": "gate-1",
          "node_id": "00000000-0000-0000-0000-000000000007",
          "pids": {
            "master": 4711
          },
          "plugins": {
            "available_on_server": {
              "key-auth": {
                "priority": 1250,
                "version": "0.1.0"
              }
            },
            "enabled_in_cluster": [
              "key-auth"
            ]
          },
          "portcullis_version": "0.1.0",
          "tagline": "Welcome to portcullis",
          "version": "3.9.3"
        }"#]]
    .assert_eq(&format!("{:#}", get(&admin(SHOP), "/").json()));
    check("/plugins/enabled", json!({ "enabled_plugins": ["key-auth"] }));
}

#[test]
fn status_counts_connections_and_names_the_configuration() {
    let server = json!({
        "connections_accepted": 5, "connections_active": 2, "connections_handled": 5, "connections_reading": 0,
        "connections_waiting": 0, "connections_writing": 0, "total_requests": 9,
    });
    check("/status", json!({ "configuration_hash": "*", "server": server }));
    let hash = get(&admin(SHOP), "/status").json()["configuration_hash"].clone();
    assert!(hash.as_str().is_some_and(|hash| hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit())));
}

#[test]
fn endpoints_are_listed() {
    let listed = get(&admin(SHOP), "/endpoints").json();
    let paths = listed["data"].as_array().unwrap();
    for path in [
        "/",
        "/services",
        "/services/{services}",
        "/services/{services}/routes",
        "/consumers/{consumers}/jwt/{jwt_secrets}",
        "/keys/{keys}/set",
        "/schemas/{db_entity_name}/validate",
    ] {
        assert!(paths.contains(&json!(path)), "{path}");
    }
    assert!(!paths.contains(&json!("/targets")));
}

#[test]
fn paths_take_their_methods_and_no_others() {
    let admin = admin(SHOP);
    let check = |method: &str, path: &str, status: u16, allow: Option<&str>| {
        let answer = send(&admin, method, path, None, b"");
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (status, allow), "{method} {path}");
        answer.text
    };
    let entity = "DELETE, GET, HEAD, OPTIONS, PATCH, PUT";
    assert_eq!(check("OPTIONS", "/services/s", 204, Some(entity)), "");
    check("OPTIONS", "/services", 204, Some("GET, HEAD, OPTIONS, POST"));
    let refused = check("POST", "/services/s", 405, Some(entity));
    assert_eq!(refused, r#"{"message":"Method not allowed"}"#);
    check("DELETE", "/routes/r/service", 405, Some("GET, HEAD, OPTIONS, PATCH, PUT"));
    check("DELETE", "/services", 405, Some("GET, HEAD, OPTIONS, POST"));
    check("POST", "/", 405, Some("GET, HEAD, OPTIONS"));
    check("GET", "/schemas/plugins/validate", 405, Some("OPTIONS, POST"));
    check("TRACE", "/status", 405, Some("GET, HEAD, OPTIONS"));
    check("OPTIONS", "/nope", 404, None);
}

#[test]
fn head_is_get_without_the_body() {
    let admin = admin(SHOP);
    for (path, status) in [("/services/s", 200), ("/services", 200), ("/services/nope", 404), ("/nope", 404)] {
        let (head, get) = (send(&admin, "HEAD", path, None, b""), get(&admin, path));
        assert_eq!((head.status.as_u16(), head.text.as_str()), (status, ""), "{path}");
        assert_eq!(head.header("content-length"), Some(get.text.len().to_string().as_str()), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
}
