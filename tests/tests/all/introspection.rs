//! oauth2-introspection: tokens that say nothing themselves, asked about at a real authority and at odd ones.

use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tests::{Answer, DEADLINE, Gate, Idp, Origin, Recorded, Reply, base64url, curl_as, eventually, http};

/// `Basic` of `caller:secret`.
const GATE: &str = "Basic Y2FsbGVyOnNlY3JldA==";

fn gate(service: &Origin, url: &str, more: &str) -> Gate {
    Gate::start(format!(
        "_format_version: \"3.0\"
services:
- name: shop
  url: {}
  routes:
  - name: shop
    paths: [/]
    plugins:
    - name: oauth2-introspection
      config: {{introspection_url: '{url}', authorization_value: '{GATE}'{more}}}
consumers:
- {{username: ann, custom_id: app-7}}
- {{username: guest}}",
        service.url()
    ))
}

fn ask(gate: &Gate, token: &str) -> Answer {
    http(gate.proxy(), "GET", "/", &[("Authorization", &format!("Bearer {token}"))], b"")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An authority that says the same of every token.
struct Authority {
    origin: Origin,
    says: Arc<Mutex<(u16, String)>>,
}

impl Authority {
    fn saying(claims: Value) -> Authority {
        let says = Arc::new(Mutex::new((200, claims.to_string())));
        let own = says.clone();
        let origin = Origin::answering(move |_: &Recorded| {
            let (status, body) = own.lock().unwrap().clone();
            let media = if body.starts_with("ey") { "application/jwt" } else { "application/json" };
            Reply::new(status, body).with("Content-Type", media)
        });
        Authority { origin, says }
    }

    fn say(&self, status: u16, body: &str) {
        *self.says.lock().unwrap() = (status, body.to_owned());
    }

    fn url(&self) -> String {
        format!("{}/introspect?realm=x", self.origin.url())
    }
}

fn good() -> Value {
    json!({ "active": true, "client_id": "app-7", "username": "ann", "scope": "read write", "sub": "s-1",
            "aud": ["shop"], "exp": now() + 600, "groups": ["gold"], "tenant": "acme" })
}

#[test]
fn a_real_authority_is_asked_once_until_its_word_ages() {
    let (service, idp) = (Origin::start(), Idp::start());
    let url = format!("{}/token/introspection", idp.issuer());
    let gate = gate(&service, &url, ", ttl: 1, scopes_required: [read]");
    let token = idp.opaque("read");
    for _ in 0..5 {
        http(gate.proxy(), "GET", "/", &[("Authorization", &format!("bearer {token}"))], b"").expect_status(200);
    }
    let seen = service.last();
    for (name, value) in
        [("x-credential-client-id", "caller"), ("x-credential-scope", "read"), ("x-credential-identifier", "caller")]
    {
        assert_eq!(seen.values(name), [value], "{name}");
    }
    assert!(idp.introspected() <= 2, "{}", idp.introspected());
    // The documented time is `ttl`, a second here.
    idp.revoke(&token);
    eventually(DEADLINE, || match ask(&gate, &token).status {
        401 => Ok(()),
        status => Err(status.to_string()),
    });
    let refused = ask(&gate, &token).expect_status(401);
    assert_eq!(refused.json()["error"], "invalid_token");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    ask(&gate, &idp.opaque("write")).expect_status(403);
    ask(&gate, "junk").expect_status(401);
    // oidc-provider does not introspect JWTs, and says 400.
    ask(&gate, &idp.token("https://api.test", "read")).expect_status(401);
    let missing = http(gate.proxy(), "GET", "/", &[], b"").expect_status(401);
    assert_eq!(missing.json()["error_description"], "The access token is missing");
}

/// RFC 8705 section 3: a token that was stolen is no good without the key of the certificate that it is bound to.
#[test]
fn a_token_can_be_bound_to_a_certificate() {
    let house = tests::Authority::new("callers");
    let (own, other) = (house.client("ann"), house.client("eve"));
    let with = |confirmation: Value| {
        let mut all = good();
        all["cnf"] = confirmation;
        all
    };
    let bound = with(json!({ "x5t#S256": own.digest() }));
    let dpop = with(json!({ "jkt": "x" }));
    for (claims, proof, certificate, expected) in [
        (&bound, "strict", Some(&own), 200),
        (&bound, "optional", Some(&own), 200),
        (&bound, "optional", Some(&other), 401),
        (&bound, "optional", None, 401),
        (&bound, "off", Some(&own), 401),
        (&good(), "optional", None, 200),
        (&good(), "strict", Some(&own), 401),
        (&dpop, "optional", Some(&own), 401),
    ] {
        let (service, authority) = (Origin::start(), Authority::saying(claims.clone()));
        let gate = gate(&service, &authority.url(), &format!(", proof_of_possession_mtls: '{proof}'"));
        let url = format!("https://{}/", gate.proxy_tls());
        // The second time what the authority said is known.
        for _ in 0..2 {
            let answer = curl_as(certificate, &["-H", "Authorization: Bearer t", &url]);
            assert_eq!(answer.status, expected, "{claims} {proof} {certificate:?} {}", answer.text());
        }
    }
}

#[test]
fn services_are_told_what_the_authority_says() {
    let (service, authority) = (Origin::start(), Authority::saying(good()));
    let more = ", custom_claims_forward: [tenant], claims_to_headers: {sub: X-User}, groups_claim: groups, \
                custom_introspection_headers: {X-Tenant: t1}, token_type_hint: access_token, introspect_request: true";
    let gate = gate(&service, &authority.url(), more);
    let forged = [("Authorization", "Bearer t%&=+"), ("X-User", "root"), ("X_Credential-Sub", "root")];
    http(gate.proxy(), "GET", "/a/../b?x=1", &forged, b"").expect_status(200);
    let asked = authority.origin.last();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/introspect?realm=x"));
    assert_eq!(asked.body, b"token=t%25%26%3D%2B&token_type_hint=access%5Ftoken");
    for (name, value) in [
        ("authorization", GATE),
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-tenant", "t1"),
        ("x-request-path", "/b?x=1"),
        ("x-request-http-method", "GET"),
    ] {
        assert_eq!(asked.values(name), [value], "{name}");
    }
    let seen = service.last();
    for (name, value) in [
        ("x-consumer-username", "ann"),
        ("x-credential-identifier", "app-7"),
        ("x-credential-sub", "s-1"),
        ("x-credential-aud", "shop"),
        ("x-credential-tenant", "acme"),
        ("x-authenticated-scope", "read write"),
        ("x-authenticated-userid", "ann"),
        ("x-user", "s-1"),
        ("authorization", "Bearer t%&=+"),
    ] {
        assert_eq!(seen.values(name), [value], "{name}");
    }
    // What it was asked with is part of the question.
    http(gate.proxy(), "GET", "/c", &forged, b"").expect_status(200);
    assert_eq!(authority.origin.requests().len(), 2);
}

#[test]
fn a_token_is_found_and_hidden_wherever_it_stands() {
    let (service, authority) = (Origin::start(), Authority::saying(good()));
    let gate = gate(&service, &authority.url(), ", hide_credentials: true, consumer_by: client_id");
    ask(&gate, "t").expect_status(200);
    http(gate.proxy(), "GET", "/?a=1&access_token=t", &[], b"").expect_status(200);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    http(gate.proxy(), "POST", "/", &form, b"access_token=t&a=1").expect_status(200);
    assert_eq!(service.last().body, b"a=1");
    for seen in service.requests() {
        assert!(!seen.text().contains("access_token") && seen.values("authorization").is_empty(), "{}", seen.text());
        assert_eq!(seen.values("x-consumer-username"), ["ann"]);
    }
    assert_eq!(authority.origin.requests().len(), 1);
    let two = http(gate.proxy(), "GET", "/?access_token=u", &[("Authorization", "Bearer t")], b"").expect_status(401);
    assert_eq!(two.json()["error_description"], "Multiple tokens provided");
}

#[test]
fn a_token_that_is_not_good_is_refused() {
    let service = Origin::start();
    let with = |change: Value| {
        let mut claims = good();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    };
    for (claims, more, status) in [
        (json!({ "active": false }), "", 401),
        (with(json!({ "exp": now() - 1 })), "", 401),
        (with(json!({ "nbf": now() + 600 })), "", 401),
        (with(json!({ "cnf": { "jkt": "x" } })), "", 401),
        (good(), ", audiences: [other]", 401),
        (good(), ", audiences: [shop]", 200),
        (good(), ", scopes_required: ['read write']", 200),
        (good(), ", scopes_required: [admin]", 403),
        (good(), ", roles_required: [admin]", 403),
        (json!({ "active": false }), ", anonymous: guest", 200),
        (with(json!({ "username": "stranger" })), "", 200),
        // None of these is an answer.
        (with(json!({ "active": "true" })), "", 503),
        (with(json!({ "exp": "soon" })), "", 503),
        (json!([]), ", anonymous: guest", 503),
    ] {
        let authority = Authority::saying(claims.clone());
        let answer = ask(&gate(&service, &authority.url(), more), "t");
        assert_eq!(answer.status, status, "{claims} {more}: {}", answer.text());
    }
}

#[test]
fn an_authority_in_trouble_refuses_nobody() {
    let (service, authority) = (Origin::start(), Authority::saying(good()));
    let gate = gate(&service, &authority.url(), ", timeout: 2000");
    ask(&gate, "known").expect_status(200);
    // One that does not like a question is asked the next one at once.
    authority.say(413, "");
    ask(&gate, "odd").expect_status(503);
    authority.say(200, &good().to_string());
    ask(&gate, "even").expect_status(200);
    for (status, body) in [(500, "{}"), (200, "<html>"), (401, "{}"), (400, "{}"), (200, "{}")] {
        authority.say(status, body);
        let refused = ask(&gate, "new").expect_status(503);
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(refused.header("www-authenticate"), None);
        ask(&gate, "known").expect_status(200);
        authority.say(200, &good().to_string());
        // Errors are not kept: as soon as it is asked again, all is well.
        eventually(DEADLINE, || match ask(&gate, &format!("then {status} {body}").replace(' ', "")).status {
            200 => Ok(()),
            status => Err(status.to_string()),
        });
    }
    gate.wait_until_said("correct `authorization_value`");
    assert!(!gate.said().contains(GATE) && !gate.said().contains("Y2FsbGVy"), "{}", gate.said());
}

#[test]
fn many_who_come_at_once_ask_once() {
    let service = Origin::start();
    let authority = Origin::answering(|_: &Recorded| {
        // Long enough for all of them to have come.
        thread::sleep(Duration::from_millis(300));
        Reply::new(200, good().to_string())
    });
    let gate = gate(&service, &authority.url(), "");
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| ask(&gate, "t").expect_status(200));
        }
    });
    assert_eq!(authority.requests().len(), 1);
}

#[test]
fn no_answer_outlives_its_token() {
    let mut claims = good();
    claims["exp"] = json!(now() + 2);
    let (service, authority) = (Origin::start(), Authority::saying(claims));
    let gate = gate(&service, &authority.url(), ", ttl: 300");
    ask(&gate, "t").expect_status(200);
    eventually(DEADLINE, || match ask(&gate, "t").status {
        401 => Ok(()),
        status => Err(status.to_string()),
    });
}

#[test]
fn a_service_may_get_a_jwt_in_place_of_the_token() {
    let (service, authority) = (Origin::start(), Authority::saying(good()));
    let gate = gate(&service, &authority.url(), ", accept_jwt: true");
    let header = base64url(json!({ "alg": "ES256", "typ": "at+jwt" }).to_string().as_bytes());
    let jwt = format!("{header}.{}.{}", base64url(good().to_string().as_bytes()), base64url(&[7; 64]));
    authority.say(200, &jwt);
    ask(&gate, "t").expect_status(200);
    assert_eq!(authority.origin.last().values("accept"), ["application/jwt, application/json"]);
    let seen = service.last();
    assert_eq!(seen.values("authorization"), [format!("Bearer {jwt}")]);
    assert_eq!(seen.values("x-consumer-username"), ["ann"]);
    authority.say(204, "");
    ask(&gate, "u").expect_status(401);
    for inactive in [json!({ "active": false }), json!({ "token_introspection": { "active": false } })] {
        let said = format!("{header}.{}.{}", base64url(inactive.to_string().as_bytes()), base64url(&[7; 64]));
        authority.say(200, &said);
        ask(&gate, &format!("v{}", inactive.to_string().len())).expect_status(401);
    }
    // What no authority would like to read is not sent there.
    let asked = authority.origin.requests().len();
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let long = format!("access_token={}", "x".repeat(20_000));
    http(gate.proxy(), "POST", "/", &form, long.as_bytes()).expect_status(401);
    assert_eq!(authority.origin.requests().len(), asked);
}
