//! Kong's Admin API for a gate that keeps its configuration in memory.
//!
//! [`Admin::answer`] is a function: a request in, an answer out. Sockets, connections and the gate
//! itself are behind [`Gate`]. The configuration is read entity by entity and replaced as a whole, with
//! `POST /config`; every other write is validated and then refused, as Kong does without a database.
//!
//! What Kong leaves open is closed: nothing is answered without the token, not even which paths exist,
//! and no browser is told that it may read along (there are no CORS headers).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod admin;
mod audit;
mod body;
mod call;
mod configuration;
mod endpoint;
mod entity_list;
mod entity_read;
mod entity_write;
mod error;
mod explain;
mod form;
mod gate;
mod health;
mod information;
mod locate;
mod multipart;
mod openapi;
mod page;
mod patch;
mod progress;
mod query;
mod reply;
mod resource;
mod schemas;
mod shown;
mod sync;
mod tags;
mod token;
mod validate;

pub use admin::Admin;
pub use gate::{Connections, Facts, Gate, Question};
pub use token::Token;

/// The version of Kong whose Admin API this is; tools decide by it how to speak.
pub const KONG_VERSION: &str = "3.9.3";
