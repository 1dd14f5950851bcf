//! `portcullis sync`, `diff` and `dump`: a gate's database as a declarative document.

use crate::cli::{AdminFlags, DumpFlags, SyncFlags};
use crate::client::Client;
use crate::yaml;
use http::Method;
use schema::Value;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Makes the database what a file says; or only tells what would be done.
pub fn run(flags: &SyncFlags, out: &mut impl Write) -> Result<(), String> {
    let told = ask(flags, flags.dry_run)?;
    let text = in_words(&told);
    let end = match (text.is_empty(), flags.dry_run) {
        (true, _) => "nothing differs\n".to_owned(),
        (false, true) => format!("{}nothing was changed, as asked\n", summary(&told)),
        (false, false) => summary(&told),
    };
    write(out, &format!("{text}{end}"))
}

/// What differs. Whether something does is told by the exit code, too, where that was asked for.
pub fn diff(flags: &SyncFlags, out: &mut impl Write) -> Result<bool, String> {
    let told = ask(flags, true)?;
    write(out, &in_words(&told))?;
    Ok(!in_words(&told).is_empty())
}

pub fn dump(flags: &DumpFlags, out: &mut impl Write) -> Result<(), String> {
    let document = client(&flags.admin)?.expect(Method::GET, &path(&flags.select_tag, &[]), None)?;
    save(flags.output.as_deref(), &document, out)
}

/// Writes a document into a file of its owner, for it holds secrets; or to standard output.
pub fn save(path: Option<&Path>, document: &Value, out: &mut impl Write) -> Result<(), String> {
    let text = yaml::write(document);
    let Some(path) = path else { return write(out, &text) };
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| format!("{}: {error}", path.display()))
}

fn ask(flags: &SyncFlags, dry_run: bool) -> Result<Value, String> {
    let source = flags.file.display().to_string();
    let text = match source.as_str() {
        "-" => io::read_to_string(io::stdin()),
        path => std::fs::read_to_string(path),
    };
    let text = text.map_err(|error| format!("{source}: {error}"))?;
    let arguments: &[&str] = if dry_run { &["dry_run=1", "flatten_errors=1"] } else { &["flatten_errors=1"] };
    let client = client(&flags.admin)?;
    let body = Some(("application/yaml", text.into_bytes()));
    let (status, value) = watched(&client, || client.ask(Method::PUT, &path(&flags.select_tag, arguments), body))?;
    match status.is_success() {
        true => Ok(value),
        false => Err(refusal(&client.refusal(status, &value), &value)),
    }
}

/// Does something that may take long, and tells how far the gate is.
fn watched<T: Send>(client: &Client, work: impl FnOnce() -> T + Send) -> T {
    let (done, waits) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while waits.recv_timeout(TELL_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Not every token may ask this.
                let Ok(now) = client.expect(Method::GET, "/declarative/progress", None) else { return };
                match (now["written"].as_u64(), now["of"].as_u64()) {
                    (Some(written), Some(of)) if of > 0 => eprintln!("{written} of {of} changes"),
                    _ => eprintln!("the gate reads, compares and checks"),
                }
            }
        });
        let made = work();
        drop(done);
        made
    })
}

const TELL_EVERY: Duration = Duration::from_secs(3);

/// Everything that is wrong, one entity after the other.
fn refusal(message: &str, value: &Value) -> String {
    let Some(entities) = value["flattened_errors"].as_array().filter(|entities| !entities.is_empty()) else {
        return message.to_owned();
    };
    let mut lines = Vec::new();
    for entity in entities {
        let name = ["entity_name", "entity_id"].iter().find_map(|key| entity[*key].as_str()).unwrap_or("");
        for error in entity["errors"].as_array().into_iter().flatten() {
            let field = error["field"].as_str().map(|field| format!("{field}: ")).unwrap_or_default();
            let text = error["message"].as_str().unwrap_or_default();
            lines.push(format!("{} {name}: {field}{text}", entity["entity_type"].as_str().unwrap_or_default()));
        }
    }
    lines.push("nothing was changed".to_owned());
    lines.join("\n")
}

fn client(flags: &AdminFlags) -> Result<Client, String> {
    Client::of_gate(&flags.place.settings()?, flags.admin.as_deref())
}

fn path(tags: &[String], arguments: &[&str]) -> String {
    let encode =
        |tag: &String| percent_encoding::utf8_percent_encode(tag, percent_encoding::NON_ALPHANUMERIC).to_string();
    let tags = tags.iter().map(encode).collect::<Vec<_>>().join(",");
    let tags = (!tags.is_empty()).then(|| format!("select_tag={tags}"));
    let all: Vec<String> = arguments.iter().map(|&own| own.to_owned()).chain(tags).collect();
    format!("/declarative?{}", all.join("&"))
}

fn in_words(told: &Value) -> String {
    let mut text = String::new();
    for (list, sign) in [("created", '+'), ("changed", '~'), ("deleted", '-')] {
        for one in told[list].as_array().into_iter().flatten() {
            let name = one["name"].as_str().or(one["id"].as_str()).unwrap_or_default();
            text.push_str(&format!("{sign} {} {name}\n", one["kind"].as_str().unwrap_or_default()));
            for (field, change) in one["fields"].as_object().into_iter().flatten() {
                differences(field, &change["from"], &change["to"], &mut text);
            }
        }
    }
    text
}

/// The innermost fields that differ, a line each.
fn differences(path: &str, from: &Value, to: &Value, text: &mut String) {
    match (from, to) {
        (Value::Object(before), Value::Object(after)) => {
            let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            let none = Value::Null;
            for name in names {
                let [from, to] = [before, after].map(|map| map.get(name).unwrap_or(&none));
                if from != to {
                    differences(&format!("{path}.{name}"), from, to, text);
                }
            }
        }
        // Two secrets are shown alike.
        _ if from == to => text.push_str(&format!("    {path}: another value\n")),
        _ => text.push_str(&format!("    {path}: {from} -> {to}\n")),
    }
}

fn summary(told: &Value) -> String {
    let count = |list: &str| told[list].as_array().map_or(0, Vec::len);
    format!("{} created, {} changed, {} deleted\n", count("created"), count("changed"), count("deleted"))
}

fn write(out: &mut impl Write, text: &str) -> Result<(), String> {
    out.write_all(text.as_bytes()).map_err(|error| error.to_string())
}
