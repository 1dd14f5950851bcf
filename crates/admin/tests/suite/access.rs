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
