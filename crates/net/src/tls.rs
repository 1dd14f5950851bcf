//! What both sides of TLS share: the crypto provider, and the protocols offered by ALPN.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

/// Which HTTP versions a TLS handshake offers, most preferred first (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// `http/1.1` only.
    Http1,
    /// `h2` only: what gRPC upstreams need.
    Http2,
    /// `h2`, then `http/1.1`.
    Http2OrHttp1,
}

impl Alpn {
    pub(crate) fn protocols(self) -> Vec<Vec<u8>> {
        let (h2, http1) = (b"h2".to_vec(), b"http/1.1".to_vec());
        match self {
            Self::Http1 => vec![http1],
            Self::Http2 => vec![h2],
            Self::Http2OrHttp1 => vec![h2, http1],
        }
    }
}

/// The provider is always named: the process default of rustls can be set by any dependency, and a
/// second enabled backend would turn it into a panic.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}
