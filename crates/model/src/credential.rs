//! What consumers prove themselves with, and the groups they belong to.

use crate::text;
use schema::{Check, Condition, Custom, Found, Map, Reference, Schema, Secret, Set, Value};
use serde::Deserialize;
use uuid::Uuid;

/// An API key.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct KeyAuth {
    /// The credential's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// Whose it is.
    #[schema(references = "consumers", cascade)]
    pub consumer: Reference,
    /// The key; made when absent.
    #[schema(auto, unique, referenceable)]
    pub key: Option<Secret>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
}

/// A user name and a password.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct BasicAuth {
    /// The credential's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// Whose it is.
    #[schema(references = "consumers", cascade)]
    pub consumer: Reference,
    /// The user name.
    #[schema(unique)]
    pub username: String,
    /// The password; kept and shown as Kong does, as `sha1_hex(password + consumer id)`.
    #[schema(encrypted)]
    pub password: Secret,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
}

/// A name in client certificates that stands for a consumer (Kong Enterprise has such).
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct MtlsAuth {
    /// The credential's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// Whose it is.
    #[schema(references = "consumers", cascade)]
    pub consumer: Reference,
    /// The name: an alternative name of the subject, or its common name.
    pub subject_name: String,
    /// The authority that must vouch for it. Without one, any that the plugin believes.
    #[schema(references = "ca_certificates")]
    pub ca_certificate: Option<Reference>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
}

/// A shared secret for signed requests.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct HmacAuth {
    /// The credential's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// Whose it is.
    #[schema(references = "consumers", cascade)]
    pub consumer: Reference,
    /// The name in the signature.
    #[schema(unique)]
    pub username: String,
    /// The shared secret; made when absent.
    #[schema(auto, referenceable)]
    pub secret: Option<Secret>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
}

/// What tokens of one issuer are verified with.
#[derive(Clone, Debug, Deserialize, Schema)]
#[schema(
    check(Check::When {
        field: "algorithm",
        is: Condition::IsAny(&["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"]),
        then: "rsa_public_key",
        must: Condition::Required,
        error: None,
    }),
    check(Check::Custom(&PUBLIC_KEY))
)]
pub struct JwtSecret {
    /// The credential's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// Whose it is.
    #[schema(references = "consumers", cascade)]
    pub consumer: Reference,
    /// The value of the key claim (`iss`) that names this credential; made when absent.
    #[schema(auto, unique)]
    pub key: Option<String>,
    /// The shared secret of HS256, HS384 and HS512; made when absent.
    #[schema(auto, referenceable)]
    pub secret: Option<Secret>,
    /// The public key of all other algorithms, in PEM (also for EC and Ed25519 keys, despite the name).
    pub rsa_public_key: Option<String>,
    /// The one algorithm that its tokens are signed with.
    #[schema(default = "HS256")]
    pub algorithm: Option<Algorithm>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Schema)]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
    ES512,
    PS256,
    PS384,
    PS512,
    EdDSA,
}

impl Algorithm {
    pub fn to_jose(self) -> jose::Algorithm {
        match self {
            Algorithm::HS256 => jose::Algorithm::HS256,
            Algorithm::HS384 => jose::Algorithm::HS384,
            Algorithm::HS512 => jose::Algorithm::HS512,
            Algorithm::RS256 => jose::Algorithm::RS256,
            Algorithm::RS384 => jose::Algorithm::RS384,
            Algorithm::RS512 => jose::Algorithm::RS512,
            Algorithm::ES256 => jose::Algorithm::ES256,
            Algorithm::ES384 => jose::Algorithm::ES384,
            Algorithm::ES512 => jose::Algorithm::ES512,
            Algorithm::PS256 => jose::Algorithm::PS256,
            Algorithm::PS384 => jose::Algorithm::PS384,
            Algorithm::PS512 => jose::Algorithm::PS512,
            Algorithm::EdDSA => jose::Algorithm::EdDSA,
        }
    }
}

/// Kong checks RSA keys only, and finds a bad EC key at the first token; here every key is checked.
static PUBLIC_KEY: Custom = Custom { fields: &[], run_with_missing_fields: false, check: public_key };

fn public_key(credential: &Map<String, Value>, found: &mut Found) {
    let text = |name: &str| credential.get(name).and_then(Value::as_str);
    let (Some(algorithm), Some(pem)) = (text("algorithm"), text("rsa_public_key")) else { return };
    let Ok(algorithm) = algorithm.parse::<jose::Algorithm>() else { return };
    if algorithm.family() != jose::algorithm::Family::Hmac && jose::VerifyingKey::from_pem(algorithm, pem).is_err() {
        found.field("rsa_public_key", "invalid key");
    }
}

/// Membership in a group.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct Acl {
    /// The membership's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// Who is the member.
    #[schema(references = "consumers", cascade)]
    pub consumer: Reference,
    /// The group's name.
    pub group: String,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
}

/// An OAuth 2.0 client.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct Oauth2Credential {
    /// The credential's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// Whose it is.
    #[schema(references = "consumers", cascade)]
    pub consumer: Reference,
    /// The application's name.
    pub name: String,
    /// The client identifier; made when absent.
    #[schema(auto, unique)]
    pub client_id: Option<String>,
    /// The client secret; made when absent.
    #[schema(auto, encrypted, referenceable)]
    pub client_secret: Option<Secret>,
    /// Whether the secret is kept as a hash only.
    #[schema(default = false)]
    pub hash_secret: bool,
    /// Where the authorization endpoint may send the user back to.
    #[schema(each(format(redirect_uri)))]
    pub redirect_uris: Option<Vec<String>>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
    /// Whether the client can keep a secret (RFC 6749 section 2.1).
    #[schema(default = "confidential")]
    pub client_type: ClientType,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum ClientType {
    Confidential,
    Public,
}

/// RFC 6749 section 3.1.2: absolute, without a fragment.
fn redirect_uri(text: &str) -> Result<(), String> {
    let absolute = text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    match (absolute, text.contains('#')) {
        (false, _) => Err(format!("cannot parse '{text}'")),
        (true, true) => Err(format!("fragment not allowed in '{text}'")),
        (true, false) => Ok(()),
    }
}

/// An opaque OAuth 2.0 token.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct Oauth2Token {
    /// The token's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// The service it is good for; all when unset.
    #[schema(references = "services", default = null, cascade)]
    pub service: Option<Reference>,
    /// The client it was given to.
    #[schema(references = "oauth2_credentials", cascade)]
    pub credential: Reference,
    /// How the token is used (RFC 6750).
    #[schema(default = "bearer")]
    pub token_type: TokenType,
    /// How long it is good for, in seconds.
    pub expires_in: i64,
    /// The access token; made when absent.
    #[schema(auto, unique)]
    pub access_token: Option<Secret>,
    /// The refresh token.
    #[schema(unique)]
    pub refresh_token: Option<Secret>,
    /// The user who let the client in.
    pub authenticated_userid: Option<String>,
    /// The scopes granted.
    pub scope: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum TokenType {
    Bearer,
}
