//! A gate's database as a file: `sync`, `diff`, `dump`, `import kong`, `db`.

use serde_json::{Value, json};
use std::fs;
use tests::{Finished, Gate, Origin, Postgres, TempDir, http};

fn tell(gate: &Gate, args: &[&str]) -> Finished {
    gate.tell_with(args, &[("PORTCULLIS_ADMIN_TOKEN", gate.token())])
}

const FILE: &str = "
_format_version: '3.0'
services:
- name: orders
  url: URL
  routes:
  - name: orders
    paths: [/orders]
  plugins:
  - name: key-auth
    config: {hide_credentials: true}
consumers:
- username: ann
  keyauth_credentials: [{key: ann-key}]
  basicauth_credentials: [{username: ann, password: a-long-password}]
- username: bob
  keyauth_credentials: [{key: bob-key}]
upstreams:
- name: pool
  targets: [{target: '127.0.0.1:9'}]
";

fn status(gate: &Gate, key: &str) -> u16 {
    http(gate.proxy(), "GET", "/orders", &[("apikey", key)], b"").status
}

#[test]
fn a_file_becomes_the_database_in_one_step() {
    let (origin, gate, dir) = (Origin::start(), Gate::stored().start(), TempDir::new());
    let file = |text: &str| dir.write("kong.yml", text.replace("URL", &origin.url())).to_str().unwrap().to_owned();
    // Bob is there already, under another identity and with another key.
    gate.admin("POST", "/consumers", r#"{"username":"bob"}"#).expect_status(201);
    gate.admin("POST", "/consumers/bob/key-auth", r#"{"key":"old-key"}"#).expect_status(201);
    let bob = gate.admin("GET", "/consumers/bob", "").json()["id"].clone();

    let first = file(FILE);
    let told = tell(&gate, &["sync", &first, "--dry-run"]).expect_code(0).text();
    assert!(told.contains("+ services orders\n") && told.contains("nothing was changed"), "{told}");
    assert!(!told.contains("-key") && !told.contains("password\""), "{told}");
    assert_eq!(status(&gate, "ann-key"), 404);
    assert_eq!(tell(&gate, &["diff", &first, "--exit-code"]).code, Some(3));
    let told = tell(&gate, &["sync", &first]).expect_code(0).text();
    assert!(told.contains("+ consumers ann\n") && told.contains("- keyauth_credentials "), "{told}");
    assert_eq!(["ann-key", "bob-key", "old-key"].map(|key| status(&gate, key)), [200, 200, 401]);
    assert_eq!(gate.admin("GET", "/consumers/bob", "").json()["id"], bob);
    // The same once more is nothing, hashed passwords included.
    assert_eq!(tell(&gate, &["sync", &first]).expect_code(0).text(), "nothing differs\n");
    tell(&gate, &["diff", &first, "--exit-code"]).expect_code(0);

    let second = file(&FILE.replace("hide_credentials: true", "hide_credentials: false").replace("bob-key", "new-key"));
    let told = tell(&gate, &["diff", &second]).expect_code(0).text();
    assert!(told.contains("~ plugins key-auth\n    config.hide_credentials: true -> false\n"), "{told}");
    tell(&gate, &["sync", &second]).expect_code(0);
    assert_eq!(["ann-key", "bob-key", "new-key"].map(|key| status(&gate, key)), [200, 401, 200]);

    // A mistake anywhere changes nothing.
    let third = file(&FILE.replace("paths: [/orders]", "paths: [orders]"));
    let wrong = tell(&gate, &["sync", &third]).expect_code(1);
    assert!(
        wrong.stderr.contains("route orders: paths") && wrong.stderr.contains("nothing was changed"),
        "{}",
        wrong.stderr
    );
    assert_eq!(status(&gate, "new-key"), 200);

    // Without a word of callers they stay.
    let quiet = FILE.split("consumers:").next().unwrap().to_owned();
    let told = tell(&gate, &["sync", &file(&quiet)]).expect_code(0).text();
    assert!(told.contains("- upstreams pool\n") && !told.contains("consumers"), "{told}");
    assert_eq!(status(&gate, "new-key"), 200);
}

#[test]
fn entities_are_known_again() {
    let (gate, dir) = (Gate::stored().start(), TempDir::new());
    let file = |text: &str| dir.write("kong.yml", text).to_str().unwrap().to_owned();
    let sync = |text: &str| tell(&gate, &["sync", &file(text)]).expect_code(0).text();
    // A route without a name is the same the next time.
    let nameless = "{_format_version: '3.0', services: [{name: a, url: 'http://a', routes: [{paths: [/x]}, {name: r, paths: [/y]}]}]}";
    sync(nameless);
    assert_eq!(sync(nameless), "nothing differs\n");
    // A route goes from a service that goes to one that comes.
    let told =
        sync("{_format_version: '3.0', services: [{name: b, url: 'http://a', routes: [{name: r, paths: [/y]}]}]}");
    assert!(told.contains("~ routes r\n") && told.contains("- services a\n"), "{told}");
    // A key changes hands.
    let keys = |ann: &str, bob: &str| {
        format!(
            "{{_format_version: '3.0', consumers: [{{username: ann, keyauth_credentials: [{{key: {ann}}}]}}, \
             {{username: bob, keyauth_credentials: [{{key: {bob}}}]}}]}}"
        )
    };
    sync(&keys("one", "two"));
    sync(&keys("two", "three"));
    assert_eq!(sync(&keys("two", "three")), "nothing differs\n");
    let owner = gate.admin("GET", "/key-auths/two/consumer", "").expect_status(200).json();
    assert_eq!(owner["username"], "ann");
}

#[test]
fn tags_are_the_bounds_of_a_team() {
    let (origin, gate, dir) = (Origin::start(), Gate::stored().start(), TempDir::new());
    gate.admin("POST", "/services", &json!({ "name": "others", "url": origin.url() }).to_string()).expect_status(201);
    let file = |text: &str| dir.write("kong.yml", text).to_str().unwrap().to_owned();
    let ours =
        "{_format_version: '3.0', services: [{name: a, url: 'http://a'}, {name: b, url: 'http://b', tags: [x]}]}";
    tell(&gate, &["sync", &file(ours), "--select-tag", "team-a"]).expect_code(0);
    assert_eq!(gate.admin("GET", "/services/b", "").json()["tags"], json!(["x", "team-a"]));
    let less = "{_format_version: '3.0', services: [{name: a, url: 'http://a'}]}";
    let told = tell(&gate, &["sync", &file(less), "--select-tag", "team-a"]).expect_code(0).text();
    assert_eq!(told, "- services b\n0 created, 0 changed, 1 deleted\n");
    gate.admin("GET", "/services/others", "").expect_status(200);
    let others = "{_format_version: '3.0', services: [{name: others, url: 'http://a'}]}";
    let refused = tell(&gate, &["sync", &file(others), "--select-tag", "team-a"]).expect_code(1);
    assert!(refused.stderr.contains("without the tags"), "{}", refused.stderr);
    let dumped = tell(&gate, &["dump", "--select-tag", "team-a"]).expect_code(0).text();
    assert!(dumped.contains("name: a\n") && !dumped.contains("others"), "{dumped}");
}

#[test]
fn what_is_dumped_is_the_same_elsewhere() {
    let (origin, one, two, dir) = (Origin::start(), Gate::stored().start(), Gate::stored().start(), TempDir::new());
    let file = dir.write("kong.yml", FILE.replace("URL", &origin.url()));
    tell(&one, &["sync", file.to_str().unwrap()]).expect_code(0);
    one.admin("POST", "/consumers/ann/key-auth", r#"{"key":"for-a-day","ttl":86400}"#).expect_status(201);
    let dumped = dir.join("dumped.yml").to_str().unwrap().to_owned();
    tell(&one, &["dump", "--output", &dumped]).expect_code(0);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&dumped).unwrap().permissions().mode() & 0o777, 0o600);
    tell(&one, &["dump", "--output", &dumped]).expect_code(1);
    tell(&two, &["sync", &dumped]).expect_code(0);
    assert_eq!(["ann-key", "for-a-day", "nobody"].map(|key| status(&two, key)), [200, 200, 401]);
    assert_eq!(tell(&two, &["sync", &dumped]).expect_code(0).text(), "nothing differs\n");
    // Also as the document of a gate without a database.
    let fixed = Gate::start(fs::read(&dumped).unwrap());
    assert_eq!(["ann-key", "for-a-day", "nobody"].map(|key| status(&fixed, key)), [200, 200, 401]);
    // Everything that a Kong would show comes along, from a gate that speaks as Kong does.
    let url = format!("http://{}", one.admin_address());
    let token = format!("Kong-Admin-Token: {}", one.token());
    let imported = dir.join("imported.yml").to_str().unwrap().to_owned();
    Gate::command(&["import", "kong", "--from", &url, "-H", &token, "--output", &imported]).expect_code(0);
    let three = Gate::stored().start();
    tell(&three, &["sync", &imported]).expect_code(0);
    assert_eq!(["ann-key", "for-a-day", "nobody"].map(|key| status(&three, key)), [200, 200, 401]);
    let lists = |gate: &Gate| -> Vec<Value> {
        let paths =
            ["/services", "/routes", "/plugins", "/consumers", "/key-auths", "/basic-auths", "/upstreams/pool/targets"];
        paths.iter().map(|path| gate.admin("GET", &format!("{path}?size=1000"), "").json()["data"].clone()).collect()
    };
    assert_eq!(without_ends(lists(&one)), without_ends(lists(&three)));
    // A wrong token is told as such.
    let refused = Gate::command(&["import", "kong", "--from", &url, "-H", "Kong-Admin-Token: no"]).expect_code(1);
    assert!(refused.stderr.contains("401"), "{}", refused.stderr);
}

/// The second at which a key ends is counted from when it was asked.
fn without_ends(mut lists: Vec<Value>) -> Vec<Value> {
    for list in &mut lists {
        list.as_array_mut()
            .into_iter()
            .flatten()
            .for_each(|entity| drop(entity.as_object_mut().unwrap().remove("ttl")));
    }
    lists
}

#[test]
fn a_backup_of_one_engine_comes_back_in_the_other() {
    let (origin, dir, server) = (Origin::start(), TempDir::new(), Postgres::start());
    let key = "7".repeat(64);
    let one = Gate::stored().env("PORTCULLIS_ENCRYPTION_KEY", &key).start();
    let file = dir.write("kong.yml", FILE.replace("URL", &origin.url()));
    tell(&one, &["sync", file.to_str().unwrap()]).expect_code(0);
    let backup = dir.join("backup").to_str().unwrap().to_owned();
    let here = [("PORTCULLIS_ENCRYPTION_KEY", key.as_str())];
    let done = one.tell_with(&["db", "status"], &here).expect_code(0).text();
    assert!(done.contains("step 2 of 2; last change"), "{done}");
    one.tell_with(&["db", "backup", &backup], &here).expect_code(0);
    one.tell_with(&["db", "backup", &backup], &here).expect_code(1);
    let two = Gate::sharing(&server).env("PORTCULLIS_ENCRYPTION_KEY", &key).start();
    assert_eq!(status(&two, "ann-key"), 404);
    let there = two.settings();
    two.tell_with(&["db", "restore", &backup], &there).expect_code(0);
    // The gate that runs is told.
    tests::eventually(tests::DEADLINE, || match status(&two, "ann-key") {
        200 => Ok(()),
        other => Err(other.to_string()),
    });
    // Under a new key, with the old one beside it until everything is.
    let both = format!("{},{key}", "8".repeat(64));
    let done = one.tell_with(&["db", "encrypt"], &[("PORTCULLIS_ENCRYPTION_KEY", &both)]).expect_code(0).text();
    assert!(done.starts_with("4 entities"), "{done}");
    let wrong = one.tell_with(&["db", "encrypt"], &here).expect_code(1);
    assert!(wrong.stderr.contains("encryption key"), "{}", wrong.stderr);
}
