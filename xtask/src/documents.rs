//! Documents that must be there and must be true.

use crate::house::{files, none, root, text};
use std::fs;
use std::path::Path;

const EXPECTED: &[&str] = &["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE"];

#[test]
fn the_documents_of_the_house_are_there() {
    let missing = EXPECTED.iter().filter(|name| !root().join(name).is_file());
    none(&missing.map(|name| format!("{name} is missing")).collect::<Vec<_>>());
}

#[test]
fn every_path_in_the_architecture_exists() {
    let text = text(Path::new("ARCHITECTURE.md")).unwrap();
    let absent = named_paths(&text).into_iter().filter(|path| !root().join(path).exists());
    none(&absent.map(|path| format!("ARCHITECTURE.md names `{path}`, which does not exist")).collect::<Vec<_>>());
}

/// Whoever clones the project has nothing beside it.
#[test]
fn nothing_points_outside_the_project() {
    // Put together here, so that this file does not break its own rule.
    let outside = concat!("..", "/shared");
    let pointing = files().into_iter().filter(|name| text(name).is_some_and(|text| text.contains(outside)));
    none(&pointing.map(|name| format!("{} mentions {outside}", name.display())).collect::<Vec<_>>());
}

/// A dependency is somebody else's code in our process: each one has a written reason.
#[test]
fn every_dependency_has_its_reason() {
    let decisions: String = files()
        .iter()
        .filter(|name| name.starts_with("docs/decisions"))
        .filter(|name| name.file_name().is_some_and(|file| file.to_string_lossy().contains("dependencies")))
        .filter_map(|name| text(name))
        .collect();
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let silent = foreign_dependencies(&manifest).into_iter().filter(|name| !names_word(&decisions, name));
    none(&silent.map(|name| format!("docs/decisions/*dependencies*.md do not name {name}")).collect::<Vec<_>>());
}

/// The paths of a text: what stands in backticks, has a slash in it, and looks like nothing else (a
/// URL path begins with a slash, a pattern has a star). Blocks of code are drawings and not checked.
fn named_paths(text: &str) -> Vec<&str> {
    let mut in_block = false;
    let prose = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    });
    let quoted = prose.flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted.filter(|word| is_path(word)).collect()
}

fn is_path(word: &str) -> bool {
    let media_type = ["application/", "text/"].iter().any(|kind| word.starts_with(kind));
    let in_names = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    word.contains('/') && !word.starts_with('/') && !media_type && word.chars().all(in_names)
}

/// The names under `[workspace.dependencies]`, save the crates of the workspace itself.
fn foreign_dependencies(manifest: &str) -> Vec<&str> {
    let lines = manifest.lines().skip_while(|line| line.trim() != "[workspace.dependencies]").skip(1);
    let section = lines.take_while(|line| !line.starts_with('['));
    let entries = section.filter_map(|line| line.split_once('='));
    entries.filter(|(_, value)| !value.contains("path =")).map(|(name, _)| name.trim()).collect()
}

/// Whether a text has this name as a word of its own: `http` does not stand in `http-body`.
fn names_word(text: &str, name: &str) -> bool {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(part_of_name);
        let after = text[at + name.len()..].chars().next().is_some_and(part_of_name);
        !before && !after
    })
}

#[test]
fn the_rules_see_what_breaks_them() {
    let text = "see `crates/net/src/tls.rs` and `GET /status`, `/config`,\n```\n`no/block`\n```\n\
                `application/json` `a/*.rs` `docs/`";
    assert_eq!(named_paths(text), ["crates/net/src/tls.rs", "docs/"]);
    let manifest = "[workspace]\na = 1\n\n[workspace.dependencies]\nnet = { path = \"crates/net\" }\n\n\
                    http = \"1\"\n[profile.dev]\nb = 2\n";
    assert_eq!(foreign_dependencies(manifest), ["http"]);
    assert!(names_word("- `http`: the common language", "http"));
    assert!(!names_word("http-body, my_http", "http"));
}
