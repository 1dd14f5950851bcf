//! The access log: a line for each request, and never what would let its reader in.

use std::fs;
use std::path::Path;
use tests::{DEADLINE, Gate, Origin, base64, eventually, hs256, http};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn gate(origin: &Origin, format: &str) -> Gate {
    let builder = Gate::with(format!(
        "\
_format_version: \"3.0\"
consumers:
- username: alice
  keyauth_credentials:
  - key: key-in-the-clear
  jwt_secrets:
  - key: issuer
    secret: {SECRET}
services:
- name: shop
  url: {}
  routes:
  - name: open
    paths: [/open]
  - name: key
    paths: [/key]
    plugins:
    - name: key-auth
      config: {{key_names: [apikey, shop_pass]}}
  - name: jwt
    paths: [/jwt]
    plugins:
    - name: jwt
      config: {{cookie_names: [shop_token]}}
",
        origin.url()
    ));
    let log = builder.data().join("access.log");
    builder.env("KONG_PROXY_ACCESS_LOG", log.to_str().unwrap()).env("PORTCULLIS_ACCESS_LOG_FORMAT", format).start()
}

fn lines(gate: &Gate, count: usize) -> Vec<String> {
    let path = gate.data().join("access.log");
    eventually(DEADLINE, || {
        let lines: Vec<String> = read(&path).lines().map(str::to_owned).collect();
        if lines.len() >= count { Ok(lines) } else { Err(format!("{} of {count} lines: {lines:#?}", lines.len())) }
    })
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn json_lines_tell_the_request() {
    let origin = Origin::start();
    let gate = gate(&origin, "json");
    gate.get("/open/shelf").expect_status(200);
    gate.get("/nowhere").expect_status(404);
    let lines = lines(&gate, 2);
    for (target, status) in [("/open/shelf", 200), ("/nowhere", 404)] {
        let line = about(&lines, target);
        let read: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(read.is_object() && line.contains("GET"), "{line}");
        assert!(numbers(&read).contains(&status), "no {status} in {line}");
    }
}

#[test]
fn common_lines_tell_the_request() {
    let origin = Origin::start();
    let gate = gate(&origin, "common");
    gate.get("/open/shelf").expect_status(200);
    gate.get("/nowhere").expect_status(404);
    let lines = lines(&gate, 2);
    for (target, status) in [("/open/shelf", 200), ("/nowhere", 404)] {
        let line = about(&lines, target);
        assert!(line.starts_with("127.0.0.1 - "), "{line}");
        assert!(line.contains(&format!("\"GET {target} HTTP/1.1\" {status} ")), "{line}");
    }
}

/// A caller who can write line ends into the log writes lines of others.
#[test]
fn a_request_cannot_forge_a_line() {
    for format in ["json", "common"] {
        let origin = Origin::start();
        let gate = gate(&origin, format);
        let agent = [("User-Agent", "a\" 200 \\\" \t b")];
        http(gate.proxy(), "GET", "/open/%0d%0a127.0.0.1%20-%20forged", &agent, b"").expect_status(200);
        gate.get("/open/end").expect_status(200);
        let lines = lines(&gate, 2);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        for line in lines {
            let read = serde_json::from_str::<serde_json::Value>(&line);
            assert!(format == "common" || read.is_ok(), "{line}");
            assert!(format == "json" || line.starts_with("127.0.0.1 - "), "{line}");
        }
    }
}

/// Whoever reads logs (and they are sent far) must not find in them what opens the gate: right or
/// wrong, accepted or refused.
/// Path, query and headers.
type Case<'a> = (&'a str, String, &'a [(&'a str, &'a str)]);

#[test]
fn no_credential_stands_in_the_log() {
    for format in ["json", "common"] {
        let origin = Origin::start();
        let gate = gate(&origin, format);
        let token = hs256(SECRET, &serde_json::json!({"iss": "issuer"}));
        let signature = token.rsplit('.').next().unwrap().to_owned();
        let basic = base64(b"alice:wrong-password");
        let bearer = format!("Bearer {token}");
        let cookie = format!("shop_token={token}; session=session-secret");
        let requests: &[Case] = &[
            ("/key", "?apikey=key-in-the-clear".into(), &[]),
            ("/key", "?a=b&shop_pass=key-in-the-clear&c=d".into(), &[]),
            ("/key", "?APIKEY=wrong-key-upper".into(), &[]),
            ("/key", "?%61pikey=wrong-key-encoded".into(), &[]),
            ("/key", "?apikey=wrong-key-plain".into(), &[]),
            ("/open", "?apikey=key-for-nobody".into(), &[]),
            ("/key", String::new(), &[("apikey", "key-in-the-clear")]),
            ("/key", String::new(), &[("shop_pass", "wrong-key-header")]),
            ("/jwt", format!("?jwt={token}"), &[]),
            ("/jwt", String::new(), &[("Authorization", &bearer)]),
            ("/jwt", String::new(), &[("Cookie", &cookie)]),
            ("/open", "?access_token=access-token-secret".into(), &[("Authorization", &basic)]),
            ("/open", String::new(), &[("Referer", "http://h/?apikey=key-in-the-clear")]),
        ];
        for (path, query, fields) in requests {
            http(gate.proxy(), "GET", &format!("{path}{query}"), fields, b"");
        }
        let lines = lines(&gate, requests.len());
        let everything = lines.join("\n") + &gate.said();
        for secret in [
            "key-in-the-clear",
            "wrong-key",
            "key-for-nobody",
            &token,
            &signature,
            &basic,
            "wrong-password",
            "session-secret",
            "access-token-secret",
        ] {
            assert!(!everything.contains(secret), "{format}: {secret} stands in\n{everything}");
        }
    }
}

/// Requests of several connections are logged in any order.
#[track_caller]
fn about<'a>(lines: &'a [String], target: &str) -> &'a str {
    lines.iter().find(|line| line.contains(target)).unwrap_or_else(|| panic!("no line about {target}: {lines:#?}"))
}

/// The numbers of an object and of those in it.
fn numbers(value: &serde_json::Value) -> Vec<u64> {
    match value {
        serde_json::Value::Object(fields) => fields.values().flat_map(numbers).collect(),
        other => other.as_u64().into_iter().collect(),
    }
}
