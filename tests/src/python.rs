//! The Python that has what the tests need of it.

use crate::{run, workspace};
use std::path::PathBuf;
use std::process::Command;

/// `TEST_PYTHON`, or the environment that ./test makes, or the system's own.
#[track_caller]
pub fn python() -> PathBuf {
    let made = workspace().join("target/venv/bin/python");
    let program = match std::env::var_os("TEST_PYTHON") {
        Some(named) => PathBuf::from(named),
        None if made.exists() => made,
        None => PathBuf::from("python3"),
    };
    let finished = run(Command::new(&program)
        .args(["-c", "import yaml, cryptography, h2, grpc, http_message_signatures, kong, schemathesis"]));
    assert_eq!(
        finished.code,
        Some(0),
        "{} lacks PyYAML, cryptography, h2, grpcio, http-message-signatures, aio-kong or schemathesis. ./test installs all:\n\
         python3 -m venv target/venv && target/venv/bin/pip install PyYAML cryptography h2 grpcio http-message-signatures aio-kong schemathesis\n{}",
        program.display(),
        finished.stderr
    );
    program
}
