//! Certificates and keys as PEM text: read, checked against each other, described, made.

mod facts;
mod self_signed;

use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

pub use facts::{CaCertificate, Facts, facts, parse_ca_certificate};
pub(crate) use facts::{sha256, x509};
pub use self_signed::self_signed;

use crate::tls::provider;

/// Why a certificate or a key cannot be used. No variant carries any part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The certificate text is not PEM.
    #[error("the certificate is not valid PEM ({reason}); copy the whole file with its BEGIN and END lines")]
    Pem {
        /// What broke the PEM reader.
        reason: &'static str,
    },
    /// The text has no CERTIFICATE block.
    #[error("there is no certificate in the PEM text; expected a -----BEGIN CERTIFICATE----- block")]
    Missing,
    /// A block is not an X.509 certificate.
    #[error("certificate number {position} of the PEM text is not an X.509 certificate; export it again")]
    NotX509 {
        /// Which block, counted from 1.
        position: usize,
    },
    /// The key text is not PEM.
    #[error("the private key is not valid PEM ({reason}); copy the whole file with its BEGIN and END lines")]
    KeyPem {
        /// What broke the PEM reader.
        reason: &'static str,
    },
    /// The text has no private key.
    #[error("there is no private key in the PEM text; expected a PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY block")]
    KeyMissing,
    /// The key needs a passphrase.
    #[error("the private key is encrypted; remove its passphrase (`openssl pkey -in key.pem -out plain.pem`)")]
    KeyEncrypted,
    /// More than one key: it would be a guess which one is meant.
    #[error("there is more than one private key in the PEM text; keep the one of the certificate")]
    SeveralKeys,
    /// A kind of key that the TLS library cannot sign with.
    #[error("the private key cannot be used; supported are RSA from 2048 bits, ECDSA P-256, P-384, P-521 and Ed25519")]
    KeyUnsupported,
    /// Certificate and key are not a pair.
    #[error("the private key does not belong to the first certificate; the server's own certificate must come first")]
    KeyMismatch,
    /// A CA entry holds more than one certificate.
    #[error("{count} certificates in the PEM text; a CA certificate entry holds exactly one: make one entry for each")]
    SeveralCertificates {
        /// How many there are.
        count: usize,
    },
    /// A certificate given as a CA may not sign others.
    #[error(
        "\"{subject}\" is not a CA certificate (basicConstraints has no CA:TRUE); give the certificate of its issuer"
    )]
    NotAuthority {
        /// Its subject.
        subject: String,
    },
    /// The certificate is past its end.
    #[error("the certificate \"{subject}\" expired on {not_after}; renew it")]
    Expired {
        /// Its subject.
        subject: String,
        /// Its last moment.
        not_after: String,
    },
    /// A name that cannot stand in a certificate.
    #[error("\"{name}\" cannot be a name in a certificate; write a DNS name in ASCII, or an IP address")]
    Name {
        /// The name, as given.
        name: String,
    },
    /// Making a key or signing failed inside the crypto library.
    #[error("a self-signed certificate could not be made: {reason}")]
    Making {
        /// The library's words.
        reason: String,
    },
}

/// Reads a certificate chain (the server's own certificate first) and its private key (PKCS#8, PKCS#1 or
/// SEC1), and makes sure that they belong together.
pub fn parse(cert_pem: &str, key_pem: &str) -> Result<Arc<CertifiedKey>, CertificateError> {
    let chain = parse_chain(cert_pem)?;
    let key = parse_key(key_pem)?;
    let key = provider().key_provider.load_private_key(key).map_err(|_| CertificateError::KeyUnsupported)?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| CertificateError::KeyMismatch)?;
    Ok(Arc::new(certified))
}

/// Reads every certificate of a PEM text, at least one.
pub fn parse_chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CertificateError::Pem { reason: pem_reason(&error) })?;
    if chain.is_empty() {
        return Err(CertificateError::Missing);
    }
    for (index, der) in chain.iter().enumerate() {
        facts::x509(der, index + 1)?;
    }
    Ok(chain)
}

/// Reads a certificate revocation list, as PEM or DER.
pub fn parse_revocation_list(text: &[u8]) -> Option<CertificateRevocationListDer<'static>> {
    let der = match CertificateRevocationListDer::from_pem_slice(text) {
        Ok(list) => list,
        Err(_) => CertificateRevocationListDer::from(text.to_vec()),
    };
    x509_parser::parse_x509_crl(&der).is_ok_and(|(rest, _)| rest.is_empty()).then_some(der)
}

/// The certificates of authorities that the operating system trusts.
pub fn system_authorities() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

/// Whether a text is one private key.
pub fn check_key(pem: &str) -> Result<(), CertificateError> {
    parse_key(pem).map(drop)
}

fn parse_key(pem: &str) -> Result<PrivateKeyDer<'static>, CertificateError> {
    // Both encrypted forms would otherwise surface as "no key" and as "bad base64".
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(CertificateError::KeyEncrypted);
    }
    let mut keys = PrivateKeyDer::pem_slice_iter(pem.as_bytes());
    let mut next = || keys.next().transpose().map_err(|error| CertificateError::KeyPem { reason: pem_reason(&error) });
    let key = next()?.ok_or(CertificateError::KeyMissing)?;
    match next()? {
        None => Ok(key),
        Some(_) => Err(CertificateError::SeveralKeys),
    }
}

/// The library's own text quotes lines of the input, which may be lines of a key.
fn pem_reason(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "an END line is missing",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "the base64 text is damaged",
        pem::Error::SectionTooLarge => "it is too large",
        _ => "it cannot be read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA_CERT: &str = include_str!("certificate/fixtures/rsa_cert.pem");
    const RSA_PKCS1: &str = include_str!("certificate/fixtures/rsa_pkcs1.pem");
    const EC_CERT: &str = include_str!("certificate/fixtures/ec_cert.pem");
    const EC_SEC1: &str = include_str!("certificate/fixtures/ec_sec1.pem");
    const EC_PKCS8: &str = include_str!("certificate/fixtures/ec_pkcs8.pem");
    const EC_ENCRYPTED: &str = include_str!("certificate/fixtures/ec_encrypted.pem");

    fn check(cert: &str, key: &str, expect: Result<usize, CertificateError>) {
        assert_eq!(parse(cert, key).map(|certified| certified.cert.len()), expect);
    }

    #[test]
    fn pairs() {
        check(RSA_CERT, RSA_PKCS1, Ok(1));
        check(EC_CERT, EC_SEC1, Ok(1));
        check(EC_CERT, EC_PKCS8, Ok(1));
        check(&format!("{EC_CERT}{RSA_CERT}"), EC_PKCS8, Ok(2));
        check(&format!("Bag Attributes\n{EC_CERT}"), EC_PKCS8, Ok(1));
    }

    #[test]
    fn refusals() {
        use CertificateError as E;
        check("", EC_PKCS8, Err(E::Missing));
        check(EC_PKCS8, EC_PKCS8, Err(E::Missing));
        check(&EC_CERT.replace("-----END", ""), EC_PKCS8, Err(E::Pem { reason: "an END line is missing" }));
        check(&EC_CERT.replacen("MII", "!II", 1), EC_PKCS8, Err(E::Pem { reason: "the base64 text is damaged" }));
        check(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            EC_PKCS8,
            Err(E::NotX509 { position: 1 }),
        );
        check(EC_CERT, EC_CERT, Err(E::KeyMissing));
        check(EC_CERT, &EC_PKCS8.replace("-----END", ""), Err(E::KeyPem { reason: "an END line is missing" }));
        check(EC_CERT, EC_ENCRYPTED, Err(E::KeyEncrypted));
        check(EC_CERT, &format!("{EC_PKCS8}{EC_SEC1}"), Err(E::SeveralKeys));
        check(EC_CERT, RSA_PKCS1, Err(E::KeyMismatch));
        // The issuer's certificate before the server's own: a common mistake when joining files.
        check(&format!("{RSA_CERT}{EC_CERT}"), EC_PKCS8, Err(E::KeyMismatch));
        check(EC_CERT, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", Err(E::KeyUnsupported));
    }

    #[test]
    fn a_key_shows_in_no_debug_text() {
        let body: String = EC_PKCS8.lines().filter(|line| !line.starts_with('-')).collect();
        let shown = format!("{:?}", parse(EC_CERT, EC_PKCS8).unwrap());
        assert!(!shown.contains(&body) && shown.contains("EcdsaSigningKey"), "{shown}");
    }
}
