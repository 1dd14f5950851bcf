//! Who asks, and whether they may.

use crate::Token;
use crate::error::Error;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Request, Uri};
use jose::digest::{equal, sha256_hex};
use model::admin_token::{AdminToken, Allowance};
use model::{Configuration, Row, entity};
use schema::{Schema, Value};
use std::net::IpAddr;
use uuid::Uuid;

/// Who asks, and what they may do.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) name: String,
    /// Everything, where there is none.
    allow: Option<Vec<Allowance>>,
}

/// The name of who has the gate's own token.
const OPERATOR: &str = "admin";

impl Caller {
    /// By one of the headers that may carry a token.
    pub(crate) fn by_token(own: &Token, headers: &HeaderMap, known: &Configuration, now: u64) -> Option<Caller> {
        if own.is_in(headers) {
            return Some(Caller { name: OPERATOR.to_owned(), allow: None });
        }
        let digests: Vec<String> = Token::given(headers).map(|given| sha256_hex(&given)).collect();
        let is_it = |token: &AdminToken| {
            let digest = token.digest.as_deref().unwrap_or_default().as_bytes();
            digests.iter().any(|given| equal(given.as_bytes(), digest))
        };
        Caller::of(known, now, is_it)
    }

    /// By the consumer that a route of the gate has proven.
    pub(crate) fn by_consumer(consumer: Uuid, known: &Configuration, now: u64) -> Option<Caller> {
        Caller::of(known, now, |token| token.consumer.as_ref().is_some_and(|own| own.id == consumer))
    }

    /// What all of them allow together: a consumer may have several.
    fn of(known: &Configuration, now: u64, is_it: impl Fn(&AdminToken) -> bool) -> Option<Caller> {
        let kind = entity::kind("admin_tokens")?;
        let read = |row: &Row| AdminToken::from_read(Value::Object(row.json.clone())).ok();
        let is_good = |token: &AdminToken| {
            token.expires_at.is_none_or(|end| u64::try_from(end).unwrap_or_default() > now) && is_it(token)
        };
        let tokens: Vec<AdminToken> = known.rows(kind.name).iter().filter_map(read).filter(is_good).collect();
        let allow = tokens.iter().flat_map(|token| &token.allow).filter_map(|rule| rule.parse().ok()).collect();
        Some(Caller { name: tokens.first()?.name.clone(), allow: Some(allow) })
    }

    /// Whether it may do this with whichever entity of a collection.
    pub(crate) fn may_any(&self, method: &Method, collection: &str) -> bool {
        // No entity has this name, so that only a rule for all of them covers it.
        self.may(method, &[collection.to_owned(), "\0".to_owned()])
    }

    /// The rights are those of paths: another path to the same entity needs a rule of its own.
    pub(crate) fn may(&self, method: &Method, segments: &[String]) -> bool {
        let Some(allow) = &self.allow else { return true };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        allow.iter().any(|rule| rule.covers(method.as_str(), &segments))
    }
}

/// A page of a browser may name a host of its own and have it lead here (DNS rebinding), or send requests from another
/// site: neither is answered, whatever it carries.
pub(crate) fn from_elsewhere<T>(request: &Request<T>, is_known: impl Fn(&str) -> bool) -> Result<(), Error> {
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    let authority = request.uri().authority().map(|authority| authority.as_str()).or_else(|| text(HOST));
    if let Some(authority) = authority {
        let host = host(authority).ok_or(Error::UnknownHost)?;
        if !is_this_machine(&host) && !is_known(&host) {
            return Err(Error::UnknownHost);
        }
    }
    let of_another = |origin: &str| {
        let origin = origin.parse::<Uri>().ok().and_then(|uri| uri.authority().map(|own| own.as_str().to_owned()));
        origin.is_none() || origin.as_deref() != authority
    };
    let cross_site = matches!(text(http::HeaderName::from_static("sec-fetch-site")), Some("cross-site" | "same-site"));
    match cross_site || text(ORIGIN).is_some_and(of_another) {
        true => Err(Error::OtherOrigin),
        false => Ok(()),
    }
}

fn host(authority: &str) -> Option<String> {
    let uri: Uri = format!("http://{authority}/").parse().ok()?;
    uri.host().map(str::to_ascii_lowercase)
}

/// Names that lead nowhere else, whoever answers for names.
fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok() || host == "localhost" || host.ends_with(".localhost")
}
