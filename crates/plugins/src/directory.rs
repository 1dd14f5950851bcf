//! Authentication by a directory: what ldap-auth and ldap-auth-advanced share.

use crate::answers::{Answers, Known, Question};
use crate::basic_auth::credentials;
use crate::guessing::{BruteForceProtection, Guard};
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use net::fetch::Tls;
use net::ldap::{AT_ONCE, Directory, Encryption, Found, Groups, Searcher, Trouble};
use net::rest::Rest;
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::authenticate::{Options, Refusal};
use proxy::plugin;
use schema::{Schema, Violations};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Where a directory is.
#[derive(Deserialize, Schema)]
pub struct Place {
    /// The host of the directory.
    ldap_host: String,
    /// Its port.
    #[schema(default = 389, between(0, 65535))]
    ldap_port: i64,
    /// Whether to speak TLS from the first byte on.
    #[schema(default = false)]
    ldaps: bool,
    /// Whether to begin TLS before anything else is said.
    #[schema(default = false)]
    start_tls: bool,
}

/// Which entries are users.
#[derive(Deserialize, Schema)]
pub struct Users {
    /// Under which entry users are.
    base_dn: String,
    /// The attribute that holds a user's name.
    attribute: String,
}

/// How users come in.
#[derive(Deserialize, Schema)]
pub struct Manner {
    /// How many seconds holds what was found.
    #[schema(default = 60)]
    cache_ttl: f64,
    /// Whether the credentials are taken out before the request goes on to the service.
    #[schema(default = false)]
    hide_credentials: bool,
    /// How many milliseconds the directory may take.
    #[schema(default = 10_000)]
    timeout: Option<f64>,
    /// Read, and without effect: each question has a connection of its own.
    #[schema(default = 60_000)]
    #[expect(dead_code, reason = "Kong's configurations name it")]
    keepalive: Option<f64>,
    /// Consumer (id or username) to go on as when no password was good.
    anonymous: Option<String>,
    /// The word before the credentials, such as `basic`; `ldap` otherwise.
    #[schema(default = "ldap")]
    header_type: Option<String>,
    /// The realm named in the challenge.
    realm: Option<String>,
    /// Protection against those who try passwords out.
    #[schema(ours)]
    brute_force_protection: BruteForceProtection,
}

impl Users {
    /// Where groups are, and how they are called, if nothing else says it.
    pub fn base_and_attribute(&self) -> (String, String) {
        (self.base_dn.clone(), self.attribute.clone())
    }
}

impl Manner {
    pub fn options(&self) -> Options {
        let scheme = match self.header_type.as_deref() {
            Some(scheme) if scheme.eq_ignore_ascii_case("basic") => "Basic",
            // Kong writes it in capitals.
            _ => "LDAP",
        };
        let (anonymous, realm) = (self.anonymous.clone(), self.realm.clone());
        Options { anonymous, run_on_preflight: true, scheme, realm }
    }
}

/// A directory with what it said a moment ago.
pub struct Door {
    directory: Arc<Directory>,
    /// The word before the credential: `ldap`, `basic`.
    scheme: String,
    hide_credentials: bool,
    holds_for: Duration,
    answers: Answers<Arc<Found>>,
    guard: Guard,
    /// What passwords are hashed with, in this process alone.
    salt: [u8; 32],
    rest: Rest,
}

impl Door {
    /// `verify` says whether the directory's certificate is looked at.
    pub fn new(
        place: Place,
        verify: bool,
        users: Users,
        manner: Manner,
        searcher: Option<Searcher>,
        groups: Option<Groups>,
    ) -> Result<Door, Violations> {
        if place.ldaps && place.start_tls {
            return Err(Violations::entity("'ldaps' and 'start_tls' cannot be enabled simultaneously"));
        }
        let millis = Some(manner.timeout.unwrap_or(10_000.0)).filter(|millis| (1.0..=600_000.0).contains(millis));
        let millis = millis.ok_or_else(|| Violations::field("timeout", "give 1 to 600000 milliseconds"))?;
        let holds_for = Duration::try_from_secs_f64(manner.cache_ttl)
            .map_err(|_| Violations::field("cache_ttl", "give a number of seconds, 0 or more"))?;
        let tls = Tls { server_name: None, verify };
        let directory = Directory {
            host: place.ldap_host,
            port: u16::try_from(place.ldap_port).unwrap_or(389),
            encryption: match (place.ldaps, place.start_tls) {
                (true, _) => Encryption::Tls(tls),
                (false, true) => Encryption::StartTls(tls),
                (false, false) => Encryption::None,
            },
            timeout: Duration::from_secs_f64(millis / 1000.0),
            base: users.base_dn,
            attribute: users.attribute,
            searcher,
            groups,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        };
        let two = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes).concat();
        Ok(Door {
            directory: Arc::new(directory),
            scheme: manner.header_type.unwrap_or_else(|| "ldap".to_owned()),
            hide_credentials: manner.hide_credentials,
            holds_for,
            answers: Answers::new(),
            guard: Guard::new(Some(manner.brute_force_protection))?,
            salt: jose::digest::sha256(&two),
            rest: Rest::default(),
        })
    }

    pub fn placed(&mut self, place: &plugin::Place) {
        self.guard.placed(place);
    }

    /// Who has proven to be somebody.
    pub async fn prove(&self, exchange: &mut Exchange) -> Result<Arc<Found>, Refusal> {
        for header in [PROXY_AUTHORIZATION, AUTHORIZATION] {
            let value = exchange.request.headers.get(&header).and_then(|value| value.to_str().ok());
            let Some((scheme, encoded)) = value.and_then(|value| value.trim().split_once(' ')) else { continue };
            if !scheme.eq_ignore_ascii_case(&self.scheme) {
                continue;
            }
            let given = credentials(encoded.trim());
            if self.hide_credentials {
                // Also where they are wrong: an almost right password is a secret.
                exchange.request.headers.remove(header);
            }
            if let Some((username, password)) = given {
                self.guard.admit(exchange, &username).await?;
                let found = self.found(exchange, &username, &password).await;
                if let Err(Refusal::Denied { .. }) = &found {
                    self.guard.failed(exchange, &username);
                }
                return found;
            }
        }
        Err(unauthorized())
    }

    /// Takes out credentials for this door, if it is told to.
    pub fn hide(&self, exchange: &mut Exchange) {
        for header in [PROXY_AUTHORIZATION, AUTHORIZATION] {
            let value = exchange.request.headers.get(&header).and_then(|value| value.to_str().ok());
            let scheme = value.and_then(|value| value.trim().split_once(' ')).map(|(scheme, _)| scheme);
            if self.hide_credentials && scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(&self.scheme)) {
                exchange.request.headers.remove(header);
            }
        }
    }

    async fn found(&self, exchange: &Exchange, username: &str, password: &str) -> Result<Arc<Found>, Refusal> {
        if username.is_empty() || password.is_empty() {
            return Err(unauthorized());
        }
        let question = self.question(username, password);
        let known = |known| match known {
            Known::Good(found) => Some(Ok(found)),
            Known::Bad => Some(Err(unauthorized())),
            Known::Nothing => None,
        };
        if let Some(known) = known(self.answers.known(&question)) {
            return known;
        }
        let _turn = self.answers.turn(question).await;
        if let Some(known) = known(self.answers.known(&question)) {
            return known;
        }
        let Ok(turn) = self.rest.turn() else { return Err(unavailable()) };
        match self.directory.prove(&exchange.plan.fetcher, username, password).await {
            Ok(Some(found)) => {
                turn.went_well();
                let found = Arc::new(found);
                let size = found.groups.iter().map(String::len).sum::<usize>() + found.dn.len();
                if !self.holds_for.is_zero() {
                    self.answers.keep(question, found.clone(), size, self.holds_for);
                }
                Ok(found)
            }
            Ok(None) => {
                turn.went_well();
                self.answers.keep_bad(question);
                Err(unauthorized())
            }
            Err(Trouble { reason, of_everybody }) => {
                match of_everybody {
                    true => turn.failed(),
                    false => turn.went_well(),
                };
                let Directory { host, port, .. } = &*self.directory;
                let request_id = exchange.id.as_str();
                tracing::error!(request_id, ldap = format!("{host}:{port}"), "the directory cannot be asked: {reason}");
                Err(unavailable())
            }
        }
    }

    /// No password is kept, in whatever form that could be tried out elsewhere.
    fn question(&self, username: &str, password: &str) -> Question {
        let length = username.len().to_be_bytes();
        jose::digest::sha256(&[&self.salt[..], &length, username.as_bytes(), password.as_bytes()].concat())
    }
}

pub fn unauthorized() -> Refusal {
    Refusal::denied(Answer::error(StatusCode::UNAUTHORIZED, "Unauthorized"))
}

fn unavailable() -> Refusal {
    let answer = Answer::error(StatusCode::SERVICE_UNAVAILABLE, "The directory of users cannot be asked");
    Refusal::Final(Box::new(answer.with_header(RETRY_AFTER, HeaderValue::from_static("1"))))
}
