//! A gate without sockets: a catalog with one plugin, and a configuration that can be replaced.

use admin::{Admin, Connections, Facts, Gate, Question, Token};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use model::declarative::{self, Context, Written};
use model::rows::Unavailable;
use model::vault::Vaults;
use model::{Configuration, Invalid, Rows, Writes};
use schema::{Catalog, Check, PluginSchema, Schema, Value, json};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

pub const TOKEN: &str = "t0ken";
pub const NOW: u64 = 1_800_000_000;

/// A plugin like key-auth.
#[derive(Deserialize, Schema)]
#[schema(prefix = "config.", check(Check::MutuallyExclusive(&["realm", "anonymous"])))]
#[allow(dead_code, reason = "only its schema is used")]
pub struct Config {
    /// Where the key may stand.
    #[schema(default = ["apikey"], len_min(1))]
    key_names: Vec<String>,
    /// Whether the key is taken out of the request.
    #[schema(default = false)]
    hide_credentials: bool,
    /// What the refusal says.
    realm: Option<String>,
    /// Who comes in without a key.
    anonymous: Option<String>,
}

pub struct Rig {
    catalog: Catalog,
    configuration: Mutex<Arc<Configuration>>,
}

impl Rig {
    fn context(&self, now: u64) -> Context<'_> {
        Context { catalog: &self.catalog, vaults: Vaults::new(secrets()), now }
    }
}

impl Gate for Rig {
    fn document(&self) -> Option<Arc<Configuration>> {
        Some(self.configuration.lock().unwrap().clone())
    }

    fn rows(&self) -> Arc<dyn Rows> {
        self.configuration.lock().unwrap().clone()
    }

    fn change<T, E: From<Unavailable>>(&self, _: &str, _: impl FnOnce(&dyn Writes) -> Result<T, E>) -> Result<T, E> {
        Err(Unavailable("there is no database".to_owned()).into())
    }

    fn in_force(&self) -> Arc<Configuration> {
        self.configuration.lock().unwrap().clone()
    }

    fn is_known_host(&self, host: &str) -> bool {
        host == "gate.test"
    }

    fn has_readable_keys(&self) -> bool {
        true
    }

    fn log(&self, who: &str, method: &Method, path: &str, status: StatusCode) {
        println!("{who} {method} {path} {status}");
    }

    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn load(&self, document: &str) -> Result<Arc<Configuration>, Invalid> {
        let loaded = declarative::read_text(document, self.context(self.now())).map_err(|(invalid, _)| invalid)?;
        let loaded = Arc::new(loaded);
        *self.configuration.lock().unwrap() = loaded.clone();
        Ok(loaded)
    }

    fn read(&self, document: &str) -> Result<Written, Invalid> {
        declarative::read_as_written(document, self.context(self.now()))
    }

    fn explain(&self, question: Question) -> Value {
        json!({ "asked": question.request.uri().to_string() })
    }

    fn facts(&self) -> Facts {
        Facts {
            version: "0.1.0".to_owned(),
            hostname: "gate-1".to_owned(),
            node_id: Uuid::from_u128(7),
            pid: 4711,
            settings: json!({ "database": "off", "router_flavor": "traditional_compatible" }),
            database: None,
            connections: Connections {
                accepted: 5,
                active: 2,
                handled: 5,
                total_requests: 9,
                ..Connections::default()
            },
        }
    }

    fn now(&self) -> u64 {
        // A minute after the first configuration was read.
        NOW + 60
    }
}

/// What came back, ready to be compared.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What the references of these tests stand for; none of it may be shown.
fn secrets() -> HashMap<String, String> {
    ["CERT", "KEY"].map(|name| (name.to_owned(), "from-the-environment".to_owned())).into()
}

pub fn admin(configuration: &str) -> Admin<Rig> {
    let (name, config) = ("key-auth", Config::record());
    let plugin = PluginSchema { name, priority: 1250, config, on_consumer: false, stream_too: false };
    let rig =
        Rig { catalog: Catalog { plugins: vec![plugin] }, configuration: Mutex::new(Arc::new(Configuration::empty())) };
    let read = declarative::read_text(configuration, rig.context(NOW)).map_err(|(invalid, _)| invalid.fields());
    *rig.configuration.lock().unwrap() = Arc::new(read.unwrap());
    Admin::new(rig, Token::new(TOKEN).unwrap())
}

pub fn send(admin: &Admin<Rig>, method: &str, path: &str, content_type: Option<&str>, body: &[u8]) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("Kong-Admin-Token", TOKEN);
    if let Some(content_type) = content_type {
        request = request.header("Content-Type", content_type);
    }
    answer(admin, request.body(Bytes::copy_from_slice(body)).unwrap())
}

pub fn answer(admin: &Admin<Rig>, request: Request<Bytes>) -> Answer {
    let (parts, body) = admin.answer(request).into_parts();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(body.to_vec()).unwrap() }
}

pub fn get(admin: &Admin<Rig>, path: &str) -> Answer {
    send(admin, "GET", path, None, b"")
}

/// A write with a JSON body; an empty one sends none.
pub fn write(admin: &Admin<Rig>, method: &str, path: &str, body: &str) -> Answer {
    send(admin, method, path, (!body.is_empty()).then_some("application/json"), body.as_bytes())
}

/// Whether `actual` has everything that `expected` has; a list must have as many items.
pub fn fits(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            expected.iter().all(|(name, value)| fits(value, actual.get(name).unwrap_or(&Value::Null)))
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len() && expected.iter().zip(actual).all(|(a, b)| fits(a, b))
        }
        // Kong's cases: in any order.
        (Value::Object(set), Value::Array(actual)) if set.contains_key("$set") => {
            let expected = set["$set"].as_array().unwrap();
            expected.len() == actual.len() && expected.iter().all(|a| actual.iter().any(|b| fits(a, b)))
        }
        // Anything that is there; what a pattern says of it is not looked at.
        (Value::String(any), actual) if any == "*" || any.starts_with("re:") => !actual.is_null(),
        (expected, actual) => expected == actual,
    }
}

/// The configuration of Kong's case L11, with more kinds of entities.
pub const SHOP: &str = r#"
_format_version: "3.0"
services:
- name: s
  host: h.test
  tags: [t1, t 2]
  plugins: [{name: key-auth, instance_name: ka}]
  routes: [{name: r, paths: [/], tags: [t1]}]
- {id: 11111111-1111-4111-8111-111111111111, name: other, host: o.test, tags: [t1, t3]}
routes:
- {name: alone, paths: [/alone]}
consumers:
- username: c
  custom_id: cid-1
  keyauth_credentials: [{key: k}, {key: short, ttl: 100}, {key: gone, ttl: 10}]
  acls: [{group: g}]
  jwt_secrets: [{key: jk, secret: js}]
  basicauth_credentials: [{username: u, password: p}]
- {username: "jö hn", id: 22222222-2222-4222-8222-222222222222}
upstreams:
- {name: u.test, targets: [{target: "10.0.0.1:80"}, {target: "10.0.0.2"}]}
- {name: v.test, targets: [{target: "10.0.0.1:80", weight: 7}]}
certificates:
- id: 33333333-3333-4333-8333-333333333333
  cert: "{vault://env/cert}"
  key: "{vault://env/key}"
  snis: [{name: b.test}, {name: a.test}]
key_sets:
- {name: ks, keys: [{name: k1, kid: "1", jwk: '{"kty":"oct","kid":"1"}'}]}
vaults:
- {name: env, prefix: my-env, config: {prefix: X_}}
"#;
