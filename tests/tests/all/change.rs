//! Changing what the gate does while it runs: from the file, over the Admin API, and not at all.

use std::os::unix::fs::PermissionsExt;
use tests::{DEADLINE, Gate, Origin, eventually, http};

fn config(origin: &Origin, path: &str) -> String {
    format!(
        "_format_version: \"3.0\"\nservices:\n- name: shop\n  url: {}\n  \
         routes:\n  - name: shop\n    paths: [{path}]\n",
        origin.url()
    )
}

fn bad(origin: &Origin) -> String {
    config(origin, "/bad").replace("- name: shop\n  url", "- name: shop\n  retrys: 3\n  url")
}

/// The command returns when the new configuration is in force: a deployment goes on from there.
#[test]
fn reload_reads_the_file_again() {
    let origin = Origin::start();
    let gate = Gate::start(config(&origin, "/old"));
    gate.get("/old").expect_status(200);
    gate.rewrite(config(&origin, "/new"));
    let finished = gate.tell(&["reload"]).expect_code(0);
    assert!(!finished.text().trim().is_empty(), "reload says nothing about what it did");
    gate.get("/new").expect_status(200);
    gate.get("/old").expect_status(404);
}

#[test]
fn hup_reads_the_file_again() {
    let origin = Origin::start();
    let gate = Gate::start(config(&origin, "/old"));
    gate.rewrite(config(&origin, "/new"));
    gate.signal("HUP");
    eventually(DEADLINE, || match gate.get("/new").status {
        200 => Ok(()),
        status => Err(format!("/new: {status}\n{}", gate.said())),
    });
    gate.get("/old").expect_status(404);
}

#[test]
fn reload_of_a_bad_file_changes_nothing_and_says_why() {
    let origin = Origin::start();
    let gate = Gate::start(config(&origin, "/old"));
    gate.rewrite(bad(&origin));
    let finished = gate.tell(&["reload"]).expect_code(1);
    assert!(finished.stderr.contains("retrys"), "{}", finished.stderr);
    gate.get("/old").expect_status(200);
    gate.get("/bad").expect_status(404);
}

#[test]
fn hup_with_a_bad_file_changes_nothing_and_says_why() {
    let origin = Origin::start();
    let gate = Gate::start(config(&origin, "/old"));
    gate.rewrite(bad(&origin));
    gate.signal("HUP");
    gate.wait_until_said("retrys");
    gate.get("/old").expect_status(200);
    gate.get("/bad").expect_status(404);
}

#[test]
fn reload_without_a_gate_fails() {
    let dir = tests::TempDir::new();
    let gate = Gate::empty().env("PORTCULLIS_DATA", dir.path().to_str().unwrap()).start();
    // This gate keeps its data elsewhere, so there is none where `tell` asks.
    let finished = gate.tell(&["reload"]);
    assert_ne!(finished.code, Some(0), "{}", finished.text());
    assert!(!finished.stderr.trim().is_empty());
}

#[test]
fn post_config_replaces_the_whole() {
    let origin = Origin::start();
    let gate = Gate::empty().start();
    gate.get("/first").expect_status(404);
    let post = |config: String| gate.admin("POST", "/config", &serde_json::json!({"config": config}).to_string());
    post(config(&origin, "/first")).expect_status(201);
    gate.get("/first").expect_status(200);
    post(config(&origin, "/second")).expect_status(201);
    gate.get("/second").expect_status(200);
    gate.get("/first").expect_status(404);

    let refused = post(bad(&origin)).expect_status(400);
    assert!(refused.text().contains("retrys"), "{}", refused.text());
    gate.get("/second").expect_status(200);
    gate.get("/bad").expect_status(404);
}

/// Kong's Admin API opens to whoever reaches its port, and so have been opened many Kongs. Every
/// door here asks for the token, and tells nothing before.
#[test]
fn the_admin_api_opens_only_with_the_token() {
    let origin = Origin::start();
    let gate = Gate::start(config(&origin, "/old"));
    let posted = serde_json::json!({"config": config(&origin, "/taken")}).to_string();
    let doors = [
        ("GET", "/"),
        ("GET", "/status"),
        ("GET", "/config"),
        ("GET", "/services"),
        ("GET", "/schemas/services"),
        ("POST", "/config"),
    ];
    let longer = format!("Bearer {}x", gate.token());
    let basic = format!("Basic {}", tests::base64(format!("{}:admin", gate.token()).as_bytes()));
    let wrong: &[&[(&str, &str)]] = &[
        &[],
        &[("Kong-Admin-Token", "")],
        &[("Kong-Admin-Token", "wrong")],
        &[("Authorization", "Bearer")],
        &[("Authorization", &longer)],
        &[("Authorization", &basic)],
        &[("apikey", gate.token())],
    ];
    for (method, path) in doors {
        let body = if method == "POST" { posted.as_str() } else { "" };
        for fields in wrong {
            let fields = [&[("Content-Type", "application/json")], *fields].concat();
            let answer = http(gate.admin_address(), method, path, &fields, body.as_bytes());
            assert_eq!(answer.status, 401, "{method} {path} with {fields:?}: {}", answer.text());
            assert!(!answer.text().contains("shop"), "{method} {path} tells: {}", answer.text());
        }
    }
    gate.get("/taken").expect_status(404);

    let bearer = format!("Bearer {}", gate.token());
    for fields in [("Kong-Admin-Token", gate.token()), ("Authorization", bearer.as_str())] {
        http(gate.admin_address(), "GET", "/services", &[fields], b"").expect_status(200);
    }
}

#[test]
fn a_gate_without_a_given_token_makes_one_that_only_its_owner_can_read() {
    let gate = Gate::empty().without("PORTCULLIS_ADMIN_TOKEN").start();
    let file = gate.data().join("admin_token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&file).unwrap();
    let token = token.trim();
    assert!(token.len() >= 32, "a token of {} characters can be guessed", token.len());
    assert!(!gate.said().contains(token), "the token is printed");
    http(gate.admin_address(), "GET", "/services", &[], b"").expect_status(401);
    http(gate.admin_address(), "GET", "/services", &[("Kong-Admin-Token", token)], b"").expect_status(200);
}

/// The gate remembers tokens that it has verified. It must forget them when the credential goes, or a
/// dismissed caller would come in until the token expires.
#[test]
fn a_token_is_forgotten_with_its_credential() {
    let origin = Origin::start();
    let with = |secret: &str| {
        format!(
            "_format_version: \"3.0\"\nconsumers: [{{username: alice, jwt_secrets: [{{key: issuer, secret: {secret}}}]}}]\n\
             services:\n- url: {}\n  routes:\n  - paths: [/]\n    plugins: [{{name: jwt}}]\n",
            origin.url()
        )
    };
    let gate = Gate::start(with("first-secret"));
    let token = format!("Bearer {}", tests::hs256("first-secret", &serde_json::json!({"iss": "issuer"})));
    let ask = || http(gate.proxy(), "GET", "/", &[("Authorization", &token)], b"");
    for _ in 0..3 {
        ask().expect_status(200);
    }
    gate.rewrite(with("second-secret"));
    gate.tell(&["reload"]).expect_code(0);
    ask().expect_status(401);
}
