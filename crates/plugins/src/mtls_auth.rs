//! Authenticates callers by the certificate that they show in the TLS handshake.

use crate::client_certificates::{
    ALTERNATIVE_NAMES, DISTINGUISHED_NAME, GroupBy, Judge, RevocationCheck, Rules, unproven,
};
use crate::consumer_by::ConsumerBy;
use http::HeaderName;
use proxy::Exchange;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::identity::Identity;
use proxy::plugin::{Fault, Place, WantedCertificate};
use schema::{Schema, Violations};
use serde::Deserialize;
use std::time::Duration;

/// Authenticates callers by the certificate that they show in the TLS handshake.
///
/// A caller is asked for one where a route with this plugin may be meant: on the server names of the route (`snis`), or
/// everywhere if it has none. Nobody must have one to connect; routes without this plugin do not look at it. It is
/// verified for each request: its authority, its time, its purpose (client authentication), and what is revoked.
///
/// The consumer is the one whose `mtls_auth_credentials` hold an alternative name of the subject, or its common name
/// where it has no other; or else the one of that name. Services are told the subject in `X-Client-Cert-Dn` and its
/// alternative names in `X-Client-Cert-San`.
#[derive(Deserialize, Schema)]
pub struct Config {
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
    /// What of the certificate is the group, for acl, of a caller without a consumer: its
    /// common name or its whole name.
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
    /// Whether callers are told which authorities are believed, so that they can choose among several certificates.
    #[schema(default = false)]
    send_ca_dn: bool,
    /// For how many milliseconds holds what was found out of a certificate.
    #[schema(default = 60_000, between(0, 3_600_000))]
    cert_cache_ttl: Option<i64>,
    /// Consumer (id or username) to go on as without a good certificate.
    anonymous: Option<String>,
}

pub struct MtlsAuth {
    rules: Option<Rules>,
    send_ca_dn: bool,
    judge: Option<Judge>,
}

impl Authenticator for MtlsAuth {
    const NAME: &'static str = "mtls-auth";
    const PRIORITY: i32 = 1600;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let rules = Rules {
            ca_certificates: config.ca_certificates,
            consumer_by: config.consumer_by.unwrap_or_default(),
            skip_consumer_lookup: config.skip_consumer_lookup,
            default_consumer: config.default_consumer,
            authenticated_group_by: config.authenticated_group_by,
            revocation_check: config.revocation_check_mode.unwrap_or(RevocationCheck::IgnoreCaError),
            crls: config.crls.unwrap_or_default(),
            allow_partial_chain: config.allow_partial_chain,
            holds_for: Duration::from_millis(u64::try_from(config.cert_cache_ttl.unwrap_or(60_000)).unwrap_or(0)),
        };
        Ok(MtlsAuth { rules: Some(rules), send_ca_dn: config.send_ca_dn, judge: None })
    }

    fn placed(&mut self, place: &Place) -> Result<(), Violations> {
        self.judge = self.rules.take().map(|rules| Judge::new(rules, place)).transpose()?;
        Ok(())
    }

    fn wants_certificate(&self) -> Option<WantedCertificate> {
        let told = self.judge.as_ref().filter(|_| self.send_ca_dn);
        Some(WantedCertificate { authorities: told.map(|judge| judge.known.clone()).unwrap_or_default() })
    }

    fn reserves(&self) -> Vec<HeaderName> {
        vec![DISTINGUISHED_NAME, ALTERNATIVE_NAMES]
    }

    fn options(config: &Config) -> Options {
        Options { anonymous: config.anonymous.clone(), run_on_preflight: true, scheme: "", realm: None }
    }

    async fn authenticate(&self, exchange: &mut Exchange) -> Result<Identity, Refusal> {
        let judge = self.judge.as_ref().ok_or_else(|| Refusal::Fault(Fault::new("mtls-auth has no place")))?;
        let shown = exchange.caller.certificate.clone();
        let shown = shown.ok_or_else(|| unproven("No required TLS certificate was sent"))?;
        judge.identify(exchange, &shown).await
    }
}
