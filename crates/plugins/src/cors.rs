//! Tells browsers which other sites may read answers (CORS, Fetch standard section 3.2).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::identity::header_value;
use proxy::plugin::{Plugin, Verdict};
use regex::Regex;
use schema::{Schema, Violations};
use serde::Deserialize;
use std::ops::ControlFlow;

/// Tells browsers which other sites may read answers (CORS, Fetch standard section 3.2).
#[derive(Deserialize, Schema)]
pub struct Config {
    /// The sites that may: `https://app.example.com`, a regular expression for such or for a host alone, or `*`.
    ///
    /// Without any, all may. A single plain one is named to everybody.
    #[schema(each(format(site)))]
    origins: Option<Vec<String>>,
    /// The request headers that sites may set. Without any, those that they ask for.
    headers: Option<Vec<String>>,
    /// The answer's headers that sites may read.
    exposed_headers: Option<Vec<String>>,
    /// The methods that sites may use.
    #[schema(default = ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"])]
    methods: Option<Vec<Verb>>,
    /// For how many seconds a browser may remember what it was told.
    max_age: Option<f64>,
    /// Whether sites may send the user's cookies and credentials. With all sites allowed, each of them may.
    #[schema(default = false)]
    credentials: bool,
    /// Whether public sites may ask for a private network's services (`Access-Control-Request-Private-Network`).
    #[schema(default = false)]
    private_network: bool,
    /// Whether the service answers browsers' questions (preflights) by itself.
    #[schema(default = false)]
    preflight_continue: bool,
}

#[derive(Clone, Copy, Deserialize, Schema)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    Get,
    Head,
    Put,
    Patch,
    Post,
    Delete,
    Options,
    Trace,
    Connect,
}

pub struct Cors {
    origins: Origins,
    headers: Option<HeaderValue>,
    exposed_headers: Option<HeaderValue>,
    methods: HeaderValue,
    max_age: Option<HeaderValue>,
    credentials: bool,
    private_network: bool,
    preflight_continue: bool,
}

/// Which sites may read.
enum Origins {
    All,
    /// Always the same, whoever asks.
    One(HeaderValue),
    These(Vec<Site>),
}

enum Site {
    Origin(String),
    OriginLike(Regex),
    HostLike(Regex),
}

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const TRUE: HeaderValue = HeaderValue::from_static("true");

impl Plugin for Cors {
    const NAME: &'static str = "cors";
    const PRIORITY: i32 = 2000;
    const ON_CONSUMER: bool = false;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let list = |words: Option<Vec<String>>| {
            let words = words.filter(|words| !words.is_empty())?;
            Some(header_value(&words.join(",")))
        };
        let methods: Vec<&str> = config.methods.unwrap_or_default().into_iter().map(Verb::name).collect();
        Ok(Cors {
            origins: Origins::new(config.origins.unwrap_or_default())?,
            headers: list(config.headers),
            exposed_headers: list(config.exposed_headers),
            methods: header_value(&methods.join(",")),
            max_age: config.max_age.map(|seconds| header_value(&seconds.to_string())),
            credentials: config.credentials,
            private_network: config.private_network,
            preflight_continue: config.preflight_continue,
        })
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        if !is_preflight(exchange) || self.preflight_continue {
            return Ok(ControlFlow::Continue(()));
        }
        let asked = &exchange.request.headers;
        let mut headers = HeaderMap::new();
        self.say_who(asked, &mut headers);
        if let Some(value) = self.headers.as_ref().or_else(|| asked.get(ACCESS_CONTROL_REQUEST_HEADERS)) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, value.clone());
        }
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        if let Some(max_age) = &self.max_age {
            headers.insert(ACCESS_CONTROL_MAX_AGE, max_age.clone());
        }
        if self.private_network && asked.contains_key(REQUEST_PRIVATE_NETWORK) {
            headers.insert(ALLOW_PRIVATE_NETWORK, TRUE);
        }
        let body = bytes::Bytes::new();
        Ok(ControlFlow::Break(Answer::Exit { status: StatusCode::OK, body, content_type: None, headers }))
    }

    fn on_response(&self, exchange: &mut Exchange, response: &mut Parts) {
        // A preflight was answered whole, or is the service's affair.
        if is_preflight(exchange) {
            return;
        }
        self.say_who(&exchange.request.headers, &mut response.headers);
        if let Some(exposed) = &self.exposed_headers {
            response.headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }
}

impl Cors {
    /// Who may read the answer. What a service says of it is replaced.
    fn say_who(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        let origin = asked.get(ORIGIN);
        let (allowed, varies) = match &self.origins {
            // With credentials, browsers take no `*` (Fetch standard section 3.2.5).
            Origins::All if self.credentials && origin.is_some() => (origin.cloned(), true),
            Origins::All => (Some(HeaderValue::from_static("*")), self.credentials),
            Origins::One(one) => (Some(one.clone()), true),
            Origins::These(sites) => {
                let origin = origin.filter(|origin| origin.to_str().is_ok_and(|origin| any(sites, origin)));
                (origin.cloned(), true)
            }
        };
        answer.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
        let everybody = matches!(self.origins, Origins::All) && origin.is_none();
        if self.credentials && !everybody {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(allowed) = allowed {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        }
        let told = answer.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
        if varies && !told.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case("origin")) {
            answer.append(VARY, HeaderValue::from_static("Origin"));
        }
    }
}

/// Whether a browser asks what it may ask (Fetch standard section 4.8).
fn is_preflight(exchange: &Exchange) -> bool {
    let headers = &exchange.request.headers;
    exchange.request.method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl Origins {
    fn new(texts: Vec<String>) -> Result<Origins, Violations> {
        match texts.as_slice() {
            [] => return Ok(Origins::All),
            texts if texts.iter().any(|text| text == "*") => return Ok(Origins::All),
            [one] if is_plain(one) => return Ok(Origins::One(header_value(one))),
            _ => {}
        }
        let sites = texts.iter().map(|text| Site::of(text)).collect::<Result<_, String>>();
        sites.map(Origins::These).map_err(|error| Violations::field("origins", error))
    }
}

fn site(text: &str) -> Result<(), String> {
    if text == "*" { Ok(()) } else { Site::of(text).map(drop) }
}

impl Site {
    fn of(text: &str) -> Result<Site, String> {
        let host_alone = !text.contains(':');
        if is_plain(text) {
            // A host alone is no origin, as in Kong: it would stand for each of its ports, with TLS or without.
            return Ok(Site::Origin(normal(text)));
        }
        // The whole of it must match: a beginning alone would let `https://a.test.evil.test` in.
        let regex = Regex::new(&format!("^(?:{text})$")).map_err(|_| format!("'{text}' is not a valid regex"))?;
        Ok(if host_alone { Site::HostLike(regex) } else { Site::OriginLike(regex) })
    }
}

fn any(sites: &[Site], origin: &str) -> bool {
    let lower = origin.to_ascii_lowercase();
    let authority = lower.split_once("://").map_or(lower.as_str(), |(_, authority)| authority);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    sites.iter().any(|site| match site {
        Site::Origin(known) => *known == normal(origin),
        Site::OriginLike(regex) => regex.is_match(&lower),
        Site::HostLike(regex) => regex.is_match(host),
    })
}

/// An origin in lower case with its port, so that one site has one spelling.
fn normal(origin: &str) -> String {
    let origin = origin.to_ascii_lowercase();
    match origin.split_once("://") {
        Some(("http", host)) if !host.contains(':') => format!("{origin}:80"),
        Some(("https", host)) if !host.contains(':') => format!("{origin}:443"),
        _ => origin,
    }
}

/// Whether a text is a site's name, and no expression.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:/-".contains(&byte))
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Head => "HEAD",
            Verb::Put => "PUT",
            Verb::Patch => "PATCH",
            Verb::Post => "POST",
            Verb::Delete => "DELETE",
            Verb::Options => "OPTIONS",
            Verb::Trace => "TRACE",
            Verb::Connect => "CONNECT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check;
    use schema::json;

    fn answer(config: serde_json::Value, origin: Option<&str>) -> String {
        let mut config = config;
        crate::PLUGINS.iter().find(|plugin| plugin.name == "cors").unwrap().schema().config.read(&mut config).unwrap();
        let cors = Cors::new(serde_json::from_value(config).unwrap()).ok().unwrap();
        let mut asked = HeaderMap::new();
        asked.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_str(origin).unwrap())));
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("https://service.test"));
        cors.say_who(&asked, &mut headers);
        let value = |name| headers.get(name).map_or("-", |value: &HeaderValue| value.to_str().unwrap());
        [value(ACCESS_CONTROL_ALLOW_ORIGIN), value(ACCESS_CONTROL_ALLOW_CREDENTIALS), value(VARY)].join(" ")
    }

    #[test]
    fn only_sites_that_may_are_named() {
        let two = json!({"origins": ["https://a.test", "b.test"]});
        for (origin, expected) in [
            ("https://a.test", "https://a.test - Origin"),
            ("https://a.test:443", "https://a.test:443 - Origin"),
            ("http://a.test", "- - Origin"),
            ("https://a.test.evil.test", "- - Origin"),
            ("http://b.test", "- - Origin"),
            ("null", "- - Origin"),
        ] {
            assert_eq!(answer(two.clone(), Some(origin)), expected, "{origin}");
        }
        let like = json!({"origins": ["https://[a-z]+\\.dev\\.test", "x"], "credentials": true});
        assert_eq!(answer(like.clone(), Some("https://x.dev.test")), "https://x.dev.test true Origin");
        assert_eq!(answer(like.clone(), Some("https://x.dev.test.evil.test")), "- true Origin");
        assert_eq!(answer(like, Some("https://evil.test/https://x.dev.test")), "- true Origin");
    }

    #[test]
    fn all_sites_or_one_need_no_list() {
        assert_eq!(answer(json!({}), Some("https://a.test")), "* - -");
        assert_eq!(answer(json!({"origins": ["*"]}), None), "* - -");
        assert_eq!(answer(json!({"credentials": true}), Some("https://a.test")), "https://a.test true Origin");
        assert_eq!(answer(json!({"credentials": true}), None), "* - Origin");
        assert_eq!(answer(json!({"origins": ["https://a.test"]}), Some("https://b.test")), "https://a.test - Origin");
    }

    #[tokio::test]
    async fn preflights_are_answered_or_passed_on() {
        let preflight = &["OPTIONS /", "origin: https://a.test", "access-control-request-method: GET"];
        check("cors", json!({}), preflight, "200 ").await;
        let passed = "service\naccess-control-request-method: GET\norigin: https://a.test";
        check("cors", json!({"preflight_continue": true}), preflight, passed).await;
        check("cors", json!({}), &["OPTIONS /", "origin: https://a.test"], "service\norigin: https://a.test").await;
        let odd = r#"{"origins":["'a(' is not a valid regex"]}"#;
        check("cors", json!({"origins": ["a("]}), &[], odd).await;
    }
}
