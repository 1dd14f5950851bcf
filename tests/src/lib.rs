//! The instruments of the black-box tests: the gate as a process, an origin that records what
//! reaches it, and the real programs (curl, openssl, nginx) that the gate has to get on with.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "an instrument that breaks ends its test, with the place and the cause"
)]

mod certs;
mod curl;
mod directory;
mod eventually;
mod gate;
mod glewlwyd;
pub mod http2_wire;
mod idp;
mod message;
mod name_server;
mod nginx;
mod origin;
mod postgres;
mod process;
mod python;
mod redis;
mod temp_dir;
mod token;
mod wire;

pub use certs::{Authority, Certificate};
pub use curl::{curl, curl_as};
pub use directory::Directory;
pub use eventually::{DEADLINE, eventually};
pub use gate::{Gate, GateBuilder, clean, workspace};
pub use glewlwyd::Glewlwyd;
pub use idp::Idp;
pub use message::Answer;
pub use name_server::NameServer;
pub use nginx::Nginx;
pub use origin::{Origin, Recorded, Reply};
pub use postgres::Postgres;
pub use process::{Finished, Process, run};
pub use python::python;
pub use redis::Redis;
pub use temp_dir::TempDir;
pub use token::{base64, base64url, hs256};
pub use wire::{Wire, http, raw, try_http};
