//! Which route takes a request, and what that means for it.

use crate::answer::{self, Answer};
use crate::exchange::{Caller, Exchange};
use crate::plan::{Grpc, Plan, RoutePlan};
use http::header::{CONNECTION, LOCATION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use router::Query;
use schema::Value;

/// Finds the route in the plan of the exchange, and says what of the request goes to its service.
pub(super) fn find_route<'a>(exchange: &mut Exchange, plan: &'a Plan) -> Option<&'a RoutePlan> {
    let Exchange { target, request, caller, .. } = exchange;
    let path = router::normalize(&target.raw_path);
    let query = query(request, caller, &target.host, target.port, &path);
    let found = plan.router.find(&query)?;
    let route = plan.routes.get(found.rule)?;
    let rest = route.strip_path.then(|| found.rest(&path));
    let service_path = route.service.as_ref().map_or("", |service| &service.path);
    router::join_v0(service_path, &path, rest, &mut target.upstream_path);
    let matched = found.matched.as_ref().and_then(|range| path.get(range.clone()));
    target.prefix = matched.filter(|prefix| route.strip_path && *prefix != "/").map(str::to_owned);
    let wanted = route.service.as_ref().is_some_and(|service| service.origin.reads_captures());
    if wanted && let Some(captures) = found.captures() {
        for (index, name) in found.capture_names().enumerate().skip(1) {
            if let Some(value) = captures.get(index) {
                let names = std::iter::once(index.to_string()).chain(name.map(str::to_owned));
                target.captures.extend(names.map(|name| (name, value.as_str().to_owned())));
            }
        }
    }
    exchange.route_at = Some(found.rule);
    Some(route)
}

/// What the router is asked.
pub(super) fn query<'a>(
    request: &'a Parts,
    caller: &'a Caller,
    host: &'a str,
    port: Option<u16>,
    path: &'a str,
) -> Query<'a> {
    Query {
        method: &request.method,
        host,
        port: port.or(Some(caller.port)),
        path,
        headers: &request.headers,
        sni: caller.server_name.as_deref(),
        secure: caller.secure,
    }
}

/// A route for HTTPS alone, on plain HTTP: 426, or a redirect to the same place.
pub(super) fn insist_on_https(exchange: &Exchange, route: &RoutePlan) -> Option<Answer> {
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

/// A route for gRPC takes gRPC alone, over HTTP/2, and `grpcs` alone means TLS. The answers are Kong's.
pub(super) fn insist_on_grpc(exchange: &Exchange, route: &RoutePlan) -> Option<Answer> {
    let wanted = route.grpc?;
    if !answer::is_grpc(&exchange.request.headers) {
        return Some(Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Non-gRPC request matched gRPC route"));
    }
    if exchange.request.version != Version::HTTP_2 {
        let answer = Answer::error(StatusCode::UPGRADE_REQUIRED, "Please use HTTP2 protocol");
        return Some(
            answer
                .with_header(CONNECTION, HeaderValue::from_static("Upgrade"))
                .with_header(UPGRADE, HeaderValue::from_static("HTTP/2")),
        );
    }
    (wanted == Grpc::Secure && !exchange.caller.secure).then(|| {
        Answer::exit_json(StatusCode::OK, &Value::Null)
            .with_header(answer::GRPC_STATUS, HeaderValue::from_static("1"))
            .with_header(answer::GRPC_MESSAGE, HeaderValue::from_static("gRPC request matched gRPCs route"))
    })
}

/// `Kong-Debug: 1` makes the answer name its route and service, where the operator allows it.
pub(super) fn debug_headers(exchange: &Exchange, headers: &mut HeaderMap) {
    let asked = exchange.request.headers.get("kong-debug").is_some_and(|value| value == "1");
    let (true, true, Some(route)) = (exchange.conduct.allow_debug_header, asked, exchange.route()) else { return };
    let mut name = |header: &'static str, value: Option<&str>| {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(header, value);
        }
    };
    name("kong-route-id", Some(&route.id.to_string()));
    name("kong-route-name", route.name.as_deref());
    if let Some(service) = &route.service {
        name("kong-service-id", Some(&service.id.to_string()));
        name("kong-service-name", service.name.as_deref());
    }
}
