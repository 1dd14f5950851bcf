//! Connections and the requests on them: the life of a request, on one page.

use crate::access_log::{AccessLog, Entry, Pending};
use crate::answer::{Answer, UpstreamError};
use crate::balancer;
use crate::body::Body;
use crate::chain::Admitted;
use crate::conduct::Conduct;
use crate::early::Early;
use crate::exchange::{Exchange, Target};
use crate::forward;
use crate::marks::Marks;
use crate::outgoing::Outgoing;
use crate::plan::{Internal, Origin, Plan, RoutePlan, ServicePlan};
use crate::upstream::{Limits, Pool};
use ::http1::head::HeadFault;
use arc_swap::ArcSwap;
use counted::Counted;
use date::Date;
use door::Refused;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version, response};
use http_body::Body as _;
use net::client_certificate::ClientCertificate;
use reply::{Content, Reply};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Instant;

mod connection;
mod counted;
mod date;
mod door;
mod explain;
mod frame_meter;
mod http1;
mod http2;
mod inside;
mod reply;
mod routing;
mod worker;

pub use explain::{Question, explain};
pub use inside::Inside;
pub use worker::{Listener, Worker};

/// What all cores share: read for each request, changed whole.
pub struct Shared {
    pub plan: ArcSwap<Plan>,
    pub conduct: ArcSwap<Conduct>,
    pub log: Option<AccessLog>,
    pub counters: Counters,
    /// What answers where a service is the Admin API (`internal://admin`).
    pub admin: OnceLock<Inside>,
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
    certificate: Option<Arc<ClientCertificate>>,
    number: u64,
    early: Early,
}

/// One core's part: what it shares, and what is its own.
struct Core {
    shared: Arc<Shared>,
    pool: Rc<Pool>,
    date: Date,
}

impl Core {
    /// One request. A fault of the gate's own is a 500 for this request, and nothing for the others.
    async fn answer(&self, peer: &Peer, number: u64, request: Result<Parts, HeadFault>, body: Body) -> Answered {
        let mut handled = std::pin::pin!(self.handle(peer, number, request, body));
        std::future::poll_fn(|cx| {
            // What the future held is not looked at again after a panic.
            let polled = catch_unwind(AssertUnwindSafe(|| handled.as_mut().poll(cx)));
            polled.unwrap_or_else(|_| {
                tracing::error!(
                    "a request met a fault of the gate and was answered with 500; please report the lines above"
                );
                let (mut head, ()) = Response::new(()).into_parts();
                head.status = StatusCode::INTERNAL_SERVER_ERROR;
                Poll::Ready(Answered { head, body: Counted { body: Body::Empty, pending: None }, marks: None })
            })
        })
        .await
    }

    /// From the head of a request to the head of its answer.
    async fn handle(&self, peer: &Peer, number: u64, request: Result<Parts, HeadFault>, body: Body) -> Answered {
        self.shared.counters.requests.fetch_add(1, Relaxed);
        let (plan, conduct) = (self.shared.plan.load_full(), self.shared.conduct.load_full());
        let (mut exchange, refused) = enter(peer, number, request, body, plan.clone(), conduct);
        exchange.pool = Some(self.pool.clone());
        let reply = match refused {
            Some(refused) => Reply::refused(refused.answer(exchange.conduct.error_default_type)),
            None => self.exchange(&mut exchange, &plan).await,
        };
        self.finish(&mut exchange, &plan, reply)
    }

    /// Route, plugins, service.
    async fn exchange(&self, exchange: &mut Exchange, plan: &Plan) -> Reply {
        let Some(route) = routing::find_route(exchange, plan) else {
            return Reply::refused(Answer::error(StatusCode::NOT_FOUND, "no Route matched with those values"));
        };
        let other = routing::insist_on_https(exchange, route).or_else(|| routing::insist_on_grpc(exchange, route));
        if let Some(answer) = other {
            return Reply::refused(answer);
        }
        let admitted = match route.chain.on_request(exchange).await {
            Ok(admitted) => admitted,
            Err(answer) => return Reply::refused(answer),
        };
        match &route.service {
            Some(service) => self.call(admitted, exchange, route, service).await,
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
    ) -> Reply {
        let limits =
            Limits { connect: service.connect_timeout, write: service.write_timeout, read: service.read_timeout };
        let asked = Instant::now();
        if let Origin::Internal(Internal::Admin) = service.origin {
            return self.answer_inside(exchange, asked).await;
        }
        let mut body = std::mem::take(&mut exchange.body);
        let exchange = &*exchange;
        let mut outgoing = match Outgoing::new(exchange) {
            Ok(outgoing) => outgoing,
            Err(error) => return Reply::failed(error, exchange, asked),
        };
        let mut tried: Vec<Arc<balancer::Target>> = Vec::new();
        let mut attempt = 0;
        loop {
            let choice;
            let destination = match &service.origin {
                Origin::Direct(destination) => {
                    choice = None;
                    destination
                }
                Origin::Internal(_) => return Reply::failed(UpstreamError::NoPeer, exchange, asked),
                Origin::Balanced(balancer) => {
                    choice = balancer.choose(exchange, &tried);
                    match &choice {
                        Some(choice) => &choice.target.destination,
                        None => return Reply::failed(UpstreamError::NoPeer, exchange, asked),
                    }
                }
            };
            // TLS is for the host that is asked for, which may be the caller's.
            let renamed = (route.preserve_host && destination.tls.is_some())
                .then(|| destination.named_by_caller(&exchange.target.host));
            let destination = renamed.as_ref().unwrap_or(destination);
            if let Err(error) = outgoing.address(destination, route.preserve_host) {
                return Reply::failed(error, exchange, asked);
            }
            let occupied = choice.as_ref().map(|choice| choice.target.occupy());
            let hash = choice.as_ref().and_then(|choice| choice.hash);
            match self.pool.send(destination, hash, &outgoing, body, limits).await {
                Ok(response) => {
                    if let Some(choice) = &choice {
                        choice.target.observe(asked.elapsed());
                    }
                    let response = response.map(|mut body| {
                        body.occupy(occupied);
                        body.end_with(exchange.identity.as_ref(), &exchange.plan.registry);
                        Body::Upstream(body)
                    });
                    return Reply::proxied(response, exchange, asked, choice);
                }
                Err(failed) => match failed.unsent {
                    Some(unsent) if attempt < service.retries => {
                        body = unsent;
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
    fn finish(&self, exchange: &mut Exchange, plan: &Plan, reply: Reply) -> Answered {
        let upstream_ms = reply.upstream_ms;
        let (response, upstream_status) = match reply.content {
            Content::Proxied(response) => {
                let status = response.status();
                (response, Some(status))
            }
            Content::Own(answer) => (answer.render(exchange), None),
        };
        let (mut head, mut body) = response.into_parts();
        look_at(exchange, plan, &mut head);
        if let Some(instead) = exchange.instead.take() {
            (head, body) = instead.render(exchange).into_parts();
            // What plugins say of every answer is said of this one, too.
            look_at(exchange, plan, &mut head);
        }
        head.headers.extend(std::mem::take(&mut exchange.for_caller));
        routing::debug_headers(exchange, &mut head.headers);
        let marks = Some(Marks::of(exchange, upstream_status, upstream_ms));
        let log = self.shared.log.clone();
        let pending = log.map(|log| {
            let entry = Entry::new(exchange, head.status, upstream_ms);
            let complete = body.is_end_stream() || exchange.request.method == http::Method::HEAD;
            Box::new(Pending::new(log, entry, complete))
        });
        Answered { head, body: Counted { body, pending }, marks }
    }
}

/// Plugins look at the head of an answer.
fn look_at(exchange: &mut Exchange, plan: &Plan, head: &mut response::Parts) {
    let chain = plan.route(exchange.route_at).map_or(&plan.everywhere, |route| &route.chain);
    chain.on_response(exchange, head);
}

/// What goes to the caller.
struct Answered {
    head: response::Parts,
    body: Counted,
    /// What is said of the gate; nothing after a panic.
    marks: Option<Marks>,
}

/// Takes a request in, or says why it is refused at the door. It is judged as it came: what leaves with the
/// connection is part of what may be ambiguous.
fn enter(
    peer: &Peer,
    number: u64,
    request: Result<Parts, HeadFault>,
    body: Body,
    plan: Arc<Plan>,
    conduct: Arc<Conduct>,
) -> (Box<Exchange>, Option<Refused>) {
    let (mut head, target, refused) = match request {
        Ok(head) => match door::admit(&head, peer, &plan, &conduct.limits) {
            Ok(target) => (head, target, None),
            Err(refused) => (head, Target::default(), Some(refused)),
        },
        Err(fault) => (Request::new(()).into_parts().0, Target::default(), Some(Refused::Unreadable(fault))),
    };
    let hop = forward::leave_connection(&mut head.headers, head.version, &conduct.upgrades);
    let caller = door::caller(peer, number, &head.headers, &conduct);
    let early = if head.version == Version::HTTP_11 { peer.early.clone() } else { Early::default() };
    // It is large: in a box it is moved no more.
    let mut exchange = Box::new(Exchange::new(head, body, caller, plan, conduct));
    (exchange.target, exchange.hop, exchange.early) = (target, hop, early);
    (exchange, refused)
}

/// For tests and fuzzing: a request as its service gets it, in HTTP/1.1; `None` if it is not let in, or no
/// route takes it.
#[cfg(feature = "testing")]
pub fn written_for_service(head: Parts, body: Body, plan: Arc<Plan>) -> Option<Vec<u8>> {
    let address: SocketAddr = ([127, 0, 0, 1], 50_000).into();
    let address_header = HeaderValue::from_static("127.0.0.1");
    let early = Early::default();
    let peer = Peer {
        address,
        address_header,
        port: 8000,
        tls: false,
        server_name: None,
        certificate: None,
        number: 1,
        early,
    };
    let (mut exchange, None) = enter(&peer, 1, Ok(head), body, plan.clone(), Arc::new(Conduct::default())) else {
        return None;
    };
    let route = routing::find_route(&mut exchange, &plan)?;
    let Origin::Direct(destination) = &route.service.as_ref()?.origin else { return None };
    let mut outgoing = Outgoing::new(&exchange).ok()?;
    outgoing.address(destination, route.preserve_host).ok()?;
    let mut out = Vec::new();
    crate::upstream::write_head(&mut out, &outgoing, &exchange.body);
    Some(out)
}
