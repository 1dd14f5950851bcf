//! Authenticates callers by the certificate that they show in the TLS handshake.

use crate::client_certificates::{ALTERNATIVE_NAMES, DISTINGUISHED_NAME, Judge, Rules, unproven};
use http::HeaderName;
use proxy::Exchange;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::identity::Identity;
use proxy::plugin::{Fault, Place, WantedCertificate};
use schema::{Schema, Violations};
use serde::Deserialize;

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
    #[serde(flatten)]
    rules: Rules,
    /// Whether callers are told which authorities are believed, so that they can choose among several certificates.
    #[schema(default = false)]
    send_ca_dn: bool,
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
        Ok(MtlsAuth { rules: Some(config.rules), send_ca_dn: config.send_ca_dn, judge: None })
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
