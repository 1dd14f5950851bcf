//! A placement: a plugin put on a route, a service, a consumer, some of them, or everywhere.

use crate::text;
use schema::{Map, Reference, Schema, Set, Value};
use serde::Deserialize;
use uuid::Uuid;

/// A plugin put on a route, a service, a consumer, some of them, or everywhere.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct PluginRow {
    /// The placement's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// The plugin's name.
    pub name: String,
    /// A name for this placement.
    #[schema(unique, format(text::name))]
    pub instance_name: Option<String>,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<i64>,
    /// The route it is put on.
    #[schema(references = "routes", default = null, cascade)]
    pub route: Option<Reference>,
    /// The service it is put on.
    #[schema(references = "services", default = null, cascade)]
    pub service: Option<Reference>,
    /// The consumer it is put on.
    #[schema(references = "consumers", default = null, cascade)]
    pub consumer: Option<Reference>,
    /// The group of consumers it is put on.
    #[schema(ours, references = "consumer_groups", default = null, cascade)]
    pub consumer_group: Option<Reference>,
    /// The plugin's own options.
    #[schema(required(false))]
    pub config: Option<Map<String, Value>>,
    /// The protocols it is meant for. As in Kong, this is stated and checked, and stops nothing.
    #[schema(default = ["grpc", "grpcs", "http", "https"])]
    pub protocols: Set<crate::service::Protocol>,
    /// Whether it takes part at all.
    #[schema(default = true)]
    pub enabled: bool,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
}
