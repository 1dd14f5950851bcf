//! jwt with issuers: tokens of an identity provider, verified with the keys that it publishes.

use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::{
    Answer, DEADLINE, Gate, Idp, Origin, Recorded, Reply, TempDir, Wire, curl_as, eventually, http, python, run,
    workspace,
};

/// An identity provider: its metadata, its keys, and what makes its tokens.
struct Provider {
    origin: Origin,
    keys: Arc<Mutex<Option<String>>>,
    dir: TempDir,
}

impl Provider {
    /// Without keys it answers 500.
    fn start() -> Provider {
        let keys: Arc<Mutex<Option<String>>> = Arc::default();
        let published = keys.clone();
        let origin = Origin::answering(move |request: &Recorded| {
            let own = format!("http://{}", request.values("host").first().unwrap());
            match (request.target.as_str(), published.lock().unwrap().clone()) {
                (_, None) => Reply::new(500, "starting"),
                ("/.well-known/openid-configuration", _) => {
                    Reply::new(200, json!({ "issuer": own, "jwks_uri": format!("{own}/keys") }).to_string())
                }
                ("/keys", Some(keys)) => Reply::new(200, keys),
                _ => Reply::new(404, ""),
            }
        });
        Provider { origin, keys, dir: TempDir::new() }
    }

    /// Makes keys, and publishes them and no others.
    fn publish(&self, names: &[&str]) {
        let jwks: Vec<Value> = names.iter().map(|name| serde_json::from_str(&self.key(name)).unwrap()).collect();
        self.say(Some(json!({ "keys": jwks }).to_string()));
    }

    fn say(&self, keys: Option<String>) {
        *self.keys.lock().unwrap() = keys;
    }

    fn key(&self, name: &str) -> String {
        let kind = if name.starts_with("rsa") { "rsa" } else { "ec" };
        script(&["key", self.pem(name).to_str().unwrap(), name, kind])
    }

    fn pem(&self, name: &str) -> PathBuf {
        self.dir.join(&format!("{name}.pem"))
    }

    /// A token of this provider, for `api`, good for an hour unless `claims` say otherwise.
    fn token(&self, key: &str, claims: Value) -> String {
        let mut all = json!({ "iss": self.origin.url(), "aud": "api", "sub": "u-1", "exp": 3600 });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        script(&["sign", self.pem(key).to_str().unwrap(), key, &all.to_string()])
    }

    /// How often its keys were asked for.
    fn asked(&self) -> usize {
        self.origin.requests().iter().filter(|request| request.target == "/keys").count()
    }
}

fn script(args: &[&str]) -> String {
    let mut command = Command::new(python());
    run(command.arg(workspace().join("tests/issuer.py")).args(args)).expect_code(0).text().trim().to_owned()
}

fn gate(service: &Origin, provider: &Provider, issuer: &str, more: &str) -> Gate {
    Gate::start(format!(
        "_format_version: \"3.0\"
services:
- name: shop
  url: {}
  routes:
  - name: shop
    paths: [/shop]
    plugins:
    - name: jwt
      config:
        issuers: [{{issuer: '{}', audiences: [api, '*.test'], {issuer}}}]
        {more}
  - {{name: open, paths: [/open]}}
consumers:
- {{username: ann, custom_id: u-1}}",
        service.url(),
        provider.origin.url()
    ))
}

fn ask(gate: &Gate, token: &str) -> Answer {
    http(gate.proxy(), "GET", "/shop", &[("Authorization", &format!("Bearer {token}")), ("X-User", "forged")], b"")
}

#[test]
fn a_token_of_a_provider_passes_and_its_claims_are_told() {
    let (service, provider) = (Origin::start(), Provider::start());
    provider.publish(&["a", "rsa"]);
    let told = "claims_to_headers: {sub: X-User, roles: X_Roles, missing: X-Missing}";
    let gate = gate(&service, &provider, "", told);
    for (key, aud) in [("a", json!("api")), ("rsa", json!(["other", "shop.test"]))] {
        let token = provider.token(key, json!({ "roles": ["a", "b,c"], "aud": aud }));
        // The second time the token is known already.
        for _ in 0..2 {
            ask(&gate, &token).expect_status(200);
            let seen = service.last();
            assert_eq!(seen.values("x-user"), ["u-1"]);
            assert_eq!(seen.values("x_roles"), ["a, b%2Cc"]);
            assert_eq!(seen.values("x-credential-identifier"), ["u-1"]);
            assert_eq!(seen.values("x-missing"), [""; 0]);
            assert_eq!(seen.values("x-consumer-username"), [""; 0]);
        }
    }
    assert_eq!(provider.asked(), 1);
    // What the plugin tells, nobody else may: not on another route either, in no spelling.
    let forged = [("X-User", "forged"), ("X_User", "forged"), ("x.ROLES", "admin")];
    http(gate.proxy(), "GET", "/open", &forged, b"").expect_status(200);
    let seen = service.last();
    assert!(!seen.text().to_lowercase().contains("forged") && !seen.text().contains("admin"), "{}", seen.text());
}

#[test]
fn a_token_that_is_not_good_is_refused_with_the_reason() {
    let (service, provider, stranger) = (Origin::start(), Provider::start(), Provider::start());
    provider.publish(&["a"]);
    stranger.publish(&["a"]);
    let gate = gate(&service, &provider, "required_claims: [email], leeway: 5", "");
    let mail = |claims: Value| {
        let mut all = json!({ "email": "a@b.test" });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        all
    };
    ask(&gate, &provider.token("a", mail(json!({ "exp": -2 })))).expect_status(200);
    let own = json!({ "iss": provider.origin.url(), "email": "x" });
    for (token, reason) in [
        (provider.token("a", mail(json!({ "aud": "other" }))), "Invalid audience"),
        (provider.token("a", mail(json!({ "aud": "a.b.test" }))), "Invalid audience"),
        (provider.token("a", mail(json!({ "aud": null }))), "Invalid audience"),
        (provider.token("a", mail(json!({ "exp": -10 }))), "token expired"),
        (provider.token("a", mail(json!({ "exp": null }))), "must be a number"),
        (provider.token("a", mail(json!({ "nbf": 9_999_999_999_u64 }))), "token not valid yet"),
        (provider.token("a", mail(json!({ "nbf": "1" }))), "must be a number"),
        (provider.token("a", json!({})), "No mandatory 'email' in claims"),
        (provider.token("a", mail(json!({ "iss": "https://other.test" }))), "No credentials found for given 'iss'"),
        // Another key that bears the name of the provider's.
        (stranger.token("a", own), "Invalid signature"),
    ] {
        let answer = ask(&gate, &token).expect_status(401);
        assert!(answer.text().contains(reason), "{reason}: {}", answer.text());
        assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"invalid_token\""), "{reason}");
    }
}

/// RFC 8705 section 3.
#[test]
fn a_token_can_be_bound_to_a_certificate() {
    let (service, provider) = (Origin::start(), Provider::start());
    provider.publish(&["a"]);
    let house = tests::Authority::new("callers");
    let (own, other) = (house.client("ann"), house.client("eve"));
    let bound = provider.token("a", json!({ "cnf": { "x5t#S256": own.digest() } }));
    let free = provider.token("a", json!({}));
    let ask = |gate: &Gate, token: &str, certificate: Option<&tests::Certificate>| {
        let (url, header) = (format!("https://{}/shop", gate.proxy_tls()), format!("Authorization: Bearer {token}"));
        curl_as(certificate, &["-H", &header, &url]).status
    };
    let off = gate(&service, &provider, "", "");
    assert_eq!((ask(&off, &bound, Some(&own)), ask(&off, &free, None)), (401, 200));
    let optional = gate(&service, &provider, "", "proof_of_possession_mtls: optional");
    // Once it has passed it is known, and no good with another certificate all the same.
    assert_eq!([Some(&own), Some(&other), None].map(|shown| ask(&optional, &bound, shown)), [200, 401, 401]);
    assert_eq!(ask(&optional, &free, None), 200);
    let strict = gate(&service, &provider, "", "proof_of_possession_mtls: strict");
    assert_eq!((ask(&strict, &bound, Some(&own)), ask(&strict, &free, Some(&own))), (200, 401));
}

#[test]
fn scopes_roles_and_consumers_can_be_demanded() {
    let (service, provider) = (Origin::start(), Provider::start());
    provider.publish(&["a"]);
    let gate = gate(
        &service,
        &provider,
        "consumer_claim: sub",
        "scopes_required: ['read write', admin]\n        roles_required: [clerk]",
    );
    let token = |scope: &str, role: &str, sub: &str| {
        provider.token("a", json!({ "scope": scope, "roles": [role], "sub": sub }))
    };
    ask(&gate, &token("write extra read", "clerk", "u-1")).expect_status(200);
    assert_eq!(service.last().values("x-consumer-username"), ["ann"]);
    ask(&gate, &token("admin", "clerk", "ann")).expect_status(200);
    let refused = ask(&gate, &token("read", "clerk", "u-1")).expect_status(403);
    let challenge = "Bearer error=\"insufficient_scope\", scope=\"read write admin\"";
    assert_eq!(refused.header("www-authenticate"), Some(challenge));
    ask(&gate, &token("admin", "guest", "u-1")).expect_status(403);
    ask(&gate, &token("admin", "clerk", "nobody")).expect_status(403);
}

#[test]
fn keys_can_stand_in_the_configuration() {
    let (service, provider) = (Origin::start(), Provider::start());
    let keys = json!({ "keys": [serde_json::from_str::<Value>(&provider.key("a")).unwrap()] }).to_string();
    let gate = gate(&service, &provider, &format!("jwks: '{keys}'"), "");
    ask(&gate, &provider.token("a", json!({}))).expect_status(200);
    assert_eq!(provider.origin.requests().len(), 0);
}

#[test]
fn a_new_key_of_the_provider_is_found_without_a_refusal() {
    let (service, provider) = (Origin::start(), Provider::start());
    provider.publish(&["a"]);
    let gate = gate(&service, &provider, "", "");
    let old = provider.token("a", json!({}));
    ask(&gate, &old).expect_status(200);
    provider.publish(&["b"]);
    let new = provider.token("b", json!({}));
    std::thread::scope(|scope| {
        (0..50).for_each(|_| drop(scope.spawn(|| ask(&gate, &new).expect_status(200))));
    });
    assert_eq!(provider.asked(), 2);
    // The old key is gone, and with it what it vouched for.
    ask(&gate, &old).expect_status(401);
    assert_eq!(provider.asked(), 2, "keys that nobody has are not asked for all the time");
}

#[test]
fn a_provider_that_is_down_refuses_nobody() {
    let (service, provider) = (Origin::start(), Provider::start());
    provider.publish(&["a"]);
    let (token, keys) = (provider.token("a", json!({})), provider.keys.lock().unwrap().clone());
    provider.say(None);
    let gate = gate(&service, &provider, "", "");
    let answer = ask(&gate, &token).expect_status(503);
    assert!(answer.header("retry-after").is_some());
    // What is no set of keys is none, however well it is served.
    for odd in ["<html>", "{}", "{\"keys\":[]}"] {
        provider.say(Some(odd.to_owned()));
        ask(&gate, &token).expect_status(503);
    }
    provider.say(keys);
    eventually(DEADLINE, || match ask(&gate, &token).status {
        200 => Ok(()),
        status => Err(status.to_string()),
    });
    provider.say(None);
    ask(&gate, &provider.token("a", json!({ "sub": "u-2" }))).expect_status(200);
    gate.wait_until_said("tokens cannot be verified");
}

/// A certified provider, with tokens as it makes them (RFC 9068), and a gate that learns of a new key by itself.
#[test]
fn a_real_provider_is_believed() {
    let (service, idp) = (Origin::start(), Idp::start());
    let gate = Gate::start(format!(
        "_format_version: \"3.0\"
services:
- name: shop
  url: {}
  routes: [{{name: shop, paths: [/shop]}}]
  plugins:
  - name: jwt
    config:
      issuers: [{{issuer: '{}', audiences: ['https://api.test/orders'], algorithms: [ES256]}}]
      claims_to_headers: {{client_id: X-Client}}
      scopes_required: [read]",
        service.url(),
        idp.issuer()
    ));
    let token = idp.token("https://api.test/orders", "read");
    std::thread::scope(|scope| {
        (0..30).for_each(|_| drop(scope.spawn(|| ask(&gate, &token).expect_status(200))));
    });
    assert_eq!(service.last().values("x-client"), ["caller"]);
    assert_eq!(idp.asked(), 1);
    ask(&gate, &idp.token("https://api.test/orders", "write")).expect_status(403);
    ask(&gate, &idp.token("https://api.test/other", "read")).expect_status(401);
    idp.rotate();
    // A thousand who come at once with a key that nobody knows yet: one of them asks.
    let new = idp.token("https://api.test/orders", "read");
    let mut wires: Vec<Wire> = (0..1000).map(|_| Wire::connect(gate.proxy())).collect();
    for wire in &mut wires {
        wire.send(format!("GET /shop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {new}\r\n\r\n"));
    }
    for wire in &mut wires {
        wire.answer().expect_status(200);
    }
    assert_eq!(idp.asked(), 2);
    ask(&gate, &token).expect_status(401);
}

/// How long the provider is away, in seconds. `TEST_OUTAGE_S=60` is the length that was promised.
fn outage() -> Duration {
    let seconds = std::env::var("TEST_OUTAGE_S").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(6))
}

#[test]
fn a_real_provider_that_is_away_is_missed_by_nobody() {
    let (service, idp) = (Origin::start(), Idp::start());
    let config = format!("{{issuer: '{}', audiences: ['https://api.test'], algorithms: [ES256]}}", idp.issuer());
    let gate = Gate::start(format!(
        "_format_version: \"3.0\"
services:
- name: shop
  url: {}
  routes: [{{name: shop, paths: [/shop]}}]
  plugins: [{{name: jwt, config: {{issuers: [{config}]}}}}]",
        service.url()
    ));
    // Each is new to the gate when it comes.
    let tokens: Vec<String> = (0..200).map(|_| idp.token("https://api.test", "read")).collect();
    ask(&gate, &tokens[0]).expect_status(200);
    idp.pause();
    let (began, mut asked) = (Instant::now(), 0);
    while began.elapsed() < outage() {
        ask(&gate, &tokens[asked % tokens.len()]).expect_status(200);
        asked += 1;
    }
    assert!(asked > tokens.len(), "{asked}");
    idp.resume();
    ask(&gate, &idp.token("https://api.test", "read")).expect_status(200);
}
