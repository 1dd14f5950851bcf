//! Every black-box test in one binary: linking is what costs, and one link is enough.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends at its first surprise")]

#[path = "all/access.rs"]
mod access;
#[path = "all/access_log.rs"]
mod access_log;
#[path = "all/attacks.rs"]
mod attacks;
#[path = "all/balancing.rs"]
mod balancing;
#[path = "all/change.rs"]
mod change;
#[path = "all/client_certificates.rs"]
mod client_certificates;
#[path = "all/database.rs"]
mod database;
#[path = "all/directories.rs"]
mod directories;
#[path = "all/explain.rs"]
mod explain;
#[path = "all/faults.rs"]
mod faults;
#[path = "all/forward_auth.rs"]
mod forward_auth;
#[path = "all/grpc.rs"]
mod grpc;
#[path = "all/identity_headers.rs"]
mod identity_headers;
#[path = "all/instruments.rs"]
mod instruments;
#[path = "all/introspection.rs"]
mod introspection;
#[path = "all/issuers.rs"]
mod issuers;
#[path = "all/kong_cases.rs"]
mod kong_cases;
#[path = "all/limits.rs"]
mod limits;
#[path = "all/message_signatures.rs"]
mod message_signatures;
#[path = "all/names.rs"]
mod names;
#[path = "all/odd_provider.rs"]
mod odd_provider;
#[path = "all/operators.rs"]
mod operators;
#[path = "all/passwords.rs"]
mod passwords;
#[path = "all/proxying.rs"]
mod proxying;
#[path = "all/rate_limits.rs"]
mod rate_limits;
#[path = "all/revocation.rs"]
mod revocation;
#[path = "all/start.rs"]
mod start;
#[path = "all/strict_http1.rs"]
mod strict_http1;
#[path = "all/strict_http2.rs"]
mod strict_http2;
#[path = "all/sync.rs"]
mod sync;
#[path = "all/tls.rs"]
mod tls;
#[path = "all/tools.rs"]
mod tools;
#[path = "all/without_loss.rs"]
mod without_loss;
