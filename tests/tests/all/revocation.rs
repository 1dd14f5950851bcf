//! What lasts ends with the credential that it began with: WebSockets and streamed answers.

use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use tests::{DEADLINE, Gate, eventually};

/// A service that switches to WebSocket and sends back what it gets; to others it streams a piece for each byte that it
/// gets over its other end.
fn service() -> (String, TcpListener) {
    let pulse = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, beat) = (format!("http://{}", listener.local_addr().unwrap()), pulse.try_clone().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, beat) = (stream.unwrap(), beat.try_clone().unwrap());
            thread::spawn(move || {
                let head = until(&mut stream, b"\r\n\r\n");
                if head.contains("upgrade: websocket") {
                    stream.write_all(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n").unwrap();
                    let mut byte = [0];
                    while stream.read(&mut byte).is_ok_and(|count| count == 1) && stream.write_all(&byte).is_ok() {}
                } else {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n").unwrap();
                    let (mut beats, mut byte) = (beat.accept().unwrap().0, [0]);
                    while beats.read(&mut byte).is_ok_and(|count| count == 1) {
                        let _ = stream.write_all(b"1\r\n.\r\n");
                    }
                }
            });
        }
    });
    (url, pulse)
}

fn until(stream: &mut TcpStream, end: &[u8]) -> String {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(end) && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        read.push(byte[0]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

fn gate(url: &str) -> Gate {
    let gate = Gate::stored().start();
    for (path, body) in [
        ("/services", json!({ "name": "s", "url": url })),
        ("/services/s/routes", json!({ "paths": ["/"] })),
        ("/services/s/plugins", json!({ "name": "key-auth" })),
        ("/consumers", json!({ "username": "ann" })),
        ("/consumers/ann/key-auth", json!({ "key": "one" })),
        ("/consumers/ann/key-auth", json!({ "key": "two" })),
    ] {
        gate.admin("POST", path, &body.to_string()).expect_status(201);
    }
    gate
}

fn ask(gate: &Gate, key: &str, more: &str) -> TcpStream {
    let mut caller = TcpStream::connect(gate.proxy()).unwrap();
    caller.set_read_timeout(Some(DEADLINE)).unwrap();
    caller.write_all(format!("GET / HTTP/1.1\r\nHost: h\r\napikey: {key}\r\n{more}\r\n").as_bytes()).unwrap();
    caller
}

/// Whether a byte that is said comes back.
fn echoes(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream.write_all(b"x").is_ok() && stream.read(&mut byte).is_ok_and(|count| count == 1)
}

#[test]
fn a_websocket_ends_with_its_credential() {
    let (url, _pulse) = service();
    let gate = gate(&url);
    let open = |key: &str| {
        let mut caller = ask(&gate, key, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
        assert!(until(&mut caller, b"\r\n\r\n").starts_with("HTTP/1.1 101 "));
        caller
    };
    let (mut one, mut two) = (open("one"), open("two"));
    assert!(echoes(&mut one) && echoes(&mut two));
    // What changes of the consumer, and another credential, are nothing to it.
    gate.admin("PATCH", "/consumers/ann", r#"{"custom_id":"7"}"#).expect_status(200);
    gate.admin("DELETE", "/consumers/ann/key-auth/one", "").expect_status(204);
    assert!(!echoes(&mut one) && echoes(&mut two));
    gate.admin("DELETE", "/consumers/ann", "").expect_status(204);
    assert!(!echoes(&mut two));
}

#[test]
fn a_streamed_answer_ends_with_its_credential() {
    let (url, pulse) = service();
    let gate = gate(&url);
    let mut caller = ask(&gate, "one", "");
    assert!(until(&mut caller, b"1\r\n.\r\n").starts_with("HTTP/1.1 200 "));
    let mut beats = TcpStream::connect(pulse.local_addr().unwrap()).unwrap();
    let mut next = || {
        beats.write_all(b"x").unwrap();
        until(&mut caller, b"1\r\n.\r\n")
    };
    assert_eq!(next(), "1\r\n.\r\n");
    gate.admin("DELETE", "/consumers/ann/key-auth/two", "").expect_status(204);
    assert_eq!(next(), "1\r\n.\r\n");
    gate.admin("DELETE", "/consumers/ann/key-auth/one", "").expect_status(204);
    // A moment later it breaks off: it is not shown as whole.
    eventually(DEADLINE, || if next().is_empty() { Ok(()) } else { Err("it goes on".to_owned()) });
    gate.wait_until_said("the caller's credential was taken away");
}
