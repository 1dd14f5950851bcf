//! A consumer: who may call, as the operator knows them.

use crate::text;
use schema::{Check, Schema, Set};
use serde::Deserialize;
use uuid::Uuid;

/// Who may call, as the operator knows them.
#[derive(Clone, Debug, Deserialize, Schema)]
#[schema(check(Check::AtLeastOneOf(&["custom_id", "username"])))]
pub struct Consumer {
    /// The consumer's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<i64>,
    /// The name services see in `X-Consumer-Username`.
    #[schema(unique)]
    pub username: Option<String>,
    /// The identity in the operator's own records, seen in `X-Consumer-Custom-ID`.
    #[schema(unique)]
    pub custom_id: Option<String>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
}
