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
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::x509::X509Name;

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

    /// The SHA-256 of its own certificate.
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.chain.first().map(|own| sha256(own))
    }

    pub fn stated(&self) -> Result<Stated, CertificateError> {
        let own = x509(self.own()?, 1)?;
        let names = own.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|extension| &extension.value.general_names);
        let common_name = own.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(Stated {
            subject: subject(own.subject()).ok_or(CertificateError::NotX509 { position: 1 })?,
            common_name: common_name.map(str::to_owned),
            alternative_names: names.filter_map(name).collect(),
        })
    }

    fn own(&self) -> Result<&CertificateDer<'static>, CertificateError> {
        self.chain.first().ok_or(CertificateError::Missing)
    }
}

/// Where the authority of a certificate publishes what it has revoked (RFC 5280 section 4.2.1.13). What is said there
/// is as good as the certificate: ask only of one that somebody vouches for.
fn revocation_lists(der: &CertificateDer<'_>) -> Vec<String> {
    let Ok(one) = x509(der, 1) else { return Vec::new() };
    let mut urls = Vec::new();
    for extension in one.extensions() {
        let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() else { continue };
        for point in points.iter() {
            let Some(DistributionPointName::FullName(names)) = &point.distribution_point else { continue };
            let urls_of = names.iter().filter_map(|name| match name {
                GeneralName::URI(url) if url.starts_with("http://") || url.starts_with("https://") => Some(*url),
                _ => None,
            });
            urls.extend(urls_of.map(str::to_owned));
        }
    }
    urls
}

/// A name as text, unlike any other's: what divides it is escaped where it is part of a value (RFC 4514 section 2.4).
fn subject(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for relative in name.iter() {
        let mut values = Vec::new();
        for attribute in relative.iter() {
            let kind = oid2abbrev(attribute.attr_type(), oid_registry())
                .map_or_else(|_| attribute.attr_type().to_id_string(), str::to_owned);
            values.push(format!("{kind}={}", escaped(attribute.as_str().ok()?)));
        }
        parts.push(values.join("+"));
    }
    Some(parts.join(", "))
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (index, character) in value.char_indices() {
        let at_an_end = index == 0 || index + character.len_utf8() == value.len();
        let special = matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=')
            || character == ' ' && at_an_end
            || character == '#' && index == 0;
        if special {
            text.push('\\');
        }
        match character {
            control if control.is_control() => text.push_str(&format!("\\{:02X}", u32::from(control))),
            other => text.push(other),
        }
    }
    text
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
    /// For each authority, what holds a certificate against it and the lists that are given.
    verifiers: Vec<Option<Arc<dyn ClientCertVerifier>>>,
    lists: Vec<CertificateRevocationListDer<'static>>,
}

impl Authorities {
    /// An authority that another one has signed is believed by itself only with `partial_chains`. What is revoked by
    /// `lists` is refused; of whom they say nothing is not. The error is in words.
    pub fn new(
        authorities: Vec<CertificateDer<'static>>,
        partial_chains: bool,
        lists: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<Authorities, String> {
        let (mut anchors, mut between, mut verifiers) = (Vec::new(), Vec::new(), Vec::new());
        for (index, der) in authorities.into_iter().enumerate() {
            let own = x509(&der, index + 1).map_err(|error| error.to_string())?;
            let is_root = own.subject() == own.issuer();
            let mut store = RootCertStore::empty();
            if is_root || partial_chains {
                store.add(der.clone()).map_err(|error| error.to_string())?;
                verifiers.push(Some(verifier(&store, &lists, false)?));
            } else {
                between.push(der.clone());
                verifiers.push(None);
            }
            anchors.push(store);
        }
        Ok(Authorities { anchors, between, verifiers, lists })
    }

    /// Which of the authorities, by its position, vouches for a certificate; the error is in words. That includes its
    /// time, its purpose (client authentication), every step between, and the lists that are given.
    pub fn verify(&self, shown: &ClientCertificate, now: Duration) -> Result<usize, String> {
        let mut failure = "no authority is known".to_owned();
        for (position, verifier) in self.verifiers.iter().enumerate() {
            let Some(verifier) = verifier else { continue };
            match self.hold(verifier, shown, now) {
                Ok(()) => return Ok(position),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Holds a certificate that an authority vouches for against what is known to be revoked, too. `strict` refuses those
    /// of whom nothing is known, and lists that are over their time.
    pub fn verify_unrevoked(
        &self,
        shown: &ClientCertificate,
        position: usize,
        now: Duration,
        fetched: &[CertificateRevocationListDer<'static>],
        strict: bool,
    ) -> Result<(), String> {
        let store = self.anchors.get(position).ok_or("there is no such authority")?;
        let mut lists: Vec<_> = self.lists.iter().chain(fetched).cloned().collect();
        // Without a list none is looked at, strict or not.
        if strict && lists.is_empty() {
            return Err("it is not known what is revoked".to_owned());
        }
        // Of several lists of one authority the first counts: the newest.
        lists.sort_by_key(|list| std::cmp::Reverse(issued_at(list)));
        self.hold(&verifier(store, &lists, strict)?, shown, now)
    }

    /// Where the one that vouches for a certificate publishes what it has revoked, if somebody vouches for it.
    pub fn revocation_lists(&self, shown: &ClientCertificate) -> Vec<String> {
        // Whatever else a caller has sent is not asked: it need not be on the way to the authority.
        let known = shown.chain.first().into_iter().chain(&self.between);
        let mut urls: Vec<String> = known.flat_map(revocation_lists).collect();
        urls.dedup();
        urls.truncate(LISTS);
        urls
    }

    /// Whether a list can be used at all.
    pub fn understands(&self, list: &CertificateRevocationListDer<'static>) -> bool {
        let store = self.anchors.iter().find(|store| !store.is_empty());
        store.is_some_and(|store| verifier(store, std::slice::from_ref(list), false).is_ok())
    }

    fn hold(
        &self,
        verifier: &Arc<dyn ClientCertVerifier>,
        shown: &ClientCertificate,
        now: Duration,
    ) -> Result<(), String> {
        let (own, others) = shown.chain.split_first().ok_or("it is empty")?;
        let between: Vec<CertificateDer<'_>> = others.iter().chain(&self.between).cloned().collect();
        let verified = verifier.verify_client_cert(own, &between, UnixTime::since_unix_epoch(now));
        verified.map(drop).map_err(|error| error.to_string())
    }

    /// The names of the authorities, for callers that have several certificates.
    pub fn names(authorities: &[CertificateDer<'static>]) -> Vec<DistinguishedName> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(authorities.iter().cloned());
        store.subjects()
    }
}

/// So many lists are fetched for one certificate at most.
const LISTS: usize = 4;

fn verifier(
    store: &RootCertStore,
    lists: &[CertificateRevocationListDer<'static>],
    strict: bool,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store.clone()), provider());
    let builder = builder.with_crls(lists.iter().cloned());
    let builder = match strict {
        true => builder.enforce_revocation_expiration(),
        false => builder.allow_unknown_revocation_status(),
    };
    builder.build().map_err(|error| error.to_string())
}

/// When a list was made, in seconds since 1970.
fn issued_at(list: &CertificateRevocationListDer<'_>) -> i64 {
    x509_parser::parse_x509_crl(list).map_or(0, |(_, list)| list.last_update().timestamp())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_a_comma_is_one_value() {
        for (value, text) in [
            ("ann", "ann"),
            ("x, O=Admins", "x\\, O\\=Admins"),
            (" a ", "\\ a\\ "),
            ("#1", "\\#1"),
            ("a\\b", "a\\\\b"),
            ("a\nb", "a\\0Ab"),
        ] {
            assert_eq!(escaped(value), text);
        }
    }
}
