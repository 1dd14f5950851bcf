//! TLS towards callers: which certificate answers which server name.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{DistinguishedName, ServerConfig};

use crate::client_certificate::AnyCertificate;
use crate::tls::{Alpn, provider};

/// What a TLS listener is made of.
pub struct ServerTls {
    /// Certificates chosen by the server name (SNI) that the caller asks for.
    pub certificates: Vec<ServerCertificate>,
    /// What a caller gets who names no server, or one that no certificate covers. In order of
    /// preference, usually one of each key type; at least one.
    pub default: Vec<Arc<CertifiedKey>>,
    /// The oldest version accepted.
    pub min_version: MinVersion,
    /// Whether callers may resume their sessions, which spares both sides the costly part of a handshake.
    pub session_tickets: bool,
    /// Who is asked for a certificate.
    pub asking: Asking,
}

/// Who is asked to show a certificate. Whoever has none goes on without.
#[derive(Debug, Default)]
pub struct Asking {
    pub everybody: bool,
    /// Those who ask for one of these server names, in lower case.
    pub names: HashSet<String>,
    /// The names of the authorities that are believed, for callers that have several certificates.
    pub authorities: Vec<DistinguishedName>,
    /// Whether callers are not told them.
    pub tells_nobody: bool,
}

/// TLS towards callers, ready for their connections.
pub struct CallerTls {
    /// For callers that are not asked for a certificate.
    plain: Offers,
    /// For those that are.
    asking: Option<(Asking, Offers)>,
    certificates: Arc<Certificates>,
}

/// The configurations of one kind of callers.
struct Offers {
    /// For listeners that offer HTTP/2 and HTTP/1.1.
    http2: Arc<ServerConfig>,
    /// For listeners that offer HTTP/1.1 alone.
    http1: Arc<ServerConfig>,
}

impl CallerTls {
    /// The configuration for a caller, by the server name that it asks for.
    pub fn config(&self, http2: bool, server_name: Option<&str>) -> Arc<ServerConfig> {
        let asked = |asking: &Asking| {
            asking.everybody || server_name.is_some_and(|name| asking.names.contains(name.trim_end_matches('.')))
        };
        let offers = match &self.asking {
            Some((asking, offers)) if asked(asking) => offers,
            _ => &self.plain,
        };
        if http2 { offers.http2.clone() } else { offers.http1.clone() }
    }

    /// For those who call the gate itself, with HTTP/1.1: nobody asks them for a certificate.
    pub fn of_the_gate(&self) -> Arc<ServerConfig> {
        self.plain.http1.clone()
    }

    /// Whether a connection made for one server name may carry requests for another: both are answered
    /// with the same certificate (RFC 9110 section 15.5.20).
    pub fn covers(&self, server_name: &str, host: &str) -> bool {
        server_name == host
            || std::ptr::eq(self.certificates.keys_for(Some(server_name)), self.certificates.keys_for(Some(host)))
    }
}

/// A certificate and the server names it answers to.
pub struct ServerCertificate {
    /// The same identity with different key types (Kong's `cert` and `cert_alt`), most preferred first;
    /// the first whose signature the caller understands is presented. At least one.
    pub keys: Vec<Arc<CertifiedKey>>,
    /// Names: exact (`a.test`), leftmost label free (`*.test`), rightmost label free (`a.*`), or `*`
    /// for the default. Case does not matter.
    pub names: Vec<String>,
}

/// The oldest TLS version that a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// Why a TLS listener cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// A listener without any certificate cannot answer.
    #[error(
        "a TLS listener has no default certificate; set ssl_cert and ssl_cert_key, or leave both out to have one made"
    )]
    NoDefault,
    /// A certificate entry without keys.
    #[error("the certificate for \"{name}\" has no key")]
    NoKey {
        /// Its first server name.
        name: String,
    },
    /// A name that no caller can ask for.
    #[error(
        "\"{name}\" is not a server name; write a DNS name in ASCII (xn-- for others), \
         a wildcard for the first or last label (*.example.com, example.*), or *"
    )]
    Name {
        /// The name, as given.
        name: String,
    },
    /// Two certificates claim one name: which one answers would be chance.
    #[error("the server name \"{name}\" belongs to two certificates; remove it from one")]
    Twice {
        /// The name, in lower case.
        name: String,
    },
    /// The TLS library refused.
    #[error("the TLS listener cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

impl ServerTls {
    /// Makes the configurations that all connections share.
    ///
    /// Session tickets get a key of their own for each configuration: a ticket won under one set of
    /// certificates and rules resumes nothing under another.
    pub fn build(self) -> Result<CallerTls, ServerTlsError> {
        let versions: &[_] = match self.min_version {
            MinVersion::Tls12 => &[&TLS13, &TLS12],
            MinVersion::Tls13 => &[&TLS13],
        };
        let certificates = Arc::new(Certificates::new(self.certificates, self.default)?);
        let config = |alpn: Alpn, asking: Option<&Asking>| {
            let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
            let builder = match asking {
                None => builder.with_no_client_auth(),
                Some(asking) => {
                    let names = if asking.tells_nobody { Vec::new() } else { asking.authorities.clone() };
                    builder.with_client_cert_verifier(Arc::new(AnyCertificate { names }))
                }
            };
            let mut config = builder.with_cert_resolver(Arc::clone(&certificates) as _);
            config.alpn_protocols = alpn.protocols();
            match self.session_tickets {
                true => config.ticketer = Ticketer::new()?,
                false => {
                    config.session_storage = Arc::new(NoServerSessionStorage {});
                    config.send_tls13_tickets = 0;
                }
            }
            Ok::<_, ServerTlsError>(Arc::new(config))
        };
        let offers = |asking: Option<&Asking>| {
            Ok::<_, ServerTlsError>(Offers {
                http2: config(Alpn::Http2OrHttp1, asking)?,
                http1: config(Alpn::Http1, asking)?,
            })
        };
        let plain = offers(None)?;
        let asks = self.asking.everybody || !self.asking.names.is_empty();
        let asking = if asks { Some(offers(Some(&self.asking))?) } else { None };
        Ok(CallerTls { plain, asking: asking.map(|offers| (self.asking, offers)), certificates })
    }
}

/// Server names, in lower case, and the certificates that answer to them.
#[derive(Debug)]
struct Certificates {
    /// Exact names and wildcards as written; a wildcard cannot collide with a name on the wire.
    by_name: HashMap<String, Arc<[Arc<CertifiedKey>]>>,
    default: Arc<[Arc<CertifiedKey>]>,
}

impl Certificates {
    fn new(entries: Vec<ServerCertificate>, default: Vec<Arc<CertifiedKey>>) -> Result<Self, ServerTlsError> {
        let mut by_name: HashMap<String, Arc<[_]>> = HashMap::new();
        for ServerCertificate { keys, names } in entries {
            if keys.is_empty() {
                return Err(ServerTlsError::NoKey { name: names.into_iter().next().unwrap_or_default() });
            }
            let keys: Arc<[_]> = keys.into();
            for name in names {
                if !is_server_name(&name) {
                    return Err(ServerTlsError::Name { name });
                }
                match by_name.entry(name.to_ascii_lowercase()) {
                    Entry::Vacant(vacant) => drop(vacant.insert(Arc::clone(&keys))),
                    Entry::Occupied(taken) => return Err(ServerTlsError::Twice { name: taken.key().clone() }),
                }
            }
        }
        let default = by_name.remove("*").unwrap_or_else(|| default.into());
        if default.is_empty() {
            return Err(ServerTlsError::NoDefault);
        }
        Ok(Self { by_name, default })
    }

    fn keys_for(&self, server_name: Option<&str>) -> &[Arc<CertifiedKey>] {
        server_name.and_then(|name| self.find(name)).unwrap_or(&self.default)
    }

    /// Kong's order: the exact name, then `*.rest`, then `start.*`. A wildcard stands for one label.
    fn find(&self, server_name: &str) -> Option<&[Arc<CertifiedKey>]> {
        if self.by_name.is_empty() {
            return None;
        }
        // A trailing dot names the same host; without this it would fall through to the default.
        let name = server_name.strip_suffix('.').unwrap_or(server_name).to_ascii_lowercase();
        let get = |name: &str| self.by_name.get(name).map(|keys| &**keys);
        get(&name)
            .or_else(|| get(&format!("*.{}", name.split_once('.')?.1)))
            .or_else(|| get(&format!("{}.*", name.rsplit_once('.')?.0)))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.keys_for(hello.server_name());
        let understood = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        // With no key the caller understands, rustls ends the handshake with the right alert.
        keys.iter().find(understood).or_else(|| keys.first()).cloned()
    }
}

fn is_server_name(name: &str) -> bool {
    if name == "*" {
        return true;
    }
    let fixed = name.strip_prefix("*.").or_else(|| name.strip_suffix(".*")).unwrap_or(name);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && fixed.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{Issuer, handshake, trusting};
    use crate::upstream_tls::{UpstreamTls, UpstreamTlsOptions};
    use rustls::HandshakeKind;

    fn server_tls(issuer: &Issuer, names: &[&str]) -> Result<Arc<ServerConfig>, ServerTlsError> {
        let certificate = |name: &&str| ServerCertificate {
            keys: vec![issuer.issue(&[&name.replace('*', "wild")])],
            names: vec![(*name).to_owned()],
        };
        ServerTls {
            certificates: names.iter().map(certificate).collect(),
            default: vec![issuer.issue(&["default.test"])],
            min_version: MinVersion::Tls12,
            session_tickets: true,
            asking: Asking::default(),
        }
        .build()
        .map(|tls| tls.plain.http2)
    }

    /// Which certificate a caller of `asked` is shown, by its first name.
    async fn check(server: &Arc<ServerConfig>, asked: &str, expect: &str) {
        let options = UpstreamTlsOptions { verify: false, ..Default::default() };
        let client = UpstreamTls::default().config(&options).unwrap();
        let done = handshake(Arc::clone(server), client, asked).await.unwrap();
        assert_eq!(done.server_names, [expect], "{asked}");
    }

    #[tokio::test]
    async fn the_most_exact_name_wins() {
        let issuer = Issuer::new();
        let server = server_tls(&issuer, &["a.test", "*.test", "a.*", "Upper.Test", "*.b.a.test"]).unwrap();
        check(&server, "a.test", "a.test").await;
        check(&server, "A.TEST", "a.test").await;
        check(&server, "upper.test", "upper.test").await;
        check(&server, "b.test", "wild.test").await;
        check(&server, "a.example", "a.wild").await;
        check(&server, "c.b.a.test", "wild.b.a.test").await;
        // A wildcard stands for one label only: `*.test` must not speak for `x.y.test`.
        check(&server, "x.y.test", "default.test").await;
        check(&server, "test", "default.test").await;
        check(&server, "other", "default.test").await;
        // An IP address is never sent as SNI.
        check(&server, "127.0.0.1", "default.test").await;
    }

    #[tokio::test]
    async fn the_star_replaces_the_default() {
        let server = server_tls(&Issuer::new(), &["a.test", "*"]).unwrap();
        check(&server, "other.test", "wild").await;
    }

    #[tokio::test]
    async fn offers_http2_and_resumes_by_ticket() {
        let issuer = Issuer::new();
        let server = server_tls(&issuer, &["a.test"]).unwrap();
        let client = trusting(&issuer, |options| options.alpn = Alpn::Http2OrHttp1);
        let first = handshake(Arc::clone(&server), Arc::clone(&client), "a.test").await.unwrap();
        assert_eq!(first.alpn.as_deref(), Some(&b"h2"[..]));
        assert_eq!(first.kind, Some(HandshakeKind::Full));
        let again = handshake(server, Arc::clone(&client), "a.test").await.unwrap();
        assert_eq!(again.kind, Some(HandshakeKind::Resumed));
        // A ticket of one configuration must not resume under another, where other rules may hold.
        let other = server_tls(&issuer, &["a.test"]).unwrap();
        let elsewhere = handshake(other, client, "a.test").await.unwrap();
        assert_eq!(elsewhere.kind, Some(HandshakeKind::Full));
    }

    #[test]
    fn refuses_what_could_not_work() {
        let check = |names: &[&str], expect: &str| {
            let error = server_tls(&Issuer::new(), names).unwrap_err().to_string();
            assert!(error.contains(expect), "{names:?}: {error}");
        };
        check(&["a.test", "A.test"], "\"a.test\" belongs to two");
        check(&["*.x.*"], "not a server name");
        check(&["a.*.test"], "not a server name");
        check(&["a..test"], "not a server name");
        check(&["a test"], "not a server name");
        let none = ServerTls {
            certificates: Vec::new(),
            default: Vec::new(),
            min_version: MinVersion::Tls13,
            session_tickets: true,
            asking: Asking::default(),
        };
        assert!(matches!(none.build(), Err(ServerTlsError::NoDefault)));
    }
}
