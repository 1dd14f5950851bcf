//! hmac-auth with HTTP Message Signatures (RFC 9421), made by a library of others.

use serde_json::{Map, Value, json};
use std::process::Command;
use tests::{Answer, Gate, Origin, http, python, run, workspace};

const BODY: &str = "{\"sum\":5}";

/// A gate, and a request to it that is changed before it is signed, and again before it is sent.
struct Signed<'a> {
    gate: &'a Gate,
    method: &'a str,
    target: &'a str,
    said: Value,
}

impl Signed<'_> {
    fn fields(&self) -> Vec<(String, String)> {
        let url = format!("http://{}{}", self.gate.proxy(), self.target);
        let mut wanted = json!({ "method": self.method, "url": url, "secret": "s3cret", "keyid": "ann",
            "covered": ["@method", "@authority", "@path", "@query"] });
        let said = self.said.as_object().cloned().unwrap_or_default();
        wanted.as_object_mut().unwrap().extend(said);
        let script = workspace().join("tests/message_signature.py");
        let signed = run(Command::new(python()).arg(script).arg(wanted.to_string())).expect_code(0);
        let fields: Map<String, Value> = serde_json::from_slice(&signed.stdout).unwrap();
        fields.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect()
    }

    fn send(&self, method: &str, target: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let fields = self.fields();
        let mut fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        fields.extend(more);
        http(self.gate.proxy(), method, target, &fields, body.as_bytes())
    }
}

fn gate(origin: &Origin, options: &str) -> Gate {
    Gate::start(format!(
        "_format_version: \"3.0\"
services:
- {{name: shop, url: \"{}\", routes: [{{name: shop, paths: [/]}}]}}
consumers:
- {{username: ann, hmacauth_credentials: [{{username: ann, secret: s3cret}}]}}
plugins:
- {{name: hmac-auth, config: {{rfc9421: true{options}}}}}
",
        origin.url()
    ))
}

#[test]
fn a_signature_is_for_one_request_and_not_for_long() {
    let origin = Origin::start();
    let gate = gate(&origin, "");
    let signed = |said: Value| Signed { gate: &gate, method: "GET", target: "/orders?of=ann&max=%20", said };
    let sent = |said: Value| {
        let signed = signed(said);
        signed.send(signed.method, signed.target, &[], "").status
    };
    assert_eq!(sent(json!({})), 200);
    let recorded = origin.last();
    assert_eq!(recorded.values("x-consumer-username"), ["ann"]);
    assert_eq!(recorded.values("signature").len(), 1);
    for (said, status) in [
        (json!({ "covered": ["@method", "@target-uri"] }), 200),
        (json!({ "covered": ["@method", "@authority", "@request-target"] }), 200),
        (
            json!({ "covered": ["@method", "@scheme", "@authority", "@path", "@query", "\"@query-param\";name=\"of\""] }),
            200,
        ),
        (json!({ "label": "other", "life": 60 }), 200),
        (json!({ "age": 200 }), 200),
        (json!({ "age": 400 }), 401),
        (json!({ "age": -400 }), 401),
        (json!({ "age": 30, "life": 20 }), 401),
        (json!({ "secret": "wrong" }), 401),
        (json!({ "keyid": "bob" }), 401),
        (json!({ "covered": ["@authority", "@path", "@query"] }), 401),
        (json!({ "covered": ["@method", "@path", "@query"] }), 401),
        (json!({ "covered": ["@method", "@authority", "@query"] }), 401),
        (json!({ "covered": ["@method", "@authority", "@path"] }), 401),
        (json!({ "covered": [] }), 401),
    ] {
        assert_eq!(sent(said.clone()), status, "{said}");
    }
    let good = signed(json!({}));
    good.send("POST", good.target, &[], "").expect_status(401);
    good.send("GET", "/orders?of=bob&max=%20", &[], "").expect_status(401);
    good.send("GET", "/orders?of=ann&max=+", &[], "").expect_status(401);
    good.send("GET", "/order?of=ann&max=%20", &[], "").expect_status(401);
    assert_eq!(sent(json!({ "url": "http://other/orders?of=ann&max=%20" })), 401);
    // Another one may be for somebody else; a second one of the same name changes what was signed.
    let another = ("Signature-Input", "for-the-next=();created=1;keyid=\"ann\"");
    good.send("GET", good.target, &[another, ("Signature", "for-the-next=:YQ==:")], "").expect_status(200);
    let fields = signed(json!({ "age": 100 })).fields();
    let again: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    good.send("GET", good.target, &again[..1], "").expect_status(401);
    // Without the option they are nothing.
    let usual = self::gate(&origin, ", algorithms: [hmac-sha512]");
    Signed { gate: &usual, ..signed(json!({})) }.send("GET", good.target, &[], "").expect_status(401);
}

#[test]
fn signed_bodies_and_headers_are_those_that_came() {
    let origin = Origin::start();
    let gate = gate(&origin, ", validate_request_body: true, hide_credentials: true, enforce_headers: [content-type]");
    let covered = json!(["@method", "@target-uri", "content-digest", "content-type"]);
    let unsigned = Signed { gate: &gate, method: "POST", target: "/pay", said: json!({ "body": BODY }) };
    let json = ("Content-Type", "application/json");
    unsigned.send("POST", "/pay", &[json], BODY).expect_status(401);
    // The library signs headers that the request has: they are given to it by `headers`.
    let said = json!({ "body": BODY, "covered": covered, "headers": { "Content-Type": json.1 } });
    let signed = Signed { said, ..unsigned };
    signed.send("POST", "/pay", &[], BODY).expect_status(200);
    let recorded = origin.last();
    assert_eq!(recorded.body, BODY.as_bytes());
    assert!(recorded.values("signature").is_empty() && recorded.values("signature-input").is_empty());
    signed.send("POST", "/pay", &[], "{\"sum\":6}").expect_status(401);
    signed.send("POST", "/pay", &[], "").expect_status(401);
    signed.send("POST", "/pay", &[("Content-Digest", "sha-256=:AAAA:")], BODY).expect_status(401);
    let without =
        json!({ "covered": ["@method", "@target-uri", "content-type"], "headers": { "Content-Type": json.1 } });
    Signed { said: without, ..signed }.send("POST", "/pay", &[], BODY).expect_status(401);
}
