//! A target: one address behind an upstream.

use crate::text;
use schema::{Reference, Schema, Set};
use serde::Deserialize;
use uuid::Uuid;

/// One address behind an upstream.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct Target {
    /// The target's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<f64>,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<f64>,
    /// The upstream it belongs to.
    #[schema(references = "upstreams", cascade)]
    pub upstream: Reference,
    /// Host or address, with a port; port 8000 when left out.
    #[schema(format(address))]
    pub target: String,
    /// Its share of the requests; 0 takes it out.
    #[schema(default = 100, between(0, 65535))]
    pub weight: Option<u16>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
}

/// The port that Kong adds to a target without one.
pub const DEFAULT_PORT: u16 = 8000;

/// Host and port of a target.
pub fn split(target: &str) -> Option<(&str, u16)> {
    let (host, port) = match target.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
        // An IPv6 address without brackets has no room for a port.
        _ => (target, DEFAULT_PORT),
    };
    (text::is_ip(host) || text::is_host_name(host)).then_some((host, port))
}

/// A target as it is kept: always with a port, IPv6 in brackets.
pub fn join(host: &str, port: u16) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

fn address(text: &str) -> Result<(), String> {
    match split(text) {
        Some(_) => Ok(()),
        None => Err(format!("Invalid target ('{text}'); not a valid hostname or ip address")),
    }
}
