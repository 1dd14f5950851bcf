//! Versions of the declarative format, and how older ones are read.

use schema::{Map, Value};

/// The versions that Kong 3.9 reads.
pub const VERSIONS: &[&str] = &["1.1", "2.1", "3.0"];

/// Before 3.0 a path was a regular expression if it looked like one; since then it says so with `~`.
pub(crate) fn migrate_route(version: &str, route: &mut Map<String, Value>) {
    if version == "3.0" {
        return;
    }
    for path in route.get_mut("paths").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::String(text) = path {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._~/%-".contains(c);
            match text.chars().all(plain) {
                true => *text = router::normalize(text).into_owned(),
                false if text.starts_with('/') => text.insert(0, '~'),
                false => {}
            }
        }
    }
}
