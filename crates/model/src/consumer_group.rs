//! Groups of consumers that plugins are put on, such as tiers with limits of their own; and who is in them.

use crate::text;
use schema::{Reference, Schema, Set};
use serde::Deserialize;
use uuid::Uuid;

/// A group of consumers that plugins can be put on (Kong Enterprise has such).
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct ConsumerGroup {
    /// The group's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<i64>,
    /// Its name.
    #[schema(unique, format(text::name))]
    pub name: String,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
}

/// That a consumer is in a group. A file may say it shorter: `groups` of a consumer, `consumers` of a group.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct Membership {
    /// The membership's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// Who is in it.
    #[schema(references = "consumers", cascade)]
    pub consumer: Reference,
    /// The group.
    #[schema(references = "consumer_groups", cascade)]
    pub consumer_group: Reference,
}
