//! Who is let in, and what those outside learn: nothing.

use crate::gate::{SHOP, TOKEN, admin, answer, get};
use bytes::Bytes;
use http::{Request, StatusCode};

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

#[test]
fn every_path_answers_401_without_the_token() {
    let admin = admin(SHOP);
    let endpoints = get(&admin, "/endpoints").json();
    let mut paths: Vec<String> = endpoints["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|path| path.as_str().unwrap().replace(['{', '}'], ""))
        .collect();
    paths.extend(["/nope", "/services/s?size=x", "//", "/%FF"].map(str::to_owned));
    for path in &paths {
        for method in METHODS {
            let request = Request::builder().method(method).uri(path.as_str());
            let refused = answer(&admin, request.body(Bytes::from_static(b"{}")).unwrap());
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"admin\""));
            let expected = if method == "HEAD" { "" } else { r#"{"message":"Unauthorized"}"# };
            assert_eq!(refused.text, expected, "{method} {path}");
            assert_eq!(refused.header("allow"), None);
        }
    }
}

fn check(header: &str, value: &str, expected: StatusCode) {
    let request = Request::builder().uri("/status").header(header, value);
    assert_eq!(answer(&admin(SHOP), request.body(Bytes::new()).unwrap()).status, expected, "{header}: {value}");
}

#[test]
fn the_token_is_taken_from_two_headers() {
    check("Kong-Admin-Token", TOKEN, StatusCode::OK);
    check("Authorization", &format!("Bearer {TOKEN}"), StatusCode::OK);
    check("Kong-Admin-Token", "T0ken", StatusCode::UNAUTHORIZED);
    check("Authorization", TOKEN, StatusCode::UNAUTHORIZED);
    check("Cookie", TOKEN, StatusCode::UNAUTHORIZED);
}

#[test]
fn no_browser_is_told_that_it_may_read_along() {
    let admin = admin(SHOP);
    for (method, path) in [("GET", "/services"), ("OPTIONS", "/services"), ("GET", "/nope"), ("POST", "/services")] {
        let request = Request::builder().method(method).uri(path).header("Kong-Admin-Token", TOKEN);
        let request = request.header("Origin", "https://evil.test").header("Access-Control-Request-Method", "POST");
        let answer = answer(&admin, request.body(Bytes::new()).unwrap());
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{answer:?}");
        assert_eq!(answer.header("server"), Some("portcullis"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

/// The SHA-256 of "reader".
const READER: &str = "3d0941964aa3ebdcb00ccef58b1bb399f9f898465e9886d5aec7f31090a0fb30";

#[test]
fn a_token_may_do_what_it_allows() {
    let tokens = format!(
        "admin_tokens:\n- {{name: reader, digest: {READER}, allow: [GET /services/**, POST /schemas/*/validate]}}\n\
         - {{name: over, digest: '{}', allow: ['* /**'], expires_at: 1}}\n",
        "0".repeat(64)
    );
    let admin = admin(&format!("{SHOP}{tokens}"));
    let ask = |method: &str, path: &str, token: &str| {
        let request = Request::builder().method(method).uri(path).header("Kong-Admin-Token", token);
        answer(&admin, request.body(Bytes::new()).unwrap())
    };
    for (method, path, expected) in [
        ("GET", "/services", 200),
        ("HEAD", "/services/nope", 404),
        ("OPTIONS", "/services", 204),
        ("GET", "/", 403),
        ("GET", "/serv%69ces", 200),
        ("GET", "/services%2Fx", 403),
        ("POST", "/services", 403),
        ("DELETE", "/services/shop", 403),
        ("POST", "/schemas/services/validate", 400),
        ("GET", "/nope", 403),
    ] {
        let found = ask(method, path, "reader");
        assert_eq!(found.status.as_u16(), expected, "{method} {path}: {}", found.text);
    }
    assert_eq!(ask("GET", "/services", "Reader").status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("GET", "/services", READER).status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("GET", "/admin_tokens", TOKEN).json()["data"].as_array().unwrap().len(), 2);
}

#[test]
fn no_page_of_a_browser_is_answered() {
    let admin = admin(SHOP);
    let ask = |host: &str, more: &[(&str, &str)]| {
        let mut request = Request::builder().uri("/status").header("Kong-Admin-Token", TOKEN).header("Host", host);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        answer(&admin, request.body(Bytes::new()).unwrap()).status.as_u16()
    };
    for host in
        ["127.0.0.1:8001", "[::1]:8001", "localhost", "LOCALHOST:8001", "a.localhost", "gate.test:8001", "10.0.0.7"]
    {
        assert_eq!(ask(host, &[]), 200, "{host}");
    }
    for host in ["evil.test", "localhost.evil.test:8001", "127.0.0.1.evil.test", "", "a b"] {
        assert_eq!(ask(host, &[]), 403, "{host}");
    }
    let here = "127.0.0.1:8001";
    assert_eq!(ask(here, &[("Origin", "http://127.0.0.1:8001")]), 200);
    assert_eq!(ask(here, &[("Origin", "https://evil.test")]), 403);
    assert_eq!(ask(here, &[("Origin", "null")]), 403);
    assert_eq!(ask(here, &[("Origin", "http://127.0.0.1:8002")]), 403);
    assert_eq!(ask(here, &[("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(ask(here, &[("Sec-Fetch-Site", "none")]), 200);
}
