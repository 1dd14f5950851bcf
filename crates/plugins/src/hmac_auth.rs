//! Authenticates a consumer by a signature over parts of the request, made with a shared secret.

use crate::whole_body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE, DATE, HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, StatusCode, Version};
use jose::digest::{self, Hash};
use message_signature::MessageSignature;
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::identity::Identity;
use proxy::plugin::Fault;
use schema::{Schema, Violations};
use serde::Deserialize;
use std::time::{SystemTime, UNIX_EPOCH};

mod message_signature;

/// Authenticates a consumer by a signature over parts of the request (HMAC, RFC 2104), made with a shared secret.
///
/// `Authorization: hmac username="NAME", algorithm="hmac-sha256", headers="date request-line", signature="BASE64"`.
/// A signature can be used again until its date is too old: sign what must happen only once.
#[derive(Deserialize, Schema)]
pub struct Config {
    /// Whether the signature is taken out before the request goes on to the service.
    #[schema(default = false)]
    hide_credentials: bool,
    /// By how many seconds the request's `X-Date` or `Date` may differ from the gate's clock.
    #[schema(default = 300, greater_than(0))]
    clock_skew: Option<f64>,
    /// Consumer (id or username) to go on as when no signature was good.
    anonymous: Option<String>,
    /// Whether the body must match the header `Digest: SHA-256=BASE64`. Sign that header, too.
    #[schema(default = false)]
    validate_request_body: bool,
    /// What must be among the signed parts: names of headers, `request-line`, `@request-target`.
    #[schema(default = [])]
    enforce_headers: Option<Vec<String>>,
    /// The algorithms that are taken. SHA-1 is old, and not broken in this use.
    #[schema(default = ["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"])]
    algorithms: Option<Vec<Algorithm>>,
    /// The realm named in the challenge.
    realm: Option<String>,
    /// Whether HTTP Message Signatures (RFC 9421) are taken as well: `Signature-Input` and `Signature`, with
    /// `hmac-sha256`, the user name as `keyid`, and `created` within `clock_skew`.
    ///
    /// They must sign method, host, path and query: `@method`, `@authority`, `@path`, `@query`, or `@target-uri` for the
    /// last three. With `validate_request_body` they must sign `Content-Digest`, too (RFC 9530). Names of headers in
    /// `enforce_headers` hold for them as well.
    #[schema(ours, default = false)]
    rfc9421: Option<bool>,
}

#[derive(Clone, Copy, Deserialize, Schema, PartialEq, Eq)]
enum Algorithm {
    #[serde(rename = "hmac-sha1")]
    Sha1,
    #[serde(rename = "hmac-sha256")]
    Sha256,
    #[serde(rename = "hmac-sha384")]
    Sha384,
    #[serde(rename = "hmac-sha512")]
    Sha512,
}

pub struct HmacAuth {
    config: Config,
}

/// What a caller says of its signature.
struct Signature {
    username: String,
    algorithm: Algorithm,
    /// The names of what is signed, as they are written into what is signed.
    parts: Vec<String>,
    tag: Vec<u8>,
}

const X_DATE: HeaderName = HeaderName::from_static("x-date");
const DIGEST: HeaderName = HeaderName::from_static("digest");

const NO_DATE: &str =
    "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication";
const NOT_VERIFIED: &str = "HMAC signature cannot be verified";
const NO_MATCH: &str = "HMAC signature does not match";

impl Authenticator for HmacAuth {
    const NAME: &'static str = "hmac-auth";
    const PRIORITY: i32 = 1030;
    type Config = Config;

    fn new(mut config: Config) -> Result<Self, Violations> {
        config.enforce_headers.iter_mut().flatten().for_each(|name| name.make_ascii_lowercase());
        Ok(HmacAuth { config })
    }

    fn options(config: &Config) -> Options {
        Options {
            anonymous: config.anonymous.clone(),
            run_on_preflight: true,
            scheme: "hmac",
            realm: config.realm.clone(),
        }
    }

    fn hide(&self, exchange: &mut Exchange) {
        if self.config.hide_credentials && self.takes_message_signatures() {
            exchange.request.headers.remove(message_signature::INPUT);
            exchange.request.headers.remove(message_signature::SIGNATURE);
        }
        if self.config.hide_credentials
            && let Some((place, _)) = given(&exchange.request.headers)
        {
            exchange.request.headers.remove(&place);
        }
    }

    async fn authenticate(&self, exchange: &mut Exchange) -> Result<Identity, Refusal> {
        if self.takes_message_signatures() && exchange.request.headers.contains_key(message_signature::INPUT) {
            return self.by_message_signature(exchange).await;
        }
        let Some((place, signature)) = given(&exchange.request.headers) else { return Err(refused("Unauthorized")) };
        if self.config.hide_credentials {
            // Also where it is wrong, since callers may go on as the anonymous consumer.
            exchange.request.headers.remove(&place);
        }
        let headers = &exchange.request.headers;
        let skew = self.config.clock_skew.unwrap_or(300.0);
        if ![&X_DATE, &DATE].into_iter().any(|name| is_recent(headers, name, skew)) {
            return Err(refused(NO_DATE));
        }
        let signature = signature.filter(|signature| self.is_acceptable(signature));
        let Some(signature) = signature else { return Err(refused(NOT_VERIFIED)) };
        // A date that is not signed says nothing: whoever has seen a signature could give it a new one.
        let dated = |name: &&HeaderName| signature.signs(name.as_str());
        if ![&X_DATE, &DATE].into_iter().filter(dated).any(|name| is_recent(headers, name, skew)) {
            return Err(refused(NO_DATE));
        }
        let known = exchange.registry().hmac(&signature.username);
        let Some((credential, identity)) = known else { return Err(refused(NOT_VERIFIED)) };
        let signed = signed(exchange, &signature.parts);
        let secret = credential.secret.reveal().as_bytes();
        if !digest::is_hmac(signature.algorithm.hash(), secret, signed.as_bytes(), &signature.tag) {
            return Err(refused(NO_MATCH));
        }
        if self.config.validate_request_body {
            let body = whole_body::read(exchange).await?;
            if !matches_digest(&exchange.request.headers, &body) {
                return Err(refused(NO_MATCH));
            }
        }
        Ok(identity)
    }
}

impl HmacAuth {
    fn takes_message_signatures(&self) -> bool {
        self.config.rfc9421 == Some(true)
    }

    /// One of the signatures must be good; others may be for somebody else on the way.
    async fn by_message_signature(&self, exchange: &mut Exchange) -> Result<Identity, Refusal> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Refusal::Fault(Fault::new(error)))?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let skew = self.config.clock_skew.unwrap_or(300.0);
        let good = message_signature::given(&exchange.request.headers).into_iter().find_map(|signature| {
            let (credential, identity) = exchange.registry().hmac(&signature.username)?;
            let sound = signature.is_recent(now, skew) && self.covers_enough(&signature, exchange);
            let good = sound && signature.is_by(credential.secret.reveal().as_bytes(), exchange);
            good.then_some((signature, identity))
        });
        Authenticator::hide(self, exchange);
        let (signature, identity) = good.ok_or_else(|| refused(NOT_VERIFIED))?;
        if self.config.validate_request_body {
            let body = whole_body::read(exchange).await?;
            if !signature.signs_body(&exchange.request.headers, &body) {
                return Err(refused(NO_MATCH));
            }
        }
        Ok(identity)
    }

    fn covers_enough(&self, signature: &MessageSignature, exchange: &Exchange) -> bool {
        let algorithms = self.config.algorithms.as_deref().unwrap_or_default();
        // The request line is signed in any case.
        let line = |name: &&String| !matches!(name.as_str(), "request-line" | "@request-target");
        let mut enforced = self.config.enforce_headers.iter().flatten().filter(line);
        algorithms.contains(&Algorithm::Sha256)
            && signature.is_for_one_request(exchange)
            && enforced.all(|name| signature.covers(name))
    }

    fn is_acceptable(&self, signature: &Signature) -> bool {
        let algorithms = self.config.algorithms.as_deref().unwrap_or_default();
        let enforced = self.config.enforce_headers.as_deref().unwrap_or_default();
        algorithms.contains(&signature.algorithm) && enforced.iter().all(|name| signature.signs(name))
    }
}

/// Where a signature stands, and what it says if that can be read. Of the two headers the one for proxies goes
/// first, where it holds a signature.
fn given(headers: &HeaderMap) -> Option<(HeaderName, Option<Signature>)> {
    let places = [PROXY_AUTHORIZATION, AUTHORIZATION].into_iter().filter(|name| headers.contains_key(name));
    let mut read = places.map(|name| {
        let signature = headers.get(&name).and_then(|value| Signature::of(value.to_str().ok()?));
        (name, signature)
    });
    let first = read.next()?;
    if first.1.is_some() { Some(first) } else { Some(read.next().unwrap_or(first)) }
}

impl Signature {
    fn of(header: &str) -> Option<Signature> {
        let (scheme, rest) = header.trim_start().split_once(char::is_whitespace)?;
        if !scheme.eq_ignore_ascii_case("hmac") {
            return None;
        }
        let value = |name: &str| {
            let mut given = pairs(rest)?.into_iter().filter(|(key, _)| *key == name).map(|(_, value)| value);
            // Said twice, it says nothing.
            given.next().filter(|_| given.next().is_none())
        };
        Some(Signature {
            username: value("username").filter(|name| !name.is_empty())?.to_owned(),
            algorithm: Algorithm::of(value("algorithm")?)?,
            parts: value("headers")?.split_ascii_whitespace().map(str::to_owned).collect(),
            tag: STANDARD.decode(value("signature")?).ok()?,
        })
    }
}

impl Signature {
    fn signs(&self, name: &str) -> bool {
        self.parts.iter().any(|part| part.eq_ignore_ascii_case(name))
    }
}

/// `name="value"` pairs with commas between them.
fn pairs(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        pairs.push((name.trim(), value));
        let after = after.trim_start();
        rest = if after.is_empty() { after } else { after.strip_prefix(',')?.trim_start() };
    }
    Some(pairs)
}

/// The text that is signed: a line for each part, in the caller's order.
fn signed(exchange: &Exchange, parts: &[String]) -> String {
    let request = &exchange.request;
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    let line = |part: &String| match part.to_ascii_lowercase().as_str() {
        "request-line" => {
            let version = match request.version {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2.0",
                _ => "1.1",
            };
            format!("{} {target} HTTP/{version}", request.method)
        }
        "@request-target" => format!("{part}: {} {target}", request.method.as_str().to_ascii_lowercase()),
        name => {
            // All of them: who sends a second one later has not signed it.
            let values = request.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            let between = if name == COOKIE.as_str() { "; " } else { ", " };
            match values.collect::<Vec<_>>().as_slice() {
                // Over HTTP/2 it is no header.
                [] if name == HOST.as_str() => format!("{part}: {}", exchange.host()),
                [] => format!("{part}:"),
                values => format!("{part}: {}", values.join(between)),
            }
        }
    };
    parts.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn is_recent(headers: &HeaderMap, name: &HeaderName, skew_s: f64) -> bool {
    let date = headers.get(name).and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok());
    let now = SystemTime::now();
    let apart = |date: SystemTime| date.duration_since(now).or_else(|_| now.duration_since(date));
    date.is_some_and(|date| apart(date).is_ok_and(|apart| apart.as_secs_f64() <= skew_s))
}

/// Whether a body is the one that `Digest` tells of (RFC 3230). Without that header only an empty one is.
fn matches_digest(headers: &HeaderMap, body: &[u8]) -> bool {
    match headers.get(DIGEST) {
        None => body.is_empty(),
        Some(given) => {
            let expected = format!("SHA-256={}", STANDARD.encode(digest::sha256(body)));
            digest::equal(given.as_bytes(), expected.as_bytes())
        }
    }
}

fn refused(message: &'static str) -> Refusal {
    Refusal::denied(Answer::error(StatusCode::UNAUTHORIZED, message))
}

impl Algorithm {
    fn of(name: &str) -> Option<Algorithm> {
        match name {
            "hmac-sha1" => Some(Algorithm::Sha1),
            "hmac-sha256" => Some(Algorithm::Sha256),
            "hmac-sha384" => Some(Algorithm::Sha384),
            "hmac-sha512" => Some(Algorithm::Sha512),
            _ => None,
        }
    }

    fn hash(self) -> Hash {
        match self {
            Algorithm::Sha1 => Hash::Sha1,
            Algorithm::Sha256 => Hash::Sha256,
            Algorithm::Sha384 => Hash::Sha384,
            Algorithm::Sha512 => Hash::Sha512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check;
    use schema::json;

    #[test]
    fn signatures_are_read_whole_or_not_at_all() {
        let read = |header: &str| {
            Signature::of(header).map(|given| (given.username, given.parts.join(" "), given.tag)).unwrap_or_default()
        };
        let good =
            "hmac username=\"a,b\", algorithm=\"hmac-sha256\", headers=\"Date request-line\", signature=\"AQI=\"";
        assert_eq!(read(good), ("a,b".into(), "Date request-line".into(), vec![1, 2]));
        assert_eq!(read(&good.replace("hmac username", "HMAC  username")).0, "a,b");
        for odd in [
            "hmac",
            "hmac nonsense",
            &good.replace("sha256", "md5"),
            &good.replace("AQI=", "!"),
            &good.replace("\"a,b\",", "\"a\""),
            &good.replace("hmac username", "Basic username"),
            &good.replace("\"a,b\"", "\"\""),
            &format!("{good}, username=\"other\""),
            &good.replace("\", signature", ", signature"),
        ] {
            assert_eq!(read(odd).0, "", "{odd}");
        }
    }

    #[tokio::test]
    async fn what_is_not_signed_now_is_refused() {
        let refused = |message: &str| format!("401 {{\"message\":\"{message}\"}} hmac");
        let now = format!("x-date: {}", httpdate::fmt_http_date(SystemTime::now()));
        for parts in ["date", "request-line", ""] {
            let given =
                format!("hmac username=\"ann\", algorithm=\"hmac-sha256\", headers=\"{parts}\", signature=\"AQI=\"");
            let given = format!("authorization: {given}");
            check("hmac-auth", json!({}), &[&given, &now, "date: Sun, 06 Nov 1994 08:49:37 GMT"], &refused(NO_DATE))
                .await;
        }
        let unsigned = refused("Unauthorized");
        check("hmac-auth", json!({}), &["date: Sun, 06 Nov 1994 08:49:37 GMT"], &unsigned).await;
        let old = &["authorization: hmac x", "date: Sun, 06 Nov 1994 08:49:37 GMT"];
        check("hmac-auth", json!({}), old, &refused(NO_DATE)).await;
        check("hmac-auth", json!({"clock_skew": 0}), &[], r#"{"clock_skew":"value must be greater than 0"}"#).await;
    }
}
