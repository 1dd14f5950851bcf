//! The configuration language: one definition gives types, defaults, rules, docs and errors.
//!
//! A struct with `#[derive(Schema)]` is the only place where an option is written down. From it come
//! the document that `GET /schemas/...` answers with, the defaults, every violation at once with
//! Kong's texts, the typed value that code reads, and the reference page.
//!
//! ```
//! use schema::{Schema, json};
//!
//! /// Says hello.
//! #[derive(serde::Deserialize, Schema)]
//! struct Config {
//!     /// Whom to greet.
//!     #[schema(default = "world", len_min(1))]
//!     name: Option<String>,
//!     /// How often, per request.
//!     #[schema(default = 1, between(1, 10))]
//!     times: u16,
//! }
//!
//! let config = Config::read(json!({"times": 3})).unwrap();
//! assert_eq!((config.name.as_deref(), config.times), (Some("world"), 3));
//!
//! let violations = Config::read(json!({"name": "", "times": 11, "colour": 1})).err().unwrap();
//! assert_eq!(
//!     violations.message(),
//!     "3 schema violations (colour: unknown field; name: length must be at least 1; \
//!      times: value should be between 1 and 10)",
//! );
//! ```

mod catalog;
mod check;
mod condition;
mod json_schema;
mod kong;
mod page;
mod read;
mod record;
mod rule;
mod secret;
mod typed;
mod vault;
mod violations;

pub use catalog::{Catalog, PluginSchema};
pub use check::{Check, Custom, Found};
pub use condition::Condition;
pub use record::{Depends, Field, Kind, Moved, Record};
pub use rule::{Pattern, Rule};
pub use schema_derive::Schema;
pub use secret::Secret;
pub use serde_json::{Map, Value, json};
pub use typed::{Reference, Set, Typed};
pub use vault::Unresolved;
pub use violations::Violations;

use serde::de::DeserializeOwned;

/// A struct whose fields are configuration options.
pub trait Schema: DeserializeOwned {
    /// The definition of every option, in the order of the struct.
    fn record() -> Record;

    /// Reads `input`: fills defaults, applies every rule, and returns all violations at once.
    fn read(mut input: Value) -> Result<Self, Violations> {
        Self::record().read(&mut input)?;
        Self::from_read(input)
    }

    /// Turns a value that [`Record::read`] accepted into its type.
    ///
    /// The record comes from the same Rust types, so this fails only if a hand-written `Deserialize`
    /// is stricter than its schema; that is reported, not hidden.
    fn from_read(input: Value) -> Result<Self, Violations> {
        serde_json::from_value(input).map_err(|error| Violations::entity(error.to_string()))
    }
}
