//! Every byte in or out: listeners, TLS, trusted addresses, outgoing connections.
//!
//! The only crate that knows sockets, `rustls` and DNS. It decides nothing about routes, consumers or
//! plugins: the proxy above hands it settings that are already read, and asks it for listeners, TLS
//! configurations, the true address of a caller, and connections to upstreams.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod accept;
pub mod alarm;
pub mod certificate;
pub mod client_certificate;
pub mod dns;
pub mod egress;
pub mod fetch;
pub mod forwarded;
pub mod handover;
#[cfg(test)]
mod handshake;
pub mod head;
pub mod ldap;
pub mod listen;
pub mod mount;
pub mod redis;
pub mod rest;
pub mod server_tls;
pub mod shared;
pub mod stream;
pub mod tls;
pub mod upstream_tls;
pub mod wire;

// TLS configurations are made here and handed around by others, who need their names and nothing else.
pub use rustls::sign::CertifiedKey;
pub use rustls::{ClientConfig, ServerConfig};
pub use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
