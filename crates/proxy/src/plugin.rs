//! What a plugin is.

use crate::answer::Answer;
use crate::exchange::Exchange;
use http::HeaderName;
use http::response::Parts;
use model::Configuration;
use net::CertificateDer;
use schema::{PluginSchema, Schema, Value, Violations};
use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use uuid::Uuid;

/// A policy that an operator can put on a route, a service, a consumer, or everywhere.
///
/// A plugin lives in one file: its `Config`, this impl, and its tests. An instance is built once per
/// configuration and then only read, so it holds no state of a request.
pub trait Plugin: Sized + Send + Sync + 'static {
    /// The name in configuration files.
    const NAME: &'static str;
    /// Higher runs earlier; the numbers are Kong's, so that migrated chains keep their order.
    const PRIORITY: i32;
    /// Whether it may be placed on a consumer; what finds the consumer out may not.
    const ON_CONSUMER: bool = true;
    /// Whether it proves who calls.
    const AUTHENTICATES: bool = false;
    /// Whether Kong's works on routes that are not of HTTP, too: then a file may say so.
    const STREAM_TOO: bool = false;
    type Config: Schema;

    /// Does everything costly: compiles patterns, decodes keys. May not wait.
    fn new(config: Self::Config) -> Result<Self, Violations>;

    /// Learns which placement it is, and of which configuration. What it counts or remembers from one configuration to
    /// the next belongs to that identity.
    fn placed(&mut self, place: &Place) -> Result<(), Violations> {
        let _ = place;
        Ok(())
    }

    /// Whether it looks at the certificate that callers show.
    fn wants_certificate(&self) -> Option<WantedCertificate> {
        None
    }

    /// The headers in which it tells services something. Callers may not set them, on any route.
    fn reserves(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    /// Takes out every credential that it would look at, also those that it has not looked at, if it is told to.
    fn hide(&self, exchange: &mut Exchange) {
        let _ = exchange;
    }

    /// Runs before the request goes upstream; the only hook that may wait, and may answer instead.
    ///
    /// Each core has its own runtime, so the future need not be `Send`.
    fn on_request(&self, exchange: &mut Exchange) -> impl Future<Output = Verdict> {
        let _ = exchange;
        async { Ok(ControlFlow::Continue(())) }
    }

    /// Runs when the head of the response is known, also after a refusal.
    ///
    /// The order is that of `on_request`: Kong runs every phase by priority.
    fn on_response(&self, exchange: &mut Exchange, response: &mut Parts) {
        let _ = (exchange, response);
    }
}

/// Where a plugin is placed.
pub struct Place<'a> {
    pub id: Uuid,
    pub configuration: &'a Configuration,
    /// Seconds since 1970.
    pub now: i64,
}

impl Place<'_> {
    /// Whether the configuration has a service with this name or identity.
    pub fn has_service(&self, name: &str) -> bool {
        model::entity::kind("services").and_then(|kind| self.configuration.find(kind, name)).is_some()
    }
}

/// What callers are told when they are asked for a certificate: the authorities that are believed, or nothing.
#[derive(Default)]
pub struct WantedCertificate {
    pub authorities: Vec<CertificateDer<'static>>,
}

impl WantedCertificate {
    /// What several want together. Where one tells callers nothing, nothing is told: they would keep back what it wants.
    pub fn all(wanted: impl Iterator<Item = WantedCertificate>) -> Option<WantedCertificate> {
        wanted.reduce(|mut all, one| {
            match all.authorities.is_empty() || one.authorities.is_empty() {
                true => all.authorities.clear(),
                false => all.authorities.extend(one.authorities),
            }
            all
        })
    }
}

/// Go on, or answer the caller now. An `Err` never lets a request through: it becomes a 500.
pub type Verdict = Result<ControlFlow<Answer>, Fault>;

/// The gate's own failure, never the caller's: logged in full, shown as a 500 without detail.
#[derive(Debug)]
pub struct Fault(Box<dyn Error + Send + Sync>);

impl Fault {
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
        Fault(error.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A plugin's definition without its type: what the catalog and the plan need.
pub struct Definition {
    pub name: &'static str,
    pub priority: i32,
    pub authenticates: bool,
    schema: fn() -> PluginSchema,
    build: fn(Value) -> Result<Box<dyn Running>, Violations>,
}

impl Definition {
    pub const fn of<P: Plugin>() -> Definition {
        Definition {
            name: P::NAME,
            priority: P::PRIORITY,
            authenticates: P::AUTHENTICATES,
            schema: || {
                let mut config = P::Config::record();
                config.prefix = "config.";
                let (on_consumer, stream_too) = (P::ON_CONSUMER, P::STREAM_TOO);
                PluginSchema { name: P::NAME, priority: P::PRIORITY, config, on_consumer, stream_too }
            },
            build: |config| Ok(Box::new(P::new(P::Config::from_read(config)?)?)),
        }
    }

    pub fn schema(&self) -> PluginSchema {
        (self.schema)()
    }

    /// Builds an instance from a config that its schema accepted.
    pub fn build(&self, config: Value) -> Result<Box<dyn Running>, Violations> {
        (self.build)(config)
    }
}

/// A built plugin, as the chain holds it. Implemented for every [`Plugin`]; nobody writes it by hand.
pub trait Running: Send + Sync {
    fn placed(&mut self, place: &Place) -> Result<(), Violations>;
    fn wants_certificate(&self) -> Option<WantedCertificate>;
    fn hide(&self, exchange: &mut Exchange);
    fn reserves(&self) -> Vec<HeaderName>;
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Verdict> + 'a>>;
    fn on_response(&self, exchange: &mut Exchange, response: &mut Parts);
}

impl<P: Plugin> Running for P {
    fn placed(&mut self, place: &Place) -> Result<(), Violations> {
        Plugin::placed(self, place)
    }

    fn wants_certificate(&self) -> Option<WantedCertificate> {
        Plugin::wants_certificate(self)
    }

    fn hide(&self, exchange: &mut Exchange) {
        Plugin::hide(self, exchange);
    }

    fn reserves(&self) -> Vec<HeaderName> {
        Plugin::reserves(self)
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Verdict> + 'a>> {
        Box::pin(Plugin::on_request(self, exchange))
    }

    fn on_response(&self, exchange: &mut Exchange, response: &mut Parts) {
        Plugin::on_response(self, exchange, response);
    }
}
