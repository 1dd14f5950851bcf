//! Which consumer is meant by what a token, a certificate or a directory calls its caller.

use proxy::registry::{Consumer, Registry};
use schema::Schema;
use serde::Deserialize;
use std::sync::Arc;

/// What a consumer is called by.
#[derive(Clone, Copy, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum ConsumerBy {
    Id,
    Username,
    #[serde(rename = "custom_id")]
    CustomId,
}

/// The consumer that one of these, in their order, knows by this name.
pub fn find(registry: &Registry, by: &[ConsumerBy], name: &str) -> Option<Arc<Consumer>> {
    let mut found = by.iter().filter_map(|by| match by {
        ConsumerBy::Id => registry.consumer_by_id(name),
        ConsumerBy::Username => registry.consumer_by_username(name),
        ConsumerBy::CustomId => registry.consumer_by_custom_id(name),
    });
    found.next()
}
