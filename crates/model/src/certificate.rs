//! Certificates, the server names they answer for, and the CA certificates to trust.

use crate::text;
use schema::{Check, Custom, Reference, Schema, Secret, Set};
use serde::Deserialize;
use uuid::Uuid;

/// That key and certificate belong together is seen when the plan is compiled, where TLS lives; these
/// state it for Kong's schema document.
static CERT_AND_KEY: Custom = Custom { fields: &["cert", "key"], run_with_missing_fields: false, check: |_, _| {} };
static ALT_CERT_AND_KEY: Custom =
    Custom { fields: &["cert_alt", "key_alt"], run_with_missing_fields: false, check: |_, _| {} };
static DIFFERENT_KEY_TYPES: Custom =
    Custom { fields: &["cert", "cert_alt"], run_with_missing_fields: false, check: |_, _| {} };
static IS_CA: Custom = Custom { fields: &["cert"], run_with_missing_fields: false, check: |_, _| {} };

/// A certificate with its key, and optionally a second pair with another type of key.
#[derive(Clone, Debug, Deserialize, Schema)]
#[schema(
    check(Check::MutuallyRequired(&["cert_alt", "key_alt"])),
    check(Check::Custom(&CERT_AND_KEY)),
    check(Check::Custom(&ALT_CERT_AND_KEY)),
    check(Check::Custom(&DIFFERENT_KEY_TYPES))
)]
pub struct Certificate {
    /// The certificate's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<i64>,
    /// The certificate chain, in PEM, leaf first.
    #[schema(referenceable)]
    pub cert: String,
    /// Its private key, in PEM.
    #[schema(encrypted, referenceable)]
    pub key: Secret,
    /// A second chain, with another type of key.
    #[schema(referenceable)]
    pub cert_alt: Option<String>,
    /// The second chain's private key.
    #[schema(encrypted, referenceable)]
    pub key_alt: Option<Secret>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
    /// Server names, kept as entities of their own.
    #[schema(transient, each(format(text::server_name)))]
    pub snis: Option<Vec<String>>,
}

/// A server name that a certificate answers for.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct Sni {
    /// The name's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// The server name, with at most one wildcard label.
    #[schema(unique, unique_across_ws, format(text::server_name))]
    pub name: String,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<i64>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
    /// The certificate that answers.
    #[schema(references = "certificates")]
    pub certificate: Reference,
}

/// A certificate authority to trust.
#[derive(Clone, Debug, Deserialize, Schema)]
#[schema(check(Check::Custom(&IS_CA)))]
pub struct CaCertificate {
    /// The certificate's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<i64>,
    /// Exactly one CA certificate, in PEM.
    pub cert: String,
    /// The certificate's SHA-256, in hexadecimal; computed.
    #[schema(unique)]
    pub cert_digest: Option<String>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
}
