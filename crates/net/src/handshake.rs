//! For tests: an issuer of certificates, and TLS handshakes in memory.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::certificate::{facts, parse};
use crate::tls::provider;
use crate::upstream_tls::{UpstreamTls, UpstreamTlsOptions};

/// A certificate authority made for one test.
pub(crate) struct Issuer {
    issuer: rcgen::CertifiedIssuer<'static, KeyPair>,
    /// Intermediates from this one up, without the root.
    chain_pem: String,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        Self::named("test CA")
    }

    pub(crate) fn named(name: &str) -> Self {
        let params = params(name, &[], true);
        let issuer = rcgen::CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, chain_pem: String::new() }
    }

    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let params = params(name, &[], true);
        let issuer = rcgen::CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.issuer).unwrap();
        let chain_pem = format!("{}{}", issuer.pem(), self.chain_pem);
        Self { issuer, chain_pem }
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Arc<CertifiedKey> {
        let key = KeyPair::generate().unwrap();
        let cert = params("issued", names, false).signed_by(&key, &self.issuer).unwrap();
        parse(&format!("{}{}", cert.pem(), self.chain_pem), &key.serialize_pem()).unwrap()
    }

    pub(crate) fn cert_pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }
}

fn params(name: &str, names: &[&str], is_ca: bool) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

/// An upstream with one certificate.
pub(crate) fn server(key: Arc<CertifiedKey>) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(key))))
}

/// An upstream that lets in only those with a certificate of `issuer`.
pub(crate) fn server_asking(issuer: &Issuer, key: Arc<CertifiedKey>) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(SingleCertAndKey::from(key))))
}

/// A client that trusts `issuer` and nobody else, with further options.
pub(crate) fn trusting(issuer: &Issuer, change: impl FnOnce(&mut UpstreamTlsOptions)) -> Arc<ClientConfig> {
    let mut options = UpstreamTlsOptions { ca_certificates: Some(vec![issuer.der()]), ..Default::default() };
    change(&mut options);
    UpstreamTls::default().config(&options).unwrap()
}

/// What both sides know after a handshake.
#[derive(Debug)]
pub(crate) struct Done {
    /// Names in the certificate that the client was shown.
    pub(crate) server_names: Vec<String>,
    /// Names in the certificate that the server was shown.
    pub(crate) client_names: Vec<String>,
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) kind: Option<HandshakeKind>,
}

/// A handshake and one byte each way, so that tickets and late refusals (TLS 1.3) arrive too.
pub(crate) async fn handshake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: &str,
) -> Result<Done, String> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let serve = async {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        stream.read_u8().await?;
        stream.write_u8(1).await?;
        stream.flush().await?;
        Ok::<_, std::io::Error>(names(stream.get_ref().1.peer_certificates()))
    };
    let call = async {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        stream.write_u8(1).await?;
        stream.flush().await?;
        stream.read_u8().await?;
        Ok::<_, std::io::Error>(stream)
    };
    let (served, called) = tokio::join!(serve, call);
    let stream = called.map_err(|error| error.to_string())?;
    let client_names = served.map_err(|error| error.to_string())?;
    let connection = stream.get_ref().1;
    Ok(Done {
        server_names: names(connection.peer_certificates()),
        client_names,
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        kind: connection.handshake_kind(),
    })
}

fn names(chain: Option<&[CertificateDer<'_>]>) -> Vec<String> {
    chain.map_or_else(Vec::new, |chain| facts(&chain[0]).unwrap().names)
}
