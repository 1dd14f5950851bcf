//! Authenticates callers by tokens that say nothing themselves: their authority is asked (RFC 7662).

use crate::answers::{Answers, Known, Question};
use crate::claims::{self, Demands, headers, split};
use crate::consumer_by::{self, ConsumerBy};
use crate::endpoint::{Answered, Endpoint, max_age};
use crate::jwt::bearer;
use crate::proof_of_possession::{Binding, ProofOfPossession};
use crate::{formats, whole_body};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jose::Object;
use net::rest::Rest;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proxy::answer::Answer;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::body::Body;
use proxy::identity::{Claims, Credential, Identity, header_value};
use proxy::plugin::{Fault, WantedCertificate};
use proxy::{Exchange, query};
use schema::{Schema, Secret, Set, Value, Violations, json};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Authenticates callers by tokens that say nothing themselves: their authority is asked (RFC 7662).
///
/// What it says of a good token holds for `ttl` seconds, or until the token's `exp` or the answer's `max-age` if that
/// comes first; without `exp`, for 10 seconds at most. That a token is not good holds for 5 seconds. So long a token
/// that was revoked can still be used. Many requests with one token ask once.
///
/// While the authority cannot be asked, callers whose token is not known get a 503, and never a 401, on which they would
/// throw good tokens away. It is left alone for a second then.
///
/// Services are told what it says in `X-Credential-Scope`, `-Client-ID`, `-Username`, `-Token-Type`, `-Exp`, `-Iat`,
/// `-Nbf`, `-Sub`, `-Aud`, `-Iss` and `-Jti`, and in `X-Authenticated-Scope` and `X-Authenticated-UserId`. A token that
/// is bound to its caller's key (`cnf`) is refused unless the caller proves the key (`proof_of_possession_mtls`).
#[derive(Deserialize, Schema)]
pub struct Config {
    /// Where to ask, such as `https://login.example.com/introspect`.
    #[schema(format(formats::url))]
    introspection_url: String,
    /// What the gate shows itself with, as the whole value of `Authorization`: `Basic ...` or `Bearer ...`.
    #[schema(encrypted, referenceable)]
    authorization_value: Secret,
    /// What kind of token it says it asks about (RFC 7662 section 2.1).
    token_type_hint: Option<String>,
    /// How many seconds an answer holds; 0 asks each time.
    #[schema(default = 30, between(0, 3600))]
    ttl: Option<f64>,
    /// How many milliseconds an answer may take.
    #[schema(default = 10_000, between(1, 60_000))]
    timeout: Option<i64>,
    /// Read, and without effect: connections are kept as those to services are.
    #[schema(default = 60_000)]
    #[expect(dead_code, reason = "Kong's configurations name it")]
    keepalive: Option<i64>,
    /// Whether the authority is told of the request, in `X-Request-Path` and `X-Request-Http-Method`.
    #[schema(default = false)]
    introspect_request: bool,
    /// Headers that the authority is asked with, each with its value.
    custom_introspection_headers: Option<BTreeMap<String, String>>,
    /// Claims of the answer that services are told in `X-Credential-NAME`.
    custom_claims_forward: Option<Set<String>>,
    /// What names the consumer: the token's `username`, or its `client_id`, by username or custom_id. Without such a
    /// consumer there is none, and the answer says who calls.
    #[schema(default = "username")]
    consumer_by: Option<By>,
    /// Whether the token is taken out before the request goes on to the service.
    #[schema(default = false)]
    hide_credentials: bool,
    /// Authenticate `OPTIONS` requests too.
    #[schema(default = true)]
    run_on_preflight: bool,
    /// Consumer (id or username) to go on as when no token was good.
    anonymous: Option<String>,
    /// Whether the authority is asked for a JWT (`Accept: application/jwt`), which the service gets in place of the
    /// token.
    #[schema(default = false)]
    accept_jwt: bool,
    /// Whom tokens must be for (`aud`), as for the issuers of jwt. Without any, everybody.
    audiences: Option<Vec<String>>,
    /// Claims of the answer that services are told, each with the name of its header.
    ///
    /// Nobody else can set these headers: they are removed from every request, on every route.
    #[schema(each(format(formats::header_to_tell)))]
    claims_to_headers: Option<BTreeMap<String, String>>,
    /// The scopes that a token must have: one of these entries, and of an entry with spaces each word.
    scopes_required: Option<Vec<String>>,
    /// The claim that holds the scopes.
    #[schema(default = "scope")]
    scopes_claim: Option<String>,
    /// The roles of which a token must have one.
    roles_required: Option<Vec<String>>,
    /// The claim that holds the roles.
    #[schema(default = "roles")]
    roles_claim: Option<String>,
    /// The claim that holds the caller's groups, for acl.
    groups_claim: Option<String>,
    /// Whether callers prove by their TLS certificate that a token is theirs (RFC 8705 section 3): `off`, then a token that is
    /// bound to a key is refused; `optional`; or `strict`, then each must be bound to a certificate.
    #[schema(ours, default = "off")]
    proof_of_possession_mtls: Option<ProofOfPossession>,
}

#[derive(Clone, Copy, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
enum By {
    Username,
    #[serde(rename = "client_id")]
    ClientId,
}

pub struct Introspection {
    endpoint: Endpoint,
    /// What it is asked with, but for what depends on the request.
    headers: HeaderMap,
    demands: Demands,
    forwarded: Vec<(String, HeaderName)>,
    longest: Duration,
    config: Config,
    answers: Answers<Arc<Told>>,
    rest: Rest,
}

/// What the authority said of a good token.
struct Told {
    claims: Arc<Object>,
    /// Its form for services, where the authority gives one.
    jwt: Option<String>,
    /// Of the answer, in bytes.
    size: usize,
    holds_for: Duration,
}

/// Why nothing is known of a token.
struct Trouble {
    reason: String,
    /// Whether others would fare no better.
    of_everybody: bool,
}

impl Trouble {
    fn of_everybody(reason: String) -> Trouble {
        Trouble { reason, of_everybody: true }
    }
}

impl From<String> for Trouble {
    fn from(reason: String) -> Trouble {
        Trouble { reason, of_everybody: false }
    }
}

/// The longest token that is asked about, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// How long the word of an authority holds that does not say when the token ends.
const WITHOUT_EXP: Duration = Duration::from_secs(10);

/// The claims that Kong tells services, with the headers for them.
static TOLD: [(&str, HeaderName); 13] = [
    ("scope", HeaderName::from_static("x-credential-scope")),
    ("client_id", HeaderName::from_static("x-credential-client-id")),
    ("username", HeaderName::from_static("x-credential-username")),
    ("token_type", HeaderName::from_static("x-credential-token-type")),
    ("exp", HeaderName::from_static("x-credential-exp")),
    ("iat", HeaderName::from_static("x-credential-iat")),
    ("nbf", HeaderName::from_static("x-credential-nbf")),
    ("sub", HeaderName::from_static("x-credential-sub")),
    ("aud", HeaderName::from_static("x-credential-aud")),
    ("iss", HeaderName::from_static("x-credential-iss")),
    ("jti", HeaderName::from_static("x-credential-jti")),
    ("scope", HeaderName::from_static("x-authenticated-scope")),
    ("username", HeaderName::from_static("x-authenticated-userid")),
];

const REQUEST_PATH: HeaderName = HeaderName::from_static("x-request-path");
const REQUEST_METHOD: HeaderName = HeaderName::from_static("x-request-http-method");

impl Authenticator for Introspection {
    const NAME: &'static str = "oauth2-introspection";
    const PRIORITY: i32 = 1700;
    type Config = Config;

    fn new(mut config: Config) -> Result<Self, Violations> {
        let endpoint = Endpoint::new(&config.introspection_url, config.timeout.unwrap_or(10_000));
        let mut asked_with = HeaderMap::new();
        for (name, value) in config.custom_introspection_headers.take().unwrap_or_default() {
            let wrong = || Violations::field("custom_introspection_headers", format!("'{name}' is no header"));
            let header: HeaderName = name.parse().map_err(|_| wrong())?;
            asked_with.insert(header, HeaderValue::try_from(value).map_err(|_| wrong())?);
        }
        let mut authorization = HeaderValue::try_from(config.authorization_value.reveal())
            .map_err(|_| Violations::field("authorization_value", "this cannot be the value of a header"))?;
        authorization.set_sensitive(true);
        asked_with.insert(AUTHORIZATION, authorization);
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        asked_with.insert(CONTENT_TYPE, form);
        let accepted = if config.accept_jwt { "application/jwt, application/json" } else { "application/json" };
        asked_with.insert(ACCEPT, HeaderValue::from_static(accepted));
        let forwarded = config.custom_claims_forward.iter().flat_map(|claims| claims.iter()).map(|claim| {
            let header = format!("x-credential-{}", claim.replace('_', "-"));
            let wrong = |_| Violations::field("custom_claims_forward", format!("'{claim}' cannot be in a header"));
            Ok((claim.clone(), header.parse().map_err(wrong)?))
        });
        Ok(Introspection {
            endpoint: endpoint.map_err(|error| Violations::field("introspection_url", error))?,
            headers: asked_with,
            forwarded: forwarded.collect::<Result<_, Violations>>()?,
            demands: Demands {
                scopes: config.scopes_required.iter().flatten().map(|entry| split(entry)).collect(),
                scopes_claim: config.scopes_claim.take().unwrap_or_else(|| "scope".to_owned()),
                roles: config.roles_required.take().unwrap_or_default(),
                roles_claim: config.roles_claim.take().unwrap_or_else(|| "roles".to_owned()),
                groups_claim: config.groups_claim.take(),
                headers: headers(config.claims_to_headers.take().unwrap_or_default())?,
            },
            longest: Duration::from_secs_f64(config.ttl.unwrap_or(30.0)),
            config,
            answers: Answers::new(),
            rest: Rest::default(),
        })
    }

    fn wants_certificate(&self) -> Option<WantedCertificate> {
        self.proof().wants_certificate()
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.demands.headers.iter().map(|(_, header)| header.clone()).collect()
    }

    fn options(config: &Config) -> Options {
        Options {
            anonymous: config.anonymous.clone(),
            run_on_preflight: config.run_on_preflight,
            scheme: "Bearer",
            realm: None,
        }
    }

    fn hide(&self, exchange: &mut Exchange) {
        let carries = bearer(&exchange.request.headers, AUTHORIZATION.as_str()).next().is_some();
        if self.config.hide_credentials && carries {
            hide(exchange, None);
        }
    }

    async fn authenticate(&self, exchange: &mut Exchange) -> Result<Identity, Refusal> {
        let (token, form) = self.token(exchange).await?;
        let told = self.told(exchange, &token).await?;
        let claims = &told.claims;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Refusal::Fault(Fault::new(error)))?;
        if !is_in_time(claims, now.as_secs_f64()) {
            return Err(invalid("The access token is invalid or has expired"));
        }
        if self.config.audiences.as_ref().is_some_and(|audiences| !claims::is_for(claims, audiences)) {
            return Err(invalid("The access token is for somebody else"));
        }
        self.proof().check(Binding::of(claims), exchange, invalid)?;
        self.demands.check(claims)?;
        // Only now: what is refused here may be good for somebody else. Where the service gets a JWT, it gets no token.
        if self.config.hide_credentials || self.config.accept_jwt {
            hide(exchange, form.as_deref());
        }
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
        let named = match self.config.consumer_by.unwrap_or(By::Username) {
            By::Username => text("username"),
            By::ClientId => text("client_id"),
        };
        let by = [ConsumerBy::Username, ConsumerBy::CustomId];
        let consumer = named.and_then(|name| consumer_by::find(exchange.registry(), &by, name));
        let identifier = ["client_id", "sub", "username"].into_iter().find_map(text).unwrap_or_default();
        let request = &mut exchange.request.headers;
        let own = TOLD.iter().map(|(claim, header)| (*claim, header));
        let forwarded = self.forwarded.iter().map(|(claim, header)| (claim.as_str(), header));
        for (claim, header) in own.chain(forwarded) {
            if let Some(value) = claims::header(claims, claim) {
                request.insert(header.clone(), value);
            }
        }
        request.extend(self.demands.told(claims));
        exchange.authenticated_groups = self.demands.groups(claims);
        exchange.claims = Claims::Told(told.claims.clone());
        if let Some(jwt) = &told.jwt {
            exchange.request.headers.insert(AUTHORIZATION, header_value(&format!("Bearer {jwt}")));
        }
        Ok(Identity { consumer, credential: Some(Credential::elsewhere(header_value(identifier))) })
    }
}

impl Introspection {
    fn proof(&self) -> ProofOfPossession {
        self.config.proof_of_possession_mtls.unwrap_or_default()
    }

    /// The one token of the request: in `Authorization`, the query, or a form, which comes with it.
    async fn token(&self, exchange: &mut Exchange) -> Result<(String, Option<String>), Refusal> {
        let named = bearer(&exchange.request.headers, AUTHORIZATION.as_str());
        let mut found: Vec<String> = named.map(Cow::into_owned).collect();
        found.extend(query::values(exchange.target.query.as_deref().unwrap_or_default(), PARAMETER));
        let form = match found.is_empty() {
            true => form(exchange).await?,
            false => None,
        };
        found.extend(query::values(form.as_deref().unwrap_or_default(), PARAMETER));
        found.retain(|token| !token.is_empty());
        found.dedup();
        let Some(token) = found.pop() else {
            let body = json!({ "error": "invalid_request", "error_description": "The access token is missing" });
            return Err(Refusal::denied(Answer::exit_json(StatusCode::UNAUTHORIZED, &body)));
        };
        if !found.is_empty() {
            return Err(invalid("Multiple tokens provided"));
        }
        // What is longer than any token would only be trouble for the authority.
        if token.len() > LONGEST_TOKEN {
            return Err(invalid("The access token is too long"));
        }
        Ok((token, form))
    }

    /// What the authority says of a token, or said a moment ago.
    async fn told(&self, exchange: &Exchange, token: &str) -> Result<Arc<Told>, Refusal> {
        let question = self.question(exchange, token);
        let known = |known| match known {
            Known::Good(told) => Some(Ok(told)),
            Known::Bad => Some(Err(invalid("The access token is invalid or has expired"))),
            Known::Nothing => None,
        };
        if let Some(known) = known(self.answers.known(&question)) {
            return known;
        }
        // Where nothing is kept, nobody gains by waiting for somebody else's answer.
        let _turn = if self.longest.is_zero() { None } else { Some(self.answers.turn(question).await) };
        if let Some(known) = known(self.answers.known(&question)) {
            return known;
        }
        let Ok(turn) = self.rest.turn() else { return Err(unavailable()) };
        // Seldom, and large: what is remembered is found without it.
        match Box::pin(self.ask(exchange, token)).await? {
            Ok(Some(told)) => {
                turn.went_well();
                let told = Arc::new(told);
                if !self.longest.is_zero() {
                    // Read JSON takes several times the room of its text.
                    self.answers.keep(question, told.clone(), 4 * told.size, told.holds_for);
                }
                Ok(told)
            }
            Ok(None) => {
                turn.went_well();
                self.answers.keep_bad(question);
                Err(invalid("The access token is invalid or has expired"))
            }
            Err(Trouble { reason, of_everybody }) => {
                match of_everybody {
                    true => turn.failed(),
                    false => turn.went_well(),
                };
                let (url, request_id) = (&self.endpoint, exchange.id.as_str());
                tracing::error!(request_id, %url, "tokens can neither be believed nor refused: {reason}");
                Err(unavailable())
            }
        }
    }

    fn question(&self, exchange: &Exchange, token: &str) -> Question {
        match self.config.introspect_request {
            false => jose::digest::sha256(token.as_bytes()),
            true => {
                let asked = format!("{} {}\n{token}", exchange.request.method, exchange.routed_target());
                jose::digest::sha256(asked.as_bytes())
            }
        }
    }

    /// Asks. `None` is a token that is not good; the error within, why that is not known.
    async fn ask(&self, exchange: &Exchange, token: &str) -> Result<Result<Option<Told>, Trouble>, Refusal> {
        let mut body = format!("token={}", utf8_percent_encode(token, NON_ALPHANUMERIC));
        if let Some(hint) = &self.config.token_type_hint {
            body += &format!("&token_type_hint={}", utf8_percent_encode(hint, NON_ALPHANUMERIC));
        }
        let mut headers = self.headers.clone();
        if self.config.introspect_request {
            headers.insert(REQUEST_PATH, header_value(&exchange.routed_target()));
            headers.insert(REQUEST_METHOD, header_value(exchange.request.method.as_str()));
        }
        let (target, body) = (self.endpoint.target().to_owned(), Body::Full(Bytes::from(body)));
        let asked = self.endpoint.ask(exchange, Method::POST, target, headers, body).await.map_err(Refusal::Fault)?;
        Ok(asked.map_err(Trouble::of_everybody).and_then(|answered| self.read(answered)))
    }

    fn read(&self, Answered { head, body }: Answered) -> Result<Option<Told>, Trouble> {
        let body = body.map_err(Trouble::of_everybody)?;
        let (claims, jwt) = match (head.status.as_u16(), is_jwt(&head.headers)) {
            (200, true) if self.config.accept_jwt => {
                let text = std::str::from_utf8(&body).map_err(|_| "its JWT is no text".to_owned())?.trim();
                let token = jose::Jwt::parse_jwt(text).map_err(|error| format!("its JWT cannot be read: {error}"))?;
                let claims = token.unverified_claims().clone();
                // RFC 9701 section 5 puts the answer into a claim of its own; some say it beside the others.
                let said =
                    claims.get("token_introspection").and_then(|said| said.get("active")).or(claims.get("active"));
                if said.is_some_and(|active| *active != Value::Bool(true)) {
                    return Ok(None);
                }
                (claims, Some(text.to_owned()))
            }
            (200, _) => {
                let claims: Object =
                    serde_json::from_slice(&body).map_err(|error| format!("it says no JSON: {error}"))?;
                match claims.get("active") {
                    Some(Value::Bool(true)) => (claims, None),
                    Some(Value::Bool(false)) => return Ok(None),
                    _ => return Err("its answer has no `active`".to_owned().into()),
                }
            }
            (204, _) if self.config.accept_jwt => return Ok(None),
            // It knows no such kind of token; oidc-provider says so of JWTs (RFC 7009 section 2.2.1).
            (400, _) if says_unsupported(&body) => return Ok(None),
            (401 | 403, _) => {
                let reason = "it does not know the gate: correct `authorization_value`".to_owned();
                return Err(Trouble::of_everybody(reason));
            }
            (status @ 500.., _) => return Err(Trouble::of_everybody(format!("it answers {status}"))),
            // That may be the request's fault: it is no reason to leave the authority alone.
            (status, _) => return Err(format!("it answers {status}").into()),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_secs_f64();
        let ends = jose::claims::numeric_date(&claims, "exp").map_err(|_| "its `exp` is no number".to_owned())?;
        let left = ends.map_or(WITHOUT_EXP, |ends| Duration::from_secs_f64((ends - now).clamp(0.0, 86_400.0)));
        let holds_for = self.longest.min(left).min(max_age(&head.headers).unwrap_or(self.longest));
        Ok(Some(Told { claims: Arc::new(claims), jwt, size: body.len(), holds_for }))
    }
}

/// The field of a query or form that holds a token (RFC 6750 section 2).
const PARAMETER: &str = "access_token";

/// The text of a body that is a form.
async fn form(exchange: &mut Exchange) -> Result<Option<String>, Refusal> {
    let headers = &exchange.request.headers;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(None);
    }
    Ok(String::from_utf8(whole_body::read(exchange).await?.to_vec()).ok())
}

/// Takes tokens out of every place where they may stand.
fn hide(exchange: &mut Exchange, form: Option<&str>) {
    exchange.request.headers.remove(AUTHORIZATION);
    if let Some(arguments) = exchange.target.query.take() {
        exchange.target.query = Some(query::without(&arguments, PARAMETER)).filter(|left| !left.is_empty());
    }
    if let Some(form) = form {
        let left = Bytes::from(query::without(form, PARAMETER));
        exchange.request.headers.insert(CONTENT_LENGTH, left.len().into());
        exchange.body = Body::Full(left);
    }
}

fn is_in_time(claims: &Object, now: f64) -> bool {
    let number = |name| jose::claims::numeric_date(claims, name);
    let ended = number("exp").map(|exp| exp.is_some_and(|exp| exp <= now)).unwrap_or(true);
    let begun = number("nbf").map(|nbf| nbf.is_none_or(|nbf| nbf <= now)).unwrap_or(false);
    begun && !ended
}

fn is_jwt(headers: &HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/jwt")
}

fn says_unsupported(body: &[u8]) -> bool {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    said.is_some_and(|said| said.get("error").and_then(Value::as_str) == Some("unsupported_token_type"))
}

fn invalid(description: &str) -> Refusal {
    let body = json!({ "error": "invalid_token", "error_description": description });
    Refusal::challenged(Answer::exit_json(StatusCode::UNAUTHORIZED, &body), " error=\"invalid_token\"")
}

fn unavailable() -> Refusal {
    let body = json!({ "message": "The authority of the token cannot be asked" });
    let answer = Answer::exit_json(StatusCode::SERVICE_UNAVAILABLE, &body);
    Refusal::Final(Box::new(answer.with_header(RETRY_AFTER, HeaderValue::from_static("1"))))
}
