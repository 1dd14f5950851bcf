//! Authenticates a consumer by a signed token whose key a credential holds (RFC 7519).

use http::{HeaderMap, StatusCode};
use jose::{Jwt as Token, ParseError, claims};
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::identity::{Credential, Identity};
use proxy::plugin::Fault;
use proxy::{balancer, query};
use schema::{Check, Condition, Map, Schema, Set, Value, Violations, json};
use serde::Deserialize;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Deserialize, Schema)]
#[schema(check(Check::When {
    field: "maximum_expiration",
    is: Condition::GreaterThan(0),
    then: "claims_to_verify",
    must: Condition::Contains("exp"),
    error: None,
}))]
pub struct Config {
    /// Query parameters that may carry the token. Tokens in a query end in other systems' logs.
    #[schema(default = ["jwt"])]
    uri_param_names: Option<Set<String>>,
    /// Cookies that may carry the token.
    #[schema(default = [])]
    cookie_names: Option<Set<String>>,
    /// The claim that names the credential; looked for in the payload, then in the header.
    #[schema(default = "iss")]
    key_claim_name: Option<String>,
    /// Whether credential secrets are base64.
    #[schema(default = false)]
    secret_is_base64: bool,
    /// Registered claims to verify besides the signature. Without `exp` a token is good for ever.
    claims_to_verify: Option<Set<Claim>>,
    /// Consumer (id or username) to go on as when no token was good.
    anonymous: Option<String>,
    /// Authenticate `OPTIONS` requests too.
    #[schema(default = true)]
    run_on_preflight: bool,
    /// The longest lifetime, in seconds, that a token may still have; 0 means any.
    #[schema(default = 0, between(0, 31_536_000))]
    maximum_expiration: Option<f64>,
    /// Headers that may carry the token, after `Bearer`.
    #[schema(default = ["authorization"])]
    header_names: Option<Set<String>>,
    /// The realm named in the challenge.
    realm: Option<String>,
}

#[derive(Clone, Copy, Deserialize, Schema, PartialEq, Debug)]
#[serde(rename_all = "lowercase")]
enum Claim {
    Exp,
    Nbf,
}

pub struct Jwt {
    config: Config,
}

impl Authenticator for Jwt {
    const NAME: &'static str = "jwt";
    const PRIORITY: i32 = 1450;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        Ok(Jwt { config })
    }

    fn options(config: &Config) -> Options {
        Options {
            anonymous: config.anonymous.clone(),
            run_on_preflight: config.run_on_preflight,
            scheme: "Bearer",
            realm: config.realm.clone(),
        }
    }

    async fn authenticate(&self, exchange: &mut Exchange) -> Result<Identity, Refusal> {
        let token = self.token(exchange)?;
        let token = Token::parse_jwt(&token).map_err(|error| invalid(parse_text(error)))?;
        let claim = self.config.key_claim_name.as_deref().unwrap_or("iss");
        let key = key_of(&token, claim)?;
        let Some(credential) = exchange.registry().jwt(&key).cloned() else {
            return Err(invalid(&format!("No credentials found for given '{claim}'")));
        };
        if token.alg() != credential.algorithm {
            return Err(invalid("Invalid algorithm"));
        }
        let verifying_key = match self.config.secret_is_base64 {
            true => &credential.decoded_key,
            false => &credential.key,
        };
        let verifying_key = verifying_key.as_ref().ok_or_else(|| invalid("Invalid key/secret"))?;
        let verified = token.verify(verifying_key).map_err(|_| invalid("Invalid signature"))?;
        self.check_claims(verified.claims())?;
        Ok(Identity {
            consumer: Some(credential.consumer.clone()),
            credential: Some(Credential { identifier: credential.identifier.clone() }),
        })
    }
}

impl Jwt {
    /// The one token of the request. The same token in two places is one; two tokens are too many, since
    /// the service could take the other one.
    fn token(&self, exchange: &Exchange) -> Result<String, Refusal> {
        let mut tokens = Vec::new();
        let arguments = exchange.target.query.as_deref().unwrap_or_default();
        for name in self.config.uri_param_names.as_deref().unwrap_or_default() {
            tokens.extend(query::values(arguments, name));
        }
        let headers = &exchange.request.headers;
        for name in self.config.cookie_names.as_deref().unwrap_or_default() {
            tokens.extend(balancer::cookie(headers, name));
        }
        for name in self.config.header_names.as_deref().unwrap_or_default() {
            tokens.extend(bearer(headers, name));
        }
        tokens.retain(|token| !token.is_empty());
        tokens.sort_unstable();
        tokens.dedup();
        match (tokens.pop(), tokens.is_empty()) {
            (None, _) => {
                let answer = Answer::exit_json(StatusCode::UNAUTHORIZED, &json!({ "message": "Unauthorized" }));
                Err(Refusal::denied(answer))
            }
            (Some(token), true) => Ok(token),
            (Some(_), false) => Err(invalid("Multiple tokens provided")),
        }
    }

    fn check_claims(&self, claims: &Map<String, Value>) -> Result<(), Refusal> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Refusal::Fault(Fault::new(error)))?;
        let now = now.as_secs_f64();
        let wanted = self.config.claims_to_verify.as_deref().unwrap_or_default();
        let number = |name| claims::numeric_date(claims, name).ok().flatten();
        let mut wrong = Map::new();
        if wanted.contains(&Claim::Exp) {
            match number("exp") {
                None => drop(wrong.insert("exp".to_owned(), json!("must be a number"))),
                Some(exp) if exp <= now => drop(wrong.insert("exp".to_owned(), json!("token expired"))),
                Some(_) => {}
            }
        }
        if wanted.contains(&Claim::Nbf) {
            match number("nbf") {
                None => drop(wrong.insert("nbf".to_owned(), json!("must be a number"))),
                Some(nbf) if nbf > now => drop(wrong.insert("nbf".to_owned(), json!("token not valid yet"))),
                Some(_) => {}
            }
        }
        let longest = self.config.maximum_expiration.unwrap_or(0.0);
        if wrong.is_empty() && longest > 0.0 && number("exp").is_none_or(|exp| exp - now > longest) {
            wrong.insert("exp".to_owned(), json!("exceeds maximum allowed expiration"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(refusal(&Value::Object(wrong))) }
    }
}

/// The token of the first such header (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim_start();
    let (scheme, token) = value.split_once(char::is_whitespace)?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// The value that names the credential.
fn key_of(token: &Token, claim: &str) -> Result<String, Refusal> {
    match token.unverified_claims().get(claim).or_else(|| token.header().get(claim)) {
        None | Some(Value::Null) => Err(invalid(&format!("No mandatory '{claim}' in claims"))),
        Some(Value::String(key)) if !key.is_empty() => Ok(key.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(_) => Err(invalid(&format!("Invalid '{claim}' in claims"))),
    }
}

fn parse_text(error: ParseError) -> &'static str {
    match error {
        ParseError::TooLong | ParseError::Json(_) => "Bad token; invalid JSON",
        ParseError::Algorithm => "Bad token; invalid alg",
        ParseError::Claims => "Bad token; invalid claims",
        ParseError::Signature => "Bad token; invalid signature",
        // What Kong overlooks: parameters that change what the token means.
        ParseError::KeyId | ParseError::Critical | ParseError::Header(_) => "Bad token; invalid header",
    }
}

fn invalid(message: &str) -> Refusal {
    refusal(&json!({ "message": message }))
}

fn refusal(body: &Value) -> Refusal {
    let answer = Answer::exit_json(StatusCode::UNAUTHORIZED, body);
    Refusal::challenged(answer, " error=\"invalid_token\"")
}
