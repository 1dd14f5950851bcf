//! authorize and any-of on a running gate: who may do what, by which of several credentials.

use serde_json::json;
use std::fs;
use tests::{DEADLINE, Gate, Origin, Redis, base64, eventually, hs256, http, workspace};

const SECRET: &str = "a secret of at least thirty-two bytes";

fn services(origin: &Origin) -> String {
    format!(
        "_format_version: \"3.0\"\nservices:\n- name: shop\n  url: {}\n  routes: [{{name: shop, paths: [/]}}]\n",
        origin.url()
    )
}

#[test]
fn claims_decide() {
    let origin = Origin::start();
    let gate = Gate::start(
        services(&origin)
            + &format!(
                "consumers:
- username: ann
  jwt_secrets: [{{key: ann, secret: {SECRET}}}]
plugins:
- name: jwt
- name: authorize
  config: {{allow: ['claims.reputation > 15 && request.method == \"POST\"']}}"
            ),
    );
    for (method, claims, status) in [
        ("POST", json!({ "iss": "ann", "reputation": 16 }), 200),
        ("POST", json!({ "iss": "ann", "reputation": 15.5 }), 200),
        ("GET", json!({ "iss": "ann", "reputation": 16 }), 403),
        ("POST", json!({ "iss": "ann", "reputation": 15 }), 403),
        ("POST", json!({ "iss": "ann", "reputation": "99" }), 403),
        ("POST", json!({ "iss": "ann" }), 403),
    ] {
        let token = format!("Bearer {}", hs256(SECRET, &claims));
        // The second time the token is known, and its claims must be as they were.
        for _ in 0..2 {
            let answer = http(gate.proxy(), method, "/", &[("Authorization", &token)], b"");
            assert_eq!(answer.status, status, "{method} {claims}: {}", answer.text());
        }
    }
}

/// The configuration of the documentation, whose door no header of the caller's opens.
#[test]
fn networks_need_no_credential_and_nobody_can_say_to_be_in_one() {
    let origin = Origin::start();
    let page = fs::read_to_string(workspace().join("docs/plugins/README.md")).unwrap();
    let recipe = page.split("## Networks that need no credential").nth(1).unwrap();
    let recipe = recipe.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let recipe = recipe
        .replace("- username: nobody\n", "- username: nobody\n- username: ann\n  keyauth_credentials: [{key: k1}]\n");
    let config = services(&origin) + &recipe;
    let ask = |gate: &Gate, fields: &[(&str, &str)]| http(gate.proxy(), "GET", "/", fields, b"").status;
    let forged = [
        ("X-Forwarded-For", "10.1.1.1"),
        ("X-Real-IP", "10.1.1.1"),
        ("Forwarded", "for=10.1.1.1"),
        ("X_Real_IP", "10.1.1.1"),
        ("X-Consumer-Username", "ann"),
    ];
    let gate = Gate::start(&config);
    for field in forged {
        assert_eq!(ask(&gate, &[field]), 401, "{field:?}");
    }
    assert_eq!(ask(&gate, &[("apikey", "k1")]), 200);
    assert_eq!(ask(&gate, &[("apikey", "k2")]), 401);
    let within = Gate::start(config.replace("10.0.0.0/8", "127.0.0.0/8"));
    assert_eq!(ask(&within, &[]), 200);
    assert_eq!(origin.last().values("x-anonymous-consumer"), ["true"]);
    // Whom the operator trusts may say where a caller is.
    let behind = Gate::with(config).env("PORTCULLIS_TRUSTED_IPS", "127.0.0.0/8").start();
    assert_eq!(ask(&behind, &[("X-Real-IP", "10.1.1.1")]), 200);
    assert_eq!(ask(&behind, &[("X-Real-IP", "11.1.1.1")]), 401);
}

#[test]
fn one_of_several_credentials_is_enough() {
    let origin = Origin::start();
    let gate = Gate::with(
        services(&origin)
            + &format!(
                "consumers:
- username: ann
  jwt_secrets: [{{key: ann, secret: {SECRET}}}]
  keyauth_credentials: [{{key: k1}}]
  basicauth_credentials: [{{username: ann, password: pw}}]
plugins:
- name: any-of
  config:
    of:
    - {{name: key-auth, config: {{hide_credentials: true}}}}
    - {{name: jwt, config: {{claims_to_verify: [exp]}}}}
    - {{name: basic-auth, config: {{realm: shop}}}}"
            ),
    )
    .start();
    let token = format!("Bearer {}", hs256(SECRET, &json!({ "iss": "ann", "exp": 4_102_444_800_u64 })));
    let expired = format!("Bearer {}", hs256(SECRET, &json!({ "iss": "ann", "exp": 1 })));
    let basic = format!("Basic {}", base64(b"ann:pw"));
    for fields in [vec![("apikey", "k1")], vec![("Authorization", token.as_str())], vec![("Authorization", &basic)]] {
        http(gate.proxy(), "GET", "/", &fields, b"").expect_status(200);
        assert_eq!(origin.last().values("x-consumer-username"), ["ann"]);
        assert!(origin.last().values("apikey").is_empty());
    }
    for fields in [vec![], vec![("apikey", "k2")], vec![("Authorization", expired.as_str())]] {
        let refused = http(gate.proxy(), "GET", "/", &fields, b"").expect_status(401);
        let challenges: Vec<&str> = refused
            .fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"))
            .map(|(_, v)| v.as_str())
            .collect();
        assert_eq!(challenges.len(), 3, "{challenges:?}");
    }
    // The Admin API shows what is in force, with the options of each.
    let shown = gate.admin("GET", "/plugins", "").json();
    assert_eq!(shown["data"][0]["config"]["of"][0]["config"]["key_names"], json!(["apikey"]));
}

#[test]
fn passwords_cannot_be_tried_out() {
    let origin = Origin::start();
    let config = |protection: &str| {
        services(&origin)
            + &format!(
                "consumers:
- {{username: ann, basicauth_credentials: [{{username: ann, password: pw}}]}}
- {{username: bob, basicauth_credentials: [{{username: bob, password: pw}}]}}
plugins: [{{name: basic-auth, config: {{{protection}}}}}]"
            )
    };
    let ask = |gate: &Gate, pair: &str| {
        http(gate.proxy(), "GET", "/", &[("Authorization", &format!("Basic {}", base64(pair.as_bytes())))], b"")
    };
    let redis = Redis::start("");
    let in_redis = format!("strategy: redis, failures: 3, redis: {{host: 127.0.0.1, port: {}}}", redis.port());
    for protection in ["failures: 3", &in_redis] {
        let gate = Gate::start(config(&format!("brute_force_protection: {{{protection}}}")));
        // A minute may begin in between; then they are counted anew.
        let refused = eventually(DEADLINE, || match ask(&gate, "ann:wrong") {
            answer if answer.status == 429 => Ok(answer),
            answer => Err(answer.expect_status(401).text()),
        });
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait));
        if wait > 3 {
            ask(&gate, "ann:pw").expect_status(429);
        }
        ask(&gate, "bob:pw").expect_status(200);
    }
    let open = Gate::start(config("brute_force_protection: {strategy: 'off'}"));
    for _ in 0..30 {
        ask(&open, "ann:wrong").expect_status(401);
    }
    ask(&open, "ann:pw").expect_status(200);
    // Where it is as usual, tools for Kong do not see it.
    let usual = Gate::start(config(""));
    assert_eq!(usual.admin("GET", "/plugins", "").json()["data"][0]["config"].get("brute_force_protection"), None);
    assert!(open.admin("GET", "/plugins", "").json()["data"][0]["config"]["brute_force_protection"].is_object());
}

#[test]
fn plugins_can_be_put_on_groups_of_consumers() {
    let origin = Origin::start();
    let gate = Gate::start(
        services(&origin)
            + "consumer_groups:
- name: gold
  plugins: [{name: rate-limiting, config: {hour: 3}}]
- name: silver
  consumers: [bob]
consumers:
- {username: ann, keyauth_credentials: [{key: k-ann}], groups: [{name: gold}]}
- {username: bob, keyauth_credentials: [{key: k-bob}]}
- {username: cid, keyauth_credentials: [{key: k-cid}], groups: [gold, silver]}
- username: dan
  keyauth_credentials: [{key: k-dan}]
  groups: [gold]
  plugins: [{name: rate-limiting, config: {hour: 4}}]
- {username: eve, keyauth_credentials: [{key: k-eve}]}
plugins:
- {name: key-auth}
- {name: rate-limiting, config: {hour: 1}}
- {name: rate-limiting, consumer_group: silver, config: {hour: 2}}
",
    );
    // Of equals the first by name; a consumer's own before its groups'; all others as everybody.
    for (key, limit) in [("k-ann", "3"), ("k-bob", "2"), ("k-cid", "3"), ("k-dan", "4"), ("k-eve", "1")] {
        let answer = http(gate.proxy(), "GET", "/", &[("apikey", key)], b"").expect_status(200);
        assert_eq!(answer.header("x-ratelimit-limit-hour"), Some(limit), "{key}");
    }
    let refused = Gate::with(services(&origin) + "consumers: [{username: ann, groups: [nowhere]}]\n").refuse();
    assert!(refused.stderr.contains("consumer_group"), "{}", refused.stderr);
    let refused =
        Gate::with(services(&origin) + "consumer_groups: [{name: gold, plugins: [{name: key-auth}]}]\n").refuse();
    assert!(refused.stderr.contains("value must be null"), "{}", refused.stderr);
    // Groups that plugins are put on can be groups of acl as well.
    let members = Gate::start(
        services(&origin)
            + "consumer_groups: [{name: gold}]
consumers:
- {username: ann, keyauth_credentials: [{key: k-ann}], groups: [gold]}
- {username: bob, keyauth_credentials: [{key: k-bob}]}
plugins:
- {name: key-auth}
- {name: acl, config: {allow: [gold], include_consumer_groups: true}}
",
    );
    http(members.proxy(), "GET", "/", &[("apikey", "k-ann")], b"").expect_status(200);
    http(members.proxy(), "GET", "/", &[("apikey", "k-bob")], b"").expect_status(403);
}
