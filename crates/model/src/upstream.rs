//! An upstream: a name for several targets, and how requests are spread over them.

use crate::text;
use schema::{Check, Condition, Map, Reference, Schema, Set, Value, Violations};
use serde::Deserialize;
use std::collections::BTreeMap;
use uuid::Uuid;

const ANY_BUT: fn(&'static str, &'static [&'static str]) -> Check = |on, fallbacks| Check::When {
    field: "hash_on",
    is: Condition::Is(on),
    then: "hash_fallback",
    must: Condition::OneOf(fallbacks),
    error: None,
};

const fn needs(field: &'static str, is: &'static str, then: &'static str) -> Check {
    Check::When { field, is: Condition::Is(is), then, must: Condition::Required, error: None }
}

/// A name for several targets, and how requests are spread over them.
#[derive(Clone, Debug, Deserialize, Schema)]
#[schema(
    shorthand = hashing,
    check(needs("hash_on", "header", "hash_on_header")),
    check(needs("hash_fallback", "header", "hash_fallback_header")),
    check(needs("hash_on", "cookie", "hash_on_cookie")),
    check(needs("hash_fallback", "cookie", "hash_on_cookie")),
    check(ANY_BUT("none", &["none"])),
    check(ANY_BUT("cookie", &["none"])),
    check(ANY_BUT("consumer", &["none", "ip", "header", "cookie", "path", "query_arg", "uri_capture"])),
    check(ANY_BUT("ip", &["none", "consumer", "header", "cookie", "path", "query_arg", "uri_capture"])),
    check(ANY_BUT("path", &["none", "consumer", "header", "cookie", "query_arg", "ip", "uri_capture"])),
    check(Check::Distinct(&["hash_on_header", "hash_fallback_header"])),
    check(needs("hash_on", "query_arg", "hash_on_query_arg")),
    check(needs("hash_fallback", "query_arg", "hash_fallback_query_arg")),
    check(Check::Distinct(&["hash_on_query_arg", "hash_fallback_query_arg"])),
    check(needs("hash_on", "uri_capture", "hash_on_uri_capture")),
    check(needs("hash_fallback", "uri_capture", "hash_fallback_uri_capture")),
    check(Check::Distinct(&["hash_on_uri_capture", "hash_fallback_uri_capture"]))
)]
pub struct Upstream {
    /// The upstream's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// The name that a service's `host` refers to.
    #[schema(unique, format(upstream_name))]
    pub name: String,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<i64>,
    /// How a target is chosen.
    #[schema(default = "round-robin")]
    pub algorithm: Option<Algorithm>,
    /// What is hashed to choose a target.
    #[schema(default = "none")]
    pub hash_on: Option<HashOn>,
    /// What is hashed when `hash_on` finds nothing.
    #[schema(default = "none")]
    pub hash_fallback: Option<HashOn>,
    /// The header hashed by `hash_on: header`.
    #[schema(format(text::header_name))]
    pub hash_on_header: Option<String>,
    /// The header hashed by `hash_fallback: header`.
    #[schema(format(text::header_name))]
    pub hash_fallback_header: Option<String>,
    /// The cookie hashed by `cookie`; set when the caller has none.
    pub hash_on_cookie: Option<String>,
    /// The path of that cookie.
    #[schema(default = "/", starts_with("/"), pattern(&text::NO_EMPTY_SEGMENTS))]
    pub hash_on_cookie_path: Option<String>,
    /// The query argument hashed by `hash_on: query_arg`.
    #[schema(len_min(1))]
    pub hash_on_query_arg: Option<String>,
    /// The query argument hashed by `hash_fallback: query_arg`.
    #[schema(len_min(1))]
    pub hash_fallback_query_arg: Option<String>,
    /// The capture of the route's regular expression hashed by `hash_on: uri_capture`.
    #[schema(len_min(1))]
    pub hash_on_uri_capture: Option<String>,
    /// The capture hashed by `hash_fallback: uri_capture`.
    #[schema(len_min(1))]
    pub hash_fallback_uri_capture: Option<String>,
    /// The size of Kong's wheel; the gate's balancer has no wheel, and keeps the number for Kong's tools.
    #[schema(default = 10000, between(10, 65536))]
    pub slots: Option<u32>,
    /// How targets are found to be up or down.
    #[schema(default_from_fields)]
    pub healthchecks: Healthchecks,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
    /// The `Host` to send, instead of the target's.
    #[schema(format(host_header))]
    pub host_header: Option<String>,
    /// The certificate to show to targets.
    #[schema(references = "certificates")]
    pub client_certificate: Option<Reference>,
    /// Whether the name in an SRV record is sent as `Host`.
    #[schema(default = false)]
    pub use_srv_name: Option<bool>,
}

/// Whoever says what is hashed wants hashing.
fn hashing(upstream: &mut Map<String, Value>) -> Result<(), Violations> {
    if let Some(hash_on) = upstream.get("hash_on").and_then(Value::as_str).map(str::to_owned) {
        let algorithm = if hash_on == "none" { "round-robin" } else { "consistent-hashing" };
        upstream.entry("algorithm").or_insert_with(|| algorithm.into());
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Schema)]
pub enum Algorithm {
    #[serde(rename = "consistent-hashing")]
    ConsistentHashing,
    #[serde(rename = "least-connections")]
    LeastConnections,
    #[serde(rename = "round-robin")]
    RoundRobin,
    #[serde(rename = "latency")]
    Latency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum HashOn {
    None,
    Consumer,
    Ip,
    Header,
    Cookie,
    Path,
    #[serde(rename = "query_arg")]
    QueryArg,
    #[serde(rename = "uri_capture")]
    UriCapture,
}

/// Health checks; a 0 turns the counter or interval off.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct Healthchecks {
    /// Probes that the gate sends.
    #[schema(default_from_fields)]
    pub active: Active,
    /// Conclusions from the answers to callers' requests.
    #[schema(default_from_fields)]
    pub passive: Passive,
    /// The share of healthy weight, in percent, below which the whole upstream counts as down.
    #[schema(default = 0, between(0, 100))]
    pub threshold: Option<f64>,
}

#[derive(Clone, Debug, Deserialize, Schema)]
pub struct Active {
    /// How many targets are probed at once.
    #[schema(default = 10, between(1, 2147483648))]
    pub concurrency: Option<i64>,
    /// How to probe.
    #[schema(default = "http")]
    pub r#type: Option<ProbeType>,
    /// Headers of a probe.
    pub headers: Option<BTreeMap<String, Vec<String>>>,
    /// The TLS server name of a probe.
    #[schema(format(text::server_name))]
    pub https_sni: Option<String>,
    /// Whether a probe verifies the target's certificate.
    #[schema(default = true)]
    pub https_verify_certificate: bool,
    /// When a target is up.
    #[schema(default_from_fields)]
    pub healthy: ActiveHealthy,
    /// When a target is down.
    #[schema(default_from_fields)]
    pub unhealthy: ActiveUnhealthy,
    /// How long a probe may take, in seconds.
    #[schema(default = 1, between(0, 65535))]
    pub timeout: Option<f64>,
    /// The path of a probe.
    #[schema(default = "/", starts_with("/"), pattern(&text::NO_EMPTY_SEGMENTS))]
    pub http_path: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeType {
    Tcp,
    Http,
    Https,
    Grpc,
    Grpcs,
}

#[derive(Clone, Debug, Deserialize, Schema)]
pub struct ActiveHealthy {
    /// Seconds between probes of targets that are up.
    #[schema(default = 0, between(0, 65535))]
    pub interval: Option<f64>,
    /// How many good probes make a target up.
    #[schema(default = 0, between(0, 255))]
    pub successes: Option<u8>,
    /// The statuses that are good.
    #[schema(default = [200, 302], each(between(100, 999)))]
    pub http_statuses: Option<Vec<u16>>,
}

#[derive(Clone, Debug, Deserialize, Schema)]
pub struct ActiveUnhealthy {
    /// Seconds between probes of targets that are down.
    #[schema(default = 0, between(0, 65535))]
    pub interval: Option<f64>,
    /// The statuses that are bad.
    #[schema(default = [429, 404, 500, 501, 502, 503, 504, 505], each(between(100, 999)))]
    pub http_statuses: Option<Vec<u16>>,
    /// How many failed connections make a target down.
    #[schema(default = 0, between(0, 255))]
    pub tcp_failures: Option<u8>,
    /// How many timeouts make a target down.
    #[schema(default = 0, between(0, 255))]
    pub timeouts: Option<u8>,
    /// How many bad statuses make a target down.
    #[schema(default = 0, between(0, 255))]
    pub http_failures: Option<u8>,
}

#[derive(Clone, Debug, Deserialize, Schema)]
pub struct Passive {
    /// When a target is down.
    #[schema(default_from_fields)]
    pub unhealthy: PassiveUnhealthy,
    /// What traffic to look at.
    #[schema(default = "http")]
    pub r#type: Option<ProbeType>,
    /// When a target is up.
    #[schema(default_from_fields)]
    pub healthy: PassiveHealthy,
}

#[derive(Clone, Debug, Deserialize, Schema)]
pub struct PassiveHealthy {
    /// How many good answers make a target up.
    #[schema(default = 0, between(0, 255))]
    pub successes: Option<u8>,
    /// The statuses that are good.
    #[schema(
        default = [200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308],
        each(between(100, 999))
    )]
    pub http_statuses: Option<Vec<u16>>,
}

#[derive(Clone, Debug, Deserialize, Schema)]
pub struct PassiveUnhealthy {
    /// How many bad statuses make a target down.
    #[schema(default = 0, between(0, 255))]
    pub http_failures: Option<u8>,
    /// How many failed connections make a target down.
    #[schema(default = 0, between(0, 255))]
    pub tcp_failures: Option<u8>,
    /// How many timeouts make a target down.
    #[schema(default = 0, between(0, 255))]
    pub timeouts: Option<u8>,
    /// The statuses that are bad.
    #[schema(default = [429, 500, 503], each(between(100, 999)))]
    pub http_statuses: Option<Vec<u16>>,
}

fn upstream_name(text: &str) -> Result<(), String> {
    if text::is_ip(text) {
        return Err(format!("Invalid name ('{text}'); no ip addresses allowed"));
    }
    if text.contains(':') {
        return Err(format!("Invalid name ('{text}'); no port allowed"));
    }
    if text::is_host_name(text) { Ok(()) } else { Err(format!("Invalid name ('{text}'); must be a valid hostname")) }
}

/// A host, with an optional port.
fn host_header(text: &str) -> Result<(), String> {
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => text,
    };
    text::host(host)
}
