//! Passwords in a database: kept by Argon2id, and those of a Kong as soon as their owner comes.

use serde_json::{Value, json};
use tests::{DEADLINE, Gate, Origin, base64, eventually, http};

fn gate(origin: &Origin) -> Gate {
    let gate = Gate::stored().start();
    for (path, body) in [
        ("/services", json!({ "name": "s", "url": origin.url() })),
        ("/services/s/routes", json!({ "paths": ["/"] })),
        ("/services/s/plugins", json!({ "name": "basic-auth" })),
        ("/consumers", json!({ "username": "ann", "id": "11111111-1111-4111-8111-111111111111" })),
    ] {
        gate.admin("POST", path, &body.to_string()).expect_status(201);
    }
    gate
}

fn status(gate: &Gate, user: &str, password: &str) -> u16 {
    let credentials = format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
    http(gate.proxy(), "GET", "/", &[("Authorization", &credentials)], b"").status
}

fn kept(gate: &Gate) -> String {
    let found = gate.admin("GET", "/consumers/ann/basic-auth/ann", "").json();
    found["password"].as_str().unwrap().to_owned()
}

#[test]
fn a_password_is_kept_by_argon2id() {
    let origin = Origin::start();
    let gate = gate(&origin);
    let made = gate.admin("POST", "/consumers/ann/basic-auth", r#"{"username":"ann","password":"a: päss"}"#);
    assert!(
        made.expect_status(201).json()["password"].as_str().unwrap().starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
    );
    assert_eq!((status(&gate, "ann", "a: päss"), status(&gate, "ann", "a: päss")), (200, 200));
    for (user, password) in [("ann", "a: pass"), ("ann", ""), ("bob", "a: päss"), ("ann", &kept(&gate))] {
        assert_eq!(status(&gate, user, password), 401, "{user} {password}");
    }
    let before = kept(&gate);
    gate.admin("PATCH", "/consumers/ann/basic-auth/ann", r#"{"tags":["x"]}"#).expect_status(200);
    assert_eq!((kept(&gate) == before, status(&gate, "ann", "a: päss")), (true, 200));
    // A password that was right before is not remembered beyond its time.
    gate.admin("PATCH", "/consumers/ann/basic-auth/ann", r#"{"password":"another"}"#).expect_status(200);
    assert_eq!((status(&gate, "ann", "a: päss"), status(&gate, "ann", "another")), (401, 200));
    gate.admin("DELETE", "/consumers/ann/basic-auth/ann", "").expect_status(204);
    assert_eq!(status(&gate, "ann", "another"), 401);
}

#[test]
fn a_password_of_a_kong_goes_on_to_work_and_is_kept_anew() {
    let origin = Origin::start();
    let gate = gate(&origin);
    // sha1("kongs password" + the consumer's identity), as a Kong gives it.
    let sha1 = "9c6a424c175c508dd84b637910cc2597e1b5b27b";
    let document = |password: &str| {
        json!({ "_format_version": "3.0", "_transform": false,
            "services": [{ "name": "s", "url": origin.url() }],
            "routes": [{ "paths": ["/"], "service": "s" }],
            "plugins": [{ "name": "basic-auth", "service": "s" }],
            "consumers": [{ "username": "ann", "id": "11111111-1111-4111-8111-111111111111" }],
            "basicauth_credentials": [{ "username": "ann", "password": password, "consumer": "ann" }] })
    };
    let sync = |document: &Value| gate.admin("PUT", "/declarative", &document.to_string()).expect_status(200);
    sync(&document(sha1));
    assert_eq!(kept(&gate), sha1);
    assert_eq!((status(&gate, "ann", "wrong"), status(&gate, "ann", "kongs password")), (401, 200));
    eventually(DEADLINE, || match kept(&gate) {
        kept if kept.starts_with("$argon2id$") => Ok(()),
        other => Err(other),
    });
    assert_eq!((status(&gate, "ann", "wrong"), status(&gate, "ann", "kongs password")), (401, 200));
    let log = gate.admin("GET", "/audit?who=portcullis", "").json();
    assert_eq!(log["data"][0]["kind"], "basicauth_credentials");
}
