//! Who may change what over the Admin API, who has changed it, and whose change counts.

use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use tests::{Answer, DEADLINE, Gate, Origin, TempDir, eventually, http};

fn ask(gate: &Gate, method: &str, path: &str, token: &str, body: &Value) -> Answer {
    let fields = [("Authorization", format!("Bearer {token}")), ("Content-Type", "application/json".to_owned())];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    http(gate.admin_address(), method, path, &fields, body.as_bytes())
}

fn tell(gate: &Gate, args: &[&str]) -> tests::Finished {
    gate.tell_with(args, &[("PORTCULLIS_ADMIN_TOKEN", gate.token())])
}

#[test]
fn a_team_has_a_token_for_what_it_does() {
    let gate = Gate::stored().start();
    let made = tell(
        &gate,
        &["tokens", "create", "registration", "--allow", "POST /consumers", "--allow", "POST /consumers/*/key-auth"],
    );
    let token = made.expect_code(0).text().trim().to_owned();
    assert_eq!(token.len(), 32);
    ask(&gate, "POST", "/consumers", &token, &json!({ "username": "ann" })).expect_status(201);
    ask(&gate, "POST", "/consumers/ann/key-auth", &token, &json!({})).expect_status(201);
    for (method, path) in [
        ("GET", "/consumers"),
        ("GET", "/consumers/ann"),
        ("DELETE", "/consumers/ann"),
        ("POST", "/consumers/ann/jwt"),
        ("POST", "/admin_tokens"),
        ("PUT", "/declarative"),
        ("GET", "/audit"),
    ] {
        let refused = ask(&gate, method, path, &token, &json!({})).expect_status(403);
        assert!(refused.json()["message"].as_str().unwrap().contains("does not allow"), "{method} {path}");
    }
    assert_eq!(
        tell(&gate, &["tokens", "list"]).expect_code(0).text(),
        "registration: POST /consumers | POST /consumers/*/key-auth\n"
    );
    // It is nowhere to be seen again.
    assert!(!gate.admin("GET", "/admin_tokens", "").text().contains(&token));
    tell(&gate, &["tokens", "revoke", "registration"]).expect_code(0);
    ask(&gate, "POST", "/consumers", &token, &json!({ "username": "bob" })).expect_status(401);
    tell(&gate, &["tokens", "revoke", "registration"]).expect_code(1);
    tell(&gate, &["tokens", "create", "x", "--allow", "FETCH /"]).expect_code(1);
}

#[test]
fn the_rights_of_a_path_end_with_it() {
    let gate = Gate::stored().start();
    for (path, body) in [
        ("/services", json!({ "name": "s", "url": "http://a" })),
        ("/services/s/routes", json!({ "name": "r", "paths": ["/"] })),
        ("/services/s/plugins", json!({ "name": "key-auth", "instance_name": "p" })),
        ("/consumers", json!({ "username": "ann" })),
        ("/consumers", json!({ "username": "bob" })),
        ("/consumers/ann/key-auth", json!({ "key": "anns" })),
        ("/consumers/bob/key-auth", json!({ "key": "bobs" })),
    ] {
        gate.admin("POST", path, &body.to_string()).expect_status(201);
    }
    let rules = ["* /consumers/**", "* /routes/**", "* /services/s/**"];
    let made = gate.admin("POST", "/admin_tokens", &json!({ "name": "t", "allow": rules }).to_string());
    let token = made.expect_status(201).json()["token"].as_str().unwrap().to_owned();
    let ask = |method: &str, path: &str, body: Value| ask(&gate, method, path, &token, &body);
    // Nobody gives rights away that they do not have.
    let all = json!({ "name": "x", "allow": ["* /**"], "digest": "0".repeat(64) });
    ask("POST", "/consumers/ann/admin_tokens", all).expect_status(404);
    // A second way to an entity is not a way around.
    ask("PATCH", "/routes/r/service", json!({ "host": "b" })).expect_status(403);
    ask("GET", "/routes/r/service", Value::Null).expect_status(200);
    // What is below a parent stays there.
    let bob = gate.admin("GET", "/consumers/bob", "").json()["id"].clone();
    let moved = ask("PATCH", "/consumers/ann/key-auth/anns", json!({ "consumer": { "id": bob } })).expect_status(200);
    assert_ne!(moved.json()["consumer"]["id"], bob);
    let plugin = ask("PATCH", "/services/s/plugins/p", json!({ "service": null })).expect_status(200);
    assert!(plugin.json()["service"]["id"].is_string());
    // Nor does a new name take another entity's place.
    let bobs = gate.admin("GET", "/consumers/bob/key-auth/bobs", "").json()["id"].clone();
    ask("PUT", "/consumers/ann/key-auth/new", json!({ "id": bobs })).expect_status(400);
    assert_eq!(gate.admin("GET", "/consumers/bob/key-auth/bobs", "").expect_status(200).json()["id"], bobs);
}

/// `readable_keys = off`: whoever reads the database, or the Admin API, finds no key that lets anybody in.
#[test]
fn a_key_is_told_once() {
    let (origin, dir) = (Origin::start(), TempDir::new());
    let start = |readable: &str| {
        let gate = Gate::stored().env("PORTCULLIS_DATA", dir.path().to_str().unwrap());
        gate.env("PORTCULLIS_READABLE_KEYS", readable).start()
    };
    let digest = |text: &str| {
        let shown = tests::run(Command::new("sh").args(["-c", "printf %s \"$0\" | sha256sum", text])).text();
        format!("sha256:{}", shown.split(' ').next().unwrap())
    };
    let status = |gate: &Gate, key: &str| http(gate.proxy(), "GET", "/", &[("apikey", key)], b"").status;
    // One that was kept before stays as it is until somebody says otherwise.
    let gate = start("on");
    for (path, body) in [
        ("/services", json!({ "name": "s", "url": origin.url() })),
        ("/services/s/routes", json!({ "paths": ["/"] })),
        ("/plugins", json!({ "name": "key-auth" })),
        ("/consumers", json!({ "username": "ann" })),
        ("/consumers/ann/key-auth", json!({ "key": "from-before" })),
    ] {
        gate.admin("POST", path, &body.to_string()).expect_status(201);
    }
    drop(gate);
    let gate = start("off");
    let tell = |args: &[&str]| {
        let (command, rest) = args.split_at(1);
        tell(&gate, &[command, &["--data", dir.path().to_str().unwrap()], rest].concat())
    };
    let made = gate.admin("POST", "/consumers/ann/key-auth", "{}").expect_status(201).json();
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert_eq!(key.len(), 32);
    let shown = |path: &str| gate.admin("GET", path, "").expect_status(200).json()["key"].as_str().unwrap().to_owned();
    assert_eq!(shown(&format!("/key-auths/{id}")), digest(key));
    assert_eq!(shown(&format!("/consumers/ann/key-auth/{key}")), digest(key));
    assert_eq!(status(&gate, key), 200);
    // What is kept is no key.
    assert_eq!(status(&gate, &digest(key)), 401);
    // It is still nobody else's, in either form.
    for taken in [key, &digest(key)] {
        let body = json!({ "key": taken }).to_string();
        gate.admin("POST", "/consumers/ann/key-auth", &body).expect_status(409);
    }
    let changed = gate.admin("PATCH", &format!("/key-auths/{id}"), r#"{"key":"another"}"#).expect_status(200);
    assert_eq!(
        (changed.json()["key"].as_str(), shown(&format!("/key-auths/{id}"))),
        (Some("another"), digest("another"))
    );
    assert_eq!(["another", key, "from-before"].map(|key| status(&gate, key)), [200, 401, 200]);
    assert_eq!(shown("/key-auths/from-before"), "from-before");
    // Another change of it is none of its key.
    let tagged = gate.admin("PATCH", "/key-auths/from-before", r#"{"tags":["a"]}"#).expect_status(200);
    assert_eq!(tagged.json()["key"], "from-before");
    assert_eq!(shown("/key-auths/from-before"), "from-before");
    tell(&["db", "hash-keys"]).expect_code(0);
    eventually(DEADLINE, || match shown("/key-auths/from-before") {
        shown if shown == digest("from-before") => Ok(()),
        other => Err(other),
    });
    assert_eq!(status(&gate, "from-before"), 200);
    // A file may hold either form; what is written out can be read in again.
    let file = dir.join("out.yml").to_str().unwrap().to_owned();
    tell(&["dump", "--output", &file]).expect_code(0);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&digest("another")) && !text.contains("key: another"), "{text}");
    assert_eq!(tell(&["sync", &file]).expect_code(0).text(), "nothing differs\n");
    let plain = text.replace(&digest("another"), "another").replace(&digest("from-before"), "a-new-one");
    fs::write(&file, plain).unwrap();
    let told = tell(&["sync", &file]).expect_code(0).text();
    assert!(
        told.ends_with("0 created, 1 changed, 0 deleted\n") || told.ends_with("1 created, 0 changed, 1 deleted\n"),
        "{told}"
    );
    assert_eq!(["another", "from-before", "a-new-one"].map(|key| status(&gate, key)), [200, 401, 200]);
    assert!(!gate.admin("GET", "/key-auths", "").text().contains("a-new-one"));
    drop(gate);
    // Nor does it come back with the setting.
    let gate = start("on");
    assert!(!gate.admin("GET", "/key-auths", "").text().contains("a-new-one"));
    assert_eq!(status(&gate, "a-new-one"), 200);
}

#[test]
fn the_log_knows_who_changed_what() {
    let gate = Gate::stored().start();
    let token = tell(&gate, &["tokens", "create", "ci", "--allow", "* /consumers/**"]).expect_code(0).text();
    let token = token.trim();
    ask(&gate, "POST", "/consumers", token, &json!({ "username": "ann" })).expect_status(201);
    gate.admin("PATCH", "/consumers/ann", r#"{"custom_id":"7"}"#).expect_status(200);
    gate.admin("POST", "/consumers/ann/key-auth", r#"{"key":"nobody-may-know"}"#).expect_status(201);
    let plugin = json!({ "name": "rate-limiting",
        "config": { "minute": 5, "policy": "redis", "redis": { "host": "127.0.0.1", "password": "nobody-may-know" } } });
    gate.admin("POST", "/plugins", &plugin.to_string()).expect_status(201);
    ask(&gate, "POST", "/consumers", token, &json!({ "username": "ann" })).expect_status(409);
    ask(&gate, "DELETE", "/consumers/ann", token, &Value::Null).expect_status(204);
    let log = gate.admin("GET", "/audit", "").expect_status(200);
    assert!(!log.text().contains("nobody-may-know") && !log.text().contains(token), "{}", log.text());
    let log = log.json();
    let told: Vec<(&str, &str, &str)> = log["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| ["who", "operation", "kind"].map(|field| one[field].as_str().unwrap()).into())
        .collect();
    let expected = [
        ("admin", "create", "admin_tokens"),
        ("ci", "create", "consumers"),
        ("admin", "update", "consumers"),
        ("admin", "create", "keyauth_credentials"),
        ("admin", "create", "plugins"),
        // What goes along is told, too.
        ("ci", "delete", "keyauth_credentials"),
        ("ci", "delete", "consumers"),
    ];
    assert_eq!(told, expected);
    assert_eq!(log["data"][2]["before"]["custom_id"], Value::Null);
    assert_eq!(log["data"][2]["after"]["custom_id"], "7");
    assert_eq!(log["data"][4]["after"]["config"]["redis"]["password"], "[secret]");
    let of_ci = gate.admin("GET", "/audit?who=ci&kind=consumers&size=1", "").json();
    assert_eq!((of_ci["data"].as_array().unwrap().len(), of_ci["next"].is_string()), (1, true));
    let more = gate.admin("GET", of_ci["next"].as_str().unwrap(), "").json();
    assert_eq!(more["data"][0]["operation"], "delete");
    gate.wait_until_said("who=\"ci\"");
    let lines = tell(&gate, &["audit", "--who", "ci", "--kind", "consumers"]).expect_code(0).text();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [&log["data"][1], &log["data"][6]].map(Value::clone));
}

#[test]
fn who_changes_what_another_has_changed_is_told() {
    let gate = Gate::stored().start();
    let made = gate.admin("POST", "/services", r#"{"name":"s","url":"http://a"}"#).expect_status(201);
    let tag = made.header("etag").unwrap().to_owned();
    let seen = gate.admin("GET", "/services/s", "");
    assert_eq!(seen.header("etag"), Some(tag.as_str()));
    let change = |method: &str, tag: &str, body: &str| {
        let fields = [("Kong-Admin-Token", gate.token()), ("Content-Type", "application/json"), ("If-Match", tag)];
        http(gate.admin_address(), method, "/services/s", &fields, body.as_bytes())
    };
    let changed = change("PATCH", &tag, r#"{"retries":1}"#).expect_status(200);
    change("PATCH", &tag, r#"{"retries":2}"#).expect_status(412);
    change("DELETE", &tag, "").expect_status(412);
    change("PUT", "\"x\", W/\"y\"", r#"{"url":"http://b"}"#).expect_status(412);
    assert_eq!(gate.admin("GET", "/services/s", "").json()["retries"], 1);
    change("PATCH", "*", r#"{"retries":3}"#).expect_status(200);
    change("DELETE", changed.header("etag").unwrap(), "").expect_status(412);
    let now = gate.admin("GET", "/services/s", "");
    change("DELETE", now.header("etag").unwrap(), "").expect_status(204);
    change("PUT", "*", r#"{"url":"http://b"}"#).expect_status(412);
}

#[test]
fn other_machines_need_tls_or_a_word() {
    let open = |gate: tests::GateBuilder| gate.env("KONG_ADMIN_LISTEN", "0.0.0.0:0");
    let refused = open(Gate::empty()).refuse();
    assert!(refused.stderr.contains("admin_plaintext"), "{}", refused.stderr);
    let gate = open(Gate::empty())
        .env("PORTCULLIS_ADMIN_PLAINTEXT", "on")
        .env("PORTCULLIS_ADMIN_HOSTS", "gate.internal")
        .start();
    let ask = |host: &str| {
        let request = format!("GET /status HTTP/1.1\r\nHost: {host}\r\nKong-Admin-Token: {}\r\n\r\n", gate.token());
        tests::raw(gate.admin_address(), request).status
    };
    assert_eq!((ask("gate.internal"), ask("other.internal"), ask("127.0.0.1")), (200, 403, 200));
}

#[test]
fn a_team_reaches_a_part_of_it_through_the_gate() {
    let gate = Gate::stored().start();
    let post = |path: &str, body: Value| drop(gate.admin("POST", path, &body.to_string()).expect_status(201));
    post("/services", json!({ "name": "registration", "url": "internal://admin" }));
    post("/services/registration/routes", json!({ "name": "r", "paths": ["/register"], "methods": ["POST", "GET"] }));
    post("/services/registration/plugins", json!({ "name": "key-auth", "config": { "hide_credentials": true } }));
    post("/consumers", json!({ "username": "backend" }));
    post("/consumers/backend/key-auth", json!({ "key": "of-the-backend" }));
    post("/consumers", json!({ "username": "other" }));
    post("/consumers/other/key-auth", json!({ "key": "of-another" }));
    let backend = gate.admin("GET", "/consumers/backend", "").json()["id"].clone();
    let allow = ["POST /consumers", "POST /consumers/*/key-auth"];
    let right = gate.admin(
        "POST",
        "/admin_tokens",
        &json!({ "name": "backend", "consumer": { "id": backend }, "allow": allow }).to_string(),
    );
    // It is the consumer who has the right: there is no token.
    assert!(right.expect_status(201).json().get("token").is_none());
    let ask = |method: &str, path: &str, key: &str, more: &[(&str, &str)], body: Value| {
        let fields = [&[("apikey", key), ("Content-Type", "application/json")], more].concat();
        http(gate.proxy(), method, &format!("/register{path}"), &fields, body.to_string().as_bytes())
    };
    let ann = json!({ "username": "ann" });
    ask("POST", "/consumers", "nobody", &[], ann.clone()).expect_status(401);
    ask("POST", "/consumers", "of-another", &[], ann.clone()).expect_status(401);
    ask("POST", "/consumers", "of-the-backend", &[("Origin", "https://evil.test")], ann.clone()).expect_status(403);
    let made = ask("POST", "/consumers", "of-the-backend", &[], ann.clone()).expect_status(201);
    assert_eq!(made.json()["username"], "ann");
    ask("POST", "/consumers/ann/key-auth", "of-the-backend", &[], json!({})).expect_status(201);
    ask("GET", "/consumers", "of-the-backend", &[], Value::Null).expect_status(403);
    ask("POST", "/services", "of-the-backend", &[], json!({})).expect_status(403);
    // What the route does not take never comes so far.
    ask("DELETE", "/consumers/ann", "of-the-backend", &[], Value::Null).expect_status(404);
    // A token counts here as there, behind the route's own rules.
    let token = [("Kong-Admin-Token", gate.token())];
    ask("GET", "/consumers/ann", "of-another", &token, Value::Null).expect_status(200);
    assert_eq!(gate.admin("GET", "/audit?who=backend", "").json()["data"].as_array().unwrap().len(), 2);
    gate.admin("DELETE", "/consumers/backend", "").expect_status(204);
    ask("POST", "/consumers", "of-the-backend", &[], ann).expect_status(401);
    gate.admin("POST", "/services", r#"{"url":"internal://authority"}"#).expect_status(400);
}
