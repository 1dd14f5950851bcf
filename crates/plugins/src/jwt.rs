//! Authenticates callers by signed tokens (RFC 7519), whose key a consumer's credential holds or their issuer
//! publishes.

use crate::claims::{Demands, headers, split};
use crate::formats;
use crate::proof_of_possession::ProofOfPossession;
use http::{HeaderMap, HeaderName, StatusCode};
use issuers::{Issuer, Issuers};
use jose::{Jwt as Token, ParseError};
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::identity::{Claims, Identity};
use proxy::plugin::{Fault, WantedCertificate};
use proxy::{balancer, fields, query};
use schema::{Check, Condition, Map, Schema, Set, Value, Violations, json};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use verdicts::{By, Times, Verdict, Verdicts};

mod issuers;
mod key_set;
mod verdicts;

/// Authenticates callers by signed tokens (RFC 7519).
///
/// A token of one of the `issuers` is verified with the keys that its issuer publishes. Any other names a credential
/// of a consumer, which holds the key, as in Kong.
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
    /// Issuers, such as identity providers, whose tokens are believed by the keys that they publish.
    ///
    /// A subject (`sub`, services get it as `X-Credential-Identifier`) is one of its issuer: with several, tell
    /// services `iss` too, by `claims_to_headers`.
    #[schema(ours)]
    issuers: Option<Vec<Issuer>>,
    /// Claims of an issuer's token that services are told, each with the name of its header.
    ///
    /// Nobody else can set these headers: they are removed from every request, on every route.
    #[schema(ours, each(format(formats::header_to_tell)))]
    claims_to_headers: Option<BTreeMap<String, String>>,
    /// The scopes that an issuer's token must have: one of these entries, and of an entry with spaces each word.
    #[schema(ours)]
    scopes_required: Option<Vec<String>>,
    /// The claim that holds the scopes.
    #[schema(ours, default = "scope")]
    scopes_claim: Option<String>,
    /// The roles of which an issuer's token must have one.
    #[schema(ours)]
    roles_required: Option<Vec<String>>,
    /// The claim that holds the roles.
    #[schema(ours, default = "roles")]
    roles_claim: Option<String>,
    /// The claim of an issuer's token that holds its caller's groups, for acl.
    #[schema(ours)]
    groups_claim: Option<String>,
    /// Whether callers prove by their TLS certificate that an issuer's token is theirs (RFC 8705 section 3): `off`, then a
    /// token that is bound to a key is refused; `optional`; or `strict`, then each must be bound to a certificate.
    #[schema(ours, default = "off")]
    proof_of_possession_mtls: Option<ProofOfPossession>,
}

#[derive(Clone, Copy, Deserialize, Schema, PartialEq, Debug)]
#[serde(rename_all = "lowercase")]
enum Claim {
    Exp,
    Nbf,
}

pub struct Jwt {
    config: Config,
    issuers: Issuers,
    verdicts: Verdicts,
}

impl Authenticator for Jwt {
    const NAME: &'static str = "jwt";
    const PRIORITY: i32 = 1450;
    type Config = Config;

    fn new(mut config: Config) -> Result<Self, Violations> {
        let demands = Demands {
            scopes: config.scopes_required.iter().flatten().map(|entry| split(entry)).collect(),
            scopes_claim: config.scopes_claim.take().unwrap_or_else(|| "scope".to_owned()),
            roles: config.roles_required.take().unwrap_or_default(),
            roles_claim: config.roles_claim.take().unwrap_or_else(|| "roles".to_owned()),
            groups_claim: config.groups_claim.take(),
            headers: headers(config.claims_to_headers.take().unwrap_or_default())?,
        };
        let issuers = Issuers::new(config.issuers.take().unwrap_or_default(), demands)?;
        Ok(Jwt { config, issuers, verdicts: Verdicts::new() })
    }

    fn wants_certificate(&self) -> Option<WantedCertificate> {
        self.proof().wants_certificate()
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.issuers.headers().cloned().collect()
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
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Refusal::Fault(Fault::new(error)))?;
        let now = now.as_secs_f64();
        let known = self.verdicts.get(&token).filter(|(_, verdict)| self.holds(verdict, exchange));
        let ((token, verdict), new) = match known {
            Some(known) => (known, false),
            None => {
                let verdict = self.verify(exchange, &token).await?;
                ((Arc::from(&*token), verdict), true)
            }
        };
        self.check_times(&verdict, now)?;
        if let By::Issuer(told) = &verdict.by {
            self.proof().check(told.binding, exchange, invalid)?;
        }
        if new {
            self.verdicts.keep(token.clone(), verdict.clone());
        }
        if let By::Issuer(told) = &verdict.by {
            exchange.request.headers.extend(told.headers.iter().cloned());
            exchange.authenticated_groups = told.groups.clone();
        }
        exchange.claims = Claims::OfToken(token);
        Ok(verdict.identity)
    }
}

impl Jwt {
    fn proof(&self) -> ProofOfPossession {
        self.config.proof_of_possession_mtls.unwrap_or_default()
    }

    /// The one token of the request. The same token in two places is one; two tokens are too many, since
    /// the service could take the other one.
    fn token<'a>(&self, exchange: &'a Exchange) -> Result<Cow<'a, str>, Refusal> {
        let headers = &exchange.request.headers;
        let arguments = exchange.target.query.as_deref().unwrap_or_default();
        let Config { uri_param_names, cookie_names, header_names, .. } = &self.config;
        let in_query = names(uri_param_names).flat_map(|name| query::values(arguments, name));
        let in_cookies = names(cookie_names).flat_map(|name| balancer::cookies(headers, name));
        let in_headers = names(header_names).flat_map(|name| bearer(headers, name));
        let all = in_query.chain(in_cookies).map(Cow::Owned).chain(in_headers);
        let mut tokens = all.filter(|token| !token.is_empty());
        let Some(token) = tokens.next() else {
            let answer = Answer::exit_json(StatusCode::UNAUTHORIZED, &json!({ "message": "Unauthorized" }));
            return Err(Refusal::denied(answer));
        };
        if tokens.any(|other| other != token) { Err(invalid("Multiple tokens provided")) } else { Ok(token) }
    }

    /// Whether a verdict still stands: as long as its consumer and what has decided do.
    fn holds(&self, verdict: &Verdict, exchange: &Exchange) -> bool {
        let consumer = verdict.identity.consumer.as_ref();
        consumer.is_none_or(|consumer| !consumer.is_revoked())
            && match &verdict.by {
                By::Credential(credential) => !credential.is_revoked(),
                By::Issuer(told) => self.issuers.are_in_force(&told.issuer, &told.keys, &exchange.plan.fetcher),
            }
    }

    /// Finds the key of a token, its issuer's or that of the credential which it names, and holds it against that.
    async fn verify(&self, exchange: &Exchange, token: &str) -> Result<Verdict, Refusal> {
        let token = Token::parse_jwt(token).map_err(|error| invalid(parse_text(error)))?;
        if let Some(issuer) = self.issuers.of(&token) {
            return self.issuers.verify(exchange, issuer, token).await;
        }
        let claim = self.config.key_claim_name.as_deref().unwrap_or("iss");
        let key = key_of(&token, claim)?;
        let Some((credential, identity)) = exchange.registry().jwt(&key) else {
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
        Ok(Verdict { identity, times: Times::of(verified.claims()), by: By::Credential(credential) })
    }

    /// Whether it is time for a token. An issuer's must always tell when it ends.
    fn check_times(&self, verdict: &Verdict, now: f64) -> Result<(), Refusal> {
        let (times, told) = (verdict.times, verdict.told());
        let leeway = told.map_or(0.0, |told| told.leeway_s);
        let wanted = self.config.claims_to_verify.as_deref().unwrap_or_default();
        let mut wrong = Map::new();
        if told.is_some() || wanted.contains(&Claim::Exp) {
            match times.expires {
                None => drop(wrong.insert("exp".to_owned(), json!("must be a number"))),
                Some(exp) if exp + leeway <= now => drop(wrong.insert("exp".to_owned(), json!("token expired"))),
                Some(_) => {}
            }
        }
        if told.is_some() || wanted.contains(&Claim::Nbf) {
            match times.not_before {
                // An issuer need not say since when (RFC 7519 section 4.1.5).
                None if told.is_some() => {}
                None => drop(wrong.insert("nbf".to_owned(), json!("must be a number"))),
                Some(nbf) if nbf > now + leeway => drop(wrong.insert("nbf".to_owned(), json!("token not valid yet"))),
                Some(_) => {}
            }
        }
        let longest = self.config.maximum_expiration.unwrap_or(0.0);
        if wrong.is_empty() && longest > 0.0 && times.expires.is_none_or(|exp| exp - now > longest) {
            wrong.insert("exp".to_owned(), json!("exceeds maximum allowed expiration"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(refusal(&Value::Object(wrong))) }
    }
}

fn names(set: &Option<Set<String>>) -> impl Iterator<Item = &String> {
    set.iter().flat_map(|names| names.iter())
}

/// The tokens of all such headers (RFC 6750 section 2.1).
pub fn bearer<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    headers.get_all(name).iter().filter_map(|value| {
        let value = value.as_bytes().trim_ascii_start();
        let (scheme, token) = value.split_at(value.iter().position(u8::is_ascii_whitespace)?);
        scheme.eq_ignore_ascii_case(b"bearer").then(|| fields::text(token.trim_ascii()))
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const HEAD: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
    /// `{"iss":"ann-hs"}`, signed with ann's secret.
    const GOOD: &str = "eyJpc3MiOiJhbm4taHMifQ.-CA4cq8IwY1SumjP8w8f1rkzhhxyglMcSnyAumDImc0";
    /// The same with `exp` in 2100, and in 1970.
    const LONG: &str = "eyJpc3MiOiJhbm4taHMiLCJleHAiOjQxMDI0NDQ4MDB9.mwXbrgQ1MXgt0bQxHAPbJeZzHbqeKv9xt3xRQch1GWc";
    const OLD: &str = "eyJpc3MiOiJhbm4taHMiLCJleHAiOjF9.SoO93Yyq-gpt6LTC9cgVbmjjsbA5TMhL4yDKQ-LpWFI";
    /// Signed with the bytes that the base64 secret of `ann-b64` stands for.
    const BASE64: &str = "eyJpc3MiOiJhbm4tYjY0In0.T99AtQOBW4FMf3iVsTQgmtI2kkfw3SfokTimQnVgoNg";

    async fn check(config: Value, token: &str, expected: &str) {
        testing::check("jwt", config, &[&format!("authorization: Bearer {token}")], expected).await;
    }

    async fn passes(config: Value, token: &str, key: &str) {
        let expected = format!(
            "service\nauthorization: Bearer {token}\nx-consumer-id: 11111111-1111-4111-8111-111111111111\n\
             x-consumer-username: ann\nx-credential-identifier: {key}"
        );
        check(config, token, &expected).await;
    }

    async fn refused(config: Value, token: &str, body: Value) {
        check(config, token, &format!("401 {body} Bearer error=\"invalid_token\"")).await;
    }

    #[tokio::test]
    async fn a_good_token_names_its_consumer() {
        passes(json!({}), &format!("{HEAD}.{GOOD}"), "ann-hs").await;
        passes(json!({"claims_to_verify": ["exp"]}), &format!("{HEAD}.{LONG}"), "ann-hs").await;
        passes(json!({"secret_is_base64": true}), &format!("{HEAD}.{BASE64}"), "ann-b64").await;
    }

    #[tokio::test]
    async fn a_bad_token_is_told_apart() {
        let message = |text: &str| json!({ "message": text });
        let wrong_key = "eyJpc3MiOiJhbm4taHMifQ.ZYq4OQWhk9SkR0ZQzbX4JJTAa8pNJ1gvautWy8D1cmo";
        let hs384 =
            "eyJhbGciOiJIUzM4NCIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJhbm4taHMifQ.NI4tqWpm29Gw6_E90lrQmGl13JxdgZbVNIGb1VT3iKY";
        let nameless = "eyJzdWIiOiJ4In0.fjGmKZWM_oGx62__gxTDBfsv1Vww3TENwU6x8mIITbU";
        let critical = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImNyaXQiOlsieCJdLCJ4IjoxfQ.eyJpc3MiOiJhbm4taHMifQ.UWTtAn38HpZY1JbqQkhBr2wQnr1aS2AJ2susJKSLw4M";
        let none = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJhbm4taHMifQ.";
        refused(json!({}), "junk", message("Bad token; invalid JSON")).await;
        refused(json!({}), none, message("Bad token; invalid alg")).await;
        refused(json!({}), &format!("{HEAD}.{wrong_key}"), message("Invalid signature")).await;
        refused(json!({}), hs384, message("Invalid algorithm")).await;
        refused(json!({}), &format!("{HEAD}.{nameless}"), message("No mandatory 'iss' in claims")).await;
        refused(json!({}), critical, message("Bad token; invalid header")).await;
        refused(json!({}), &format!("{HEAD}.{BASE64}"), message("Invalid signature")).await;
    }

    #[tokio::test]
    async fn claims_are_verified_where_asked_for() {
        let exp = |text: &str| json!({ "exp": text });
        passes(json!({}), &format!("{HEAD}.{OLD}"), "ann-hs").await;
        let verify = json!({"claims_to_verify": ["exp"]});
        refused(verify.clone(), &format!("{HEAD}.{OLD}"), exp("token expired")).await;
        refused(verify, &format!("{HEAD}.{GOOD}"), exp("must be a number")).await;
        let short = json!({"claims_to_verify": ["exp"], "maximum_expiration": 60});
        refused(short, &format!("{HEAD}.{LONG}"), exp("exceeds maximum allowed expiration")).await;
    }

    /// The attack: the gate verifies one token, the service reads the other.
    #[tokio::test]
    async fn two_tokens_are_one_too_many() {
        let (target, header) = (format!("GET /?jwt={HEAD}.{LONG}"), format!("authorization: Bearer {HEAD}.{GOOD}"));
        let request = [target.as_str(), header.as_str()];
        let expected = "401 {\"message\":\"Multiple tokens provided\"} Bearer error=\"invalid_token\"";
        testing::check("jwt", json!({}), &request, expected).await;
        // A service may read what is no token here.
        let odd = [target.as_str(), "authorization: Bearer other\u{a0}"];
        testing::check("jwt", json!({}), &odd, expected).await;
        let odd = [target.as_str(), "cookie: a=\u{a0}; token=other"];
        testing::check("jwt", json!({"cookie_names": ["token"]}), &odd, expected).await;
        testing::check("jwt", json!({}), &[], "401 {\"message\":\"Unauthorized\"} Bearer").await;
    }

    #[tokio::test]
    async fn the_longest_expiration_needs_exp() {
        let violations = "{\"@entity\":[\"failed conditional validation given value of field 'config.maximum_expiration'\"],\
                          \"claims_to_verify\":\"expected to contain: exp\"}";
        testing::check("jwt", json!({"maximum_expiration": 60, "claims_to_verify": ["nbf"]}), &[], violations).await;
    }
}
