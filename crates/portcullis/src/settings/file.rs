//! The settings file: TOML, flat, one setting a line.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::places::{Given, Place, unknown};
use super::problem::Fault;
use super::table::find;
use super::{DEFAULT_FILE, FILE_VARIABLE};
use crate::cli::StartFlags;

/// Reads the file that `--settings` or the variable names, else the default one if it exists.
pub fn read(flags: &StartFlags, variables: &[(String, String)], faults: &mut Vec<Fault>) -> Place {
    let (path, named_by) = locate(flags, variables);
    match std::fs::read_to_string(&path) {
        Ok(text) => values(&path.display().to_string(), &text, faults),
        Err(error) if named_by.is_none() && error.kind() == std::io::ErrorKind::NotFound => Place::default(),
        Err(error) => {
            let place = named_by.unwrap_or(DEFAULT_FILE);
            faults.push(Fault::new(place, format!("cannot read the settings file {}: {error}", path.display())));
            Place::default()
        }
    }
}

pub fn locate(flags: &StartFlags, variables: &[(String, String)]) -> (PathBuf, Option<&'static str>) {
    if let Some(path) = &flags.settings {
        return (path.clone(), Some("--settings"));
    }
    match variables.iter().find(|(name, _)| name == FILE_VARIABLE) {
        Some((_, path)) => (path.into(), Some(FILE_VARIABLE)),
        None => (DEFAULT_FILE.into(), None),
    }
}

fn values(file: &str, text: &str, faults: &mut Vec<Fault>) -> Place {
    let mut place = Place::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        syntax_faults(file, text, &errors, faults);
        return place;
    }
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let name: &str = key.get_ref();
        let where_ = format!("{file}:{} {name}", line_of(text, key.span().start));
        match (find(name), written(value.get_ref())) {
            (Some(setting), Ok(text)) => place.put(setting, Given { place: where_, text }, faults),
            (_, Err(reason)) => faults.push(Fault::new(where_, reason)),
            (None, Ok(_)) => faults.push(Fault::new(where_, unknown(name, str::to_owned))),
        }
    }
    place
}

/// The value as it would stand in a variable, so that all places share one reader.
fn written(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(true) => Ok("on".to_owned()),
        DeValue::Boolean(false) => Ok("off".to_owned()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| "this is not a number that can be read; write digits".to_owned()),
        DeValue::Array(entries) => {
            let texts: Result<Vec<_>, _> = entries.iter().map(|entry| written(entry.get_ref())).collect();
            Ok(texts?.join(", "))
        }
        DeValue::Table(_) => {
            Err("this is a table, and the settings file is flat; write key = value for each setting".to_owned())
        }
        DeValue::Datetime(_) => Err("no setting is a date; write text in quotes".to_owned()),
    }
}

/// One fault a line: the parser reports several for one slip. Its texts do not repeat the line,
/// which may hold a secret.
fn syntax_faults(file: &str, text: &str, errors: &[toml::de::Error], faults: &mut Vec<Fault>) {
    let line = |error: &toml::de::Error| line_of(text, error.span().map_or(0, |span| span.start));
    let mut errors: Vec<_> = errors.iter().map(|error| (line(error), error)).collect();
    errors.sort_by_key(|(line, _)| *line);
    errors.dedup_by_key(|(line, _)| *line);
    for (line, error) in errors {
        let source = text.lines().nth(line - 1).unwrap_or_default();
        faults.push(match unquoted_key(source) {
            Some(key) => Fault::new(format!("{file}:{line} {key}"), "text stands in quotes: key = \"value\""),
            None => Fault::new(format!("{file}:{line}"), first_line(error.message())),
        });
    }
}

/// The key of a line as `kong.conf` has it, with text that is not quoted. Only the name of a setting is
/// given back: what stands before the `=` of a broken line may be part of a secret.
fn unquoted_key(line: &str) -> Option<&str> {
    let (key, value) = line.split_once('=')?;
    let value = value.trim();
    let is_number = value.starts_with(|first: char| first.is_ascii_digit()) && !value.contains([':', '/', ' ']);
    let is_bare = !is_number && !value.is_empty() && !value.starts_with(['"', '\'', '[', '{']);
    find(key.trim()).filter(|_| is_bare).map(|_| key.trim())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings of a file as `place = text` lines, then its faults.
    fn check(text: &str, expected: &str) {
        let mut faults = Vec::new();
        let chosen = values("f", text, &mut faults);
        let mut lines: Vec<_> = ["workers", "real_ip_recursive", "proxy_listen", "data"]
            .iter()
            .filter_map(|name| chosen.get(name))
            .map(|given| format!("{} = {}", given.place, given.text))
            .collect();
        lines.extend(faults.iter().map(Fault::to_string));
        assert_eq!(lines.join("\n"), expected, "{text}");
    }

    #[test]
    fn files() {
        check("", "");
        check("\nworkers = 0x10", "f:2 workers = 16");
        check("workers = \"auto\"", "f:1 workers = auto");
        check("real_ip_recursive = true", "f:1 real_ip_recursive = on");
        check("proxy_listen = [\"a:1\",\n \"b:2 ssl\"]", "f:1 proxy_listen = a:1, b:2 ssl");
        check("prefix = \"x\"", "f:1 prefix = x");
        check("prefix = \"x\"\ndata = \"y\"", "f:1 prefix = x\nf:2 data: f:1 prefix sets data too; keep one");
        check("data = 2020-01-01", "f:1 data: no setting is a date; write text in quotes");
    }
}
