//! What the Admin API needs from the gate.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use model::declarative::Written;
use model::rows::Unavailable;
use model::{Configuration, Invalid, Rows, Writes};
use schema::{Catalog, Value};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// The gate, as the Admin API sees it.
pub trait Gate {
    /// The configuration in force, where it is one document and not kept in a database.
    fn document(&self) -> Option<Arc<Configuration>>;

    /// The entities, to ask about.
    fn rows(&self) -> Arc<dyn Rows>;

    /// Changes entities in the database in the name of somebody: what was written is in force when this returns. An error
    /// changes nothing.
    fn change<T, E>(&self, who: &str, make: impl FnOnce(&dyn Writes) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Unavailable> + From<Invalid>;

    /// The configuration in force, without those who call.
    fn in_force(&self) -> Arc<Configuration>;

    /// Whether requests may name this host, which is neither an address nor this machine.
    fn is_known_host(&self, host: &str) -> bool;

    /// Whether API keys are kept so that they can be read again.
    fn has_readable_keys(&self) -> bool;

    /// Somebody has asked for a change and was answered so.
    fn log(&self, who: &str, method: &Method, path: &str, status: StatusCode);

    /// The plugins of this build.
    fn catalog(&self) -> &Catalog;

    /// Validates, compiles and swaps in a whole document; `Ok` is the configuration now in force.
    ///
    /// On `Err` the one before stays in force, untouched.
    fn load(&self, document: &str) -> Result<Arc<Configuration>, Invalid>;

    /// Reads a whole document, and does nothing with it.
    fn read(&self, document: &str) -> Result<Written, Invalid>;

    /// What would become of a request, and why. It may take its time.
    fn explain(&self, question: Question) -> Value;

    /// What the gate knows of itself.
    fn facts(&self) -> Facts;

    /// Now, in seconds since 1970.
    fn now(&self) -> u64;
}

/// A request that somebody asks about.
pub struct Question {
    pub request: Request<Bytes>,
    /// Where it would come from.
    pub ip: IpAddr,
}

/// What the gate knows of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The gate's own version.
    pub version: String,
    pub hostname: String,
    pub node_id: Uuid,
    /// The process.
    pub pid: u32,
    /// The settings in force, as JSON, without secrets.
    pub settings: Value,
    /// Whether the database answers; nothing where there is none.
    pub database: Option<bool>,
    pub connections: Connections,
}

/// Counters of callers' connections, with nginx's meanings.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Connections {
    #[serde(rename = "connections_accepted")]
    pub accepted: u64,
    #[serde(rename = "connections_active")]
    pub active: u64,
    #[serde(rename = "connections_handled")]
    pub handled: u64,
    #[serde(rename = "connections_reading")]
    pub reading: u64,
    #[serde(rename = "connections_waiting")]
    pub waiting: u64,
    #[serde(rename = "connections_writing")]
    pub writing: u64,
    pub total_requests: u64,
}
