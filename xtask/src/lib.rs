//! The house rules that rustc and clippy cannot see, as ordinary tests: `cargo test -p xtask`.
#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a rule that cannot be checked is a broken rule")]

mod crates;
mod documents;
mod files;
mod house;
