//! Rules for each file: how it begins, how long it is, what it is called.

use crate::house::{files, none, sources, text};
use std::path::Path;

/// More has two subjects.
const MOST_LINES: usize = 500;

/// Names that hide two subjects; and `mod`, because a tab called `mod.rs` names nothing.
const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "common", "helper", "helpers", "manager", "managers", "handler", "handlers", "types", "misc",
    "mod",
];

#[test]
fn every_source_file_says_what_it_is() {
    let silent = |name: &Path| !text(name).unwrap().starts_with("//! ");
    let broken = sources().into_iter().filter(|name| silent(name));
    none(
        &broken
            .map(|name| format!("{}: the first line is not `//! What this file is.`", name.display()))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn source_files_have_one_subject() {
    let counted = sources().into_iter().map(|name| (code_lines(&text(&name).unwrap()), name));
    let broken = counted.filter(|(count, _)| *count > MOST_LINES);
    none(&broken.map(|(count, name)| format!("{}: {count} lines of code", name.display())).collect::<Vec<_>>());
}

#[test]
fn names_say_something() {
    none(&files().iter().filter(|name| names_nothing(name)).map(|name| name.display().to_string()).collect::<Vec<_>>());
}

/// Lines before the tests that are neither empty nor comment.
fn code_lines(text: &str) -> usize {
    let code = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    code.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

fn names_nothing(name: &Path) -> bool {
    let parts = name.with_extension("");
    parts.components().any(|part| part.as_os_str().to_str().is_some_and(|part| EMPTY_NAMES.contains(&part)))
}

#[test]
fn the_rules_see_what_breaks_them() {
    assert_eq!(code_lines("//! Head.\n\nfn a() {\n    // why\n}\n#[cfg(test)]\nmod tests {\n}\n"), 2);
    for name in ["crates/net/src/utils.rs", "crates/common/src/lib.rs", "kong/helpers.py", "crates/net/src/tls/mod.rs"]
    {
        assert!(names_nothing(Path::new(name)), "{name}");
    }
    for name in ["crates/net/src/commonplace.rs", "crates/net/src/lib.rs", ".ci/run", "rustfmt.toml"] {
        assert!(!names_nothing(Path::new(name)), "{name}");
    }
}
