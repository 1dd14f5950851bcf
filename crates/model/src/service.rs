//! A service: where requests of its routes go.

use crate::text;
use schema::{Check, Condition, Map, Reference, Schema, Set, Value, Violations, json};
use serde::Deserialize;
use uuid::Uuid;

const TLS: Condition = Condition::NotOneOf(&["https", "tls"]);

const fn only_with_tls(then: &'static str) -> Check {
    Check::When { field: "protocol", is: TLS, then, must: Condition::Null, error: None }
}

/// Where the requests of its routes go.
#[derive(Clone, Debug, Deserialize, Schema)]
#[schema(
    shorthand = url,
    check(Check::When {
        field: "protocol",
        is: Condition::OneOf(&["tcp", "tls", "udp", "grpc", "grpcs"]),
        then: "path",
        must: Condition::Null,
        error: None,
    }),
    check(only_with_tls("client_certificate")),
    check(only_with_tls("tls_verify")),
    check(only_with_tls("tls_verify_depth")),
    check(only_with_tls("ca_certificates"))
)]
pub struct Service {
    /// The service's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<i64>,
    /// The service's name.
    #[schema(unique, format(text::name))]
    pub name: Option<String>,
    /// How many more attempts follow a failed one.
    #[schema(default = 5, between(0, 32767))]
    pub retries: Option<u16>,
    /// How to speak to the service.
    #[schema(default = "http")]
    pub protocol: Protocol,
    /// The host name or address of the service, or the name of an upstream.
    #[schema(format(text::host))]
    pub host: String,
    /// The port of the service.
    #[schema(default = 80, between(0, 65535))]
    pub port: u16,
    /// Put before the path of each request.
    #[schema(starts_with("/"), pattern(&text::NO_EMPTY_SEGMENTS), format(text::path))]
    pub path: Option<String>,
    /// How long connecting may take, in milliseconds.
    #[schema(default = 60000, between(1, 2147483646))]
    pub connect_timeout: Option<u32>,
    /// How long may pass between two writes of a request, in milliseconds.
    #[schema(default = 60000, between(1, 2147483646))]
    pub write_timeout: Option<u32>,
    /// How long may pass between two reads of an answer, in milliseconds.
    #[schema(default = 60000, between(1, 2147483646))]
    pub read_timeout: Option<u32>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
    /// The certificate to show to the service.
    #[schema(references = "certificates")]
    pub client_certificate: Option<Reference>,
    /// Whether the service's certificate is verified. Unset means verified (Kong: not verified).
    pub tls_verify: Option<bool>,
    /// How many intermediate certificates the service's chain may have.
    #[schema(default = null, between(0, 64))]
    pub tls_verify_depth: Option<u8>,
    /// The CA certificates to trust instead of the system's.
    #[schema(each(uuid))]
    pub ca_certificates: Option<Vec<Uuid>>,
    /// Whether the service takes part at all.
    #[schema(default = true)]
    pub enabled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Grpc,
    Grpcs,
    Http,
    Https,
    Tcp,
    Tls,
    #[serde(rename = "tls_passthrough")]
    TlsPassthrough,
    Udp,
}

/// The end of host names that are the gate's own: `internal://admin` is a short way to write
/// `http://admin.portcullis.internal`, and no name that anybody looks up.
const INTERNAL: &str = ".portcullis.internal";

/// What of the gate itself a host stands for: `admin`.
pub fn internal(host: &str) -> Option<&str> {
    host.strip_suffix(INTERNAL)
}

/// `url` stands for `protocol`, `host`, `port` and `path`.
fn url(service: &mut Map<String, Value>) -> Result<(), Violations> {
    let url = match service.remove("url") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::String(url)) => url,
        Some(_) => return Err(Violations::field("url", "expected a string")),
    };
    // The part after `?` or `#` is no part of a service's address, and Kong drops it.
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((protocol, rest)) = url.split_once("://") else {
        return Err(Violations::field("url", "missing scheme: expected, say, http://host:port/path"));
    };
    let (protocol, rest) = match protocol {
        "internal" => (
            "http",
            rest.find('/')
                .map_or(format!("{rest}{INTERNAL}"), |slash| format!("{}{INTERNAL}{}", &rest[..slash], &rest[slash..])),
        ),
        other => (other, rest.to_owned()),
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => (&rest[..slash], Some(&rest[slash..])),
        None => (rest.as_str(), None),
    };
    if authority.contains('@') {
        // Not repeated: what stands before the @ is a password.
        return Err(Violations::field("url", "must not hold a user name or password; plugins send credentials"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match port.map(str::parse::<i64>) {
        Some(Ok(port)) => json!(port),
        Some(Err(_)) => json!(port),
        None if protocol == "https" => json!(443),
        None => json!(80),
    };
    service.insert("protocol".to_owned(), json!(protocol));
    if !host.is_empty() {
        service.insert("host".to_owned(), json!(host));
    }
    service.insert("port".to_owned(), port);
    service.insert("path".to_owned(), json!(path));
    Ok(())
}
