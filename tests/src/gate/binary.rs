//! Which binary is tested: never a stale one.

use serde_json::Value;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// `TEST_BINARY`, which ./test sets after it has built; else what cargo builds now.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match env::var_os("TEST_BINARY") {
        Some(named) => {
            let path = workspace().join(named);
            assert!(path.exists(), "TEST_BINARY: no file {}", path.display());
            path
        }
        None => build(),
    })
}

fn build() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args = ["build", "--package", "portcullis", "--message-format", "json-render-diagnostics"];
    let output = Command::new(cargo).current_dir(workspace()).args(args).output().unwrap();
    assert!(output.status.success(), "the gate does not build\n{}", String::from_utf8_lossy(&output.stderr));
    // Cargo says itself where it put the program, wherever its target directory is.
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut executables = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "portcullis").then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executables.next_back().expect("cargo built no program `portcullis`")
}
