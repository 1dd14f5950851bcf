//! Tools of others against the Admin API: a client of Kong's with its own command line, and one that holds an API against
//! its description.

use std::process::Command;
use std::time::Duration;
use tests::{Gate, Process, python, workspace};

/// Long enough for a slow machine; only a test that fails uses it up.
const PATIENCE: Duration = Duration::from_secs(600);

#[test]
fn aio_kong_does_everything_that_it_knows() {
    let gate = Gate::stored().start();
    let url = format!("http://any:{}@{}", gate.token(), gate.admin_address());
    let done =
        Process::spawn(Command::new(python()).arg(workspace().join("tests/aio_kong.py")).arg(url)).finish(PATIENCE);
    assert!(done.text().contains("all of it"), "{}\n{}", done.text(), done.stderr);
}

/// The operations of `/openapi.json`, with values at and beyond the bounds that it states: no 500, and no status or form of
/// an answer that it does not speak of. One entity below another is the same as that by itself, and left out for time.
#[test]
fn answers_are_those_that_the_description_promises() {
    let gate = Gate::stored().start();
    let program = python().with_file_name("schemathesis");
    let mut command = Command::new(program);
    command.arg("run").arg(format!("http://{}/openapi.json", gate.admin_address()));
    command.args(["-H", &format!("Kong-Admin-Token: {}", gate.token()), "--no-color"]);
    // Its generator of values is not made for several threads: now and then one stumbles over another.
    command.args(["--workers", "1", "--generation-deterministic"]);
    command.args(["--phases", "coverage,fuzzing", "--max-examples", "2"]);
    command.args(["--exclude-path-regex", "^/[^/]+/[^/]+/[^/]+/"]);
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    // It keeps what it knows where it runs.
    let done = Process::spawn(command.args(["--checks", checks]).current_dir(gate.data())).finish(PATIENCE);
    assert_eq!(done.code, Some(0), "{}\n{}", done.text(), done.stderr);
}
