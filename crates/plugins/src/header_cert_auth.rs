//! Authenticates callers by the certificate that a trusted proxy has taken from them.

use crate::client_certificates::{ALTERNATIVE_NAMES, DISTINGUISHED_NAME, Judge, Rules, unproven};
use crate::formats;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use net::CertificateDer;
use net::client_certificate::ClientCertificate;
use percent_encoding::percent_decode;
use proxy::Exchange;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::identity::Identity;
use proxy::plugin::{Fault, Place};
use schema::{Schema, Violations};
use serde::Deserialize;

/// Authenticates callers by the certificate that a trusted proxy has taken from them in its handshake, and sends in a
/// header.
///
/// The header counts only from `trusted_ips`: certificates are public, and whoever has seen one could send it. Everything
/// else is as for mtls-auth.
#[derive(Deserialize, Schema)]
pub struct Config {
    /// The header with the certificate.
    #[schema(format(formats::header_name))]
    certificate_header_name: String,
    /// How it is written there: base64 (of PEM or DER), or PEM with percent-encoding.
    certificate_header_format: Format,
    /// Must be true: the header counts only from `trusted_ips`.
    #[schema(default = true)]
    secure_source: bool,
    #[serde(flatten)]
    rules: Rules,
    /// Consumer (id or username) to go on as without a good certificate.
    anonymous: Option<String>,
}

#[derive(Clone, Copy, Deserialize, Schema)]
enum Format {
    #[serde(rename = "base64_encoded")]
    Base64,
    #[serde(rename = "url_encoded")]
    Url,
}

pub struct HeaderCertAuth {
    header: HeaderName,
    format: Format,
    rules: Option<Rules>,
    judge: Option<Judge>,
}

impl Authenticator for HeaderCertAuth {
    const NAME: &'static str = "header-cert-auth";
    const PRIORITY: i32 = 1009;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        if !config.secure_source {
            let text = "certificates are public: whoever has seen one could send it; name the proxy in trusted_ips";
            return Err(Violations::field("secure_source", text));
        }
        let header = config.certificate_header_name.parse();
        let wrong = |_| Violations::field("certificate_header_name", "this cannot be a header's name");
        let format = config.certificate_header_format;
        Ok(HeaderCertAuth { header: header.map_err(wrong)?, format, rules: Some(config.rules), judge: None })
    }

    fn placed(&mut self, place: &Place) -> Result<(), Violations> {
        self.judge = self.rules.take().map(|rules| Judge::new(rules, place)).transpose()?;
        Ok(())
    }

    fn reserves(&self) -> Vec<HeaderName> {
        vec![DISTINGUISHED_NAME, ALTERNATIVE_NAMES]
    }

    fn options(config: &Config) -> Options {
        Options { anonymous: config.anonymous.clone(), run_on_preflight: true, scheme: "", realm: None }
    }

    async fn authenticate(&self, exchange: &mut Exchange) -> Result<Identity, Refusal> {
        let judge = self.judge.as_ref().ok_or_else(|| Refusal::Fault(Fault::new("header-cert-auth has no place")))?;
        let missing = || unproven("No required TLS certificate was sent");
        let mut given = exchange.request.headers.get_all(&self.header).iter();
        let (Some(given), None, true) = (given.next(), given.next(), exchange.caller.trusted) else {
            return Err(missing());
        };
        let chain = chain(given.as_bytes(), self.format).and_then(ClientCertificate::of);
        let shown = chain.ok_or_else(|| unproven("TLS certificate failed verification"))?;
        judge.identify(exchange, &shown).await
    }
}

/// The certificates of a header.
fn chain(value: &[u8], format: Format) -> Option<Vec<CertificateDer<'static>>> {
    let bytes = match format {
        Format::Url => percent_decode(value).collect(),
        Format::Base64 => STANDARD.decode(value).ok()?,
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.contains("-----BEGIN") => net::certificate::parse_chain(text).ok(),
        _ => matches!(format, Format::Base64).then(|| vec![CertificateDer::from(bytes)]),
    }
}
