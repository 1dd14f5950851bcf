//! What a configuration may say and should not: choices that are Kong's defaults, and open doors.

use model::Configuration;
use model::configuration::Row;
use model::credential::{Algorithm, JwtSecret};
use model::plugin_row::PluginRow;
use model::service::Service;
use model::upstream::Upstream;
use schema::{Map, Value};

/// A choice worth a second look, with the place of its entity in the document.
pub struct Caution {
    pub path: String,
    pub text: String,
}

/// The shortest HMAC secret that is as hard to guess as its hash, in bytes (RFC 7518 section 3.2).
const SHORTEST_SECRET: usize = 32;

pub fn of(configuration: &Configuration) -> Vec<Caution> {
    let mut cautions = Vec::new();
    let mut caution = |row: &Row, text: String| cautions.push(Caution { path: path(row), text });
    for (row, service) in configuration.typed::<Service>("services") {
        if service.is_ok_and(|service| service.tls_verify == Some(false)) {
            caution(row, "tls_verify: false: whoever stands between can read and change everything".to_owned());
        }
    }
    for (row, upstream) in configuration.typed::<Upstream>("upstreams") {
        if upstream.is_ok_and(|upstream| checks_health(&upstream)) {
            caution(row, "healthchecks: this version does not probe targets; all count as healthy".to_owned());
        }
    }
    for (row, plugin) in configuration.typed::<PluginRow>("plugins") {
        let Some(plugin) = plugin.ok().filter(|plugin| plugin.enabled) else { continue };
        for text in of_plugin(&plugin, configuration) {
            caution(row, text);
        }
    }
    for (row, secret) in configuration.typed::<JwtSecret>("jwt_secrets") {
        let Ok(secret) = secret else { continue };
        let shared = matches!(secret.algorithm, None | Some(Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512));
        let length = secret.secret.as_ref().map_or(0, |secret| secret.reveal().len());
        if shared && length < SHORTEST_SECRET {
            caution(row, format!("secret: {length} bytes can be guessed; use at least {SHORTEST_SECRET} random ones"));
        }
    }
    cautions
}

fn of_plugin(plugin: &PluginRow, configuration: &Configuration) -> Vec<String> {
    let empty = Map::new();
    let config = plugin.config.as_ref().unwrap_or(&empty);
    let is = |option: &str, value: bool| config.get(option) == Some(&Value::Bool(value));
    let mut texts = Vec::new();
    if is("hide_credentials", false) {
        texts.push("hide_credentials: false: the service gets the caller's credential".to_owned());
    }
    if plugin.name == "key-auth" && is("key_in_query", true) {
        texts.push("key_in_query: true: keys in URLs end in the logs of other systems".to_owned());
    }
    if plugin.name == "jwt" {
        let in_query = config.get("uri_param_names").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
        if in_query {
            texts.push("uri_param_names: tokens in URLs end in the logs of other systems".to_owned());
        }
        for issuer in config.get("issuers").and_then(Value::as_array).into_iter().flatten() {
            let place = ["jwks_uri", "issuer"].into_iter().find_map(|field| issuer.get(field)?.as_str());
            if issuer.get("jwks").is_none_or(Value::is_null) && place.is_some_and(|place| place.starts_with("http://"))
            {
                let text = "issuers: keys come over plain http: whoever stands between can make tokens; use https";
                texts.push(text.to_owned());
            }
            let anybody = |audiences: &Vec<Value>| audiences.iter().any(|audience| audience == "*");
            if issuer.get("audiences").and_then(Value::as_array).is_some_and(anybody) {
                let text = "issuers: audiences: '*': tokens that the issuer made for others are good here, too";
                texts.push(text.to_owned());
            }
        }
        let verified = config.get("claims_to_verify").and_then(Value::as_array);
        let by_credential = !configuration.typed::<JwtSecret>("jwt_secrets").is_empty()
            || config.get("issuers").is_none_or(Value::is_null);
        if by_credential && !verified.is_some_and(|claims| claims.iter().any(|claim| claim == "exp")) {
            texts.push("claims_to_verify lacks exp: a token that was good once is good for ever".to_owned());
        }
    }
    let redis = config.get("redis").and_then(Value::as_object).unwrap_or(&empty);
    if redis.get("ssl") == Some(&Value::Bool(true)) && redis.get("ssl_verify") != Some(&Value::Bool(true)) {
        texts.push("redis.ssl_verify: false: whoever stands between can read the password of Redis".to_owned());
    }
    let all_sites = |origins: &Vec<Value>| origins.is_empty() || origins.iter().any(|origin| origin == "*");
    let origins = config.get("origins").and_then(Value::as_array);
    if plugin.name == "cors" && is("credentials", true) && origins.is_none_or(all_sites) {
        texts.push(
            "credentials: true for all origins: every site may read answers with its visitor's cookies".to_owned(),
        );
    }
    if let Some(anonymous) = config.get("anonymous").and_then(Value::as_str) {
        let kind = model::entity::kind("consumers");
        if kind.and_then(|kind| configuration.find(kind, anonymous)).is_none() {
            texts.push(format!("anonymous: there is no consumer '{anonymous}'; such callers will get a 500"));
        }
    }
    texts
}

fn checks_health(upstream: &Upstream) -> bool {
    let active = &upstream.healthchecks.active;
    let passive = &upstream.healthchecks.passive.unhealthy;
    let probes =
        [active.healthy.interval, active.unhealthy.interval].into_iter().flatten().any(|seconds| seconds > 0.0);
    let counts = [passive.http_failures, passive.tcp_failures, passive.timeouts].into_iter().flatten();
    probes || counts.into_iter().any(|failures| failures > 0)
}

fn path(row: &Row) -> String {
    let steps: Vec<String> = row.place.iter().map(|(name, index)| format!("{name}.{}", index + 1)).collect();
    steps.join(".")
}
