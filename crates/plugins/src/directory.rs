//! Authentication by a directory: what ldap-auth and ldap-auth-advanced share.

use crate::answers::{Answers, Known, Question};
use crate::basic_auth::credentials;
use crate::guessing::Guard;
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use net::ldap::{Directory, Found, Trouble};
use net::rest::Rest;
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::authenticate::Refusal;
use proxy::plugin::Place;
use schema::Violations;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

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
    pub fn new(
        directory: Directory,
        scheme: Option<String>,
        hide_credentials: bool,
        cache_ttl_s: f64,
        guard: Guard,
    ) -> Result<Door, Violations> {
        let holds_for = Duration::try_from_secs_f64(cache_ttl_s)
            .map_err(|_| Violations::field("cache_ttl", "give a number of seconds, 0 or more"))?;
        let two = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes).concat();
        Ok(Door {
            directory: Arc::new(directory),
            scheme: scheme.unwrap_or_else(|| "ldap".to_owned()),
            hide_credentials,
            holds_for,
            answers: Answers::new(),
            guard,
            salt: jose::digest::sha256(&two),
            rest: Rest::default(),
        })
    }

    pub fn placed(&mut self, place: &Place) {
        self.guard.placed(place);
    }

    /// Kong writes `ldap` in capitals, and all else as it stands.
    pub fn challenge(scheme: Option<&str>) -> &'static str {
        match scheme {
            Some(scheme) if scheme.eq_ignore_ascii_case("basic") => "Basic",
            _ => "LDAP",
        }
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
