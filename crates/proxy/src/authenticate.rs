//! What every authentication plugin shares, so that none can forget a step.

use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::identity::{Identity, header_value};
use crate::plugin::{Fault, Place, Plugin, Verdict, WantedCertificate};
use http::{HeaderName, Method, header};
use schema::{Schema, Violations};
use std::ops::ControlFlow;

/// Proves who is calling; the shared steps around the proof belong to [`Authenticate`].
pub trait Authenticator: Sized + Send + Sync + 'static {
    const NAME: &'static str;
    const PRIORITY: i32;
    type Config: Schema;

    fn new(config: Self::Config) -> Result<Self, Violations>;

    fn options(config: &Self::Config) -> Options;

    /// Learns which placement it is, and of which configuration.
    fn placed(&mut self, place: &Place) -> Result<(), Violations> {
        let _ = place;
        Ok(())
    }

    /// Whether it looks at the certificate that callers show.
    fn wants_certificate(&self) -> Option<WantedCertificate> {
        None
    }

    /// The headers in which it tells services something besides who calls.
    fn reserves(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    /// Takes out every credential that it would look at, if it is told to.
    fn hide(&self, exchange: &mut Exchange) {
        let _ = exchange;
    }

    /// Finds the credential and verifies it. Runs only when it has to.
    fn authenticate(&self, exchange: &mut Exchange) -> impl Future<Output = Result<Identity, Refusal>>;
}

/// The options that every authentication plugin reads the same way.
pub struct Options {
    /// The consumer, by identity or user name, to go on as when nothing was proven.
    pub anonymous: Option<String>,
    /// Whether `OPTIONS` requests are authenticated too.
    pub run_on_preflight: bool,
    /// The scheme in `WWW-Authenticate`, such as `Key`.
    pub scheme: &'static str,
    pub realm: Option<String>,
}

/// Why nothing was proven.
pub enum Refusal {
    /// The caller's fault: the answer, and what follows scheme and realm in the challenge.
    Denied { answer: Box<Answer>, challenge: &'static str },
    /// The same, where the answer holds its challenges already.
    Unproven(Box<Answer>),
    /// The request cannot be served at all, whoever sent it: not even as the anonymous consumer's.
    Final(Box<Answer>),
    /// The gate's own fault, which never opens a door, not even the anonymous one.
    Fault(Fault),
}

impl Refusal {
    pub fn denied(answer: Answer) -> Refusal {
        Refusal::challenged(answer, "")
    }

    /// A refusal that says more than the scheme in its challenge.
    pub fn challenged(answer: Answer, challenge: &'static str) -> Refusal {
        Refusal::Denied { answer: Box::new(answer), challenge }
    }
}

/// An [`Authenticator`] with the shared steps: preflight, anonymous, identity headers, challenge.
pub struct Authenticate<A> {
    authenticator: A,
    options: Options,
    challenge: String,
}

impl<A: Authenticator> Plugin for Authenticate<A> {
    const NAME: &'static str = A::NAME;
    const PRIORITY: i32 = A::PRIORITY;
    const ON_CONSUMER: bool = false;
    const AUTHENTICATES: bool = true;
    type Config = A::Config;

    fn new(config: A::Config) -> Result<Self, Violations> {
        let options = A::options(&config);
        let challenge = match &options.realm {
            Some(realm) => format!("{} realm=\"{}\"", options.scheme, realm.replace(['"', '\\'], "")),
            None => options.scheme.to_owned(),
        };
        Ok(Authenticate { authenticator: A::new(config)?, options, challenge })
    }

    fn placed(&mut self, place: &Place) -> Result<(), Violations> {
        self.authenticator.placed(place)
    }

    fn wants_certificate(&self) -> Option<WantedCertificate> {
        self.authenticator.wants_certificate()
    }

    fn hide(&self, exchange: &mut Exchange) {
        self.authenticator.hide(exchange);
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.authenticator.reserves()
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        let preflight = exchange.request.method == Method::OPTIONS && !self.options.run_on_preflight;
        // With `anonymous` set, one proof of several is enough.
        let proven = exchange.identity.as_ref().is_some_and(|identity| identity.credential.is_some());
        if preflight || proven && self.options.anonymous.is_some() {
            return Ok(ControlFlow::Continue(()));
        }
        let identity = match (self.authenticator.authenticate(exchange).await, &self.options.anonymous) {
            (Ok(identity), _) => identity,
            (Err(Refusal::Fault(fault)), _) => return Err(fault),
            (Err(Refusal::Final(answer)), _) => return Ok(ControlFlow::Break(*answer)),
            (Err(Refusal::Unproven(answer)), None) => return Ok(ControlFlow::Break(*answer)),
            (Err(Refusal::Denied { .. } | Refusal::Unproven(_)), Some(anonymous)) => {
                let consumer = exchange.registry().consumer(anonymous);
                let consumer = consumer.ok_or_else(|| {
                    Fault::new(format!(
                        "the anonymous consumer {anonymous} of {} does not exist; add it or correct `anonymous`",
                        A::NAME
                    ))
                })?;
                Identity { consumer: Some(consumer), credential: None }
            }
            (Err(Refusal::Denied { answer, challenge }), None) => {
                let challenge = header_value(&format!("{}{challenge}", self.challenge));
                return Ok(ControlFlow::Break(answer.with_header(header::WWW_AUTHENTICATE, challenge)));
            }
        };
        identity.write(&mut exchange.request.headers);
        exchange.identity = Some(identity);
        Ok(ControlFlow::Continue(()))
    }
}
