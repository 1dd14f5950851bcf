//! Which of a service's targets a request goes to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use tests::{Answer, DEADLINE, Gate, Origin, Wire, eventually};

/// A service over two targets; `hash_on` says what of a request decides between them.
fn gate(origins: &[Origin], hash_on: &str) -> Gate {
    let targets: String = origins.iter().map(|origin| format!("  - target: {}\n", origin.address())).collect();
    Gate::start(format!(
        "_format_version: \"3.0\"
services:
- name: shop
  host: shops
  routes:
  - name: shop
    paths: ['~/shop/(?<customer>[a-z0-9]+)']
    strip_path: false
upstreams:
- name: shops
{hash_on}
  targets:
{targets}"
    ))
}

/// Twenty values go to both targets, and each value to its own every time.
fn keeps_to_targets(hash_on: &str, ask: impl Fn(&Gate, &str) -> Answer) {
    let answering = |name: &'static str| Origin::answering(move |_| tests::Reply::new(200, name));
    let origins = [answering("left"), answering("right")];
    let gate = gate(&origins, hash_on);
    let round =
        || -> Vec<String> { (0..20).map(|value| ask(&gate, &format!("v{value}")).expect_status(200).text()).collect() };
    let first = round();
    for name in ["left", "right"] {
        assert!(first.iter().any(|answer| answer == name), "{hash_on}: none went to {name}: {first:?}");
    }
    for _ in 0..3 {
        assert_eq!(round(), first, "{hash_on}");
    }
}

#[test]
fn a_named_capture_of_the_path_keeps_its_target() {
    let hash_on = "  hash_on: uri_capture\n  hash_on_uri_capture: customer";
    keeps_to_targets(hash_on, |gate, value| gate.get(&format!("/shop/{value}")));
}

/// The fallback counts where the request has not what is hashed first.
#[test]
fn a_capture_decides_where_the_header_is_missing() {
    let hash_on = "  hash_on: header\n  hash_on_header: x-customer\n  hash_fallback: uri_capture\n  \
                   hash_fallback_uri_capture: \"1\"";
    keeps_to_targets(hash_on, |gate, value| gate.get(&format!("/shop/{value}")));
}

#[test]
fn a_header_keeps_its_target() {
    let hash_on = "  hash_on: header\n  hash_on_header: x-customer";
    keeps_to_targets(hash_on, |gate, value| {
        tests::http(gate.proxy(), "GET", "/shop/any", &[("x-customer", value)], b"")
    });
}

#[test]
fn a_query_argument_keeps_its_target() {
    let hash_on = "  hash_on: query_arg\n  hash_on_query_arg: customer";
    keeps_to_targets(hash_on, |gate, value| gate.get(&format!("/shop/any?customer={value}")));
}

#[test]
fn the_path_keeps_its_target() {
    keeps_to_targets("  hash_on: path", |gate, value| gate.get(&format!("/shop/{value}")));
}

#[test]
fn a_cookie_keeps_its_target() {
    let hash_on = "  hash_on: cookie\n  hash_on_cookie: customer";
    keeps_to_targets(hash_on, |gate, value| {
        let cookie = format!("customer={value}");
        tests::http(gate.proxy(), "GET", "/shop/any", &[("cookie", &cookie)], b"")
    });
}

/// A service that switches whoever asks to WebSocket, and says its name.
fn switching(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            while reader.by_ref().lines().next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n";
            reader.get_mut().write_all(format!("{head}X-Target: {name}\r\n\r\n").as_bytes()).unwrap();
            // It ends when its caller does.
            std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        }
    });
    address
}

/// WebSockets are what makes targets of equal requests unequally busy: each counts as long as it stands.
#[test]
fn least_connections_counts_websockets() {
    let (three, one) = (switching("three"), switching("one"));
    let gate = Gate::start(format!(
        "_format_version: \"3.0\"\nupstreams:\n- name: u.test\n  algorithm: least-connections\n  targets:\n  \
         - {{target: '{three}', weight: 3}}\n  - {{target: '{one}', weight: 1}}\n\
         services: [{{host: u.test, routes: [{{paths: [/]}}]}}]\n"
    ));
    let open = || {
        let mut wire = Wire::connect(gate.proxy());
        wire.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let answer = wire.answer().expect_status(101);
        (answer.header("x-target").unwrap().to_owned(), wire)
    };
    let (mut those_of_one, those_of_three): (Vec<_>, Vec<_>) =
        (0..8).map(|_| open()).partition(|(target, _)| target == "one");
    assert_eq!((those_of_three.len(), those_of_one.len()), (6, 2));
    those_of_one.clear();
    // Two in a row go there only while nothing counts: their share is one of four.
    eventually(DEADLINE, || match [open(), open()] {
        [(first, _), (second, _)] if first == "one" && second == "one" => Ok(()),
        _ => Err("it still counts as busy".to_owned()),
    });
}
