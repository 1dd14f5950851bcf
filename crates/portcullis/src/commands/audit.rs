//! `portcullis audit`: who changed what, a line of JSON each.

use crate::cli::AuditFlags;
use crate::client::Client;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::io::Write;

pub fn run(flags: &AuditFlags, out: &mut impl Write) -> Result<(), String> {
    let client = Client::of_gate(&flags.admin.place.settings()?, flags.admin.admin.as_deref())?;
    let asked = [("who", &flags.who), ("kind", &flags.kind), ("id", &flags.id)];
    let asked = asked.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let asked: String =
        asked.map(|(name, value)| format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))).collect();
    client.each("/audit", &asked, |one| writeln!(out, "{one}").map_err(|error| error.to_string()))
}
