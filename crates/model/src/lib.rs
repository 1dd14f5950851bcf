//! Entities, the declarative file, and the validation of a whole configuration.
//!
//! The entities are Kong 3.9's, field by field. A declarative document becomes a [`Configuration`]:
//! complete rows with resolved references, or every violation at once; nothing in between.

pub mod admin_token;
pub mod api_key;
pub mod certificate;
mod complete;
pub mod configuration;
pub mod consumer;
pub mod consumer_group;
pub mod credential;
pub mod declarative;
pub mod document;
pub mod entity;
pub mod format;
pub mod id;
pub mod invalid;
pub mod key;
pub mod plugin_row;
pub mod route;
pub mod rows;
pub mod service;
pub mod target;
pub mod text;
pub mod upstream;
mod validate;
pub mod vault;

pub use complete::{Complete, Hashing, complete, fill, hash_secrets, keep_hashes, record};
pub use configuration::{Configuration, Row};
pub use entity::EntityKind;
pub use invalid::{Invalid, without_secrets};
pub use rows::{Rows, Writes};
pub use validate::carried;
