//! Issuers whose tokens are believed by their own keys, without a credential for each.

use super::key_set::{KeySet, Source, Unavailable};
use super::verdicts::{Told, Verdict};
use crate::claims::{self, Demands};
use crate::consumer_by::{self, ConsumerBy};
use crate::formats;
use crate::proof_of_possession::Binding;
use http::header::RETRY_AFTER;
use http::{HeaderName, StatusCode};
use jose::{Algorithm as Jose, JwkSet, Jwt as Token};
use net::fetch::Fetcher;
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::authenticate::Refusal;
use proxy::identity::{Credential, Identity, header_value};
use proxy::registry::{Consumer, Registry};
use schema::{Check, Schema, Value, Violations, json};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An issuer whose tokens are believed.
#[derive(Deserialize, Schema)]
#[schema(check(Check::MutuallyExclusive(&["jwks_uri", "jwks"])))]
pub struct Issuer {
    /// The issuer, letter for letter as its tokens name it in `iss`.
    issuer: String,
    /// Where its keys are (RFC 7517 section 5). Without this and `jwks` its metadata say so, at
    /// `ISSUER/.well-known/openid-configuration`.
    #[schema(format(formats::url))]
    jwks_uri: Option<String>,
    /// Its keys themselves: a JWK Set as JSON.
    #[schema(format(key_set))]
    jwks: Option<String>,
    /// Whom tokens must be for (`aud`): at least one of these.
    ///
    /// `*.example.com` is any name with one label before `.example.com`, `*` is anybody: then tokens that the issuer
    /// made for others are good here, too.
    #[schema(len_min(1))]
    audiences: Vec<String>,
    /// The algorithms that are taken.
    #[schema(default = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"])]
    algorithms: Option<Vec<Algorithm>>,
    /// Claims that a token must have, besides `iss`, `aud` and `exp`.
    #[schema(default = [])]
    required_claims: Option<Vec<String>>,
    /// By how many seconds the issuer's clock may differ from the gate's.
    #[schema(default = 0, between(0, 300))]
    leeway: Option<f64>,
    /// The claim that names the consumer. Without it there is none: the claims say who calls.
    consumer_claim: Option<String>,
    /// By what `consumer_claim` names the consumer, tried in this order.
    #[schema(default = ["username", "custom_id"])]
    consumer_by: Option<Vec<ConsumerBy>>,
}

#[derive(Clone, Copy, Deserialize, Schema, PartialEq, Eq)]
enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

/// The issuers of a placement.
pub struct Issuers {
    by_name: BTreeMap<String, Known>,
    demands: Demands,
}

struct Known {
    issuer: Issuer,
    keys: Keys,
}

enum Keys {
    Given(Arc<JwkSet>),
    Fetched(Arc<KeySet>),
}

impl Issuers {
    pub fn new(issuers: Vec<Issuer>, demands: Demands) -> Result<Issuers, Violations> {
        let mut by_name = BTreeMap::new();
        for issuer in issuers {
            let keys = Keys::of(&issuer).map_err(|error| Violations::field("issuers", error))?;
            let name = issuer.issuer.clone();
            if by_name.insert(name.clone(), Known { issuer, keys }).is_some() {
                return Err(Violations::field("issuers", format!("'{name}' stands there twice")));
            }
        }
        Ok(Issuers { by_name, demands })
    }

    /// The headers that services are told claims in.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.demands.headers.iter().map(|(_, header)| header)
    }

    /// Whether these are keys of an issuer that still hold.
    pub fn are_in_force(&self, issuer: &str, keys: &Arc<JwkSet>, fetcher: &Arc<Fetcher>) -> bool {
        self.by_name.get(issuer).is_some_and(|known| match &known.keys {
            Keys::Given(given) => Arc::ptr_eq(given, keys),
            Keys::Fetched(set) => set.are_in_force(fetcher, keys),
        })
    }

    /// The issuer that a token names, if it is one of these.
    pub fn of(&self, token: &Token) -> Option<&str> {
        let name = token.unverified_claims().get("iss")?.as_str()?;
        self.by_name.get_key_value(name).map(|(name, _)| name.as_str())
    }

    /// Holds a token against the keys and the demands of its issuer.
    pub async fn verify(&self, exchange: &Exchange, name: &str, token: Token<'_>) -> Result<Verdict, Refusal> {
        let Some(Known { issuer, keys }) = self.by_name.get(name) else { return Err(super::invalid("Invalid issuer")) };
        let algorithm = token.alg();
        if !issuer.algorithms.iter().flatten().any(|allowed| allowed.jose() == algorithm) {
            return Err(super::invalid("Invalid algorithm"));
        }
        let keys = match keys {
            Keys::Given(keys) => keys.clone(),
            Keys::Fetched(set) => {
                let found = set.keys(&exchange.plan.fetcher, token.kid(), algorithm).await;
                found.map_err(|unavailable| unknown_keys(&unavailable))?
            }
        };
        let candidates = keys.candidates(token.kid(), algorithm);
        let verified = token.verify_with_any(candidates).map_err(|_| super::invalid("Invalid signature"))?;
        let claims = verified.claims();
        if !claims::is_for(claims, &issuer.audiences) {
            return Err(super::invalid("Invalid audience"));
        }
        if jose::claims::numeric_date(claims, "nbf").is_err() {
            return Err(super::refusal(&json!({ "nbf": "must be a number" })));
        }
        for claim in issuer.required_claims.iter().flatten() {
            if claims.get(claim).is_none_or(Value::is_null) {
                return Err(super::invalid(&format!("No mandatory '{claim}' in claims")));
            }
        }
        self.demands.check(claims)?;
        let consumer = match &issuer.consumer_claim {
            None => None,
            Some(claim) => Some(issuer.consumer(exchange.registry(), claims.get(claim)).ok_or_else(claims::forbidden)?),
        };
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or(name);
        let identity = Identity { consumer, credential: Some(Credential::elsewhere(header_value(subject))) };
        let told = Told {
            issuer: name.to_owned(),
            keys,
            leeway_s: issuer.leeway.unwrap_or(0.0),
            headers: self.demands.told(claims),
            groups: self.demands.groups(claims),
            binding: Binding::of(claims),
        };
        Ok(Verdict::of_issuer(identity, claims, told))
    }
}

impl Keys {
    fn of(issuer: &Issuer) -> Result<Keys, String> {
        let source = match (&issuer.jwks, &issuer.jwks_uri) {
            (Some(text), _) => {
                let keys = JwkSet::parse(text.as_bytes()).map_err(|error| error.to_string())?;
                return Ok(Keys::Given(Arc::new(keys)));
            }
            (None, Some(url)) => Source::Keys(url.parse().map_err(|_| format!("'{url}' is no URL"))?),
            (None, None) => {
                formats::url(&issuer.issuer).map_err(|error| format!("{error}; give its jwks_uri or its jwks"))?;
                Source::Discovery(issuer.issuer.clone())
            }
        };
        Ok(Keys::Fetched(KeySet::of(source)))
    }
}

impl Issuer {
    fn consumer(&self, registry: &Registry, named: Option<&Value>) -> Option<Arc<Consumer>> {
        let name = match named? {
            Value::String(name) => name.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        consumer_by::find(registry, self.consumer_by.as_deref().unwrap_or_default(), &name)
    }
}

fn unknown_keys(unavailable: &Unavailable) -> Refusal {
    let body = json!({ "message": "The keys of the token's issuer are not known yet" });
    let answer = Answer::exit_json(StatusCode::SERVICE_UNAVAILABLE, &body);
    Refusal::Final(Box::new(answer.with_header(RETRY_AFTER, unavailable.retry_after_s.into())))
}

fn key_set(text: &str) -> Result<(), String> {
    let keys = JwkSet::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    if keys.is_empty() { Err("none of the keys can be used".to_owned()) } else { Ok(()) }
}

impl Algorithm {
    fn jose(self) -> Jose {
        match self {
            Algorithm::RS256 => Jose::RS256,
            Algorithm::RS384 => Jose::RS384,
            Algorithm::RS512 => Jose::RS512,
            Algorithm::PS256 => Jose::PS256,
            Algorithm::PS384 => Jose::PS384,
            Algorithm::PS512 => Jose::PS512,
            Algorithm::ES256 => Jose::ES256,
            Algorithm::ES384 => Jose::ES384,
            Algorithm::ES512 => Jose::ES512,
            Algorithm::EdDSA => Jose::EdDSA,
        }
    }
}
