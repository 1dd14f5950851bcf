//! What a caller may take of the gate: time, size, connections. Each limit is set low and reached.

use std::io::{Read, Write};
use std::net::TcpStream;
use tests::{DEADLINE, Gate, GateBuilder, Origin, Reply, Wire, curl, raw};

fn gate(origin: &Origin, setting: &str, value: &str) -> GateBuilder {
    Gate::with(format!("_format_version: \"3.0\"\nservices:\n- url: {}\n  routes:\n  - paths: [/]\n", origin.url()))
        .env(&format!("PORTCULLIS_{setting}"), value)
}

/// What the gate sends after these bytes, up to the end that it makes.
#[track_caller]
fn until_closed(gate: &Gate, bytes: &str) -> String {
    let mut stream = TcpStream::connect(gate.proxy()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap_or_else(|error| panic!("{error} after {said:?}"));
    said
}

#[test]
fn a_head_has_its_time() {
    let origin = Origin::start();
    let gate = gate(&origin, "CLIENT_HEAD_TIMEOUT_S", "1").start();
    for beginning in ["G", "GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ", "GET / HTTP/1.1\r\nHost: h\r\n"] {
        assert_eq!(until_closed(&gate, beginning), "", "{beginning:?}");
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn a_connection_without_a_request_has_its_time() {
    let origin = Origin::start();
    let gate = gate(&origin, "CLIENT_IDLE_TIMEOUT_S", "1").start();
    assert_eq!(until_closed(&gate, ""), "");
    assert!(until_closed(&gate, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_body_has_its_time() {
    let origin = Origin::start();
    let gate = gate(&origin, "CLIENT_BODY_TIMEOUT_S", "1").start();
    for framing in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let said = until_closed(&gate, &format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}"));
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn an_answer_that_nobody_takes_has_its_time() {
    let origin = Origin::answering(|_| Reply::new(200, vec![b'x'; 64 << 20]));
    let gate = gate(&origin, "CLIENT_SEND_TIMEOUT_S", "1").start();
    let mut stream = TcpStream::connect(gate.proxy()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    // The gate is through with it when it holds the connection no more; reading would be taking.
    tests::eventually(DEADLINE, || {
        let status = gate.admin("GET", "/status", "").json();
        let active = status["server"]["connections_active"].as_u64();
        if active == Some(0) { Ok(()) } else { Err(format!("{active:?} connections")) }
    });
}

#[test]
fn a_body_has_its_size() {
    let origin = Origin::start();
    let gate = gate(&origin, "CLIENT_MAX_BODY_SIZE", "1k").start();
    let post =
        |framing: &str, body: &str| raw(gate.proxy(), format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n{body}"));
    let (fits, too_long) = ("x".repeat(1024), "x".repeat(1025));
    post("Content-Length: 1024", &fits).expect_status(200);
    post("Transfer-Encoding: chunked", &format!("400\r\n{fits}\r\n0\r\n\r\n")).expect_status(200);
    let before = origin.requests().len();
    let refused = post("Content-Length: 1025", &too_long).expect_status(413);
    assert_eq!(refused.header("connection"), Some("close"));
    post("Transfer-Encoding: chunked", &format!("401\r\n{too_long}\r\n0\r\n\r\n")).expect_status(413);
    let url = format!("https://{}/", gate.proxy_tls());
    curl(&["--http2", "--insecure", "--data", &too_long, &url]).expect_status(413);
    // Nobody was given a part of it for the whole.
    assert_eq!(origin.requests().len(), before);
}

#[test]
fn a_head_has_its_size() {
    let origin = Origin::start();
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let lines = gate(&origin, "CLIENT_MAX_HEADERS", "3").start();
    raw(lines.proxy(), get("a: 1\r\nb: 2\r\n")).expect_status(200);
    raw(lines.proxy(), get("a: 1\r\nb: 2\r\nc: 3\r\n")).expect_status(431);
    let line = gate(&origin, "CLIENT_MAX_LINE_SIZE", "100").start();
    raw(line.proxy(), get(&format!("a: {}\r\n", "x".repeat(100)))).expect_status(431);
    raw(line.proxy(), format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(100))).expect_status(414);
    let head = gate(&origin, "CLIENT_MAX_HEAD_SIZE", "100").start();
    raw(head.proxy(), get(&format!("a: {0}\r\nb: {0}\r\n", "x".repeat(40)))).expect_status(431);
}

#[test]
fn there_are_only_so_many_connections() {
    let origin = Origin::start();
    let gate = gate(&origin, "MAX_CONNECTIONS", "2").start();
    let answered = || {
        let mut wire = Wire::connect(gate.proxy());
        wire.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        wire.answer().expect_status(200);
        wire
    };
    let (first, second) = (answered(), answered());
    let mut third = Wire::connect(gate.proxy());
    third.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    third.try_answer(false).unwrap_err();
    gate.wait_until_said("max_connections");
    drop((first, second));
    tests::eventually(DEADLINE, || {
        let mut again = Wire::connect(gate.proxy());
        again.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        again.try_answer(false).map(drop).map_err(|error| error.to_string())
    });
}
