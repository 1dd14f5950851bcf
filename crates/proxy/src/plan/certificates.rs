//! The certificates of a configuration: what the gate shows to callers and to services, and whom it trusts.

use super::Workshop;
use crate::plugin::WantedCertificate;
use crate::registry::Unusable;
use model::Configuration;
use model::certificate::{CaCertificate, Certificate, Sni};
use model::route::{Protocol, Route};
use model::service::Service;
use model::upstream::Upstream;
use net::certificate;
use net::client_certificate::Authorities;
use net::server_tls::{Asking, CallerTls, MinVersion, ServerCertificate, ServerTls};
use net::tls::Alpn;
use net::upstream_tls::UpstreamTlsOptions;
use net::{CertificateDer, CertifiedKey, ClientConfig};
use schema::Violations;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// What a caller gets whose server name no certificate covers.
pub struct DefaultCertificate(pub Arc<CertifiedKey>);

/// The certificates of a configuration by their identities.
#[derive(Default)]
pub struct Certificates {
    own: HashMap<Uuid, Vec<Arc<CertifiedKey>>>,
    authorities: HashMap<Uuid, CertificateDer<'static>>,
}

impl Certificates {
    pub fn read(configuration: &Configuration, now: i64, unusable: &mut Vec<Unusable>) -> Certificates {
        let mut certificates = Certificates::default();
        for (row, read) in configuration.typed::<Certificate>("certificates") {
            match read.and_then(|certificate| pairs(&certificate)) {
                Ok(keys) => drop(certificates.own.insert(row.id, keys)),
                Err(violations) => {
                    unusable.push(Unusable { entity_type: "certificate", place: row.place.clone(), violations });
                }
            }
        }
        for (row, read) in configuration.typed::<CaCertificate>("ca_certificates") {
            let read = read.and_then(|authority| {
                let parsed = certificate::parse_ca_certificate(&authority.cert, now);
                parsed.map_err(|error| Violations::field("cert", error.to_string()))
            });
            match read {
                Ok(authority) => drop(certificates.authorities.insert(row.id, authority.der)),
                Err(violations) => {
                    unusable.push(Unusable { entity_type: "ca_certificate", place: row.place.clone(), violations });
                }
            }
        }
        certificates
    }
}

impl Workshop {
    /// What listeners answer TLS with: with HTTP/2 on offer, and without.
    pub(super) fn caller_tls(
        &self,
        certificates: &Certificates,
        configuration: &Configuration,
        asking: Asking,
        unusable: &mut Vec<Unusable>,
    ) -> Option<CallerTls> {
        let mut names: HashMap<Uuid, Vec<String>> = HashMap::new();
        for (_, sni) in configuration.typed::<Sni>("snis") {
            if let Ok(sni) = sni {
                names.entry(sni.certificate.id).or_default().push(sni.name);
            }
        }
        let with_names = |(id, keys): (&Uuid, &Vec<Arc<CertifiedKey>>)| {
            Some(ServerCertificate { keys: keys.clone(), names: names.get(id)?.clone() })
        };
        let tls = ServerTls {
            certificates: certificates.own.iter().filter_map(with_names).collect(),
            default: vec![self.default_certificate.0.clone()],
            min_version: MinVersion::Tls12,
            session_tickets: self.session_tickets,
            asking,
        };
        match tls.build() {
            Ok(tls) => Some(tls),
            Err(error) => {
                let violations = Violations::entity(error.to_string());
                unusable.push(Unusable { entity_type: "certificate", place: Vec::new(), violations });
                None
            }
        }
    }

    /// How to speak TLS to a service. Kong leaves certificates unverified unless told; the gate verifies
    /// unless told otherwise.
    pub(super) fn client_tls(
        &self,
        certificates: &Certificates,
        service: &Service,
        upstream: Option<&Upstream>,
    ) -> Result<Arc<ClientConfig>, Violations> {
        let authorities = match &service.ca_certificates {
            Some(ids) if !ids.is_empty() => {
                let found = ids.iter().enumerate().map(|(index, id)| {
                    certificates.authorities.get(id).cloned().ok_or_else(|| {
                        let text = format!("number {}: there is no such ca_certificate", index + 1);
                        Violations::field("ca_certificates", text)
                    })
                });
                Some(found.collect::<Result<Vec<_>, _>>()?)
            }
            _ => self.authorities.clone(),
        };
        let own = service.client_certificate.or(upstream.and_then(|upstream| upstream.client_certificate));
        let options = UpstreamTlsOptions {
            verify: service.tls_verify.unwrap_or(true),
            verify_depth: service.tls_verify_depth,
            ca_certificates: authorities,
            client_certificate: own.and_then(|own| certificates.own.get(&own.id)?.first().cloned()),
            alpn: if service.protocol == Protocol::Grpcs { Alpn::Http2 } else { Alpn::Http1 },
        };
        self.upstream_tls.config(&options).map_err(|error| Violations::entity(error.to_string()))
    }
}

/// Who may come to a route whose plugins look at certificates is asked for one: whoever asks for one of its server names,
/// or everybody where it has none.
pub fn ask(asking: &mut Asking, route: &Route, wanted: &WantedCertificate) {
    match route.snis.as_deref() {
        Some(names) if !names.is_empty() && !names.iter().any(|name| name.contains('*')) => {
            asking.names.extend(names.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()));
        }
        // A wildcard may mean anybody.
        _ => asking.everybody = true,
    }
    // Callers keep back a certificate of whose authority they are not told: it is all names, or none.
    if wanted.authorities.is_empty() {
        asking.tells_nobody = true;
    }
    for name in Authorities::names(&wanted.authorities) {
        if !asking.authorities.iter().any(|known| known.as_ref() == name.as_ref()) {
            asking.authorities.push(name);
        }
    }
}

fn pairs(certificate: &Certificate) -> Result<Vec<Arc<CertifiedKey>>, Violations> {
    let mut keys = vec![pair("cert", &certificate.cert, "key", certificate.key.reveal())?];
    if let (Some(cert), Some(key)) = (&certificate.cert_alt, &certificate.key_alt) {
        let alternative = pair("cert_alt", cert, "key_alt", key.reveal())?;
        if keys.iter().any(|key| key.key.algorithm() == alternative.key.algorithm()) {
            return Err(Violations::entity("certificate and alternative certificate need to have different type"));
        }
        keys.push(alternative);
    }
    Ok(keys)
}

/// Kong's texts, with the reason behind them.
fn pair(cert_field: &str, cert: &str, key_field: &str, key: &str) -> Result<Arc<CertifiedKey>, Violations> {
    use certificate::CertificateError as Error;
    let (chain, private) = (certificate::parse_chain(cert), certificate::check_key(key));
    if let (Err(chain), Err(private)) = (&chain, &private) {
        let mut both = Violations::field(cert_field, format!("invalid certificate: {chain}"));
        both.add(key_field, format!("invalid key: {private}"));
        return Err(both);
    }
    certificate::parse(cert, key).map_err(|error| match error {
        Error::KeyMismatch => Violations::entity("certificate does not match key"),
        Error::KeyMissing | Error::KeyUnsupported | Error::KeyEncrypted | Error::KeyPem { .. } | Error::SeveralKeys => {
            Violations::field(key_field, format!("invalid key: {error}"))
        }
        error => Violations::field(cert_field, format!("invalid certificate: {error}")),
    })
}
