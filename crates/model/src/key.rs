//! Keys and sets of keys, for plugins that sign or verify.

use crate::text;
use schema::{Check, Custom, Found, Map, Reference, Schema, Secret, Set, Value};
use serde::Deserialize;
use uuid::Uuid;

/// A set of keys.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct KeySet {
    /// The set's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// The set's name.
    #[schema(unique)]
    pub name: Option<String>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<i64>,
}

/// One key, as JWK or PEM.
#[derive(Clone, Debug, Deserialize, Schema)]
#[schema(
    check(Check::MutuallyExclusive(&["pem", "jwk"])),
    check(Check::AtLeastOneOf(&["pem", "jwk"])),
    check(Check::Custom(&KID_AGREES))
)]
pub struct Key {
    /// The key's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// The set it belongs to.
    #[schema(references = "key_sets", cascade)]
    pub set: Option<Reference>,
    /// The key's name.
    #[schema(unique)]
    pub name: Option<String>,
    /// The key identifier (RFC 7517 section 4.5).
    pub kid: String,
    /// The key as a JSON Web Key, in JSON text.
    #[schema(encrypted, referenceable)]
    pub jwk: Option<Secret>,
    /// The key as PEM.
    pub pem: Option<Pem>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<i64>,
}

/// A key pair, or the half that is known.
#[derive(Clone, Debug, Deserialize, Schema)]
#[schema(check(Check::AtLeastOneOf(&["private_key", "public_key"])))]
pub struct Pem {
    /// The private key.
    #[schema(encrypted, referenceable)]
    pub private_key: Option<Secret>,
    /// The public key.
    #[schema(referenceable)]
    pub public_key: Option<String>,
}

static KID_AGREES: Custom =
    Custom { fields: &["jwk", "pem", "kid"], run_with_missing_fields: false, check: kid_agrees };

fn kid_agrees(key: &Map<String, Value>, found: &mut Found) {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let Some(jwk) = text("jwk").filter(|jwk| !jwk.starts_with("{vault://")) else { return };
    match serde_json::from_str::<Value>(jwk) {
        Ok(jwk) if jwk.is_object() => {
            if jwk.get("kid").and_then(Value::as_str) != text("kid") {
                found.entity("kid in jwk.kid must be equal to keys.kid");
            }
        }
        _ => found.entity("could not json decode jwk string"),
    }
}
