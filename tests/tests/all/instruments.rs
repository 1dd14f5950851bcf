//! The instruments measure what they say: without a gate, so that a fault here is not laid at its door.

use serde_json::json;
use tests::{Authority, Nginx, Origin, Reply, Wire, curl, hs256, http, raw};

#[test]
fn the_origin_records_every_byte_and_echoes() {
    let origin = Origin::start();
    let request = "POST /a/b?c=d HTTP/1.1\r\nHost: h\r\nx_ODD: 1\r\nX-Odd: 2\r\nContent-Length: 2\r\n\r\nhi";
    let seen = raw(origin.address(), request).expect_status(200).json();
    assert_eq!(seen["method"], "POST");
    assert_eq!((&seen["path"], &seen["query"], &seen["body"]), (&json!("/a/b"), &json!("c=d"), &json!("hi")));
    assert_eq!((&seen["headers"]["x_odd"], &seen["headers"]["x-odd"]), (&json!("1"), &json!("2")));
    assert_eq!(origin.last().text(), request);
}

#[test]
fn the_origin_reads_chunks_and_trailers_and_keeps_the_connection() {
    let origin = Origin::start();
    let mut wire = Wire::connect(origin.address());
    wire.send(
        "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: v\r\n\r\n",
    );
    assert_eq!(wire.answer().json()["body"], "abc");
    wire.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(wire.answer_to_head().body, b"");
    let requests = origin.wait_for(2);
    assert_eq!(requests[0].trailers, [("T".to_owned(), "v".to_owned())]);
    assert_eq!((requests[0].connection, requests[1].connection), (0, 0));
    assert_eq!(requests[1].method, "HEAD");
}

#[test]
fn the_origin_answers_as_told() {
    let origin = Origin::answering(|request| Reply::new(418, request.target.clone()).with("X-Told", "yes"));
    let answer = http(origin.address(), "GET", "/tea", &[], b"").expect_status(418);
    assert_eq!((answer.header("x-told"), answer.text()), (Some("yes"), "/tea".to_owned()));
}

#[test]
fn curl_trusts_nginx_by_our_authority() {
    let authority = Authority::new("instruments");
    let nginx = Nginx::https(&authority.server(&["localhost", "127.0.0.1"]), None, "keepalive_timeout 5;");
    nginx.write("file", b"content");
    let url = format!("https://{}/file", nginx.address());
    let answer = curl(&["--cacert", authority.certificate().cert.to_str().unwrap(), &url]).expect_status(200);
    assert_eq!(answer.body, b"content", "{}", nginx.output());
}

#[test]
fn nginx_asks_for_a_certificate_of_the_callers_authority() {
    let authority = Authority::new("instruments");
    let own = &authority.certificate().cert;
    let nginx =
        Nginx::https(&authority.server(&["127.0.0.1"]), Some(own), "location / { return 200 $ssl_client_s_dn; }");
    let url = format!("https://{}/", nginx.address());
    curl(&["--cacert", own.to_str().unwrap(), &url]).expect_status(400);
    let client = authority.client("caller");
    let (cert, key) = (client.cert.to_str().unwrap(), client.key.to_str().unwrap());
    let answer = curl(&["--cacert", own.to_str().unwrap(), "--cert", cert, "--key", key, &url]);
    assert_eq!(answer.expect_status(200).text(), "CN=caller");
}

#[test]
fn tokens_are_signed_as_others_sign_them() {
    let token = hs256("secret", &json!({"iss": "k"}));
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts[..2], ["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "eyJpc3MiOiJrIn0"]);
    assert_eq!(parts[2].len(), 43);
}
