//! For the plugins' tests: a configuration as text in, a request as text in, the outcome as text out.

use crate::PLUGINS;
use bytes::Bytes;
use http::Request;
use proxy::Exchange;
use proxy::answer::{self, Answer};
use proxy::body::Body;
use proxy::identity::{Credential, Identity, header_value};
use regex::Regex;
use schema::{Catalog, Value};
use std::collections::HashMap;
use std::ops::ControlFlow;

const CONSUMERS: &str = r#"
_format_version: "3.0"
consumers:
- id: 11111111-1111-4111-8111-111111111111
  username: ann
  acls: [{group: gold}, {group: staff}]
  keyauth_credentials:
  - {id: aaaaaaaa-0000-4000-8000-000000000001, key: k1}
  - {key: old, ttl: 1}
  basicauth_credentials: [{username: ann, password: "pa:ss"}]
  jwt_secrets:
  - {key: ann-hs, secret: ann-secret}
  - {key: ann-b64, secret: YW5uLXNlY3JldA==}
- {id: 22222222-2222-4222-8222-222222222222, username: bob}
- {id: 33333333-3333-4333-8333-333333333333, username: guest}
"#;

/// Runs a plugin on a request. Lines of the request: optionally `METHOD /path`, headers, and after an
/// empty line the body. The outcome is the configuration's violations; or `STATUS BODY CHALLENGE`; or
/// `service`, the path if it is not `/`, the headers in order, and the body if there is one. A value that
/// begins with `~` is a pattern.
pub async fn check(plugin: &str, config: Value, request: &[&str], expected: &str) {
    compare(&outcome(None, plugin, config, request).await, expected);
}

/// The same for a caller that is known already.
pub async fn check_as(consumer: &str, plugin: &str, config: Value, expected: &str) {
    compare(&outcome(Some(consumer), plugin, config, &[]).await, expected);
}

pub async fn outcome(consumer: Option<&str>, plugin: &str, mut config: Value, request: &[&str]) -> String {
    let definition = PLUGINS.iter().find(|definition| definition.name == plugin).unwrap();
    let read = definition.schema().config.read(&mut config);
    let plugin = match read.and_then(|()| definition.build(config)) {
        Ok(plugin) => plugin,
        Err(violations) => return violations.to_json().to_string(),
    };
    let mut exchange = exchange(request);
    if let Some(consumer) = consumer {
        let consumer = exchange.registry().consumer(consumer);
        exchange.identity = Some(Identity { consumer, credential: Some(Credential::elsewhere(header_value("test"))) });
    }
    let verdict = plugin.on_request(&mut exchange).await;
    match verdict {
        Ok(ControlFlow::Continue(())) => forwarded(&mut exchange).await,
        Ok(ControlFlow::Break(answer)) => answered(answer),
        Err(fault) => answered(answer::fault(&fault, &exchange)),
    }
}

fn exchange(request: &[&str]) -> Exchange {
    let context = model::declarative::Context {
        catalog: &Catalog::default(),
        vaults: model::vault::Vaults::new(HashMap::new()),
        // Long ago, so that a key with a `ttl` has expired.
        now: 1_000_000_000,
    };
    let configuration = model::declarative::read_text(CONSUMERS, context).map_err(|_| ()).unwrap();
    let plan = proxy::testing::plan(configuration, PLUGINS);
    let mut lines = request.iter().peekable();
    let (method, target) = match lines.next_if(|line| line.contains(" /")) {
        Some(line) => line.split_once(' ').unwrap(),
        None => ("GET", "/"),
    };
    let mut builder = Request::builder().method(method).uri(target);
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        builder = builder.header(name, value);
    }
    let body: String = lines.copied().collect();
    let body = if body.is_empty() { Body::Empty } else { Body::Full(Bytes::from(body)) };
    let (head, ()) = builder.body(()).unwrap().into_parts();
    let (path, query) = (head.uri.path().to_owned(), head.uri.query().map(str::to_owned));
    let mut exchange = proxy::testing::exchange(head, body, plan);
    (exchange.target.raw_path, exchange.target.query) = (path, query);
    exchange
}

fn answered(answer: Answer) -> String {
    let (status, body, headers) = match answer {
        Answer::Exit { status, body, headers, .. } => (status, String::from_utf8_lossy(&body).into_owned(), headers),
        Answer::Error { status, message, headers, .. } => (status, format!("{{\"message\":\"{message}\"}}"), headers),
    };
    let challenge = headers.get("www-authenticate").map(|value| format!(" {}", value.to_str().unwrap()));
    format!("{} {body}{}", status.as_u16(), challenge.unwrap_or_default())
}

async fn forwarded(exchange: &mut Exchange) -> String {
    let mut headers: Vec<String> = exchange
        .request
        .headers
        .iter()
        .map(|(name, value)| format!("\n{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    headers.sort_unstable();
    let query = exchange.target.query.as_ref().map(|query| format!(" /?{query}")).unwrap_or_default();
    let body = exchange.body.buffer(usize::MAX).await.unwrap();
    let body = if body.is_empty() { String::new() } else { format!("\n\n{}", String::from_utf8_lossy(&body)) };
    format!("service{query}{}{body}", headers.concat())
}

fn compare(outcome: &str, expected: &str) {
    let same = |(got, want): (&str, &str)| match want.split_once(": ~") {
        Some((name, pattern)) => Regex::new(&format!("^{}: {pattern}$", regex::escape(name))).unwrap().is_match(got),
        None => got == want,
    };
    let lines = outcome.lines().count() == expected.lines().count();
    assert!(lines && outcome.lines().zip(expected.lines()).all(same), "\n  got: {outcome}\n want: {expected}");
}
