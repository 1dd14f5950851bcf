//! `portcullis tokens`: who may do what over the Admin API.

use crate::cli::{TokensCommand, TokensFlags};
use crate::client::Client;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schema::{Value, json};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn run(flags: &TokensFlags, out: &mut impl Write) -> Result<(), String> {
    let client = Client::of_gate(&flags.admin.place.settings()?, flags.admin.admin.as_deref())?;
    let mut say = |text: &str| writeln!(out, "{text}").map_err(|error| error.to_string());
    match &flags.command {
        TokensCommand::Create { name, allow, days } => {
            let ends = days.map(|days| now().saturating_add(days.saturating_mul(86_400)));
            let body = json!({ "name": name, "allow": allow, "expires_at": ends });
            let body = Some(("application/json", body.to_string().into_bytes()));
            let made = client.expect(Method::POST, "/admin_tokens", body)?;
            eprintln!("the token of {name}, which is told this once:");
            say(made["token"].as_str().unwrap_or_default())
        }
        TokensCommand::List => client.each("/admin_tokens", "", |token| say(&line(token))),
        TokensCommand::Revoke { name } => {
            let path = format!("/admin_tokens/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
            client.expect(Method::GET, &path, None)?;
            client.expect(Method::DELETE, &path, None)?;
            say(&format!("{name} is no longer let in"))
        }
    }
}

fn line(token: &Value) -> String {
    let allow: Vec<&str> = token["allow"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let name = token["name"].as_str().unwrap_or_default();
    let end = match token["expires_at"].as_u64() {
        Some(end) if end <= now() => "  (over)".to_owned(),
        Some(end) => format!("  ({} days left)", (end - now()).div_ceil(86_400)),
        None => String::new(),
    };
    format!("{name}: {}{end}", allow.join(" | "))
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
