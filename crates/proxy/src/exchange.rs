//! One request on its way through the gate, and what became known of it.

use crate::answer::{Answer, UpstreamError};
use crate::body::Body;
use crate::conduct::Conduct;
use crate::destination::Destination;
use crate::early::Early;
use crate::forward::Hop;
use crate::identity::{self, Claims, Identity};
use crate::message::Ask;
use crate::plan::{Plan, RoutePlan};
use crate::registry::Registry;
use crate::request_id::RequestId;
use crate::upstream::{Limits, Pool};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response};
use net::client_certificate::ClientCertificate;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// A request, its caller, and what plugins found out.
pub struct Exchange {
    pub request: Parts,
    pub body: Body,
    pub id: RequestId,
    pub caller: Caller,
    pub target: Target,
    pub started: Instant,
    /// The position of the route in the plan; `None` when no route matched.
    pub(crate) route_at: Option<usize>,
    pub identity: Option<Identity>,
    /// Groups that authentication itself proved, apart from a consumer's.
    pub authenticated_groups: Option<Vec<String>>,
    /// What the caller's token told.
    pub claims: Claims,
    /// What the correlation-id plugin chose, to be echoed to the caller.
    pub correlation_id: Option<HeaderValue>,
    pub plan: Arc<Plan>,
    pub conduct: Arc<Conduct>,
    /// Headers that the caller gets with its answer, whoever gives it.
    pub for_caller: Vec<(HeaderName, HeaderValue)>,
    /// Whether somebody only wants to know what would become of the request: nothing is counted.
    pub rehearsal: bool,
    /// What the caller gets in place of the service's answer.
    pub instead: Option<Box<Answer>>,
    /// This core's connections to services; none in tests of plugins.
    pub(crate) pool: Option<Rc<Pool>>,
    /// What the request asked of its own connection.
    pub(crate) hop: Hop,
    pub(crate) early: Early,
}

/// Who sent the request, as far as the connection and trusted peers tell.
#[derive(Clone)]
pub struct Caller {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Its address as a header value, made once for all requests of the connection.
    pub peer_header: HeaderValue,
    /// The caller's own address: the peer's, or what a trusted peer says.
    pub ip: IpAddr,
    /// Whether the peer's `X-Forwarded-*` headers are believed.
    pub trusted: bool,
    /// Whether the request counts as HTTPS.
    pub secure: bool,
    /// The port the connection was accepted on.
    pub port: u16,
    /// The TLS server name.
    pub server_name: Option<Arc<str>>,
    /// The certificate that the connection's other end has shown; nobody has said yet that it is believed.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// A number for the connection, and for the request on it.
    pub connection: u64,
    pub request_on_connection: u64,
}

/// What the request is for.
#[derive(Default)]
pub struct Target {
    /// The host asked for, in lower case, without port.
    pub host: String,
    /// The port asked for, if one was named.
    pub port: Option<u16>,
    /// The path as the caller wrote it.
    pub raw_path: String,
    /// The path that goes to the service, with the service's own path before it.
    pub upstream_path: String,
    /// The query, without `?`; plugins may take credentials out.
    pub query: Option<String>,
    /// The prefix that `strip_path` took off, if it took any.
    pub prefix: Option<String>,
    /// What the groups of the route's regular expression matched, by number and by name.
    pub captures: Vec<(String, String)>,
}

impl Exchange {
    /// Takes a request in. What only the gate may say about the caller is removed here, once, whether or
    /// not any plugin authenticates.
    pub fn new(mut request: Parts, mut body: Body, caller: Caller, plan: Arc<Plan>, conduct: Arc<Conduct>) -> Exchange {
        identity::strip(&mut request.headers);
        identity::strip_reserved(&mut request.headers, &plan.reserved);
        body.reserve(&plan.reserved);
        identity::strip_forwarding(&mut request.headers, caller.trusted);
        Exchange {
            request,
            body,
            id: RequestId::random(),
            caller,
            target: Target::default(),
            started: Instant::now(),
            route_at: None,
            identity: None,
            authenticated_groups: None,
            claims: Claims::None,
            correlation_id: None,
            plan,
            conduct,
            for_caller: Vec::new(),
            instead: None,
            rehearsal: false,
            pool: None,
            hop: Hop::default(),
            early: Early::default(),
        }
    }

    /// The route that takes the request; `None` when none does.
    pub fn route(&self) -> Option<&RoutePlan> {
        self.plan.route(self.route_at)
    }

    /// Asks another service something, over connections that are kept.
    pub async fn ask(
        &self,
        destination: &Destination,
        ask: &Ask,
        body: Body,
        limits: Limits,
    ) -> Result<Response<Body>, UpstreamError> {
        let pool = self.pool.clone().ok_or(UpstreamError::NoPeer)?;
        let answer = pool.send(destination, None, ask, body, limits).await.map_err(|failed| failed.error)?;
        Ok(answer.map(Body::Upstream))
    }

    /// Path and query as they were routed, and as the service reads them: dots and escapes are resolved, and what
    /// plugins took out of the query is gone. Whoever else decides about the request must decide about this.
    pub fn routed_target(&self) -> String {
        let mut target = String::new();
        router::join_v0("", &router::normalize(&self.target.raw_path), None, &mut target);
        if let Some(query) = &self.target.query {
            target.push('?');
            target.push_str(query);
        }
        target
    }

    /// The host that is asked for, with the port if one was named.
    pub fn host(&self) -> String {
        match self.target.port {
            Some(port) => format!("{}:{port}", self.target.host),
            None => self.target.host.clone(),
        }
    }

    pub fn registry(&self) -> &Registry {
        &self.plan.registry
    }

    /// Milliseconds since the request came in.
    pub fn elapsed_ms(&self) -> u64 {
        millis_since(self.started)
    }
}

/// Milliseconds that have passed.
pub fn millis_since(then: Instant) -> u64 {
    u64::try_from(then.elapsed().as_millis()).unwrap_or(u64::MAX)
}
