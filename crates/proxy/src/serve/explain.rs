//! What would become of a request, and why: everything but the service is asked. For people; requests go another way.

use super::{Peer, enter, routing};
use crate::answer::Answer;
use crate::body::Body;
use crate::chain::Placement;
use crate::conduct::Conduct;
use crate::early::Early;
use crate::exchange::Exchange;
use crate::identity;
use crate::outgoing::Outgoing;
use crate::plan::{Internal, Origin, Plan, RoutePlan};
use crate::plugin::Verdict;
use crate::upstream::Pool;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use net::dns::Names;
use router::Misfit;
use schema::{Map, Value, json};
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A request that somebody asks about.
pub struct Question {
    pub request: Request<Bytes>,
    /// Where it would come from.
    pub ip: IpAddr,
    /// Whether it would come over TLS; then the server name is the host of its URL.
    pub tls: bool,
}

/// So many routes that do not take it are told of.
const OTHERS: usize = 100;

/// Says which route takes a request and why the others do not, what each plugin decides, and what its service would
/// get. Secrets are left out: of headers that are not the gate's own only the names are told.
pub async fn explain(question: Question, plan: Arc<Plan>, conduct: Arc<Conduct>, names: Arc<Names>) -> Value {
    let keepalive = conduct.keepalive;
    let address = SocketAddr::new(question.ip, 0);
    let authority = question.request.uri().authority().cloned();
    let (mut head, body) = question.request.into_parts();
    if let Some(authority) = &authority
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
        && !head.headers.contains_key(http::header::HOST)
    {
        head.headers.insert(http::header::HOST, host);
    }
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    if let Ok(target) = target.parse() {
        head.uri = target;
    }
    let peer = Peer {
        address,
        address_header: identity::header_value(&question.ip.to_string()),
        port: authority.as_ref().and_then(|own| own.port_u16()).unwrap_or(if question.tls { 443 } else { 80 }),
        tls: question.tls,
        server_name: authority.filter(|_| question.tls).map(|own| own.host().to_ascii_lowercase().into()),
        certificate: None,
        number: 1,
        early: Early::default(),
    };
    let body = if body.is_empty() { Body::Empty } else { Body::Full(body) };
    let (mut exchange, refused) = enter(&peer, 1, Ok(head), body, plan, conduct);
    exchange.rehearsal = true;
    exchange.pool = Some(Pool::new(names, keepalive));
    let mut told = Map::new();
    let default = exchange.conduct.error_default_type;
    if let Some(refused) = refused {
        told.insert("route".to_owned(), Value::Null);
        told.insert("because".to_owned(), json!("the request is refused at the door: it is ambiguous or too long"));
        told.insert("answer".to_owned(), answer(&refused.answer(default)));
        return Value::Object(told);
    }
    tell(&mut exchange, &mut told).await;
    Value::Object(told)
}

async fn tell(exchange: &mut Exchange, told: &mut Map<String, Value>) {
    let plan = exchange.plan.clone();
    let route = routing::find_route(exchange, &plan);
    told.insert("path".to_owned(), json!(router::normalize(&exchange.target.raw_path)));
    told.insert("route".to_owned(), route.map_or(Value::Null, named));
    told.insert("other_routes".to_owned(), others(exchange));
    let Some(route) = route else {
        let none = Answer::error(http::StatusCode::NOT_FOUND, "no Route matched with those values");
        told.insert("answer".to_owned(), answer(&none));
        return;
    };
    if let Some(other) = routing::insist_on_https(exchange, route).or_else(|| routing::insist_on_grpc(exchange, route))
    {
        told.insert("because".to_owned(), json!("the route takes another protocol"));
        told.insert("answer".to_owned(), answer(&other));
        return;
    }
    let mut plugins = Vec::new();
    let mut last = Value::Null;
    let passed = route
        .chain
        .rehearse(exchange, |placement, verdict, exchange, before| {
            plugins.push(decided(placement, verdict, exchange, before));
            if let Ok(ControlFlow::Break(refusal)) = verdict {
                last = answer(refusal);
            } else if verdict.is_err() {
                last = json!({ "status": 500 });
            }
        })
        .await;
    told.insert("plugins".to_owned(), Value::Array(plugins));
    if !passed {
        told.insert("answer".to_owned(), last);
        return;
    }
    match service(exchange, route) {
        Ok(service) => told.insert("service".to_owned(), service),
        Err(status) => told.insert("answer".to_owned(), json!({ "status": status })),
    };
}

fn named(route: &RoutePlan) -> Value {
    json!({ "id": route.id, "name": route.name })
}

fn others(exchange: &Exchange) -> Value {
    let path = router::normalize(&exchange.target.raw_path);
    let query = routing::query(&exchange.request, &exchange.caller, &exchange.target.host, exchange.target.port, &path);
    let judged = exchange.plan.router.explain(&query).into_iter().filter_map(|judged| {
        if exchange.route_at == Some(judged.rule) {
            return None;
        }
        let route = exchange.plan.routes.get(judged.rule)?;
        let reasons: Vec<&str> = judged.misfits.iter().map(|misfit| reason(*misfit)).collect();
        let because = if reasons.is_empty() {
            "it fits too, and comes later in the order".to_owned()
        } else {
            reasons.join(", ")
        };
        Some(json!({ "id": route.id, "name": route.name, "because": because }))
    });
    Value::Array(judged.take(OTHERS).collect())
}

fn reason(misfit: Misfit) -> &'static str {
    match misfit {
        Misfit::Host => "its hosts do not fit",
        Misfit::Path => "its paths do not fit",
        Misfit::Method => "its methods do not fit",
        Misfit::Headers => "its headers do not fit",
        Misfit::Sni => "its snis do not fit",
    }
}

fn decided(placement: &Placement, verdict: &Verdict, exchange: &Exchange, before: &HeaderMap) -> Value {
    let scope = placement.scope;
    let scopes = [
        ("route", scope.route),
        ("service", scope.service),
        ("consumer", scope.consumer),
        ("consumer group", scope.consumer_group),
    ];
    let on: Vec<&str> = scopes.iter().filter_map(|(name, id)| id.map(|_| *name)).collect();
    let on = if on.is_empty() { "everywhere".to_owned() } else { on.join(" and ") };
    let mut told = json!({ "name": placement.name, "id": placement.id, "priority": placement.priority, "on": on });
    match verdict {
        Ok(ControlFlow::Continue(())) => told["decides"] = json!("goes on"),
        Ok(ControlFlow::Break(refusal)) => {
            told["decides"] = json!("answers");
            told["answer"] = answer(refusal);
        }
        Err(fault) => {
            told["decides"] = json!("fails");
            told["because"] = json!(fault.to_string());
        }
    }
    let identity = exchange.identity.as_ref();
    if let Some(identity) = identity {
        let consumer = identity.consumer.as_ref();
        told["caller"] = json!({
            "authenticated": identity.credential.is_some(),
            "consumer": consumer.map(|consumer| json!({ "id": consumer.id, "username": consumer.username })),
            "groups": exchange.authenticated_groups.as_deref().or(consumer.map(|consumer| consumer.groups())),
        });
    }
    let after = &exchange.request.headers;
    let names = |headers: &HeaderMap, others: &HeaderMap| -> Vec<Value> {
        let changed = headers.keys().filter(|name| !headers.get_all(*name).iter().eq(others.get_all(*name).iter()));
        changed.map(|name| json!(name.as_str())).collect()
    };
    let (set, removed) = (names(after, before), names(before, after));
    let removed: Vec<Value> = removed.into_iter().filter(|name| !set.contains(name)).collect();
    if !set.is_empty() {
        told["sets"] = Value::Array(set);
    }
    if !removed.is_empty() {
        told["removes"] = Value::Array(removed);
    }
    told
}

/// What the caller would get. Of its headers those that say why.
fn answer(answer: &Answer) -> Value {
    let (status, headers) = answer.parts();
    let mut told = json!({ "status": status.as_u16(), "message": answer.message() });
    for name in [http::header::WWW_AUTHENTICATE, http::header::LOCATION, http::header::RETRY_AFTER] {
        let values: Vec<String> =
            headers.get_all(&name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        if !values.is_empty() {
            told[name.as_str()] = json!(values.join(", "));
        }
    }
    told
}

/// What the service would get: where, and which headers. Values are told of those that the gate itself writes.
fn service(exchange: &Exchange, route: &RoutePlan) -> Result<Value, u16> {
    let Some(service) = &route.service else { return Err(503) };
    let outgoing = Outgoing::new(exchange).map_err(|_| 502_u16)?;
    let (kind, place) = match &service.origin {
        Origin::Direct(destination) => ("host", destination.authority.to_str().unwrap_or_default().to_owned()),
        Origin::Balanced(_) => ("upstream", "one of its targets".to_owned()),
        Origin::Internal(Internal::Admin) => ("internal", "admin".to_owned()),
    };
    let mut headers = Map::new();
    for (name, value) in &exchange.request.headers {
        let ours = identity::is_reserved(name.as_str()) || exchange.plan.reserved.contains(name);
        let text = String::from_utf8_lossy(value.as_bytes());
        headers.insert(name.to_string(), if ours { json!(text) } else { json!("(not told)") });
    }
    Ok(json!({
        "id": service.id,
        "name": service.name,
        kind: place,
        "path": crate::message::Message::target(&outgoing).split('?').next(),
        "headers": headers,
    }))
}
