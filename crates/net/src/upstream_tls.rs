//! TLS towards upstreams: whom to believe, and who to be.

mod verifier;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

use crate::tls::{Alpn, provider};
use verifier::{AcceptAnyCertificate, LimitedDepth};

/// How to speak TLS to one upstream.
#[derive(Clone)]
pub struct UpstreamTlsOptions {
    /// Whether the certificate of the upstream is verified. **With `false` anyone on the path can read
    /// and change everything, client certificate or not**: only the owner of the presented key is
    /// certain, not who that is.
    pub verify: bool,
    /// The most intermediate certificates between the upstream's own and a trusted CA (OpenSSL's
    /// meaning, as in Kong's `tls_verify_depth`). The TLS library stops at 6 in any case.
    pub verify_depth: Option<u8>,
    /// The CAs to believe; `None` for those of the operating system.
    pub ca_certificates: Option<Vec<CertificateDer<'static>>>,
    /// What to present when the upstream asks for a client certificate.
    pub client_certificate: Option<Arc<CertifiedKey>>,
    /// HTTP versions to offer.
    pub alpn: Alpn,
}

impl Default for UpstreamTlsOptions {
    /// Verified against the CAs of the operating system, HTTP/1.1.
    fn default() -> Self {
        Self { verify: true, verify_depth: None, ca_certificates: None, client_certificate: None, alpn: Alpn::Http1 }
    }
}

/// Why an upstream cannot be spoken to over TLS.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamTlsError {
    /// The operating system's store is empty or unreadable.
    #[error(
        "the operating system has no trusted CA certificates{detail}; install the package ca-certificates, \
         set SSL_CERT_FILE, or name ca_certificates at the service"
    )]
    NoSystemRoots {
        /// What went wrong while reading, if anything did.
        detail: String,
    },
    /// An empty list trusts nobody.
    #[error("the list of ca_certificates is empty, so that no upstream could be trusted; name one or remove the list")]
    NoAuthorities,
    /// One of the given CAs cannot be used.
    #[error("CA certificate number {position} cannot be used as a trust anchor: {source}")]
    Authority {
        /// Which one, counted from 1.
        position: usize,
        /// The library's words.
        source: rustls::Error,
    },
    /// The TLS library refused.
    #[error("TLS to the upstream cannot be set up: {0}")]
    Library(String),
}

/// The TLS configurations in use, each made once.
///
/// Equal options give the same [`ClientConfig`], also after a reload, so that sessions go on being
/// resumed and the address of the configuration can be the key of a connection pool. A configuration
/// keeps its sessions to itself: one made without verification is never resumed by one with.
#[derive(Default)]
pub struct UpstreamTls {
    configs: Mutex<HashMap<Key, Weak<ClientConfig>>>,
    system_roots: OnceLock<Arc<RootCertStore>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    trust: Trust,
    /// The public half stands for the pair: [`crate::certificate::parse`] lets no other key through.
    client_certificate: Option<Vec<CertificateDer<'static>>>,
    alpn: Alpn,
}

#[derive(PartialEq, Eq, Hash)]
enum Trust {
    Anyone,
    Authorities { only: Option<Vec<CertificateDer<'static>>>, depth: Option<u8> },
}

impl UpstreamTls {
    /// The configuration for these options. Reads the system's CA files the first time they are needed,
    /// so call this while compiling a plan and not while serving.
    pub fn config(&self, options: &UpstreamTlsOptions) -> Result<Arc<ClientConfig>, UpstreamTlsError> {
        let key = Key::new(options);
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(&key).and_then(Weak::upgrade) {
            return Ok(config);
        }
        let config = Arc::new(self.build(options)?);
        configs.retain(|_, config| config.strong_count() > 0);
        configs.insert(key, Arc::downgrade(&config));
        Ok(config)
    }

    fn build(&self, options: &UpstreamTlsOptions) -> Result<ClientConfig, UpstreamTlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| UpstreamTlsError::Library(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(options)?);
        let mut config = match &options.client_certificate {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(key)))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = options.alpn.protocols();
        Ok(config)
    }

    fn verifier(&self, options: &UpstreamTlsOptions) -> Result<Arc<dyn ServerCertVerifier>, UpstreamTlsError> {
        if !options.verify {
            return Ok(Arc::new(AcceptAnyCertificate::new()));
        }
        let roots = match &options.ca_certificates {
            Some(authorities) => Arc::new(root_store(authorities)?),
            None => self.system_roots()?,
        };
        let webpki = WebPkiServerVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| UpstreamTlsError::Library(error.to_string()))?;
        Ok(match options.verify_depth {
            Some(depth) => Arc::new(LimitedDepth::new(webpki, depth)),
            None => webpki,
        })
    }

    fn system_roots(&self) -> Result<Arc<RootCertStore>, UpstreamTlsError> {
        if let Some(roots) = self.system_roots.get() {
            return Ok(Arc::clone(roots));
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // System stores hold odd entries; one of them must not take the others away.
        let (_, ignored) = roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let detail = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
            return Err(UpstreamTlsError::NoSystemRoots { detail });
        }
        for error in &found.errors {
            tracing::warn!(%error, "some of the system's CA certificates could not be read");
        }
        tracing::debug!(trusted = roots.len(), ignored, "CA certificates of the system read");
        Ok(Arc::clone(self.system_roots.get_or_init(|| Arc::new(roots))))
    }
}

impl Key {
    fn new(options: &UpstreamTlsOptions) -> Self {
        let trust = match options.verify {
            false => Trust::Anyone,
            true => Trust::Authorities { only: options.ca_certificates.clone(), depth: options.verify_depth },
        };
        let client_certificate = options.client_certificate.as_ref().map(|key| key.cert.clone());
        Self { trust, client_certificate, alpn: options.alpn }
    }
}

fn root_store(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, UpstreamTlsError> {
    if authorities.is_empty() {
        return Err(UpstreamTlsError::NoAuthorities);
    }
    let mut roots = RootCertStore::empty();
    for (index, der) in authorities.iter().enumerate() {
        roots.add(der.clone()).map_err(|source| UpstreamTlsError::Authority { position: index + 1, source })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{Issuer, handshake, server, server_asking, trusting};

    /// `Ok` with the client certificate's names as the upstream saw them, or the text of the failure.
    async fn check(
        server: Arc<rustls::ServerConfig>,
        client: Arc<ClientConfig>,
        name: &str,
        expect: Result<&[&str], &str>,
    ) {
        match (handshake(server, client, name).await, expect) {
            (Ok(done), Ok(names)) => assert_eq!(done.client_names, names),
            (Err(error), Err(text)) => assert!(error.contains(text), "{error}"),
            (done, expect) => panic!("{done:?}, expected {expect:?}"),
        }
    }

    #[tokio::test]
    async fn an_unknown_issuer_is_refused_unless_verification_is_off() {
        let (issuer, stranger) = (Issuer::new(), Issuer::named("stranger"));
        let server = server(stranger.issue(&["a.test"]));
        check(Arc::clone(&server), trusting(&issuer, |_| ()), "a.test", Err("UnknownIssuer")).await;
        check(Arc::clone(&server), trusting(&stranger, |_| ()), "a.test", Ok(&[])).await;
        check(Arc::clone(&server), trusting(&issuer, |options| options.verify = false), "a.test", Ok(&[])).await;
        // By default the system's CAs are asked, and they do not know this issuer either.
        match UpstreamTls::default().config(&UpstreamTlsOptions::default()) {
            Ok(client) => check(server, client, "a.test", Err("UnknownIssuer")).await,
            Err(error) => assert!(matches!(error, UpstreamTlsError::NoSystemRoots { .. }), "{error}"),
        }
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_is_refused() {
        let issuer = Issuer::new();
        let named = server(issuer.issue(&["a.test"]));
        check(named, trusting(&issuer, |_| ()), "b.test", Err("not valid for name")).await;
        // Only the common name: RFC 9525 section 6.3 leaves it out of account, so must we.
        let unnamed = server(issuer.issue(&[]));
        check(unnamed, trusting(&issuer, |_| ()), "issued", Err("not valid for name")).await;
    }

    #[tokio::test]
    async fn the_client_certificate_is_presented_when_asked_for() {
        let issuer = Issuer::new();
        let server = server_asking(&issuer, issuer.issue(&["a.test"]));
        let known = |options: &mut UpstreamTlsOptions| options.client_certificate = Some(issuer.issue(&["gate.test"]));
        check(Arc::clone(&server), trusting(&issuer, known), "a.test", Ok(&["gate.test"])).await;
        check(server, trusting(&issuer, |_| ()), "a.test", Err("CertificateRequired")).await;
    }

    #[tokio::test]
    async fn depth_counts_intermediates() {
        let root = Issuer::new();
        let one = root.intermediate("one");
        let two = one.intermediate("two");
        let deep = server(two.issue(&["a.test"]));
        let flat = server(root.issue(&["a.test"]));
        let depth = |depth| trusting(&root, move |options| options.verify_depth = Some(depth));
        check(Arc::clone(&flat), depth(0), "a.test", Ok(&[])).await;
        check(Arc::clone(&deep), depth(2), "a.test", Ok(&[])).await;
        check(Arc::clone(&deep), depth(1), "a.test", Err("TooDeep { depth: 1 }")).await;
        check(deep, depth(0), "a.test", Err("TooDeep { depth: 0 }")).await;
    }

    #[test]
    fn equal_options_share_a_configuration_and_others_do_not() {
        let tls = UpstreamTls::default();
        let issuer = Issuer::new();
        let options = UpstreamTlsOptions { ca_certificates: Some(vec![issuer.der()]), ..Default::default() };
        let first = tls.config(&options).unwrap();
        assert!(Arc::ptr_eq(&first, &tls.config(&options.clone()).unwrap()));
        for other in [
            UpstreamTlsOptions { verify: false, ..options.clone() },
            UpstreamTlsOptions { verify_depth: Some(1), ..options.clone() },
            UpstreamTlsOptions { client_certificate: Some(issuer.issue(&["x"])), ..options.clone() },
            UpstreamTlsOptions { alpn: Alpn::Http2, ..options.clone() },
            UpstreamTlsOptions { ca_certificates: Some(vec![Issuer::new().der()]), ..options.clone() },
        ] {
            assert!(!Arc::ptr_eq(&first, &tls.config(&other).unwrap()));
        }
        // The others have been dropped: only what is in use is remembered.
        drop(tls.config(&UpstreamTlsOptions { verify: false, ..options }).unwrap());
        assert!(tls.configs.lock().unwrap().len() <= 2);
    }

    #[test]
    fn refuses_to_trust_nobody() {
        let check = |authorities: Vec<CertificateDer<'static>>, expect: &str| {
            let options = UpstreamTlsOptions { ca_certificates: Some(authorities), ..Default::default() };
            let error = UpstreamTls::default().config(&options).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(Vec::new(), "list of ca_certificates is empty");
        check(vec![CertificateDer::from(vec![0])], "number 1 cannot be used");
    }
}
