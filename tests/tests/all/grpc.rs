//! gRPC through the gate, with a real service and a real caller (grpcio): every kind of call, trailers both
//! ways, and the gate's own answers in gRPC's terms.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use tests::http2_wire::{DATA, END_HEADERS, END_STREAM, HEADERS, Http2Wire, PING, RESET, WINDOW_UPDATE, post};
use tests::{Authority, Gate, GateBuilder, curl, http, python, run, workspace};

/// The service; it ends with its standard input, and so with this value.
struct Service {
    child: Child,
    says: BufReader<ChildStdout>,
    port: u16,
}

impl Service {
    fn start() -> Service {
        let mut command = Command::new(python());
        command.arg(workspace().join("tests/grpc_peers.py")).arg("serve");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        says.read_line(&mut line).unwrap();
        Service { child, says, port: line.trim().parse().unwrap_or_else(|error| panic!("{line:?}: {error}")) }
    }
}

impl Service {
    fn wait_for(&mut self, line: &str) {
        let mut said = String::new();
        self.says.read_line(&mut said).unwrap();
        assert_eq!(said.trim(), line);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn gate(service: u16, route: &str) -> GateBuilder {
    Gate::with(format!(
        "_format_version: \"3.0\"\nconsumers:\n- username: ann\n  keyauth_credentials: [{{key: key-of-ann}}]\nservices:\n\
         - url: grpc://127.0.0.1:{service}\n  retries: 0\n  routes:\n  - paths: [/]\n{route}"
    ))
    .env("KONG_PROXY_LISTEN", "127.0.0.1:0 http2, 127.0.0.1:0 http2 ssl")
}

fn call(args: &[&str]) -> Value {
    let mut command = Command::new(python());
    let finished = run(command.arg(workspace().join("tests/grpc_peers.py")).arg("call").args(args));
    serde_json::from_slice(&finished.stdout).unwrap_or_else(|error| panic!("{error}\n{}", finished.stderr))
}

fn served(consumer: Value) -> Value {
    json!({
        "unary": [{"said": "hello", "consumer": consumer}, "whole"],
        "stream": 1000,
        "echo": ["ONE", "TWO", "THREE"],
        "collect": "5000000",
        "fail": ["NOT_FOUND", "no such thing: äöü", "failed"],
        "unknown": ["UNIMPLEMENTED", "Method not found!", null],
    })
}

#[test]
fn every_kind_of_call_passes() {
    let service = Service::start();
    let authority = Authority::new("gates");
    let certificate = authority.server(&["localhost"]);
    let gate = gate(service.port, "    protocols: [grpc, grpcs]\n")
        .env("KONG_SSL_CERT", certificate.cert.to_str().unwrap())
        .env("KONG_SSL_CERT_KEY", certificate.key.to_str().unwrap())
        .start();
    assert_eq!(call(&[&gate.proxy().to_string()]), served(Value::Null));
    let (tls, trusted) = (format!("localhost:{}", gate.proxy_tls().port()), &authority.certificate().cert);
    assert_eq!(call(&[&tls, trusted.to_str().unwrap()]), served(Value::Null));
}

/// Short messages pile up here when the caller is slow. That is no attack of the service.
#[test]
fn a_slow_caller_gets_every_short_message() {
    let mut service = Service::start();
    let gate = gate(service.port, "    protocols: [grpc]\n").start();
    // SETTINGS_INITIAL_WINDOW_SIZE 0: not a byte of an answer is taken.
    let mut caller = Http2Wire::connect(gate.proxy(), &[0, 4, 0, 0, 0, 0]);
    let (content_type, te) = (31, &[0, 2, b't', b'e', 8][..]);
    let head = [&post("/t.Test/Stream", &[(content_type, "application/grpc")])[..], te, b"trailers"].concat();
    caller.send(HEADERS, END_HEADERS, 1, &head);
    caller.send(DATA, END_STREAM, 1, &[&[0, 0, 0, 0, 4][..], b"4000"].concat());
    caller.until(|frame| frame.kind == HEADERS);
    service.wait_for("streamed");
    caller.send(PING, 0, 0, b"12345678");
    caller.until(|frame| frame.kind == PING);
    caller.send(WINDOW_UPDATE, 0, 1, &0x00ff_ffff_u32.to_be_bytes());
    caller.send(WINDOW_UPDATE, 0, 0, &0x00ff_ffff_u32.to_be_bytes());
    let answer =
        caller.until(|frame| frame.kind == RESET || frame.flags & END_STREAM == END_STREAM && frame.stream == 1);
    assert_eq!(answer.last().unwrap().kind, HEADERS, "the trailers come last");
    let bytes: usize = answer.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len()).sum();
    // Each message is a head of 5 bytes and its number.
    assert_eq!(bytes, (0..4000).map(|number: usize| 5 + number.to_string().len()).sum::<usize>());
}

#[test]
fn who_calls_is_asked_and_told() {
    let service = Service::start();
    let gate = gate(service.port, "    protocols: [grpc, grpcs]\n    plugins: [{name: key-auth}]\n").start();
    let address = gate.proxy().to_string();
    let refused = call(&[&address]);
    assert_eq!(refused["unary"], json!(["UNAUTHENTICATED", "No API key found in request", null]));
    assert_eq!(call(&[&address, "", "apikey", "key-of-ann"]), served("ann".into()));
}

#[test]
fn a_service_that_is_down_is_unavailable() {
    let gate = gate(1, "    protocols: [grpc, grpcs]\n").start();
    let answers = call(&[&gate.proxy().to_string()]);
    for (name, answer) in answers.as_object().unwrap() {
        assert!(["UNAVAILABLE", "INTERNAL"].contains(&answer[0].as_str().unwrap()), "{name}: {answer}");
    }
}

/// Kong's answers to what is no gRPC, or not over what the route takes.
#[test]
fn a_route_for_grpc_takes_nothing_else() {
    let gate = gate(1, "    protocols: [grpcs]\n").start();
    let grpc = [("Content-Type", "application/grpc")];
    http(gate.proxy(), "GET", "/", &[], b"").expect_status(415);
    let plain = format!("http://{}/", gate.proxy());
    let secure = format!("https://{}/", gate.proxy_tls());
    curl(&["--http2", "--insecure", &secure]).expect_status(415);
    http(gate.proxy(), "POST", "/", &grpc, b"x").expect_status(426);
    let header = "content-type: application/grpc";
    let open = curl(&["--http2-prior-knowledge", "--header", header, "--data", "x", &plain]).expect_status(200);
    assert_eq!(open.header("grpc-status"), Some("1"));
    assert_eq!(open.header("grpc-message"), Some("gRPC request matched gRPCs route"));
}
