//! What a hostile caller or a broken service tries, judged on the bytes that reached the other side.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;
use tests::{DEADLINE, Gate, Origin, base64, http, raw};

/// A service that does with each connection what it likes.
fn service(behave: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let behave = Arc::new(behave);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let behave = behave.clone();
            thread::spawn(move || behave(stream));
        }
    });
    address
}

/// The request line of the next request without a body; `None` when the other side has closed.
fn request_line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    Some(first)
}

fn answering(bytes: &'static str) -> SocketAddr {
    service(move |stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        if request_line(&mut reader).is_some() {
            let _ = (&stream).write_all(bytes.as_bytes());
        }
    })
}

fn behind(address: impl std::fmt::Display) -> Gate {
    Gate::start(format!(
        "_format_version: \"3.0\"\nservices:\n- url: http://{address}\n  retries: 0\n  routes:\n  - paths: [/]\n"
    ))
}

/// A path that is no text once decoded matches no regular expression; the request would fall through to
/// the open route, and a service that cuts `;...` off would see the protected path.
#[test]
fn no_escape_leads_around_a_protected_route() {
    let origin = Origin::start();
    let gate = Gate::start(format!(
        "_format_version: \"3.0\"\nservices:\n- url: {}\n  routes:\n  - paths: ['~/api/admin(/|$)']\n    \
         plugins: [{{name: key-auth}}]\n  - paths: [/api]\n",
        origin.url()
    ));
    gate.get("/api/admin/users").expect_status(401);
    for path in ["/api/admin/users;%ff", "/api/admin/%ff", "/api/%c3%28"] {
        gate.get(path).expect_status(400);
    }
    gate.get("/api/other").expect_status(200);
    assert_eq!(origin.requests().len(), 1);
}

/// A service that dies of a request must not be given it again and again from every kept connection: what
/// is not safe is done once, and what is safe at most twice.
#[test]
fn no_request_is_repeated_without_end() {
    const KEPT: usize = 4;
    let (deaths, warm) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(KEPT)));
    let counted = deaths.clone();
    let address = service(move |stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(line) = request_line(&mut reader) {
            if line.contains("/die") {
                counted.fetch_add(1, SeqCst);
                return;
            }
            warm.wait();
            (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    let gate = Gate::with(format!(
        "_format_version: \"3.0\"\nservices:\n- url: http://{address}\n  routes:\n  - paths: [/]\n"
    ))
    .env("PORTCULLIS_WORKERS", "1")
    .start();
    for (method, most) in [("DELETE", 1), ("POST", 1), ("PUT", 1), ("GET", 2)] {
        let proxy = gate.proxy();
        let warming =
            (0..KEPT).map(|_| thread::spawn(move || http(proxy, "GET", "/warm", &[], b"").expect_status(200)));
        let warming: Vec<_> = warming.collect();
        warming.into_iter().for_each(|thread| drop(thread.join().unwrap()));
        deaths.store(0, SeqCst);
        http(proxy, method, "/die", &[], b"").expect_status(502);
        let died = deaths.load(SeqCst);
        assert!((1..=most).contains(&died), "{method} was seen {died} times");
    }
}

/// With `anonymous` a missing key is no reason to stop; a body that broke off is, for what was read of it
/// is gone, and the service would take the rest for the whole.
#[test]
fn a_broken_body_is_nobodys_request() {
    let origin = Origin::start();
    let gate = Gate::start(format!(
        "_format_version: \"3.0\"\nconsumers: [{{username: guest}}]\nservices:\n- url: {}\n  routes:\n  - paths: [/]\n    \
         plugins: [{{name: key-auth, config: {{key_in_body: true, anonymous: guest}}}}]\n",
        origin.url()
    ));
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    raw(gate.proxy(), format!("{head}5\r\nhello\r\nZZ\r\n")).expect_status(400);
    assert!(origin.requests().is_empty(), "{}", origin.last().text());
    raw(gate.proxy(), format!("{head}5\r\nhello\r\n0\r\n\r\n")).expect_status(200);
    assert_eq!(origin.last().body, b"hello");
}

/// A GET may have a body. A gate that drops it silently sends another request than the caller did.
#[test]
fn a_get_keeps_its_body() {
    let origin = Origin::start();
    let gate = behind(origin.address());
    raw(
        gate.proxy(),
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    )
    .expect_status(200);
    assert_eq!(origin.last().body, b"hello");
}

/// An answer of which two readers could see two ends: whoever believes the length takes a part for the whole,
/// and the rest for the next answer.
#[test]
fn an_answer_has_one_end() {
    for head in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Content-Length: 30\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Content-Length: 10\r\nContent-Length: 11",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\na\r\n0123456789\r\n0\r\n\r\n");
        behind(answering(answer.leak())).get("/").expect_status(502);
    }
}

/// Framing that two parsers could read differently gets no further than the door.
#[test]
fn ambiguous_framing_is_refused() {
    let origin = Origin::start();
    let gate = behind(origin.address());
    for head in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3, 3",
        "Content-Length: +3",
        "Host: other",
        "Authorization: Basic YTpi\r\nAuthorization: Basic Yzpk",
    ] {
        let bytes = format!("POST / HTTP/1.1\r\nHost: h\r\n{head}\r\nConnection: close\r\n\r\n0\r\n\r\n");
        raw(gate.proxy(), bytes).expect_status(400);
    }
    assert!(origin.requests().is_empty(), "{}", origin.last().text());
}

/// Where one target is down, the next attempt goes to another, however much heavier the dead one is.
#[test]
fn a_dead_target_costs_no_request() {
    let origin = Origin::start();
    // Bound and not listening: connections are refused, and nobody else can take the port.
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for algorithm in ["round-robin", "least-connections", "latency"] {
        let gate = Gate::start(format!(
            "_format_version: \"3.0\"\nupstreams:\n- name: u.test\n  algorithm: {algorithm}\n  targets:\n  \
             - {{target: '{dead}', weight: 1000}}\n  - {{target: '{}', weight: 10}}\n\
             services: [{{host: u.test, retries: 1, routes: [{{paths: [/]}}]}}]\n",
            origin.address()
        ));
        for _ in 0..20 {
            gate.get("/").expect_status(200);
        }
    }
}

/// Services that read `X_Real_IP` and `X-Real-IP` as one, or trailers as headers, must hear it from the
/// gate alone how the request came here.
#[test]
fn the_way_of_a_request_cannot_be_forged() {
    let origin = Origin::start();
    let gate = behind(origin.address());
    let forged = [
        ("X_Forwarded_For", "6.6.6.6"),
        ("X_Real_IP", "6.6.6.6"),
        ("X.Forwarded.Proto", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6"),
    ];
    http(gate.proxy(), "GET", "/", &forged, b"").expect_status(200);
    assert!(!origin.last().text().contains("6.6.6.6"), "{}", origin.last().text());
    raw(
        gate.proxy(),
        "POST / HTTP/1.1\r\nHost: h\r\nTrailer: X-Real-IP, X-Forwarded-For\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n0\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
    )
    .expect_status(200);
    assert!(!origin.last().text().contains("6.6.6.6"), "{}", origin.last().text());
}

/// A wrong password is still a password: a service that was not to see credentials must not see it.
#[test]
fn hidden_credentials_are_hidden_even_when_wrong() {
    let origin = Origin::start();
    let gate = Gate::start(format!(
        "_format_version: \"3.0\"\nconsumers: [{{username: guest}}]\nservices:\n- url: {}\n  routes:\n  - paths: [/]\n    \
         plugins: [{{name: basic-auth, config: {{hide_credentials: true, anonymous: guest}}}}]\n",
        origin.url()
    ));
    let basic = format!("Basic {}", base64(b"alice:almost-right"));
    http(gate.proxy(), "GET", "/", &[("Authorization", &basic)], b"").expect_status(200);
    assert!(origin.last().values("authorization").is_empty(), "{}", origin.last().text());
}

/// `read_timeout` counts from the end of the request, also for one with a body.
#[test]
fn a_silent_service_is_given_up_after_its_read_timeout() {
    let silent = service(|mut stream| {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
    });
    let gate = Gate::start(format!(
        "_format_version: \"3.0\"\nservices:\n- url: http://{silent}\n  retries: 0\n  read_timeout: 200\n  \
         write_timeout: 3600000\n  routes:\n  - paths: [/]\n"
    ));
    let started = Instant::now();
    http(gate.proxy(), "POST", "/", &[], b"hi").expect_status(504);
    http(gate.proxy(), "GET", "/", &[], b"").expect_status(504);
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
}

/// HTTP/1.0 knows no 101: whoever asks for it there gets an ordinary answer.
#[test]
fn old_callers_are_not_upgraded() {
    let origin = Origin::start();
    let gate = behind(origin.address());
    raw(gate.proxy(), "GET / HTTP/1.0\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .expect_status(200);
    assert!(origin.last().values("upgrade").is_empty(), "{}", origin.last().text());
}
