//! Certificates that callers show: asked for in the handshake, believed only where a plugin says whom to believe.

use crate::certificate::{CertificateError, sha256, x509};
use crate::tls::provider;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};

/// What a caller has shown, with the proof that it owns the key. Nothing else is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its own, then those that lead to an authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// Of the whole chain.
    pub fingerprint: [u8; 32],
}

/// What a client's certificate states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// The subject, such as `C=DE, O=Example, CN=ann`.
    pub subject: String,
    pub common_name: Option<String>,
    /// The alternative names: DNS, e-mail, URI, IP address.
    pub alternative_names: Vec<String>,
}

impl ClientCertificate {
    pub fn of(chain: Vec<CertificateDer<'static>>) -> Option<ClientCertificate> {
        if chain.is_empty() {
            return None;
        }
        let all: Vec<u8> = chain.iter().flat_map(|one| one.as_ref().iter().copied()).collect();
        Some(ClientCertificate { fingerprint: sha256(&all), chain })
    }

    pub fn stated(&self) -> Result<Stated, CertificateError> {
        let own = x509(&self.chain[0], 1)?;
        let names = own.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|extension| &extension.value.general_names);
        let common_name = own.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(Stated {
            subject: own.subject().to_string(),
            common_name: common_name.map(str::to_owned),
            alternative_names: names.filter_map(name).collect(),
        })
    }

    /// Where the authorities of the chain publish what they have revoked (RFC 5280 section 4.2.1.13).
    pub fn revocation_lists(&self) -> Vec<String> {
        let mut urls = Vec::new();
        for der in &self.chain {
            let Ok(one) = x509(der, 1) else { continue };
            for extension in one.extensions() {
                let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() else { continue };
                for point in points.iter() {
                    let Some(DistributionPointName::FullName(names)) = &point.distribution_point else { continue };
                    let urls_of = names.iter().filter_map(|name| match name {
                        GeneralName::URI(url) if url.starts_with("http://") || url.starts_with("https://") => {
                            Some(*url)
                        }
                        _ => None,
                    });
                    urls.extend(urls_of.map(str::to_owned));
                }
            }
        }
        urls.sort_unstable();
        urls.dedup();
        urls
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::RFC822Name(text) | GeneralName::URI(text) => Some((*text).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
        },
        _ => None,
    }
}

/// Whom to believe about callers.
pub struct Authorities {
    anchors: Vec<RootCertStore>,
    /// Those that are none by themselves.
    between: Vec<CertificateDer<'static>>,
}

/// What is known to be revoked, and what follows where that is not known.
#[derive(Default)]
pub struct Revocation {
    pub lists: Vec<CertificateRevocationListDer<'static>>,
    /// Whether a certificate of whom nothing is known, or a list that is over its time, is refused.
    pub strict: bool,
}

impl Authorities {
    /// An authority that another one has signed is believed by itself only with `partial_chains`.
    pub fn new(
        authorities: Vec<CertificateDer<'static>>,
        partial_chains: bool,
    ) -> Result<Authorities, CertificateError> {
        let (mut anchors, mut between) = (Vec::new(), Vec::new());
        for (index, der) in authorities.into_iter().enumerate() {
            let own = x509(&der, index + 1)?;
            let is_root = own.subject() == own.issuer();
            let mut store = RootCertStore::empty();
            if is_root || partial_chains {
                store.add(der.clone()).map_err(|_| CertificateError::NotX509 { position: index + 1 })?;
            } else {
                between.push(der.clone());
            }
            anchors.push(store);
        }
        Ok(Authorities { anchors, between })
    }

    /// Which of the authorities, by its position, vouches for a certificate; the error is in words. That includes its
    /// time, its purpose (client authentication) and every step between.
    pub fn verify(&self, shown: &ClientCertificate, now: Duration, known: &Revocation) -> Result<usize, String> {
        let (own, others) = shown.chain.split_first().ok_or("it is empty")?;
        let between: Vec<CertificateDer<'_>> = others.iter().chain(&self.between).cloned().collect();
        let mut failure = "no authority is known".to_owned();
        for (position, anchors) in self.anchors.iter().enumerate().filter(|(_, anchors)| !anchors.is_empty()) {
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(anchors.clone()), provider());
            let builder = builder.with_crls(known.lists.iter().cloned());
            let builder = match known.strict {
                true => builder.enforce_revocation_expiration(),
                false => builder.allow_unknown_revocation_status(),
            };
            // Without a list rustls looks at none, strict or not.
            if known.strict && known.lists.is_empty() {
                return Err("it is not known what is revoked".to_owned());
            }
            let verifier = builder.build().map_err(|error| error.to_string())?;
            match verifier.verify_client_cert(own, &between, UnixTime::since_unix_epoch(now)) {
                Ok(_) => return Ok(position),
                Err(error) => failure = error.to_string(),
            }
        }
        Err(failure)
    }

    /// The names of the authorities, for callers that have several certificates.
    pub fn names(authorities: &[CertificateDer<'static>]) -> Vec<DistinguishedName> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(authorities.iter().cloned());
        store.subjects()
    }
}

/// Asks for a certificate and takes what comes, or nothing. That the caller owns its key is verified here; whether it
/// is believed is for plugins to say, request by request.
#[derive(Debug)]
pub(crate) struct AnyCertificate {
    pub(crate) names: Vec<DistinguishedName>,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        _own: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
