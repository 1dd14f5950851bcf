//! The workspace as the rules see it: its root, its files, and what cargo knows.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every file that is in git or would be: what is ignored is no part of the house. Names are relative
/// to the root.
pub fn files() -> Vec<PathBuf> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().expect("git is not installed: `apt-get install git` brings it");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    // A file can be deleted and the deletion not be staged yet; a conflict names a file three times.
    let names: BTreeSet<PathBuf> = names.split_terminator('\0').map(PathBuf::from).collect();
    names.into_iter().filter(|name| root().join(name).is_file()).collect()
}

pub fn sources() -> Vec<PathBuf> {
    files().into_iter().filter(|name| name.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The text of a file; `None` when it is none.
pub fn text(name: &Path) -> Option<String> {
    String::from_utf8(fs::read(root().join(name)).unwrap()).ok()
}

/// The packages of the workspace, as `cargo metadata` describes them.
pub fn packages() -> Vec<Value> {
    let args = ["metadata", "--no-deps", "--format-version=1"];
    let output = Command::new(env!("CARGO")).current_dir(root()).args(args).output().unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array_mut().unwrap().drain(..).collect()
}

pub fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap()
}

/// The packages that this one names, for building and for testing alike.
pub fn used(package: &Value) -> Vec<&str> {
    package["dependencies"].as_array().unwrap().iter().map(name).collect()
}

#[track_caller]
pub fn none(broken: &[String]) {
    assert!(broken.is_empty(), "\n  {}\n", broken.join("\n  "));
}
