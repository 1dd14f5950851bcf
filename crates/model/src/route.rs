//! A route: which requests it takes, and what happens to their path and host.

use crate::text;
use schema::{Check, Condition, Custom, Found, Map, Pattern, Reference, Schema, Set, Value};
use serde::Deserialize;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Which requests are taken, and what happens to their path and host.
#[derive(Clone, Debug, Deserialize, Schema)]
#[schema(
    check(Check::When {
        field: "protocols",
        is: Condition::NoElementOneOf(&["grpcs", "https", "tls", "tls_passthrough"]),
        then: "snis",
        must: Condition::Empty,
        error: Some("'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'"),
    }),
    check(Check::Custom(&PATH_HANDLING)),
    check(Check::Custom(&MATCHES_SOMETHING))
)]
pub struct Route {
    /// The route's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<i64>,
    /// The route's name.
    #[schema(unique, format(text::name))]
    pub name: Option<String>,
    /// The protocols it takes; a request on another of the same family is told to change.
    #[schema(default = ["http", "https"], len_min(1), exclusive_sets(FAMILIES))]
    pub protocols: Set<Protocol>,
    /// The answer to plain HTTP where only HTTPS is taken: 426, or a redirect.
    #[schema(default = 426, numbers(&[426, 301, 302, 307, 308]))]
    pub https_redirect_status_code: u16,
    /// Whether the matched path is cut off before forwarding.
    #[schema(default = true)]
    pub strip_path: bool,
    /// Whether the caller's `Host` goes on to the service.
    #[schema(default = false)]
    pub preserve_host: bool,
    /// Kong buffers request bodies here; the gate always streams them, with backpressure.
    #[schema(default = true)]
    pub request_buffering: bool,
    /// Kong buffers response bodies here; the gate always streams them, with backpressure.
    #[schema(default = true)]
    pub response_buffering: bool,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
    /// The service that takes the requests.
    #[schema(references = "services")]
    pub service: Option<Reference>,
    /// TLS server names, for requests over TLS.
    #[schema(each(format(text::server_name)))]
    pub snis: Option<Set<String>>,
    /// Callers' addresses, for stream routes.
    pub sources: Option<Set<Endpoint>>,
    /// Addresses called, for stream routes.
    pub destinations: Option<Set<Endpoint>>,
    /// HTTP methods, in capitals.
    #[schema(each(pattern(&METHOD)))]
    pub methods: Option<Set<String>>,
    /// Hosts, with an optional port and at most one wildcard as leftmost or rightmost label.
    #[schema(each(pattern(&ONE_WILDCARD), pattern(&OUTER_WILDCARD), format(host)))]
    pub hosts: Option<Vec<String>>,
    /// Path prefixes (`/users`), or regular expressions anchored at the start (`~/users/(?<id>\d+)`).
    #[schema(each(pattern(&PATH_START), pattern(&text::NO_EMPTY_SEGMENTS), format(path)))]
    pub paths: Option<Vec<String>>,
    /// Header values, compared without case; a sole value may be a regular expression (`~*^v[12]$`).
    #[schema(keys(pattern(&NOT_HOST), format(text::header_name)), each(each(format(header_value))))]
    pub headers: Option<BTreeMap<String, Vec<String>>>,
    /// Order among routes with a regular expression; the greater one is tried first.
    #[schema(default = 0)]
    pub regex_priority: Option<i64>,
    /// How service path and request path are joined; only `v0` is carried.
    #[schema(default = "v0")]
    pub path_handling: Option<PathHandling>,
}

pub use crate::service::Protocol;

/// An address range and a port; one may be left out.
#[derive(Clone, Debug, PartialEq, Deserialize, Schema)]
#[schema(check(Check::AtLeastOneOf(&["ip", "port"])))]
pub struct Endpoint {
    /// An IP address or CIDR range.
    pub ip: Option<String>,
    /// A port.
    #[schema(between(0, 65535))]
    pub port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum PathHandling {
    V0,
    V1,
}

const FAMILIES: &[&[&str]] = &[&["http", "https"], &["tcp", "tls", "udp"], &["tls_passthrough"], &["grpc", "grpcs"]];

static METHOD: Pattern = Pattern {
    keyword: "match",
    stated: r#""^%u+$""#,
    check: |method| match !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase()) {
        true => Ok(()),
        false => Err(format!("invalid value: {method}")),
    },
};

static ONE_WILDCARD: Pattern = Pattern {
    keyword: "match_all",
    stated: r#"[{"err": "invalid wildcard: must have at most one wildcard", "pattern": "^[^*]*%*?[^*]*$"}]"#,
    check: |host| match host.matches('*').count() > 1 {
        true => Err("invalid wildcard: must have at most one wildcard".to_owned()),
        false => Ok(()),
    },
};

static OUTER_WILDCARD: Pattern = Pattern {
    keyword: "match_any",
    stated: r#"{"err": "invalid wildcard: must be placed at leftmost or rightmost label",
                "patterns": ["^%*%.", "%.%*$", "^[^*]*$"]}"#,
    check: |host| {
        let bare = host.rsplit_once(':').map_or(host, |(host, _)| host);
        text::wildcard(bare)
    },
};

static PATH_START: Pattern = Pattern {
    keyword: "match_any",
    stated: r#"{"err": "should start with: / (fixed path) or ~/ (regex path)", "patterns": ["^/", "^~/"]}"#,
    check: |path| match path.starts_with('/') || path.starts_with("~/") {
        true => Ok(()),
        false => Err("should start with: / (fixed path) or ~/ (regex path)".to_owned()),
    },
};

static NOT_HOST: Pattern = Pattern {
    keyword: "match_none",
    stated: r#"[{"err": "cannot contain 'host' header, which must be specified in the 'hosts' attribute",
                 "pattern": "^[Hh][Oo][Ss][Tt]$"}]"#,
    check: |name| match name.eq_ignore_ascii_case("host") {
        true => Err("cannot contain 'host' header, which must be specified in the 'hosts' attribute".to_owned()),
        false => Ok(()),
    },
};

fn host(text: &str) -> Result<(), String> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let name_fits = text::is_ip(name) || text::is_host_name(&name.replace('*', "a"));
    if port_fits && name_fits { Ok(()) } else { Err(format!("invalid hostname: {text}")) }
}

fn header_value(text: &str) -> Result<(), String> {
    match text.strip_prefix("~*").map(regex::Regex::new) {
        Some(Err(error)) => Err(format!("invalid regex: '{text}' ({})", reason(&error))),
        _ => Ok(()),
    }
}

fn path(text: &str) -> Result<(), String> {
    if let Some(pattern) = text.strip_prefix('~') {
        return match regex::Regex::new(pattern) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("invalid regex: '{pattern}' ({})", reason(&error))),
        };
    }
    text::path(text)?;
    let normal = router::normalize(text);
    match normal == text {
        true => Ok(()),
        false => Err(format!("non-normalized path, consider use '{normal}' instead")),
    }
}

/// The last line of a regex error is the sentence; the lines before draw the pattern.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let sentence = text.lines().last().unwrap_or_default();
    sentence.trim_start_matches("error: ").to_owned()
}

static PATH_HANDLING: Custom = Custom {
    fields: &["path_handling"],
    run_with_missing_fields: false,
    check: |route, found| {
        if route.get("path_handling").is_some_and(|handling| handling == "v1") {
            found.field("path_handling", "v1 needs Kong's router_flavor=traditional; this gate carries v0");
        }
    },
};

static MATCHES_SOMETHING: Custom = Custom {
    fields: &[
        "id",
        "protocols",
        "snis",
        "sources",
        "destinations",
        "methods",
        "hosts",
        "paths",
        "headers",
        "expression",
        "regex_priority",
        "priority",
    ],
    run_with_missing_fields: true,
    check: matches_something,
};

/// A route must ask for something, and only for what its protocols have.
fn matches_something(route: &Map<String, Value>, found: &mut Found) {
    let protocols: Vec<&str> =
        route.get("protocols").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let has = |names: &[&str]| protocols.iter().any(|protocol| names.contains(protocol));
    let given = |name: &str| match route.get(name) {
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        _ => false,
    };
    if let Some(Value::Object(headers)) = route.get("headers")
        && headers.values().any(|values| values.as_array().is_some_and(Vec::is_empty))
    {
        found.entity("headers: each header needs at least one value");
        return;
    }
    let (family, allowed): (&str, &[&str]) = if has(&["https"]) {
        ("https", &["methods", "hosts", "headers", "paths", "snis"])
    } else if has(&["http"]) {
        ("http", &["methods", "hosts", "headers", "paths"])
    } else if has(&["grpcs"]) {
        ("grpcs", &["hosts", "headers", "paths", "snis"])
    } else if has(&["grpc"]) {
        ("grpc", &["hosts", "headers", "paths"])
    } else if has(&["tls", "tls_passthrough"]) {
        ("tls", &["sources", "destinations", "snis"])
    } else if has(&["tcp"]) {
        ("tcp", &["sources", "destinations"])
    } else if has(&["udp"]) {
        ("udp", &["sources", "destinations"])
    } else {
        return;
    };
    let http = has(&["http", "https"]);
    if let Some(name) = ["sources", "destinations"].into_iter().find(|name| http && given(name)) {
        found.field(name, format!("cannot set '{name}' when 'protocols' is 'http' or 'https'"));
        return;
    }
    if has(&["grpc", "grpcs"]) {
        if given("methods") {
            found.field("methods", "cannot set 'methods' when 'protocols' is 'grpc' or 'grpcs'");
        }
        if route.get("strip_path") == Some(&Value::Bool(true)) {
            found.field("strip_path", "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'");
        }
    }
    if !allowed.iter().any(|name| given(name)) {
        let names: Vec<String> = allowed.iter().map(|name| format!("'{name}'")).collect();
        found.entity(format!("must set one of {} when 'protocols' is '{family}'", names.join(", ")));
    }
}
