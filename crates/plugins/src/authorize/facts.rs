//! What is known of a request when it is decided about, by the names that expressions have for it.

use super::sense::Type;
use cel::Value;
use cel::objects::{Key, Map};
use proxy::Exchange;
use proxy::query;
use schema::Value as Json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// One thing that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    Method,
    Path,
    Host,
    Scheme,
    Query,
    Arguments,
    Headers,
    Ip,
    Peer,
    Port,
    ServerName,
    Authenticated,
    Credential,
    Groups,
    ConsumerId,
    ConsumerUsername,
    ConsumerCustomId,
    Claims,
    RouteId,
    RouteName,
    ServiceId,
    ServiceName,
    Now,
}

/// The name of each.
pub const FACTS: &[(&str, Fact)] = &[
    ("request.method", Fact::Method),
    ("request.path", Fact::Path),
    ("request.host", Fact::Host),
    ("request.scheme", Fact::Scheme),
    ("request.query", Fact::Query),
    ("request.args", Fact::Arguments),
    ("request.headers", Fact::Headers),
    ("connection.ip", Fact::Ip),
    ("connection.peer", Fact::Peer),
    ("connection.port", Fact::Port),
    ("connection.server_name", Fact::ServerName),
    ("identity.authenticated", Fact::Authenticated),
    ("identity.credential", Fact::Credential),
    ("identity.groups", Fact::Groups),
    ("consumer.id", Fact::ConsumerId),
    ("consumer.username", Fact::ConsumerUsername),
    ("consumer.custom_id", Fact::ConsumerCustomId),
    ("claims", Fact::Claims),
    ("route.id", Fact::RouteId),
    ("route.name", Fact::RouteName),
    ("service.id", Fact::ServiceId),
    ("service.name", Fact::ServiceName),
    ("now", Fact::Now),
];

impl Fact {
    pub fn named(name: &str) -> Option<Fact> {
        FACTS.iter().find(|(own, _)| *own == name).map(|(_, fact)| *fact)
    }

    pub fn name(self) -> &'static str {
        FACTS.iter().find(|(_, fact)| *fact == self).map_or("", |(name, _)| name)
    }

    pub fn kind(self) -> Type {
        match self {
            Fact::Arguments => Type::Map(Box::new(Type::List(Box::new(Type::Text)))),
            Fact::Headers => Type::Map(Box::new(Type::Text)),
            Fact::Groups => Type::List(Box::new(Type::Text)),
            Fact::Claims => Type::Map(Box::new(Type::Any)),
            Fact::Authenticated => Type::Bool,
            Fact::Port | Fact::Now => Type::Int,
            _ => Type::Text,
        }
    }

    /// What it is for this request. What is not known is an empty text.
    pub fn of(self, exchange: &Exchange) -> Value {
        let consumer = || exchange.identity.as_ref()?.consumer.as_ref();
        let route = exchange.route();
        let service = || route?.service.as_ref();
        let credential = || exchange.identity.as_ref()?.credential.as_ref();
        match self {
            Fact::Method => text(exchange.request.method.as_str()),
            Fact::Path => text(&router::normalize(&exchange.target.raw_path)),
            Fact::Host => text(&exchange.target.host),
            Fact::Scheme => text(if exchange.caller.secure { "https" } else { "http" }),
            Fact::Query => text(exchange.target.query.as_deref().unwrap_or_default()),
            Fact::Arguments => arguments(exchange.target.query.as_deref().unwrap_or_default()),
            Fact::Headers => headers(exchange),
            Fact::Ip => text(&exchange.caller.ip.to_canonical().to_string()),
            Fact::Peer => text(&exchange.caller.peer.ip().to_canonical().to_string()),
            Fact::Port => Value::Int(exchange.caller.port.into()),
            Fact::ServerName => text(exchange.caller.server_name.as_deref().unwrap_or_default()),
            Fact::Authenticated => Value::Bool(credential().is_some()),
            Fact::Credential => {
                let own = credential().map(|credential| String::from_utf8_lossy(credential.identifier.as_bytes()));
                text(&own.unwrap_or_default())
            }
            Fact::Groups => {
                let proven = exchange.authenticated_groups.iter().flatten();
                let own = consumer().map(|consumer| consumer.groups()).unwrap_or_default();
                list(own.iter().chain(proven).map(|group| text(group)))
            }
            Fact::ConsumerId => text(&consumer().map(|consumer| consumer.id.to_string()).unwrap_or_default()),
            Fact::ConsumerUsername => {
                text(consumer().and_then(|consumer| consumer.username.as_deref()).unwrap_or_default())
            }
            Fact::ConsumerCustomId => {
                text(consumer().and_then(|consumer| consumer.custom_id.as_deref()).unwrap_or_default())
            }
            Fact::Claims => match exchange.claims.read() {
                Some(claims) => map(claims.iter().map(|(name, value)| (name.clone(), of_json(value)))),
                None => map([]),
            },
            Fact::RouteId => text(&route.map(|route| route.id.to_string()).unwrap_or_default()),
            Fact::RouteName => text(route.and_then(|route| route.name.as_deref()).unwrap_or_default()),
            Fact::ServiceId => text(&service().map(|service| service.id.to_string()).unwrap_or_default()),
            Fact::ServiceName => text(service().and_then(|service| service.name.as_deref()).unwrap_or_default()),
            Fact::Now => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Value::Int(i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
            }
        }
    }
}

/// All values of each argument: services differ in which they take.
fn arguments(query: &str) -> Value {
    let mut all: HashMap<String, Vec<Value>> = HashMap::new();
    for (name, value) in query::pairs(query) {
        all.entry(name).or_default().push(text(&value));
    }
    map(all.into_iter().map(|(name, values)| (name, list(values))))
}

/// Several fields of one name are one value, with `, ` between them (RFC 9110 section 5.3).
fn headers(exchange: &Exchange) -> Value {
    let headers = &exchange.request.headers;
    map(headers.keys().map(|name| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        (name.as_str().to_owned(), text(&values.collect::<Vec<_>>().join(", ")))
    }))
}

fn of_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(value) => text(value),
        Json::Array(items) => list(items.iter().map(of_json)),
        Json::Object(members) => map(members.iter().map(|(name, value)| (name.clone(), of_json(value)))),
    }
}

fn text(value: &str) -> Value {
    Value::String(Arc::new(value.to_owned()))
}

fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::List(Arc::new(items.into_iter().collect()))
}

fn map(members: impl IntoIterator<Item = (String, Value)>) -> Value {
    let members = members.into_iter().map(|(name, value)| (Key::String(Arc::new(name)), value));
    Value::Map(Map { map: Arc::new(members.collect()) })
}
