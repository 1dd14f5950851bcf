//! The data plane: what happens to a request between the caller and the service.
//!
//! `serve` accepts connections, `exchange` is one request on its way, `plan` is the configuration that it
//! is held against, `chain` runs the plugins, `upstream` calls the service, `answer` turns errors into
//! HTTP. Everything here runs on one thread per core and shares nothing that waits.

pub mod access_log;
pub mod answer;
pub mod authenticate;
pub mod balancer;
pub mod body;
pub mod body_writer;
mod caller_body;
pub mod chain;
pub mod conduct;
pub mod destination;
mod early;
pub mod exchange;
pub mod fields;
pub mod forward;
pub mod identity;
mod local;
mod marks;
pub mod message;
pub mod outgoing;
pub mod plan;
pub mod plugin;
pub mod query;
pub mod registry;
pub mod request_id;
pub mod serve;
#[cfg(feature = "testing")]
pub mod testing;
mod tunnel;
pub mod upstream;
mod weighted;

pub use exchange::Exchange;
pub use plan::Plan;
