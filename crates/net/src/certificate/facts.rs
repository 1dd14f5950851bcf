//! What a certificate says about itself, and whether it may stand as a trusted CA.

use std::fmt::Write;
use std::net::IpAddr;

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::{CertificateError, parse_chain};

/// What one certificate states. Nothing here is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The subject as text, such as `CN=localhost`.
    pub subject: String,
    /// DNS names (in lower case) and IP addresses of the subject alternative name extension.
    pub names: Vec<String>,
    /// First moment of validity, Unix seconds.
    pub not_before: i64,
    /// Last moment of validity, Unix seconds.
    pub not_after: i64,
    /// Whether it may sign others (`CA:TRUE`).
    pub is_ca: bool,
    /// SHA-256 of the DER, lower-case hex: Kong's `cert_digest`.
    pub sha256: String,
}

/// A certificate that may stand as a trust anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaCertificate {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// What it states.
    pub facts: Facts,
}

/// Reads the one CA certificate of a `ca_certificates` entry: exactly one, `CA:TRUE`, not expired at
/// `now` (Unix seconds).
pub fn parse_ca_certificate(pem: &str, now: i64) -> Result<CaCertificate, CertificateError> {
    let mut chain = parse_chain(pem)?;
    let count = chain.len();
    let (Some(der), true) = (chain.pop(), count == 1) else {
        return Err(CertificateError::SeveralCertificates { count });
    };
    let facts = facts(&der)?;
    if !facts.is_ca {
        return Err(CertificateError::NotAuthority { subject: facts.subject });
    }
    if facts.not_after < now {
        let not_after = x509(&der, 1)?.validity().not_after.to_string();
        return Err(CertificateError::Expired { subject: facts.subject, not_after });
    }
    Ok(CaCertificate { der, facts })
}

/// Reads what a certificate states about itself.
pub fn facts(der: &CertificateDer<'_>) -> Result<Facts, CertificateError> {
    let cert = x509(der, 1)?;
    Ok(Facts {
        subject: cert.subject().to_string(),
        names: names(&cert),
        not_before: cert.validity().not_before.timestamp(),
        not_after: cert.validity().not_after.timestamp(),
        is_ca: cert.is_ca(),
        sha256: sha256_hex(der),
    })
}

/// `position` counts from 1, for the error.
pub(crate) fn x509<'a>(der: &'a CertificateDer<'_>, position: usize) -> Result<X509Certificate<'a>, CertificateError> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], cert)) => Ok(cert),
        _ => Err(CertificateError::NotX509 { position }),
    }
}

fn names(cert: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = cert.subject_alternative_name() else {
        return Vec::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
        },
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn sha256_hex(bytes: &[u8]) -> String {
    sha256(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    // A TLS suite is the door through which rustls shows its hash functions.
    let hash = match TLS13_AES_128_GCM_SHA256 {
        SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
        SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
    };
    let mut sum = [0; 32];
    sum.copy_from_slice(hash.hash(bytes).as_ref());
    sum
}

#[cfg(test)]
mod tests {
    use super::super::self_signed;
    use super::*;
    use crate::handshake::Issuer;

    const EC_CERT: &str = include_str!("fixtures/ec_cert.pem");
    const EC_SHA256: &str = include_str!("fixtures/ec_cert.sha256");

    fn check(pem: &str, now: i64, expect: Result<(), CertificateError>) {
        assert_eq!(parse_ca_certificate(pem, now).map(|_| ()), expect);
    }

    #[test]
    fn states_what_openssl_states() {
        let facts = facts(&parse_chain(EC_CERT).unwrap()[0]).unwrap();
        assert_eq!(facts.sha256, EC_SHA256.trim());
        assert_eq!(facts.subject, "CN=fixture.test");
        assert_eq!(facts.names, ["fixture.test", "*.wild.test", "127.0.0.1", "::1"]);
        assert!(!facts.is_ca && facts.not_before < facts.not_after);
    }

    #[test]
    fn only_a_valid_single_authority_is_trusted() {
        let ca = Issuer::new().cert_pem();
        let not_after = parse_ca_certificate(&ca, 0).unwrap().facts.not_after;
        check(&ca, not_after, Ok(()));
        match parse_ca_certificate(&ca, not_after + 1) {
            Err(CertificateError::Expired { subject, not_after }) => {
                assert_eq!(subject, "CN=test CA");
                assert!(not_after.contains("4096"), "{not_after}");
            }
            other => panic!("{other:?}"),
        }
        check(&format!("{ca}{ca}"), 0, Err(CertificateError::SeveralCertificates { count: 2 }));
        check("", 0, Err(CertificateError::Missing));
        let (leaf, _) = self_signed(&["localhost"]).unwrap();
        check(&leaf, 0, Err(CertificateError::NotAuthority { subject: "CN=localhost".to_owned() }));
    }
}
