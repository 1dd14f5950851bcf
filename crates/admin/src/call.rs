//! One request's view of the gate.

use crate::query::Query;
use bytes::Bytes;
use http::HeaderMap;
use model::{Configuration, Rows, Writes};
use schema::Catalog;

/// What the functions behind the endpoints work on.
pub(crate) struct Call<'a> {
    pub(crate) rows: &'a dyn Rows,
    /// Where changes are made. Nothing for questions, and where the configuration is one document.
    pub(crate) writes: Option<&'a dyn Writes>,
    /// The configuration, where it is one document.
    pub(crate) document: Option<&'a Configuration>,
    pub(crate) catalog: &'a Catalog,
    /// Whether API keys are kept so that they can be read again.
    pub(crate) readable_keys: bool,
    /// Seconds since 1970.
    pub(crate) now: u64,
    /// The path as it was given.
    pub(crate) path: &'a str,
    pub(crate) query: Query,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
}
