//! Several ways in: one of these authentication plugins must find a good credential.

use crate::PLUGINS;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderName, StatusCode};
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::identity::Identity;
use proxy::plugin::{Definition, Place, Running, WantedCertificate};
use schema::{Depends, Map, Record, Schema, Value, Violations};
use serde::Deserialize;
use std::ops::ControlFlow;

/// Several ways in: one of these authentication plugins must find a good credential.
///
/// They are asked in the order in which they stand here, and the first that finds one decides who calls. If none does,
/// the answer is a 401 with the challenges of all; or that of one which could not decide, such as a 503.
///
/// Several authentication plugins on a route are all demanded; each one here is enough. So `any-of` beside `mtls-auth`
/// is a certificate and one of the others. What holds for all, `anonymous` and `run_on_preflight`, is set here.
#[derive(Deserialize, Schema)]
pub struct Config {
    /// The ways in.
    #[schema(len_min(1))]
    of: Vec<Way>,
    /// Consumer (id or username) to go on as when no credential was good.
    anonymous: Option<String>,
    /// Authenticate `OPTIONS` requests too.
    #[schema(default = true)]
    run_on_preflight: bool,
}

/// An authentication plugin.
#[derive(Deserialize, Schema)]
#[schema(depends = CONFIG)]
struct Way {
    /// Its name: `basic-auth`, `header-cert-auth`, `hmac-auth`, `jwt`, `key-auth`, `ldap-auth`,
    /// `ldap-auth-advanced`, `mtls-auth` or `oauth2-introspection`.
    #[schema(format(authenticator))]
    name: String,
    /// Its options, as on its own page.
    #[schema(required(false))]
    config: Map<String, Value>,
}

/// Those that may stand here.
const AUTHENTICATORS: [&str; 9] = [
    "basic-auth",
    "header-cert-auth",
    "hmac-auth",
    "jwt",
    "key-auth",
    "ldap-auth",
    "ldap-auth-advanced",
    "mtls-auth",
    "oauth2-introspection",
];

const CONFIG: Depends = Depends { field: "config", on: "name", record: options };

/// The options of a plugin that may stand here.
fn options(name: &str) -> Option<Record> {
    definition(name).ok().map(|definition| definition.schema().config)
}

pub struct AnyOf {
    ways: Vec<Box<dyn Running>>,
}

impl Authenticator for AnyOf {
    const NAME: &'static str = "any-of";
    const PRIORITY: i32 = 1500;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let ways = config.of.into_iter().map(Way::build).collect::<Result<_, _>>();
        Ok(AnyOf { ways: ways.map_err(|violations| violations.under("of"))? })
    }

    fn options(config: &Config) -> Options {
        Options {
            anonymous: config.anonymous.clone(),
            run_on_preflight: config.run_on_preflight,
            scheme: "",
            realm: None,
        }
    }

    fn placed(&mut self, place: &Place) -> Result<(), Violations> {
        self.ways.iter_mut().try_for_each(|way| way.placed(place))
    }

    fn wants_certificate(&self) -> Option<WantedCertificate> {
        WantedCertificate::all(self.ways.iter().filter_map(|way| way.wants_certificate()))
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.ways.iter().flat_map(|way| way.reserves()).collect()
    }

    fn hide(&self, exchange: &mut Exchange) {
        self.ways.iter().for_each(|way| way.hide(exchange));
    }

    async fn authenticate(&self, exchange: &mut Exchange) -> Result<Identity, Refusal> {
        let before = exchange.identity.take();
        let (mut undecided, mut challenges) = (None, HeaderMap::new());
        for way in &self.ways {
            // What one takes out and refuses may be what the next one looks for.
            let (headers, query) = (exchange.request.headers.clone(), exchange.target.query.clone());
            match way.on_request(exchange).await.map_err(Refusal::Fault)? {
                ControlFlow::Continue(()) => match exchange.identity.take() {
                    Some(identity) if identity.credential.is_some() => {
                        // Those that were not asked may not leave their credentials to the service either.
                        self.ways.iter().for_each(|way| way.hide(exchange));
                        return Ok(identity);
                    }
                    _ => {}
                },
                ControlFlow::Break(answer) => match answer.parts() {
                    (StatusCode::UNAUTHORIZED, headers) => {
                        challenges.extend(
                            headers.get_all(WWW_AUTHENTICATE).iter().map(|one| (WWW_AUTHENTICATE, one.clone())),
                        );
                    }
                    _ => undecided = undecided.or(Some(answer)),
                },
            }
            (exchange.request.headers, exchange.target.query) = (headers, query);
        }
        exchange.identity = before;
        if let Some(answer) = undecided {
            return Err(Refusal::Final(Box::new(answer)));
        }
        let mut answer = Answer::error(StatusCode::UNAUTHORIZED, "Unauthorized");
        answer.headers_mut().extend(challenges);
        Err(Refusal::Unproven(Box::new(answer)))
    }
}

impl Way {
    fn build(self) -> Result<Box<dyn Running>, Violations> {
        let name = &self.name;
        for (option, usual) in [("anonymous", Value::Null), ("run_on_preflight", Value::Bool(true))] {
            if self.config.get(option).is_some_and(|given| *given != usual) {
                return Err(Violations::field(option, format!("set it at any-of, and not at {name}")));
            }
        }
        let definition = definition(name).map_err(|error| Violations::field("name", error))?;
        definition.build(Value::Object(self.config))
    }
}

/// The definition of a plugin that may stand here.
fn definition(name: &str) -> Result<&'static Definition, String> {
    let found = PLUGINS.iter().find(|definition| definition.name == name && AUTHENTICATORS.contains(&name));
    found.ok_or_else(|| format!("expected one of: {}", AUTHENTICATORS.join(", ")))
}

fn authenticator(name: &str) -> Result<(), String> {
    definition(name).map(drop)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, outcome};
    use schema::{Value, json};

    const NAME: &str = "any-of";

    fn ways() -> Value {
        json!({"of": [{"name": "key-auth"}, {"name": "basic-auth", "config": {"realm": "shop"}}]})
    }

    #[tokio::test]
    async fn one_good_credential_is_enough() {
        for request in ["apikey: k1", "authorization: Basic YW5uOnBhOnNz"] {
            for noise in [&[][..], &["x: y"]] {
                let request: Vec<&str> = [request].iter().chain(noise).copied().collect();
                let outcome = outcome(None, NAME, ways(), &request).await;
                assert!(outcome.starts_with("service") && outcome.contains("x-consumer-username: ann"), "{outcome}");
            }
        }
        // A bad one before a good one is no reason to refuse.
        let both = outcome(None, NAME, ways(), &["apikey: no", "authorization: Basic YW5uOnBhOnNz"]).await;
        assert!(both.starts_with("service"), "{both}");
    }

    #[tokio::test]
    async fn without_one_nobody_passes() {
        for request in [&[][..], &["apikey: no"], &["authorization: Basic YW5uOng="], &["OPTIONS /"]] {
            let refused = outcome(None, NAME, ways(), request).await;
            assert!(refused.starts_with("401 {\"message\":\"Unauthorized\"} Key"), "{refused}");
        }
        let mut config = ways();
        config["anonymous"] = json!("guest");
        let guest = outcome(None, NAME, config, &["apikey: no"]).await;
        assert!(guest.starts_with("service\napikey: no\nx-anonymous-consumer: true"), "{guest}");
    }

    #[tokio::test]
    async fn options_are_those_of_the_plugin() {
        for (of, expected) in [
            (json!([]), r#"{"of":"length must be at least 1"}"#),
            (
                json!([{"name": "acl"}]),
                r#"{"of":[{"name":"expected one of: basic-auth, header-cert-auth, hmac-auth, jwt, key-auth, ldap-auth, ldap-auth-advanced, mtls-auth, oauth2-introspection"}]}"#,
            ),
            (
                json!([{"name": "key-auth", "config": {"colour": 1}}]),
                r#"{"of":[{"config":{"colour":"unknown field"}}]}"#,
            ),
            (
                json!([{"name": "key-auth", "config": {"anonymous": "x"}}]),
                r#"{"of":{"anonymous":"set it at any-of, and not at key-auth"}}"#,
            ),
        ] {
            check(NAME, json!({"of": of}), &[], expected).await;
        }
    }
}
