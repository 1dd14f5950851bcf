//! `portcullis explain METHOD URL`: what would become of a request, with a configuration file.

use crate::cli::{EXIT_FAILED, EXIT_USAGE, ExplainFlags, StartFlags};
use crate::client::trust;
use crate::commands::check;
use crate::settings::Settings;
use crate::{conduct, gate, parts, report};
use bytes::Bytes;
use http::Request;
use net::dns::Names;
use net::fetch::Fetcher;
use proxy::serve::{Question, explain};
use schema::Value;
use std::collections::HashMap;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

pub fn run(flags: &ExplainFlags, out: &mut impl Write) -> ExitCode {
    match explained(flags) {
        Ok(explained) => {
            let text = if flags.json { format!("{explained:#}\n") } else { in_words(&explained) };
            // Nothing is left to do where even this cannot be written.
            let _ = out.write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err((code, text)) => {
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::from(code)
        }
    }
}

fn explained(flags: &ExplainFlags) -> Result<Value, (u8, String)> {
    let failed = |error: String| (EXIT_FAILED, error);
    let source = flags.config.display().to_string();
    let text = std::fs::read_to_string(&flags.config).map_err(|error| (EXIT_USAGE, format!("{source}: {error}")))?;
    let question = question(flags).map_err(|error| (EXIT_USAGE, error))?;
    let environment: HashMap<String, String> = crate::settings::environment().collect();
    let start = StartFlags { config: Some(source.clone()), ..StartFlags::default() };
    let (settings, _) =
        Settings::load(&start, environment.clone().into_iter()).map_err(|errors| (EXIT_USAGE, errors.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let names = Names::new(parts::dns(&settings), runtime.handle().clone()).map_err(failed)?;
    let mut workshop = check::workshop().map_err(failed)?;
    // Unlike `check`, it asks whom the plugins ask: issuers for keys, directories, Redis.
    workshop.fetcher = Arc::new(Fetcher::new(names.clone(), trust(&settings).map_err(failed)?));
    let plan = gate::compile(&workshop, &plugins::catalog(|_| true), &environment, &text);
    let plan =
        plan.map_err(|(invalid, node)| failed(report::violations(&source, &invalid, node.as_ref()).join("\n")))?;
    let conduct = Arc::new(conduct::of(&settings));
    Ok(runtime.block_on(explain(question, Arc::new(plan), conduct, names)))
}

fn question(flags: &ExplainFlags) -> Result<Question, String> {
    let mut request = Request::builder().method(flags.method.as_str()).uri(&flags.url);
    for header in &flags.header {
        let (name, value) = header.split_once(':').ok_or("write headers as curl takes them: -H 'Name: value'")?;
        request = request.header(name.trim(), value.trim());
    }
    let body = Bytes::from(flags.data.clone().unwrap_or_default());
    let request = request.body(body).map_err(|error| format!("this cannot be asked: {error}"))?;
    match (request.uri().scheme_str(), request.uri().host()) {
        (Some(scheme @ ("http" | "https")), Some(_)) => {
            let tls = scheme == "https";
            Ok(Question { request, ip: flags.ip, tls })
        }
        _ => Err(format!("{}: write the URL whole, such as http://shop.example.com/orders", flags.url)),
    }
}

/// For people: a line for each thing.
fn in_words(told: &Value) -> String {
    let name = |thing: &Value| thing["name"].as_str().or(thing["id"].as_str()).unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    match &told["route"] {
        Value::Null => lines.push("route     none takes it".to_owned()),
        route => lines.push(format!("route     {}", name(route))),
    }
    for other in told["other_routes"].as_array().into_iter().flatten() {
        lines.push(format!("  not {}: {}", name(other), other["because"].as_str().unwrap_or_default()));
    }
    if let Some(because) = told["because"].as_str() {
        lines.push(format!("because   {because}"));
    }
    for plugin in told["plugins"].as_array().into_iter().flatten() {
        let (on, decides) = (plugin["on"].as_str().unwrap_or_default(), plugin["decides"].as_str().unwrap_or_default());
        let because = plugin["because"].as_str().map(|because| format!(": {because}")).unwrap_or_default();
        lines.push(format!("plugin    {} ({}, on {on}): {decides}{because}", name(plugin), plugin["priority"]));
        let caller = &plugin["caller"];
        if let Some(authenticated) = caller["authenticated"].as_bool() {
            let who = caller["consumer"]["username"].as_str().or(caller["consumer"]["id"].as_str());
            let how = if authenticated { "" } else { ", anonymous" };
            lines.push(format!("  caller {}{how}", who.unwrap_or("without a consumer")));
        }
        for (what, verb) in [("sets", "sets"), ("removes", "removes")] {
            let names: Vec<&str> = plugin[what].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if !names.is_empty() {
                lines.push(format!("  {verb} {}", names.join(", ")));
            }
        }
    }
    let answer = &told["answer"];
    if !answer.is_null() {
        lines.push(format!("answer    {} {}", answer["status"], answer["message"].as_str().unwrap_or_default()));
        if let Some(challenge) = answer["www-authenticate"].as_str() {
            lines.push(format!("  www-authenticate: {challenge}"));
        }
    }
    let service = &told["service"];
    if !service.is_null() {
        let place = service["host"].as_str().or(service["upstream"].as_str()).unwrap_or_default();
        let path = service["path"].as_str().unwrap_or_default();
        lines.push(format!("service   {} at {place}, path {path}", name(service)));
        for (header, value) in service["headers"].as_object().into_iter().flatten() {
            lines.push(format!("  {header}: {}", value.as_str().unwrap_or_default()));
        }
    }
    lines.join("\n") + "\n"
}
