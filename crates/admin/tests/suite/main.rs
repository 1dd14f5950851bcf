//! The Admin API over a gate with a real configuration.

#![allow(clippy::unwrap_used)]

mod access;
mod bodies;
mod cases;
mod configuration;
mod gate;
mod information;
mod lists;
mod reads;
mod schemas;
mod writes;
