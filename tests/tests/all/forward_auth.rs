//! forward-auth: a service of one's own decides about each request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use tests::{Answer, Gate, Nginx, Origin, Recorded, Reply, http, raw};

/// Lets those in who know the word, tells the service who they are, and sends the others to a login.
fn door(request: &Recorded) -> Reply {
    match request.values("cookie").first() {
        Some(&"word=swordfish") => {
            Reply::new(200, "").with("X-User", "ann").with("Set-Cookie", "seen=1").with("X-Own", "1")
        }
        Some(_) => Reply::new(401, "wrong word").with("WWW-Authenticate", "Word").with("Content-Type", "text/x-door"),
        None => Reply::new(302, "").with("Location", "https://login.test/?back=here"),
    }
}

fn gate(service: &str, auth: &str, more: &str) -> Gate {
    let config = format!(
        "_format_version: \"3.0\"
services:
- name: shop
  url: {service}
  routes:
  - name: shop
    paths: [/shop]
    plugins:
    - name: forward-auth
      config: {{url: '{auth}/verify?x=1', upstream_headers: [X-User, X-Groups], response_headers: [Set-Cookie]{more}}}
  - {{name: open, paths: [/open]}}"
    );
    // One core, so that there is one connection to be used again.
    Gate::with(config).env("PORTCULLIS_WORKERS", "1").start()
}

fn ask(gate: &Gate, method: &str, fields: &[(&str, &str)]) -> Answer {
    http(gate.proxy(), method, "/shop/a%20b?q=1", fields, if method == "POST" { b"body" } else { b"" })
}

const GOOD: (&str, &str) = ("Cookie", "word=swordfish");

#[test]
fn who_may_pass_passes_and_is_named_to_the_service() {
    let (service, auth) = (Origin::start(), Origin::answering(door));
    let gate = gate(&service.url(), &auth.url(), "");
    for method in ["GET", "POST", "DELETE"] {
        let answer = ask(&gate, method, &[GOOD, ("X-User", "forged"), ("X_Groups", "admin")]).expect_status(200);
        assert_eq!(answer.header("set-cookie"), Some("seen=1"));
        assert_eq!(answer.header("x-own"), None);
        let seen = service.last();
        assert_eq!((seen.values("x-user"), seen.method.as_str()), (vec!["ann"], method));
        assert!(!seen.text().contains("admin"), "{}", seen.text());
        assert_eq!(seen.body, if method == "POST" { &b"body"[..] } else { b"" });
        let asked = auth.last();
        assert_eq!((asked.method.as_str(), asked.target.as_str(), asked.body.len()), ("GET", "/verify?x=1", 0));
        let host = gate.proxy().to_string();
        for (name, value) in [
            ("host", auth.address().to_string().as_str()),
            ("x-forwarded-method", method),
            ("x-forwarded-uri", "/shop/a%20b?q=1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", &host),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-original-url", &format!("http://{host}/shop/a%20b?q=1")),
        ] {
            assert_eq!(asked.values(name), [value], "{name}");
        }
        assert!(asked.values("x-user").is_empty() && asked.values("content-length").is_empty(), "{}", asked.text());
    }
    assert!(auth.requests().iter().all(|request| request.connection == auth.requests()[0].connection));
    http(gate.proxy(), "GET", "/open", &[("X-User", "forged")], b"").expect_status(200);
    assert!(service.last().values("x-user").is_empty());
}

#[test]
fn who_may_not_gets_the_answer_of_the_service_that_was_asked() {
    let (service, auth) = (Origin::start(), Origin::answering(door));
    let gate = gate(&service.url(), &auth.url(), "");
    let refused = ask(&gate, "POST", &[("Cookie", "word=x")]).expect_status(401);
    assert_eq!(refused.text(), "wrong word");
    assert_eq!(refused.header("www-authenticate"), Some("Word"));
    assert_eq!(refused.header("content-type"), Some("text/x-door"));
    let sent_away = ask(&gate, "GET", &[]).expect_status(302);
    assert_eq!(sent_away.header("location"), Some("https://login.test/?back=here"));
    assert_eq!(service.requests().len(), 0);
}

/// The attack: the one who decides reads another request than the service.
#[test]
fn what_is_decided_about_is_what_the_service_gets() {
    let (service, auth) = (Origin::start(), Origin::answering(door));
    let gate = gate(&service.url(), &auth.url(), "");
    let forged = [
        GOOD,
        ("X-Real-IP", "10.0.0.1"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-Prefix", "/public"),
        ("X_Original_URI", "/shop/public"),
        ("X-Original-Host", "public.test"),
        ("TE", "trailers"),
    ];
    http(gate.proxy(), "GET", "/shop/public/%2e%2e/admin?q=1", &forged, b"").expect_status(200);
    assert_eq!(service.last().target, "/admin?q=1");
    let asked = auth.last();
    assert_eq!(asked.values("x-forwarded-uri"), ["/shop/admin?q=1"]);
    assert_eq!(asked.values("x-real-ip"), ["127.0.0.1"]);
    assert!(!asked.text().contains("10.0.0.1") && !asked.text().contains("public"), "{}", asked.text());
    assert!(asked.values("te").is_empty());
}

/// Browsers send cookies in pieces over HTTP/2, and many servers read the first line alone.
#[test]
fn cookies_in_pieces_are_asked_about_as_one() {
    let (service, auth) = (Origin::start(), Origin::answering(door));
    let gate = gate(&service.url(), &auth.url(), ", request_headers: [Cookie, Content-Length, Host, TE]");
    let pieces = [("Cookie", "a=1"), ("Cookie", "b=2")];
    http(gate.proxy(), "POST", "/shop/", &pieces, b"body").expect_status(401);
    let asked = auth.last();
    assert_eq!(asked.values("cookie"), ["a=1; b=2"]);
    assert_eq!((asked.values("host").len(), asked.values("content-length").len()), (1, 0));
}

#[test]
fn it_can_be_asked_as_envoy_asks() {
    let (service, auth) = (Origin::start(), Origin::answering(door));
    let gate = gate(&service.url(), &auth.url(), ", append_path: true, keep_method: true, request_headers: [Cookie]");
    ask(&gate, "POST", &[GOOD, ("X-Secret", "1")]).expect_status(200);
    let asked = auth.last();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/verify/shop/a%20b?q=1"));
    assert_eq!(asked.values("content-length"), ["0"]);
    assert!(asked.values("x-secret").is_empty());
    assert_eq!(service.last().values("x-secret"), ["1"]);
}

/// As Envoy's `with_request_body` and Traefik's `forwardBody`.
#[test]
fn it_can_be_asked_about_the_body() {
    let service = Origin::start();
    let auth = Origin::answering(|request: &Recorded| match request.body.as_slice() {
        b"body" => Reply::new(200, ""),
        _ => Reply::new(403, "not that body"),
    });
    let gate = gate(&service.url(), &auth.url(), ", forward_body: true, max_body_size: 20");
    let send = |body: &[u8]| http(gate.proxy(), "PUT", "/shop", &[("Content-Type", "text/x")], body);
    send(b"body").expect_status(200);
    let asked = auth.last();
    assert_eq!(
        (asked.method.as_str(), asked.values("content-type"), asked.body.as_slice()),
        ("POST", vec!["text/x"], &b"body"[..])
    );
    assert_eq!((service.last().method.as_str(), service.last().body.as_slice()), ("PUT", &b"body"[..]));
    // In pieces, of no length that is known before.
    let pieces = "PUT /shop HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n";
    raw(gate.proxy(), pieces).expect_status(200);
    assert_eq!(service.last().body, b"body");
    send(b"other").expect_status(403);
    http(gate.proxy(), "GET", "/shop", &[], b"").expect_status(403);
    assert_eq!((auth.last().method.as_str(), auth.last().body.len()), ("GET", 0));
    // What it could not see whole does not pass, and nobody is asked.
    let asked = auth.requests().len();
    send(b"a body of more than twenty bytes").expect_status(413);
    assert_eq!((auth.requests().len(), service.requests().len()), (asked, 2));
}

/// The plugin that Kong's users had for this.
#[test]
fn a_configuration_of_external_auth_works_on() {
    let (service, auth) = (Origin::start(), Origin::answering(door));
    let gate = Gate::start(format!(
        "_format_version: \"3.0\"
services:
- name: shop
  url: {}
  routes: [{{name: shop, paths: [/shop]}}]
  plugins: [{{name: external-auth, config: {{url: '{}/', connect_timeout: 500}}}}]",
        service.url(),
        auth.url()
    ));
    ask(&gate, "POST", &[GOOD]).expect_status(200);
    let asked = auth.last();
    assert_eq!((asked.method.as_str(), asked.target.as_str(), asked.body.len()), ("POST", "/shop/a%20b?q=1", 0));
    assert_eq!(service.last().body, b"body");
    ask(&gate, "GET", &[("Cookie", "word=wrong")]).expect_status(401);
    drop(auth);
    ask(&gate, "GET", &[GOOD]).expect_status(503);
    assert_eq!(service.requests().len(), 1);
}

#[test]
fn without_an_answer_nobody_passes() {
    let service = Origin::start();
    let (go_on, waits) = mpsc::channel::<()>();
    let waits = std::sync::Mutex::new(waits);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let auth = Origin::answering(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(500, "broken"),
        1 => {
            // Longer than its timeout, until the test has its answer.
            let _ = waits.lock().unwrap().recv();
            Reply::new(200, "")
        }
        _ => Reply::new(101, ""),
    });
    let gate = gate(&service.url(), &auth.url(), ", timeout: 200");
    for _ in 0..2 {
        ask(&gate, "GET", &[GOOD]).expect_status(503);
    }
    go_on.send(()).unwrap();
    ask(&gate, "GET", &[GOOD]).expect_status(503);
    drop(auth);
    ask(&gate, "GET", &[GOOD]).expect_status(503);
    assert_eq!(service.requests().len(), 0);
    gate.wait_until_said("so nobody passes");
}

/// A service that nginx answers for, as many have it.
#[test]
fn nginx_can_be_asked() {
    let service = Origin::start();
    let auth = Nginx::http(
        "location / { if ($cookie_word != swordfish) { return 403; } add_header X-User $http_x_forwarded_uri; return 204; }",
    );
    let gate = gate(&service.url(), &format!("http://{}", auth.address()), "");
    ask(&gate, "GET", &[GOOD]).expect_status(200);
    assert_eq!(service.last().values("x-user"), ["/shop/a%20b?q=1"]);
    ask(&gate, "GET", &[]).expect_status(403);
}

#[test]
fn a_service_of_the_same_configuration_can_be_asked() {
    let (service, auth) = (Origin::start(), Origin::answering(door));
    let config = |asked: &str| {
        format!(
            "_format_version: \"3.0\"
upstreams:
- {{name: doors, targets: [{{target: '{}'}}]}}
services:
- name: shop
  url: {}
  routes: [{{name: shop, paths: [/shop]}}]
  plugins: [{{name: forward-auth, config: {{{asked}, upstream_headers: [X-User]}}}}]
- {{name: door, host: doors, path: /base}}",
            auth.address(),
            service.url()
        )
    };
    let gate = Gate::start(config("service: door, path: '/verify?x=1'"));
    ask(&gate, "GET", &[GOOD]).expect_status(200);
    assert_eq!(service.last().values("x-user"), ["ann"]);
    assert_eq!(auth.last().target, "/base/verify?x=1");
    ask(&gate, "GET", &[("Cookie", "word=x")]).expect_status(401);
    for (asked, reason) in [
        ("service: nobody", "there is no service 'nobody'"),
        ("service: door, url: 'http://x/'", "exactly one"),
        ("url: 'http://x/', path: /y", "a path stands in the URL itself"),
    ] {
        let refused = Gate::with(config(asked)).refuse();
        assert!(refused.stderr.contains(reason), "{asked}: {}", refused.stderr);
    }
}
