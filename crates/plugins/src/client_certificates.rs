//! Which client certificates are believed, and whose they are: for mtls-auth and header-cert-auth.

use crate::consumer_by::{self, ConsumerBy};
use http::{HeaderName, StatusCode};
use model::certificate::CaCertificate;
use net::CertificateDer;
use net::client_certificate::{Authorities, ClientCertificate, Stated};
use net::fetch::Fetcher;
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::authenticate::Refusal;
use proxy::identity::{Credential, Identity, header_value, list_value};
use proxy::plugin::{Fault, Place};
use proxy::registry::{Consumer, Named};
use quick_cache::sync::Cache;
use schema::{Schema, Violations};
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

mod revocation;

/// Whether it is found out what authorities have revoked.
#[derive(Clone, Copy, Deserialize, Schema, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
pub enum RevocationCheck {
    Skip,
    #[serde(rename = "IGNORE_CA_ERROR")]
    IgnoreCaError,
    Strict,
}

/// What names the group of a caller.
#[derive(Clone, Copy, Deserialize, Schema)]
#[serde(rename_all = "UPPERCASE")]
pub enum GroupBy {
    Cn,
    Dn,
}

/// What both plugins are told.
#[derive(Deserialize, Schema)]
pub struct Rules {
    /// Identities of the `ca_certificates` that are believed.
    #[schema(len_min(1), each(uuid))]
    ca_certificates: Vec<String>,
    /// By what a name in the certificate names the consumer, tried in this order.
    #[schema(default = ["username", "custom_id"])]
    consumer_by: Option<Vec<ConsumerBy>>,
    /// Whether no consumer is looked for: every certificate that is believed will do.
    #[schema(default = false)]
    skip_consumer_lookup: bool,
    /// Consumer (id or username) of certificates that are believed and name nobody.
    default_consumer: Option<String>,
    /// What of the certificate is the group, for acl, of a caller without a consumer: its common name or its whole name.
    #[schema(default = "CN")]
    authenticated_group_by: Option<GroupBy>,
    /// What happens where it cannot be found out what is revoked: nobody asks, the certificate is believed, or not.
    ///
    /// Revocation lists are fetched from where the certificate and `ca_certificates` say so (not OCSP), and are kept for a
    /// minute. For authorities in between that callers send, give `crls`.
    #[schema(default = "IGNORE_CA_ERROR")]
    revocation_check_mode: Option<RevocationCheck>,
    /// Revocation lists themselves, as PEM.
    #[schema(ours)]
    crls: Option<Vec<String>>,
    /// Whether an authority that another one has signed is believed by itself.
    #[schema(default = false)]
    allow_partial_chain: bool,
    /// For how many milliseconds holds what was found out of a certificate.
    #[schema(default = 60_000, between(0, 3_600_000))]
    cert_cache_ttl: Option<i64>,
}

impl Rules {
    fn revocation_check(&self) -> RevocationCheck {
        self.revocation_check_mode.unwrap_or(RevocationCheck::IgnoreCaError)
    }

    fn holds_for(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.cert_cache_ttl.unwrap_or(60_000)).unwrap_or(0))
    }
}

/// Decides about certificates.
pub struct Judge {
    rules: Rules,
    /// By position as in `authorities`.
    ids: Vec<Uuid>,
    pub known: Vec<CertificateDer<'static>>,
    authorities: Authorities,
    /// Those that are believed are kept apart, so that nobody can drive them out with others.
    good: Cache<[u8; 32], Arc<Verdict>>,
    bad: Cache<[u8; 32], Arc<Verdict>>,
}

struct Verdict {
    /// What it states and which authority vouches for it, or why it is not believed.
    outcome: Result<(Stated, Uuid), String>,
    until: Instant,
}

pub const DISTINGUISHED_NAME: HeaderName = HeaderName::from_static("x-client-cert-dn");
pub const ALTERNATIVE_NAMES: HeaderName = HeaderName::from_static("x-client-cert-san");

/// So many certificates are remembered.
const CERTIFICATES: usize = 10_000;

impl Judge {
    /// Finds the authorities that the rules name.
    pub fn new(rules: Rules, place: &Place) -> Result<Judge, Violations> {
        let mut known = Vec::new();
        let mut ids = Vec::new();
        for id in &rules.ca_certificates {
            let wrong = |text: String| Violations::field("ca_certificates", text);
            let rows = place.configuration.typed::<CaCertificate>("ca_certificates");
            let found = rows.into_iter().find(|(row, _)| row.id.to_string() == *id);
            let (row, authority) = found.ok_or_else(|| wrong(format!("there is no ca_certificate {id}")))?;
            let parsed = net::certificate::parse_ca_certificate(&authority?.cert, place.now);
            known.push(parsed.map_err(|error| wrong(error.to_string()))?.der);
            ids.push(row.id);
        }
        let lists = rules.crls.iter().flatten().map(|pem| revocation::parse(pem.as_bytes()));
        let lists = lists.collect::<Result<Vec<_>, _>>().map_err(|error| Violations::field("crls", error))?;
        let authorities = Authorities::new(known.clone(), rules.allow_partial_chain, lists)
            .map_err(|error| Violations::field("ca_certificates", error))?;
        Ok(Judge { rules, ids, known, authorities, good: Cache::new(CERTIFICATES), bad: Cache::new(CERTIFICATES) })
    }

    /// Whose certificate it is.
    pub async fn identify(&self, exchange: &mut Exchange, shown: &ClientCertificate) -> Result<Identity, Refusal> {
        let verdict = self.verdict(&exchange.plan.fetcher, shown).await?;
        let (stated, authority) = verdict.outcome.as_ref().map_err(|reason| {
            let (request_id, fingerprint) = (exchange.id.as_str(), hex(&shown.fingerprint));
            tracing::debug!(request_id, fingerprint, "a client certificate is not believed: {reason}");
            unproven("TLS certificate failed verification")
        })?;
        let mut names = stated.alternative_names.iter().chain(
            // The common name counts where there is no other.
            stated.common_name.iter().filter(|_| stated.alternative_names.is_empty()),
        );
        let identifier = header_value(&stated.subject);
        let (consumer, identifier): (Option<Arc<Consumer>>, _) = match self.rules.skip_consumer_lookup {
            true => (None, identifier),
            false => {
                let registry = exchange.registry();
                let found = names.find_map(|name| match registry.certificate(name, *authority) {
                    Named::By(own) => Some((own.consumer?, own.credential?.identifier)),
                    // Whose name this is was said, for another authority.
                    Named::Elsewhere => None,
                    Named::Nowhere => {
                        let consumer =
                            consumer_by::find(registry, self.rules.consumer_by.as_deref().unwrap_or_default(), name)?;
                        Some((consumer, identifier.clone()))
                    }
                });
                let found = found.or_else(|| {
                    let usual = registry.consumer(self.rules.default_consumer.as_deref()?)?;
                    Some((usual, identifier.clone()))
                });
                let (consumer, identifier) = found.ok_or_else(|| unproven("TLS certificate failed verification"))?;
                (Some(consumer), identifier)
            }
        };
        let headers = &mut exchange.request.headers;
        headers.insert(DISTINGUISHED_NAME, header_value(&stated.subject));
        if !stated.alternative_names.is_empty() {
            headers.insert(ALTERNATIVE_NAMES, list_value(&stated.alternative_names));
        }
        // A consumer has groups of its own; a name is none of them.
        if let (Some(by), None) = (self.rules.authenticated_group_by, &consumer) {
            let group = match by {
                GroupBy::Cn => stated.common_name.clone(),
                GroupBy::Dn => Some(stated.subject.clone()),
            };
            exchange.authenticated_groups = Some(group.into_iter().collect());
        }
        Ok(Identity { consumer, credential: Some(Credential::elsewhere(identifier)) })
    }

    async fn verdict(&self, fetcher: &Arc<Fetcher>, shown: &ClientCertificate) -> Result<Arc<Verdict>, Refusal> {
        let known = self.good.get(&shown.fingerprint).or_else(|| self.bad.get(&shown.fingerprint));
        if let Some(known) = known.filter(|known| Instant::now() < known.until) {
            return Ok(known);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Refusal::Fault(Fault::new(error)))?;
        let outcome = self.decide(fetcher, shown, now).await;
        let memory = if outcome.is_ok() { &self.good } else { &self.bad };
        let verdict = Arc::new(Verdict { outcome, until: Instant::now() + self.rules.holds_for() });
        memory.insert(shown.fingerprint, verdict.clone());
        Ok(verdict)
    }

    async fn decide(
        &self,
        fetcher: &Arc<Fetcher>,
        shown: &ClientCertificate,
        now: Duration,
    ) -> Result<(Stated, Uuid), String> {
        let position = self.authorities.verify(shown, now)?;
        let strict = self.rules.revocation_check() == RevocationCheck::Strict;
        if self.rules.revocation_check() != RevocationCheck::Skip {
            // Only now: nobody else may tell the gate where to fetch something.
            let mut fetched = Vec::new();
            for url in self.authorities.revocation_lists(shown) {
                let list = revocation::fetch(fetcher, &url).await;
                let list = list.and_then(|list| match self.authorities.understands(&list) {
                    true => Ok(list),
                    false => Err("this list is of a kind that cannot be used".to_owned()),
                });
                match list {
                    Ok(list) => fetched.push(list),
                    Err(reason) if strict => return Err(format!("{url}: {reason}")),
                    Err(reason) => tracing::warn!(url, "what is revoked is not known, and nobody refused: {reason}"),
                }
            }
            if strict || !fetched.is_empty() {
                self.authorities.verify_unrevoked(shown, position, now, &fetched, strict)?;
            }
        }
        let stated = shown.stated().map_err(|error| error.to_string())?;
        let authority = *self.ids.get(position).ok_or("its authority is not known")?;
        Ok((stated, authority))
    }
}

/// A refusal without a challenge: there is no scheme for certificates.
pub fn unproven(message: &'static str) -> Refusal {
    Refusal::Unproven(Box::new(Answer::error(StatusCode::UNAUTHORIZED, message)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
