//! Requests and answers pass whole: through a real nginx, with big and absent bodies, over
//! connections that are used again.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use tests::http2_wire::{DATA, END_HEADERS, END_STREAM, Frame, HEADERS, Http2Wire, PING, RESET, post};
use tests::{DEADLINE, Gate, Nginx, Origin, TempDir, Wire, curl, raw};

const BIG: usize = 8 * 1024 * 1024;

fn gate(url: &str) -> Gate {
    Gate::start(format!(
        "_format_version: \"3.0\"\nservices:\n- name: behind\n  url: {url}\n  routes:\n  - name: all\n    paths: [/]\n"
    ))
}

/// Bytes that do not repeat, so that a lost or doubled block shows. (xorshift, always the same.)
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// `assert_eq!` would print both.
#[track_caller]
fn same(got: &[u8], expect: &[u8]) {
    let differ = got.iter().zip(expect).position(|(a, b)| a != b);
    assert!(got == expect, "{} bytes for {}, first difference at {differ:?}", got.len(), expect.len());
}

#[test]
fn a_big_answer_of_nginx_arrives_whole() {
    let nginx = Nginx::http("");
    let content = noise(BIG);
    nginx.write("big", &content);
    let gate = gate(&format!("http://{}", nginx.address()));
    same(&curl(&[&format!("http://{}/big", gate.proxy())]).expect_status(200).body, &content);
    let https = format!("https://{}/big", gate.proxy_tls());
    for version in ["--http1.1", "--http2"] {
        same(&curl(&[version, "--insecure", &https]).expect_status(200).body, &content);
    }
}

#[test]
fn a_big_request_reaches_the_service_whole_through_nginx() {
    let origin = Origin::answering(|request| tests::Reply::new(200, request.body.len().to_string()));
    let nginx = Nginx::http(&format!("location / {{ proxy_pass {}; proxy_http_version 1.1; }}", origin.url()));
    let gate = gate(&format!("http://{}", nginx.address()));
    let (plain, secure) = (format!("http://{}/up", gate.proxy()), format!("https://{}/up", gate.proxy_tls()));
    let content = noise(BIG);
    let dir = TempDir::new();
    let data = format!("@{}", dir.write("content", &content).display());
    let chunked = ["--header", "Transfer-Encoding: chunked"];
    let ways: [&[&str]; 4] = [
        &[&plain],
        &[&plain, chunked[0], chunked[1]],
        &["--http1.1", "--insecure", &secure],
        &["--http2", "--insecure", &secure],
    ];
    for way in ways {
        let answer = curl(&[&["--request", "PUT", "--data-binary", &data], way].concat()).expect_status(200);
        assert_eq!(answer.text(), BIG.to_string(), "{way:?}");
        same(&origin.last().body, &content);
    }
}

#[test]
fn a_chunked_request_reaches_the_service_with_its_bytes() {
    let origin = Origin::start();
    let gate = gate(&origin.url());
    let request = "POST /up HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n1;name=value\r\nd\r\n0\r\n\r\n";
    raw(gate.proxy(), request).expect_status(200);
    let seen = origin.last();
    assert_eq!(seen.body, b"abcd");
    // One framing only: with both, two readers see two requests (RFC 9112, 6.1).
    assert!(seen.values("content-length").len() + seen.values("transfer-encoding").len() == 1, "{}", seen.text());
}

/// Whoever waits for `100 Continue` gets it, and the body is not lost.
#[test]
fn a_request_that_expects_100_continue_is_served() {
    let origin = Origin::start();
    let gate = gate(&origin.url());
    let url = format!("http://{}/up", gate.proxy());
    let args = ["--header", "Expect: 100-continue", "--expect100-timeout", "30", "--data-binary", "content", &url];
    assert_eq!(curl(&args).expect_status(200).json()["body"], "content");
}

/// Answers without a body, each followed by another on the same connection: a byte too many or too
/// few would be read as the next answer.
#[test]
fn answers_without_a_body_end_where_they_should() {
    let nginx = Nginx::http("location /none { return 204; }\netag on;");
    nginx.write("file", b"content");
    let gate = gate(&format!("http://{}", nginx.address()));
    let tag = gate.get("/file").expect_status(200).header("etag").unwrap().to_owned();

    let mut wire = Wire::connect(gate.proxy());
    wire.send("HEAD /file HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = wire.answer_to_head().expect_status(200);
    assert_eq!(head.header("content-length"), Some("7"));
    wire.send("GET /none HTTP/1.1\r\nHost: h\r\n\r\n");
    let none = wire.answer().expect_status(204);
    // RFC 9110, 8.6: never with 204.
    assert_eq!((none.header("content-length"), none.header("transfer-encoding")), (None, None));
    wire.send(format!("GET /file HTTP/1.1\r\nHost: h\r\nIf-None-Match: {tag}\r\n\r\n"));
    let unchanged = wire.answer().expect_status(304);
    assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
    wire.send("GET /file HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(wire.answer().expect_status(200).text(), "content");
}

#[test]
fn one_connection_to_the_service_carries_many_requests() {
    let origin = Origin::start();
    let gate = gate(&origin.url());
    let mut wire = Wire::connect(gate.proxy());
    for number in 0..50 {
        wire.send(format!("GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(wire.answer().expect_status(200).json()["path"], format!("/{number}"));
    }
    let used: Vec<usize> = origin.requests().iter().map(|request| request.connection).collect();
    assert!(used.iter().all(|connection| *connection == used[0]), "{used:?}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start();
    let gate = gate(&origin.url());
    let mut wire = Wire::connect(gate.proxy());
    wire.send((0..5).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n")).collect::<String>());
    for number in 0..5 {
        assert_eq!(wire.answer().expect_status(200).json()["path"], format!("/{number}"));
    }
}

#[test]
fn http_2_is_spoken_on_the_tls_port() {
    let origin = Origin::start();
    let gate = gate(&origin.url());
    let url = format!("https://{}/a?b=c", gate.proxy_tls());
    let answer = curl(&["--http2", "--insecure", "--data", "content", &url]).expect_status(200);
    assert_eq!(answer.version, "2");
    let seen = answer.json();
    assert_eq!((&seen["path"], &seen["query"], &seen["body"]), (&"/a".into(), &"b=c".into(), &"content".into()));
    assert_eq!(seen["headers"]["x-forwarded-proto"], "https");
}

#[test]
fn a_service_that_is_down_is_a_502() {
    // Bound and closed again: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gate = gate(&format!("http://{address}"));
    gate.get("/").expect_status(502);
}

/// A service may itself stand behind a gate of this kind: what that one says of itself is not said beside ours.
#[test]
fn what_another_gate_said_of_itself_is_replaced() {
    const OURS: [&str; 4] =
        ["X-Kong-Upstream-Latency", "X-Kong-Proxy-Latency", "X-Kong-Upstream-Status", "X-Kong-Request-Id"];
    let origin = Origin::answering(|_| {
        OURS.iter()
            .fold(tests::Reply::new(200, "x"), |reply, name| reply.with(name, "of-another"))
            .with("Via", "1.1 other")
    });
    let gate = Gate::with(format!(
        "_format_version: \"3.0\"\nservices:\n- url: {}\n  routes:\n  - paths: [/]\n",
        origin.url()
    ))
    .env("KONG_HEADERS", "server_tokens, latency_tokens, X-Kong-Upstream-Status, X-Kong-Request-Id")
    .start();
    let http2 = curl(&["--http2", "--insecure", &format!("https://{}/", gate.proxy_tls())]);
    for answer in [gate.get("/"), http2] {
        let values = |name: &str| -> Vec<String> {
            let of = answer.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
            of.map(|(_, value)| value.clone()).collect()
        };
        for name in OURS {
            assert!(matches!(&values(name)[..], [one] if one != "of-another"), "{name}: {:?}", answer.fields);
        }
        assert_eq!(values("via"), ["1.1 other, 1.1 portcullis"]);
    }
}

/// A service that speaks first, then as it is told, over one connection.
fn service(script: impl FnOnce(TcpStream, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        script(stream, String::from_utf8(head).unwrap());
    });
    url
}

/// Reads from a stream until these bytes have come, and returns all.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

/// RFC 9110 section 15.2: a proxy forwards interim answers, when they come.
#[test]
fn early_hints_reach_the_caller_before_the_answer() {
    let (told, seen) = std::sync::mpsc::channel();
    let gate = gate(&service(move |mut stream, _| {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x-own\r\nX-Own: 1\r\n\r\n";
        stream.write_all(hints.as_bytes()).unwrap();
        // The answer waits until the hints have arrived.
        seen.recv().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    }));
    let mut caller = TcpStream::connect(gate.proxy()).unwrap();
    caller.set_read_timeout(Some(DEADLINE)).unwrap();
    caller.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(read_until(&mut caller, b"\r\n\r\n"), "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
    told.send(()).unwrap();
    assert!(read_until(&mut caller, b"ok").starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_caller_of_http_1_0_gets_no_interim_answer() {
    let gate = gate(&service(|mut stream, _| {
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    }));
    assert_eq!(raw(gate.proxy(), b"GET / HTTP/1.0\r\nHost: h\r\n\r\n").expect_status(200).text(), "ok");
}

#[test]
fn a_protocol_that_may_be_upgraded_to_passes_both_ways_and_no_other() {
    let echo = |mut stream: TcpStream, head: String| {
        let protocol = head.lines().find_map(|line| line.strip_prefix("upgrade: ")).unwrap_or("none").to_owned();
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: upgrade\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
        let mut four = [0; 4];
        stream.read_exact(&mut four).unwrap();
        stream.write_all(&four).unwrap();
    };
    let ask = |protocols: &str| {
        let url = service(echo);
        let config = format!(
            "_format_version: \"3.0\"\nservices:\n- name: behind\n  url: {url}\n  routes: [{{name: all, paths: [/]}}]\n"
        );
        let gate = Gate::with(config).env("PORTCULLIS_CLIENT_UPGRADES", "websocket, echo/1").start();
        let mut caller = TcpStream::connect(gate.proxy()).unwrap();
        caller.set_read_timeout(Some(DEADLINE)).unwrap();
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: {protocols}\r\n\r\n");
        caller.write_all(head.as_bytes()).unwrap();
        let answer = read_until(&mut caller, b"\r\n\r\n");
        if answer.starts_with("HTTP/1.1 101 ") {
            caller.write_all(b"ping").unwrap();
            read_until(&mut caller, b"ping");
        }
        answer
    };
    let switched = ask("h2c, Echo/1");
    assert!(switched.starts_with("HTTP/1.1 101 ") && switched.contains("\r\nupgrade: echo/1\r\n"), "{switched}");
    // Asked for nothing that may pass, the service switched all the same.
    assert!(ask("h2c").starts_with("HTTP/1.1 502 "));
}

/// Some callers take the early end of a stream for a failure, although RFC 9113 section 8.1 allows it.
#[test]
fn a_refusal_over_http2_waits_for_the_rest_of_a_short_body() {
    let gate = Gate::empty().env("KONG_PROXY_LISTEN", "127.0.0.1:0 http2, 127.0.0.1:0 http2 ssl").start();
    let mut caller = Http2Wire::connect(gate.proxy(), b"");
    let (content_length, end) = (28, END_HEADERS | END_STREAM);
    caller.send(HEADERS, END_HEADERS, 1, &post("/", &[(content_length, "4")]));
    caller.send(PING, 0, 0, b"12345678");
    let reset = |frames: &[Frame]| frames.iter().any(|frame| frame.kind == RESET);
    let early = caller.until(|frame| frame.kind == PING);
    assert!(!reset(&early), "its stream was reset: {early:?}");
    caller.send(DATA, END_STREAM, 1, b"late");
    caller.send(HEADERS, end, 3, &post("/", &[]));
    let answers = caller.until(|frame| frame.kind == HEADERS && frame.stream == 3);
    assert!(!reset(&answers), "its stream was reset: {answers:?}");
    assert!(answers.iter().any(|frame| frame.kind == HEADERS && frame.stream == 1), "{answers:?}");
}
