//! The cases recorded from a running Kong 3.9.3, against one gate.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tests::{Gate, Process, clean, python, workspace};

/// The areas that are built. Cases that still wait or differ on purpose: kong/differences.json.
const AREAS: &[&str] = &[
    "router",
    "proxy",
    "dbless",
    "key-auth",
    "jwt",
    "basic-auth",
    "hmac-auth",
    "acl",
    "multi-auth",
    "correlation-id",
    "cors",
    "ip-restriction",
    "request-size-limiting",
    "request-termination",
    "rate-limiting",
    "plugins",
];

#[test]
fn the_gate_behaves_as_kong_did() {
    let gate = Gate::empty().start();
    let mut command = runner(&gate, AREAS);
    let restarts = Restarts::serve(gate);
    command.arg("--restart").arg(format!("'{}' '{}' {{config}}", python().display(), script().display()));
    command.env("RESTART_ADDRESS", restarts.address.to_string());
    hold(command, || restarts.said());
}

/// The cases of Kong with a database, all over the Admin API.
#[test]
fn the_gate_keeps_entities_as_kong_did() {
    let gate = Gate::stored().start();
    let mut command = runner(&gate, &["admin"]);
    command.arg("--db");
    hold(command, || gate.said());
}

fn runner(gate: &Gate, areas: &[&str]) -> Command {
    let (proxy, admin) = (format!("http://{}", gate.proxy()), format!("http://{}", gate.admin_address()));
    let token = format!("Kong-Admin-Token: {}", gate.token());
    let kong = workspace().join("kong");
    let mut command = Command::new(python());
    command.arg(kong.join("run_cases.py")).arg(kong.join("cases.json"));
    command.arg("--differences").arg(kong.join("differences.json"));
    // The gate answers a change when it is in force: nothing has to settle.
    command.args(["--proxy", &proxy, "--admin", &admin, "--header", &token, "--settle", "0"]);
    for area in areas {
        command.args(["--only", area]);
    }
    command
}

fn hold(mut command: Command, said: impl Fn() -> String) {
    let finished = Process::spawn(clean(&mut command)).finish(Duration::from_secs(600));
    println!("{}", finished.text());
    assert_eq!(finished.code, Some(0), "{}\n{}\n{}", finished.text(), finished.stderr, said());
}

fn script() -> std::path::PathBuf {
    workspace().join("tests/restart.py")
}

/// Starts the gate anew when the runner asks. The script of the runner only carries the question
/// here, so that every gate is this test's own child and ends with it.
struct Restarts {
    address: SocketAddr,
    gate: Arc<Mutex<Option<Gate>>>,
}

impl Restarts {
    fn serve(gate: Gate) -> Restarts {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let addresses = (gate.proxy(), gate.proxy_tls(), gate.admin_address());
        let gate = Arc::new(Mutex::new(Some(gate)));
        let shared = Arc::clone(&gate);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                // A thread for each, so that a gate that does not start fails its case and no other.
                let _ = thread::spawn(move || answer(stream, |asked| restart(&shared, addresses, asked))).join();
            }
        });
        Restarts { address, gate }
    }

    fn said(&self) -> String {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.as_ref().map_or_else(|| "the gate did not restart".to_owned(), Gate::said)
    }
}

impl Drop for Restarts {
    /// The thread that listens holds the gate too, and ends with the process: without this the gate would
    /// outlive them both.
    fn drop(&mut self) {
        drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// One line of JSON in, one out. When starting panics, the connection closes without an answer, and
/// the script fails the case.
fn answer(mut stream: TcpStream, restart: impl FnOnce(&Value)) {
    let mut line = String::new();
    BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
    restart(&serde_json::from_str(&line).unwrap());
    writeln!(stream, "{}", json!({"ready": true})).unwrap();
}

fn restart(gate: &Mutex<Option<Gate>>, (proxy, proxy_tls, admin): (SocketAddr, SocketAddr, SocketAddr), asked: &Value) {
    let mut gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
    // Ended first: the next one takes its addresses.
    drop(gate.take());
    let mut builder = Gate::with(asked["config"].as_str().unwrap())
        .env("KONG_PROXY_LISTEN", &format!("{proxy}, {proxy_tls} http2 ssl"))
        .env("KONG_ADMIN_LISTEN", &admin.to_string());
    for (name, value) in asked["settings"].as_object().unwrap() {
        builder = builder.env(name, value.as_str().unwrap());
    }
    *gate = Some(builder.start());
}
