//! `portcullis explain` and `POST /debug/explain`: what would become of a request, without asking the service.

use serde_json::json;
use tests::{Gate, Origin, TempDir, http};

fn config(origin: &Origin) -> String {
    format!(
        "_format_version: \"3.0\"
services:
- name: shop
  url: {}/base
  routes:
  - {{name: orders, paths: [/orders], methods: [GET]}}
  - {{name: other, hosts: [other.test]}}
  - {{name: secure, paths: [/secure], snis: [secure.test], protocols: [https]}}
  - {{name: all, paths: [/]}}
consumers:
- username: ann
  keyauth_credentials: [{{key: top-secret-key}}]
plugins:
- {{name: key-auth, config: {{hide_credentials: true}}}}
- {{name: authorize, config: {{deny: ['request.path.startsWith(\"/orders/7\")']}}}}
- {{name: rate-limiting, config: {{hour: 1}}}}",
        origin.url()
    )
}

const KEY: &str = "apikey: top-secret-key";

#[test]
fn a_file_is_enough_to_ask() {
    let (origin, dir) = (Origin::start(), TempDir::new());
    let file = dir.write("kong.yml", config(&origin));
    let explain = |args: &[&str]| {
        let mut all = vec!["explain", "--config", file.to_str().unwrap()];
        all.extend(args);
        let finished = Gate::command(&all).expect_code(0);
        assert!(!finished.text().contains("top-secret"), "{}", finished.text());
        finished.text()
    };
    for _ in 0..3 {
        let told = explain(&["GET", "http://shop.test/orders/8", "-H", KEY, "-H", "Authorization: Bearer top-secret"]);
        for line in [
            "route     orders\n",
            "not other: its hosts do not fit\n",
            "not all: it fits too, and comes later in the order\n",
            "plugin    key-auth (1250, on everywhere): goes on\n  caller ann\n",
            "removes apikey\n",
            "plugin    authorize (945, on everywhere): goes on\n",
            // However often: nothing is counted.
            "plugin    rate-limiting (910, on everywhere): goes on\n",
            "path /base/8\n",
            "x-consumer-username: ann\n",
            "authorization: (not told)\n",
        ] {
            assert!(told.contains(line), "{line}\n{told}");
        }
    }
    let told = explain(&["GET", "http://shop.test/orders/x/../7", "-H", KEY]);
    assert!(
        told.contains("authorize (945, on everywhere): answers\n") && told.contains("answer    403 Forbidden"),
        "{told}"
    );
    let told = explain(&["POST", "http://shop.test/orders"]);
    assert!(told.contains("not orders: its methods do not fit") && told.contains("www-authenticate: Key"), "{told}");
    let told = explain(&["GET", "https://secure.test/secure", "-H", KEY]);
    assert!(told.contains("route     secure\n"), "{told}");
    let told = explain(&["GET", "https://shop.test/secure", "-H", KEY]);
    assert!(told.contains("route     all\n") && told.contains("not secure: its snis do not fit"), "{told}");
    assert_eq!(origin.requests().len(), 0);
    for args in [["GET", "/orders"], ["GET", "shop.test"], ["G T", "http://shop.test/"]] {
        let refused = Gate::command(&["explain", "--config", file.to_str().unwrap(), args[0], args[1]]).expect_code(2);
        assert!(!refused.stderr.is_empty());
    }
}

#[test]
fn a_running_gate_can_be_asked() {
    let origin = Origin::start();
    let gate = Gate::start(config(&origin));
    let ask = |asked: serde_json::Value| gate.admin("POST", "/debug/explain", &asked.to_string());
    let asked = json!({ "url": "http://shop.test/orders", "headers": { "apikey": "top-secret-key" } });
    for _ in 0..3 {
        let told = ask(asked.clone()).expect_status(200).json();
        assert_eq!(told["route"]["name"], "orders");
        let plugins: Vec<&str> =
            told["plugins"].as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap()).collect();
        assert_eq!(plugins, ["key-auth", "authorize", "rate-limiting"]);
        assert_eq!(told["plugins"][0]["caller"]["consumer"]["username"], "ann");
        assert_eq!(told["service"]["path"], "/base");
        assert!(!told.to_string().contains("top-secret"));
    }
    assert_eq!(origin.requests().len(), 0);
    http(gate.proxy(), "GET", "/orders", &[("apikey", "top-secret-key")], b"").expect_status(200);
    // What callers have used up is used up here as well.
    let told = ask(asked).json();
    assert_eq!(
        (told["plugins"][2]["decides"].as_str(), told["answer"]["status"].as_u64()),
        (Some("answers"), Some(429))
    );
    for (asked, field) in [
        (json!({}), "url"),
        (json!({ "url": "/orders" }), "url"),
        (json!({ "url": "http://x/", "ip": "nowhere" }), "ip"),
        (json!({ "url": "http://x/", "method": "G T" }), "method"),
        (json!({ "url": "http://x/", "colour": 1 }), "colour"),
    ] {
        let refused = ask(asked.clone()).expect_status(400).json();
        assert!(refused["fields"].get(field).is_some(), "{asked}: {refused}");
    }
    let unknown = http(gate.admin_address(), "POST", "/debug/explain", &[], b"{}");
    assert_eq!(unknown.status, 401);
}
