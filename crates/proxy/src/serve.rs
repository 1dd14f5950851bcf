//! Connections and the requests on them: the life of a request, on one page.

use crate::access_log::{AccessLog, Entry, Pending};
use crate::answer::{self, Answer, UpstreamError};
use crate::balancer::{self, Choice};
use crate::body::{Body, BodyError, CallerBody};
use crate::chain::Admitted;
use crate::conduct::Conduct;
use crate::exchange::{Caller, Exchange, Target};
use crate::forward::{self, Hop};
use crate::plan::{Origin, Plan, RoutePlan, ServicePlan};
use crate::tunnel::{self, Tunnels};
use crate::upstream::{Limits, Pool};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CONNECTION, LOCATION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use router::Query;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Instant;

mod connection;
mod worker;

pub use worker::{Listener, Worker};

/// What all cores share: read for each request, changed whole.
pub struct Shared {
    pub plan: ArcSwap<Plan>,
    pub conduct: ArcSwap<Conduct>,
    pub log: Option<AccessLog>,
    pub counters: Counters,
}

/// Connections and requests since the start.
#[derive(Default)]
pub struct Counters {
    pub accepted: AtomicU64,
    pub active: AtomicU64,
    pub requests: AtomicU64,
}

/// What one connection's requests have in common.
#[derive(Clone)]
struct Peer {
    address: SocketAddr,
    address_header: HeaderValue,
    /// The port it came in on.
    port: u16,
    tls: bool,
    server_name: Option<Arc<str>>,
    number: u64,
}

/// One core's part: what it shares, and what is its own.
struct Core {
    shared: Arc<Shared>,
    pool: Rc<Pool>,
    tunnels: Tunnels,
}

/// The longest header line and the longest request target, in bytes: nginx's `large_client_header_buffers`.
const MAX_LINE: usize = 8192;

impl Core {
    /// One request. A fault of the gate's own is a 500 for this request, and nothing for the others.
    async fn answer(
        &self,
        peer: &Peer,
        number: u64,
        request: Request<Incoming>,
    ) -> Result<Response<Counted>, Infallible> {
        let mut handled = std::pin::pin!(self.handle(peer, number, request));
        std::future::poll_fn(|cx| {
            // What the future held is not looked at again after a panic.
            let polled = catch_unwind(AssertUnwindSafe(|| handled.as_mut().poll(cx)));
            polled.unwrap_or_else(|_| {
                tracing::error!(
                    "a request met a fault of the gate and was answered with 500; please report the lines above"
                );
                let mut response = Response::new(Counted { body: Body::Empty, pending: None });
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                Poll::Ready(Ok(response))
            })
        })
        .await
    }

    /// From the head of a request to the head of its answer.
    async fn handle(
        &self,
        peer: &Peer,
        number: u64,
        request: Request<Incoming>,
    ) -> Result<Response<Counted>, Infallible> {
        self.shared.counters.requests.fetch_add(1, Relaxed);
        let (plan, conduct) = (self.shared.plan.load_full(), self.shared.conduct.load_full());
        let (mut head, body) = request.into_parts();
        let upgrade = head.extensions.remove::<OnUpgrade>();
        // The head is judged as it came: what leaves with the connection is part of what may be ambiguous.
        let (target, refused) = match admit(&head) {
            Ok(target) => (target, None),
            Err(answer) => (Target::default(), Some(answer)),
        };
        let hop = forward::leave_connection(&mut head.headers, head.version);
        let body = if body.is_end_stream() { Body::Empty } else { Body::Caller(CallerBody::new(body)) };
        let caller = caller(peer, number, &head.headers, &conduct);
        let mut exchange = Exchange::new(head, body, caller, plan, conduct);
        exchange.target = target;
        let reply = match refused {
            Some(refused) => Reply::refused(refused(exchange.conduct.error_default_type)),
            None => self.exchange(&mut exchange, hop).await,
        };
        Ok(self.finish(exchange, reply, upgrade))
    }

    /// Route, plugins, service.
    async fn exchange(&self, exchange: &mut Exchange, hop: Hop) -> Reply {
        let Some(route) = find_route(exchange) else {
            return Reply::refused(Answer::error(StatusCode::NOT_FOUND, "no Route matched with those values"));
        };
        exchange.route = Some(route.clone());
        if let Some(answer) = insist_on_https(exchange, &route) {
            return Reply::refused(answer);
        }
        let admitted = match route.chain.on_request(exchange).await {
            Ok(admitted) => admitted,
            Err(answer) => return Reply::refused(answer),
        };
        match &route.service {
            Some(service) => self.call(admitted, exchange, &route, service, hop).await,
            None => {
                let text = "no Service found with those values";
                Reply::refused(Answer::error(StatusCode::SERVICE_UNAVAILABLE, text))
            }
        }
    }

    /// Asks the service. A connection that cannot be made is tried elsewhere, as often as the service allows.
    async fn call(
        &self,
        _admitted: Admitted,
        exchange: &mut Exchange,
        route: &RoutePlan,
        service: &ServicePlan,
        hop: Hop,
    ) -> Reply {
        let limits =
            Limits { connect: service.connect_timeout, write: service.write_timeout, read: service.read_timeout };
        let asked = Instant::now();
        let mut tried: Vec<Arc<balancer::Target>> = Vec::new();
        let mut attempt = 0;
        loop {
            let choice = match &service.origin {
                Origin::Direct(_) => None,
                Origin::Balanced(balancer) => match balancer.choose(exchange, &tried) {
                    Some(choice) => Some(choice),
                    None => return Reply::failed(UpstreamError::NoPeer, exchange, asked),
                },
            };
            let destination = match (&service.origin, &choice) {
                (Origin::Direct(destination), _) => destination,
                (Origin::Balanced(_), Some(choice)) => &choice.target.destination,
                (Origin::Balanced(_), None) => return Reply::failed(UpstreamError::NoPeer, exchange, asked),
            };
            // TLS is for the host that is asked for, which may be the caller's.
            let renamed = (route.preserve_host && destination.tls.is_some())
                .then(|| destination.named_by_caller(&exchange.target.host));
            let destination = renamed.as_ref().unwrap_or(destination);
            let request = match forward::request(exchange, destination, route.preserve_host, hop) {
                Ok(request) => request,
                Err(error) => return Reply::failed(UpstreamError::Request(error), exchange, asked),
            };
            let occupied = choice.as_ref().map(|choice| choice.target.occupy());
            match self.pool.send(destination, request, limits).await {
                Ok(mut response) => {
                    if !forward::settle_framing(response.headers_mut()) {
                        return Reply::failed(UpstreamError::TransferCoding, exchange, asked);
                    }
                    if let Some(choice) = &choice {
                        choice.target.observe(asked.elapsed());
                    }
                    let response = response.map(|body| Body::Upstream(Box::new(body.occupying(occupied))));
                    return Reply::proxied(response, exchange, asked, choice, hop);
                }
                Err(failed) => match failed.unsent {
                    Some(unsent) if attempt < service.retries => {
                        exchange.body = unsent.into_body();
                        attempt += 1;
                        if let Some(choice) = choice {
                            // As slow as a target can be, or one that never answers would look like the fastest.
                            choice.target.observe(limits.connect);
                            tried.push(choice.target);
                        }
                    }
                    _ => return Reply::failed(failed.error, exchange, asked),
                },
            }
        }
    }

    /// Plugins look at the answer, the log gets its line.
    fn finish(&self, mut exchange: Exchange, reply: Reply, upgrade: Option<OnUpgrade>) -> Response<Counted> {
        let upstream_ms = reply.upstream_ms;
        let response = match reply.content {
            Content::Proxied(response) => response,
            Content::Own(answer) => {
                let mut response = answer.render(&exchange);
                forward::own_response(&exchange, response.headers_mut(), upstream_ms);
                response
            }
        };
        let (mut head, body) = response.into_parts();
        match exchange.route.clone() {
            Some(route) => route.chain.on_response(&mut exchange, &mut head),
            None => {
                let plan = exchange.plan.clone();
                plan.everywhere.on_response(&mut exchange, &mut head);
            }
        }
        debug_headers(&exchange, &mut head.headers);
        if head.status == StatusCode::SWITCHING_PROTOCOLS
            && let (Some(caller), Some(service)) = (upgrade, head.extensions.remove::<OnUpgrade>())
        {
            tunnel::open(&self.tunnels, caller, service);
        }
        let log = self.shared.log.clone();
        let pending = log.map(|log| {
            let entry = Entry::new(&exchange, head.status, upstream_ms);
            let complete = body.is_end_stream() || exchange.request.method == http::Method::HEAD;
            Box::new(Pending::new(log, entry, complete))
        });
        Response::from_parts(head, Counted { body, pending })
    }
}

/// The answer to a request, before plugins have looked at it.
struct Reply {
    content: Content,
    /// How long a service took, if one was asked.
    upstream_ms: Option<u64>,
}

enum Content {
    Proxied(Response<Body>),
    Own(Answer),
}

impl Reply {
    fn refused(answer: Answer) -> Reply {
        Reply { content: Content::Own(answer), upstream_ms: None }
    }

    fn failed(error: UpstreamError, exchange: &Exchange, asked: Instant) -> Reply {
        let service = exchange.route.as_ref().and_then(|route| route.service.as_ref()?.name.clone());
        tracing::warn!(request_id = exchange.id.as_str(), service, %error, "no answer from the service");
        let upstream_ms = error.reached_upstream().then(|| millis(asked));
        Reply { content: Content::Own(error.answer(exchange.conduct.error_default_type)), upstream_ms }
    }

    fn proxied(
        response: Response<Body>,
        exchange: &Exchange,
        asked: Instant,
        choice: Option<Choice>,
        hop: Hop,
    ) -> Reply {
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switched && !hop.websocket {
            // Nobody asked to switch: what follows is no HTTP, and must not reach the caller as such.
            let answer = answer::nginx(StatusCode::BAD_GATEWAY, exchange.conduct.error_default_type);
            return Reply { content: Content::Own(answer), upstream_ms: Some(millis(asked)) };
        }
        let upstream_ms = millis(asked);
        let (mut head, body) = response.into_parts();
        forward::proxied_response(exchange, &mut head, upstream_ms, exchange.elapsed_ms().saturating_sub(upstream_ms));
        if switched {
            head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        if let Some(choice) = choice {
            choice.write(&mut head.headers);
        }
        Reply { content: Content::Proxied(Response::from_parts(head, body)), upstream_ms: Some(upstream_ms) }
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

type Refused = Box<dyn FnOnce(crate::conduct::MediaType) -> Answer>;

/// The door: what is ambiguous or too long gets no further.
fn admit(head: &http::request::Parts) -> Result<Target, Refused> {
    let status = |status| -> Refused { Box::new(move |default| answer::nginx(status, default)) };
    // What is not text once decoded could be one thing to the router and another to the service.
    let decoded = percent_encoding::percent_decode_str(head.uri.path()).decode_utf8();
    if decoded.is_err() || head.uri.path() == "*" {
        return Err(status(StatusCode::BAD_REQUEST));
    }
    if head.uri.path_and_query().is_some_and(|target| target.as_str().len() > MAX_LINE) {
        return Err(status(StatusCode::URI_TOO_LONG));
    }
    if head.headers.iter().any(|(name, value)| name.as_str().len() + value.len() + 4 > MAX_LINE) {
        return Err(status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
    let authority = net::head::check(head)
        .map_err(|error| -> Refused { Box::new(move |default| answer::malformed(error, default)) })?;
    Ok(Target {
        port: authority.port,
        host: authority.host.into_owned(),
        raw_path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        ..Target::default()
    })
}

/// Who is calling, as far as the connection and the peers that are trusted tell.
fn caller(peer: &Peer, number: u64, headers: &HeaderMap, conduct: &Conduct) -> Caller {
    let trusted = conduct.trusted.contains(peer.address.ip());
    let said = |name: &str| headers.get(name).filter(|_| trusted).and_then(|value| value.to_str().ok());
    let ip = conduct.trusted.real_ip(peer.address.ip(), headers, conduct.real_ip_header, conduct.real_ip_recursive);
    Caller {
        peer: peer.address,
        peer_header: peer.address_header.clone(),
        ip: ip.to_canonical(),
        trusted,
        secure: said("x-forwarded-proto").map_or(peer.tls, |protocol| protocol.eq_ignore_ascii_case("https")),
        port: said("x-forwarded-port").and_then(|port| port.parse().ok()).unwrap_or(peer.port),
        server_name: peer.server_name.clone(),
        connection: peer.number,
        request_on_connection: number,
    }
}

/// Finds the route, and says what of the request goes to its service.
fn find_route(exchange: &mut Exchange) -> Option<Arc<RoutePlan>> {
    let Exchange { target, request, caller, plan, .. } = exchange;
    let path = router::normalize(&target.raw_path);
    let query = Query {
        method: &request.method,
        host: &target.host,
        port: target.port.or(Some(caller.port)),
        path: &path,
        headers: &request.headers,
        sni: caller.server_name.as_deref(),
        secure: caller.secure,
    };
    let found = plan.router.find(&query)?;
    let route = plan.routes.get(found.rule)?.clone();
    let rest = route.strip_path.then(|| found.rest(&path));
    let service_path = route.service.as_ref().map_or("", |service| &service.path);
    router::join_v0(service_path, &path, rest, &mut target.upstream_path);
    let matched = found.matched.as_ref().and_then(|range| path.get(range.clone()));
    target.prefix = matched.filter(|prefix| route.strip_path && *prefix != "/").map(str::to_owned);
    if let Some(captures) = found.captures() {
        for (index, name) in found.capture_names().enumerate().skip(1) {
            if let Some(value) = captures.get(index) {
                let names = std::iter::once(index.to_string()).chain(name.map(str::to_owned));
                target.captures.extend(names.map(|name| (name, value.as_str().to_owned())));
            }
        }
    }
    Some(route)
}

/// A route for HTTPS alone, on plain HTTP: 426, or a redirect to the same place.
fn insist_on_https(exchange: &Exchange, route: &RoutePlan) -> Option<Answer> {
    let status = route.secure_only.filter(|_| !exchange.caller.secure)?;
    let answer = Answer::error(status, "Please use HTTPS protocol");
    if status == StatusCode::UPGRADE_REQUIRED {
        return Some(
            answer
                .with_header(CONNECTION, HeaderValue::from_static("Upgrade"))
                .with_header(UPGRADE, HeaderValue::from_static("TLS/1.2, HTTP/1.1")),
        );
    }
    let target = &exchange.target;
    let query = exchange.request.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = HeaderValue::try_from(format!("https://{}{}{query}", target.host, target.raw_path));
    Some(match location {
        Ok(location) => answer.with_header(LOCATION, location),
        Err(_) => answer::nginx(StatusCode::BAD_REQUEST, exchange.conduct.error_default_type),
    })
}

/// `Kong-Debug: 1` makes the answer name its route and service, where the operator allows it.
fn debug_headers(exchange: &Exchange, headers: &mut HeaderMap) {
    let asked = exchange.request.headers.get("kong-debug").is_some_and(|value| value == "1");
    let (true, true, Some(route)) = (exchange.conduct.allow_debug_header, asked, &exchange.route) else { return };
    let mut name = |header: &'static str, value: Option<String>| {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(header, value);
        }
    };
    name("kong-route-id", Some(route.id.to_string()));
    name("kong-route-name", route.name.clone());
    if let Some(service) = &route.service {
        name("kong-service-id", Some(service.id.to_string()));
        name("kong-service-name", service.name.clone());
    }
}

/// The body of an answer, counted for the log.
pub struct Counted {
    body: Body,
    pending: Option<Box<Pending>>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let ended = self.body.is_end_stream();
        if let Some(pending) = &mut self.pending {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => {
                    pending.sent_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                    pending.complete = ended;
                }
                Poll::Ready(None) => pending.complete = true,
                _ => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
