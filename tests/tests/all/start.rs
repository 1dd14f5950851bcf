//! Starting, checking and ending the gate as an operator does.

use std::net::TcpStream;
use std::path::Path;
use std::sync::{Mutex, mpsc};
use tests::{DEADLINE, Gate, Origin, Reply, TempDir, Wire, eventually};

const GOOD: &str = "\
_format_version: \"3.0\"
services:
- name: shop
  url: http://127.0.0.1:9
  routes:
  - name: shop
    paths: [/shop]
";

/// Three faults, each on a line that only it has.
const BAD: &str = "\
_format_version: \"3.0\"
services:
- name: shop
  url: http://127.0.0.1:9
  retrys: 3
  routes:
  - name: shop
    paths: [/shop]
    protocols: [gopher]
    plugins:
    - name: key-auth
      config:
        key_name: apikey
";
const FAULTS: &[(u32, &str)] = &[(5, "retrys"), (9, "protocols"), (13, "key_name")];

#[test]
fn starts_with_kongs_variables_and_says_where_it_listens() {
    let origin = Origin::start();
    let gate = Gate::start(GOOD.replace("http://127.0.0.1:9", &origin.url()));
    assert_eq!(gate.get("/shop").expect_status(200).json()["path"], "/");
    gate.get("/nowhere").expect_status(404);

    let written = std::fs::read(gate.data().join("addresses.json")).unwrap();
    let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
    let proxy = [format!("http://{}", gate.proxy()), format!("https://{}", gate.proxy_tls())];
    assert_eq!(written["proxy"], serde_json::json!(proxy));
    assert_eq!(written["admin"], serde_json::json!([format!("http://{}", gate.admin_address())]));
    assert!(gate.data().join("portcullis.pid").exists());
}

#[test]
fn version_names_the_version() {
    let finished = Gate::command(&["version"]).expect_code(0);
    assert!(finished.text().contains(env!("CARGO_PKG_VERSION")), "{}", finished.text());
}

#[test]
fn check_accepts_a_good_file() {
    let dir = TempDir::new();
    Gate::command(&["check", dir.write("kong.yml", GOOD).to_str().unwrap()]).expect_code(0);
}

#[test]
fn check_warns_of_what_lets_strangers_in() {
    let dir = TempDir::new();
    let file = dir.write(
        "kong.yml",
        "_format_version: \"3.0\"
plugins:
- name: jwt
  config: {issuers: [{issuer: 'http://idp.test', audiences: ['*']}]}
- {name: cors, config: {credentials: true}}
",
    );
    let told = Gate::command(&["check", file.to_str().unwrap()]).expect_code(0).text();
    for warning in ["keys come over plain http", "audiences: '*'", "credentials: true for all origins"] {
        assert!(told.contains(warning), "{warning}: {told}");
    }
    assert!(!told.contains("claims_to_verify lacks exp"), "nobody has a credential: {told}");
}

#[test]
fn check_names_every_violation_with_its_line() {
    let dir = TempDir::new();
    let file = dir.write("kong.yml", BAD);
    let finished = Gate::command(&["check", file.to_str().unwrap()]).expect_code(1);
    let said = finished.text() + &finished.stderr;
    names_every_fault(&said, &file);
    // At the beginning of the line, where editors and CI look for it.
    let place = format!("{}:", file.display());
    assert!(said.lines().filter(|line| line.starts_with(&place)).count() >= FAULTS.len(), "{said}");
}

#[test]
fn check_says_when_it_cannot_read_the_file() {
    let dir = TempDir::new();
    let absent = dir.join("absent.yml");
    let finished = Gate::command(&["check", absent.to_str().unwrap()]).expect_code(2);
    assert!(finished.stderr.contains("absent.yml"), "{}", finished.stderr);
}

#[test]
fn a_bad_file_stops_the_start() {
    let builder = Gate::with(BAD);
    let file = builder.data().join("kong.yml");
    let finished = builder.refuse().expect_code(1);
    assert!(!finished.text().contains("ready"), "{}", finished.text());
    names_every_fault(&finished.stderr, &file);
}

/// A slip of an operator must not take the running gate out of reach.
#[test]
fn a_second_gate_with_the_same_data_leaves_the_first_alone() {
    let gate = Gate::start(GOOD);
    let second = Gate::with(GOOD).env("PORTCULLIS_DATA", gate.data().to_str().unwrap());
    let refused = second.refuse().expect_code(1);
    assert!(refused.stderr.contains("another gate runs"), "{}", refused.stderr);
    assert!(!refused.text().contains("ready"), "{}", refused.text());

    gate.tell(&["reload"]).expect_code(0);
    for file in ["addresses.json", "portcullis.pid"] {
        assert!(gate.data().join(file).exists(), "{file} is gone");
    }
}

#[test]
fn term_ends_the_gate_with_exit_code_0() {
    let gate = Gate::start(GOOD);
    gate.signal("TERM");
    gate.finish().expect_code(0);
}

/// A deployment that cuts requests short loses orders: what was accepted before the signal is
/// answered whole, and nothing new is accepted.
#[test]
fn term_lets_a_slow_request_finish_whole() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let body = "x".repeat(100_000);
    let answer = body.clone();
    let origin = Origin::answering(move |_| {
        let _ = released.lock().unwrap().recv_timeout(DEADLINE);
        Reply::new(200, answer.clone())
    });
    let gate = Gate::start(GOOD.replace("http://127.0.0.1:9", &origin.url()));
    let address = gate.proxy();
    let mut wire = Wire::connect(address);
    wire.send("GET /shop HTTP/1.1\r\nHost: shop\r\n\r\n");
    origin.wait_for(1);

    gate.signal("TERM");
    eventually(DEADLINE, || match TcpStream::connect(address) {
        Ok(_) => Err("new connections are still accepted".to_owned()),
        Err(_) => Ok(()),
    });
    release.send(()).unwrap();
    assert_eq!(wire.answer().expect_status(200).text(), body);
    gate.finish().expect_code(0);
}

#[track_caller]
fn names_every_fault(said: &str, file: &Path) {
    for (line, name) in FAULTS {
        let place = format!("{}:{line}: ", file.display());
        let found = said.lines().any(|text| text.contains(&place) && text.contains(name));
        assert!(found, "no violation `{place}..{name}..` in\n{said}");
    }
}
