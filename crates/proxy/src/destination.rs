//! One address behind a service, and how it is spoken to.

use http::HeaderValue;
use net::ClientConfig;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Where a connection goes. Equal destinations share their idle connections.
#[derive(Clone)]
pub struct Destination {
    /// A name or an address.
    pub host: Arc<str>,
    pub port: u16,
    pub tls: Option<Tls>,
    /// Spoken with HTTP/2 (gRPC), over TLS or with prior knowledge.
    pub http2: bool,
    /// What goes into `Host` where neither the caller's nor another is wanted: the port is left out where
    /// it is the scheme's own.
    pub authority: HeaderValue,
    /// Whether its TLS name is the caller's choice.
    pub named_by_caller: bool,
    /// Its hash, made once: it is looked up twice for each request.
    key: u64,
}

/// TLS towards a destination.
#[derive(Clone)]
pub struct Tls {
    /// Equal settings give the same configuration, so its address stands for it.
    pub config: Arc<ClientConfig>,
    /// The name in the handshake, and what the certificate must be for.
    pub server_name: Arc<str>,
}

impl Destination {
    pub fn new(host: &str, port: u16, tls: Option<Arc<ClientConfig>>, http2: bool) -> Destination {
        let authority = authority(host, port, tls.is_some());
        let tls = tls.map(|config| Tls { config, server_name: host.into() });
        Destination { host: host.into(), port, tls, http2, authority, named_by_caller: false, key: 0 }.keyed()
    }

    /// The same place under the name that a caller asked for: TLS must be for that name.
    pub fn named_by_caller(&self, host: &str) -> Destination {
        Destination { named_by_caller: true, ..self.named(host) }
    }

    /// The same place under another name.
    pub fn named(&self, host: &str) -> Destination {
        let tls = self.tls.as_ref().map(|tls| Tls { config: tls.config.clone(), server_name: host.into() });
        Destination { tls, ..self.clone() }.keyed()
    }

    fn keyed(mut self) -> Destination {
        let mut hasher = DefaultHasher::new();
        self.host.hash(&mut hasher);
        self.port.hash(&mut hasher);
        self.http2.hash(&mut hasher);
        self.tls.as_ref().map(|tls| (Arc::as_ptr(&tls.config), &tls.server_name)).hash(&mut hasher);
        self.key = hasher.finish();
        self
    }
}

/// A map by destination, which trusts the hash that each of them carries.
pub type ByDestination<T> = HashMap<Destination, T, BuildHasherDefault<Carried>>;

/// Takes a hash as it is.
#[derive(Default)]
pub struct Carried(u64);

impl Hasher for Carried {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// `host`, or `host:port` where the port is not the scheme's own.
pub fn authority(host: &str, port: u16, tls: bool) -> HeaderValue {
    let own = if tls { 443 } else { 80 };
    let text = if port == own { host.to_owned() } else { format!("{host}:{port}") };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

impl PartialEq for Destination {
    fn eq(&self, other: &Destination) -> bool {
        let same_tls = match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(&a.config, &b.config) && a.server_name == b.server_name,
            _ => false,
        };
        self.key == other.key
            && same_tls
            && self.port == other.port
            && self.http2 == other.http2
            && self.host == other.host
    }
}

impl Eq for Destination {}

impl Hash for Destination {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.key);
    }
}
