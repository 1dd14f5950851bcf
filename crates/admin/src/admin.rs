//! From a request to its answer.

use crate::access::{self, Caller};
use crate::call::Call;
use crate::error::Error;
use crate::locate;
use crate::progress::Progress;
use crate::query::Query;
use crate::reply::{self, Response};
use crate::resource::{Nested, Resource};
use crate::{Gate, Token};
use crate::{
    audit, configuration, endpoint, entity_list, entity_read, entity_write, explain, health, information, openapi,
    schemas, shown, sync, tags,
};
use bytes::Bytes;
use http::header::IF_MATCH;
use http::{Method, Request};
use model::entity;
use model::rows::Below;
use model::{EntityKind, Row, Rows, Writes};
use uuid::Uuid;

/// Kong's Admin API over a gate.
pub struct Admin<G> {
    gate: G,
    token: Token,
    progress: Progress,
}

impl<G: Gate> Admin<G> {
    pub fn new(gate: G, token: Token) -> Admin<G> {
        Admin { gate, token, progress: Progress::default() }
    }

    /// Answers a request; every error is an answer too.
    pub fn answer(&self, request: Request<Bytes>) -> http::Response<Bytes> {
        self.answer_to(&request, || {
            access::from_elsewhere(&request, |host| self.gate.is_known_host(host))?;
            let caller = Caller::by_token(&self.token, request.headers(), &self.gate.in_force(), self.gate.now());
            caller.ok_or(Error::Unauthorized)
        })
    }

    /// Answers a request that came over a route of the gate, whose plugins may have proven a consumer. Without a token
    /// that consumer's rights count.
    pub fn answer_within(&self, request: Request<Bytes>, consumer: Option<Uuid>) -> http::Response<Bytes> {
        self.answer_to(&request, || {
            // A browser may have been led here, and be let in by what it sends by itself.
            access::from_elsewhere(&request, |_| true)?;
            let (in_force, now) = (self.gate.in_force(), self.gate.now());
            let by_token = Caller::by_token(&self.token, request.headers(), &in_force, now);
            let by_consumer = || consumer.and_then(|consumer| Caller::by_consumer(consumer, &in_force, now));
            by_token.or_else(by_consumer).ok_or(Error::Unauthorized)
        })
    }

    fn answer_to(
        &self,
        request: &Request<Bytes>,
        who: impl FnOnce() -> Result<Caller, Error>,
    ) -> http::Response<Bytes> {
        // Before anything else: whoever has no token learns nothing, not even which paths there are.
        let answered = who().map(|caller| {
            let response = self.respond(request, &caller).unwrap_or_else(Error::answer);
            if !request.method().is_safe() {
                self.gate.log(&caller.name, request.method(), request.uri().path(), response.status());
            }
            response
        });
        let response = answered.unwrap_or_else(Error::answer);
        if request.method() == Method::HEAD { reply::head(response) } else { response }
    }

    fn respond(&self, request: &Request<Bytes>, caller: &Caller) -> Result<Response, Error> {
        let path = request.uri().path();
        if !endpoint::decoded(path).is_some_and(|path| caller.may(request.method(), &path)) {
            return Err(Error::NotAllowed(request.method().clone(), path.to_owned()));
        }
        let (resource, parameters) = endpoint::find(request.uri().path()).ok_or(Error::NotFound)?;
        let allow = resource.allow();
        if !allow.split(", ").any(|method| method == request.method().as_str()) {
            return Err(Error::Method { allow });
        }
        if request.method() == Method::OPTIONS {
            return Ok(reply::methods(allow));
        }
        // A path that ends at another entity is a second way to that one.
        if let Resource::Parent(nested) = resource
            && !request.method().is_safe()
            && !caller.may_any(request.method(), nested.parent.collection)
        {
            return Err(Error::NotAllowed(request.method().clone(), path.to_owned()));
        }
        let method = match *request.method() {
            Method::HEAD => &Method::GET,
            ref method => method,
        };
        let document = self.gate.document();
        let answer = |rows: &dyn Rows, writes: Option<&dyn Writes>| {
            let call = Call {
                rows,
                writes,
                document: document.as_deref(),
                catalog: self.gate.catalog(),
                readable_keys: self.gate.has_readable_keys(),
                now: self.gate.now(),
                path: request.uri().path(),
                query: Query::read(request.uri().query()),
                headers: request.headers(),
                body: request.body(),
            };
            self.about(&call, method, resource, &parameters)
        };
        match document.is_none() && resource.is_changed_by(method) {
            true => self.gate.change(&caller.name, |writes| answer(writes, Some(writes))),
            false => answer(self.gate.rows().as_ref(), None),
        }
    }

    fn about(
        &self,
        call: &Call,
        method: &Method,
        resource: Resource,
        parameters: &[String],
    ) -> Result<Response, Error> {
        // A path has as many parameters as its resource needs; an empty one never matches.
        let parameter = |index: usize| parameters.get(index).map_or("", String::as_str);
        match resource {
            Resource::Information => information::root(call, &self.gate.facts()),
            Resource::Status => Ok(information::status(call, &self.gate.facts())),
            Resource::Endpoints => Ok(information::endpoints()),
            Resource::EnabledPlugins => Ok(information::enabled_plugins(call)),
            Resource::Configuration if method == Method::POST => configuration::load(&self.gate, call),
            Resource::Configuration => configuration::export(call),
            Resource::Declarative if method == Method::PUT => sync::import(&self.gate, call, &self.progress),
            Resource::Declarative => sync::export(call),
            Resource::Progress => Ok(self.progress.answer()),
            Resource::Audit => audit::list(call),
            Resource::Description => Ok(openapi::describe(call, &self.gate.facts())),
            Resource::Explain => explain::explain(&self.gate, call),
            Resource::Tags => tags::list(call, None),
            Resource::Tag => tags::list(call, Some(parameter(0))),
            Resource::EntitySchema => schemas::entity(parameter(0)),
            Resource::PluginSchema => schemas::plugin(call, parameter(0)),
            Resource::VaultSchema => schemas::vault(parameter(0)),
            Resource::ValidateEntity => {
                let name = parameter(0);
                let unknown = || Error::NoSchema { what: "entity", name: name.to_owned() };
                schemas::validate(call, entity::kind(name).ok_or_else(unknown)?)
            }
            Resource::Validate(kind) => schemas::validate(call, kind),
            Resource::Collection(kind) => collection(call, method, kind, None),
            Resource::Entity(kind) => single(call, method, kind, parameter(0), None),
            Resource::Children(nested) => {
                collection(call, method, nested.child, Some(below(call, nested, parameter(0))?))
            }
            Resource::Child(nested) => {
                let scope = below(call, nested, parameter(0))?;
                single(call, method, nested.child, parameter(1), Some(scope))
            }
            Resource::Parent(nested) => parent(call, method, nested, parameter(0)),
            Resource::Health => health::of_upstream(call, parameter(0), &self.gate.facts()),
            Resource::AllTargets => health::all_targets(call, parameter(0)),
            Resource::TargetHealth => health::set(call, parameter(0)),
            Resource::Elsewhere(text) => Err(Error::Elsewhere(text)),
            Resource::LogLevel => Ok(information::log_level(&self.gate.facts())),
        }
    }
}

fn collection(
    call: &Call,
    method: &Method,
    kind: &'static EntityKind,
    scope: Option<Below>,
) -> Result<Response, Error> {
    match *method {
        Method::POST => entity_write::create(call, kind, scope),
        _ => entity_list::list(call, kind, scope),
    }
}

fn single(
    call: &Call,
    method: &Method,
    kind: &'static EntityKind,
    key: &str,
    scope: Option<Below>,
) -> Result<Response, Error> {
    let located = locate::locate(call, kind, key, scope)?;
    if_match(call, method, kind, located.row.as_ref())?;
    match *method {
        Method::PUT => entity_write::replace(call, kind, located, scope),
        Method::PATCH => entity_write::update(call, kind, located, scope),
        Method::DELETE => entity_write::remove(call, kind, located, scope),
        _ => entity_read::show(call, kind, located),
    }
}

/// Who says which entity they have seen changes no other (RFC 9110 section 13.1.1).
fn if_match(call: &Call, method: &Method, kind: &EntityKind, row: Option<&Row>) -> Result<(), Error> {
    let Some(wanted) = call.headers.get(IF_MATCH).filter(|_| !method.is_safe()) else { return Ok(()) };
    let Some(row) = row else { return Err(Error::Changed) };
    let tag = shown::tag(&shown::shown(call, kind, row)?);
    let wanted = wanted.to_str().unwrap_or_default();
    match wanted.trim() == "*" || wanted.split(',').any(|one| one.trim() == tag) {
        true => Ok(()),
        false => Err(Error::Changed),
    }
}

/// The entities below one parent, which must be there.
fn below(call: &Call, nested: Nested, key: &str) -> Result<Below, Error> {
    let parent = locate::locate(call, nested.parent, key, None)?.row.ok_or(Error::NotFound)?;
    Ok(Below { field: nested.field, parent: parent.id, parent_kind: nested.parent.name })
}

/// The entity that another refers to.
fn parent(call: &Call, method: &Method, nested: Nested, key: &str) -> Result<Response, Error> {
    let child = locate::locate(call, nested.child, key, None)?.row.ok_or(Error::NotFound)?;
    let id = child.reference(nested.field).ok_or(Error::NotFound)?;
    single(call, method, nested.parent, &id.to_string(), None)
}
