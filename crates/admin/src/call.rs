//! One request's view of the gate.

use crate::query::Query;
use bytes::Bytes;
use http::HeaderMap;
use model::Configuration;
use schema::Catalog;

/// What the functions behind the endpoints work on: one configuration from beginning to end.
pub(crate) struct Call<'a> {
    pub(crate) configuration: &'a Configuration,
    pub(crate) catalog: &'a Catalog,
    /// Seconds since 1970.
    pub(crate) now: u64,
    /// The path as it was given.
    pub(crate) path: &'a str,
    pub(crate) query: Query,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
}
