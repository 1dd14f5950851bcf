//! Configurations in words, for people at a terminal.

use model::document::Node;
use model::{Configuration, Invalid};
use std::path::Path;

/// `services 2, routes 3`, or that there is nothing yet.
pub fn summary(configuration: &Configuration) -> String {
    let counts: Vec<String> =
        configuration.counts().into_iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    if counts.is_empty() { "an empty configuration".to_owned() } else { counts.join(", ") }
}

/// `FILE:LINE: path: text` for each violation, where editors and CI look for it.
pub fn violations(source: &str, invalid: &Invalid, document: Option<&Node>) -> Vec<String> {
    match document {
        Some(document) => invalid.findings(document).into_iter().map(|finding| format!("{source}:{finding}")).collect(),
        None => {
            let place = invalid.line.map(|line| format!(":{line}")).unwrap_or_default();
            invalid.document.flat().into_iter().map(|(_, text)| format!("{source}{place}: {text}")).collect()
        }
    }
}

/// How a file is called in messages.
pub fn name(path: Option<&Path>) -> String {
    path.map_or_else(|| "configuration".to_owned(), |path| path.display().to_string())
}
