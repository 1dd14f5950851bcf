//! Certificate verifiers: one that limits the length of a chain, and one that accepts anything.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::tls::provider;

/// Verification as usual, with at most `depth` intermediate certificates.
///
/// Only the first `depth` presented intermediates are shown to the verifier, so that no path can be
/// built from more. Servers send a chain in order (RFC 8446 section 4.4.2 asks for it), and may add the
/// root or unused certificates at its end: counting what was presented would refuse those for nothing.
#[derive(Debug)]
pub(super) struct LimitedDepth {
    inner: Arc<WebPkiServerVerifier>,
    depth: u8,
}

/// The chain is fine but for its length.
#[derive(Debug, thiserror::Error)]
#[error("the chain needs more than {depth} intermediate certificates; raise tls_verify_depth")]
struct TooDeep {
    depth: u8,
}

impl LimitedDepth {
    pub(super) fn new(inner: Arc<WebPkiServerVerifier>, depth: u8) -> Self {
        Self { inner, depth }
    }
}

impl ServerCertVerifier for LimitedDepth {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |intermediates: &[CertificateDer<'_>]| {
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        let Some((allowed, [_, ..])) = intermediates.split_at_checked(self.depth.into()) else {
            return verify(intermediates);
        };
        verify(allowed).map_err(|error| match verify(intermediates) {
            Ok(_) => CertificateError::Other(OtherError(Arc::new(TooDeep { depth: self.depth }))).into(),
            Err(_) => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// **Believes every certificate**: expired, for another name, signed by nobody. For `tls_verify: false`.
///
/// Handshake signatures are still checked: the peer has the key of the certificate it shows. That keeps
/// apart "someone unknown" from "someone replaying a certificate", and is no identity.
#[derive(Debug)]
pub(super) struct AcceptAnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AcceptAnyCertificate {
    pub(super) fn new() -> Self {
        Self { algorithms: provider().signature_verification_algorithms }
    }
}

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{Issuer, handshake, server, trusting};
    use rustls::sign::CertifiedKey;

    #[tokio::test]
    async fn a_replayed_certificate_is_refused_even_without_verification() {
        // The attacker shows the upstream's certificate, which is public, and signs with another key.
        let issuer = Issuer::new();
        let stolen = issuer.issue(&["a.test"]).cert.clone();
        let own_key = Arc::clone(&issuer.issue(&["evil.test"]).key);
        let attacker = server(Arc::new(CertifiedKey::new(stolen, own_key)));
        let error =
            handshake(attacker, trusting(&issuer, |options| options.verify = false), "a.test").await.unwrap_err();
        assert!(error.contains("BadSignature"), "{error}");
    }
}
