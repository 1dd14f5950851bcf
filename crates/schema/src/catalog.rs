//! The one value that crosses the building: which plugins there are and what they may be told.

use crate::{Check, Field, Kind, Record, Reference, Set};
use serde_json::{Value, json};

/// The schemas of every plugin in this build, by name.
#[derive(Clone, Default)]
pub struct Catalog {
    pub plugins: Vec<PluginSchema>,
}

/// What the model and the Admin API know of a plugin.
#[derive(Clone)]
pub struct PluginSchema {
    pub name: &'static str,
    /// Higher runs earlier; Kong's numbers.
    pub priority: i32,
    pub config: Record,
    /// Whether it may be placed on a consumer; authentication plugins may not.
    pub on_consumer: bool,
    /// Whether it may be written for routes of other protocols than HTTP, too.
    pub stream_too: bool,
}

/// The protocols of a plugin that works on HTTP requests.
const PROTOCOLS: &[&str] = &["grpc", "grpcs", "http", "https"];
/// What may be written for a plugin that in Kong works on connections, too; and what stands for it if nothing is.
const STREAM_PROTOCOLS: &[&str] = &["grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp"];
const STREAM_DEFAULT: &[&str] = &["http", "https", "tcp", "tls", "grpc", "grpcs"];

impl Catalog {
    pub fn plugin(&self, name: &str) -> Option<&PluginSchema> {
        self.plugins.iter().find(|plugin| plugin.name == name)
    }
}

impl PluginSchema {
    /// Makes of the field `protocols` the one of this plugin.
    pub fn restrict_protocols(&self, field: &mut Field) {
        let (default, words) = match self.stream_too {
            true => (STREAM_DEFAULT, STREAM_PROTOCOLS),
            false => (PROTOCOLS, PROTOCOLS),
        };
        field.kind = Kind::Set(Box::new(Field { kind: Kind::OneOf(words), ..Field::of::<String>("", "") }));
        field.default = Some(json!(default));
    }

    /// The answer to `GET /schemas/plugins/NAME`.
    pub fn to_kong(&self) -> Value {
        let mut fields = Vec::new();
        if !self.on_consumer {
            let consumer = Field { kind: Kind::Foreign("consumers"), ..Field::of::<Option<Reference>>("", "") };
            fields.push(json!({ "consumer": consumer.must_be_null().to_kong() }));
        }
        let mut protocols = Field::of::<Set<String>>("", "");
        self.restrict_protocols(&mut protocols);
        fields.push(json!({ "protocols": protocols.to_kong() }));
        let mut config = json!({ "type": "record", "required": true, "fields": self.config.kong_fields() });
        if !self.config.moved.is_empty() {
            config["shorthand_fields"] = json!(self.config.kong_moved(self.name));
        }
        let is_within = |check: &&Check| matches!(check, Check::Within(_));
        let (within, of_all): (Vec<&Check>, Vec<&Check>) = self.config.checks.iter().partition(is_within);
        let stated = |checks: Vec<&Check>| -> Vec<Value> {
            let stated = checks.into_iter().filter(|check| check.is_stated());
            stated.map(|check| check.to_kong(self.config.prefix)).collect()
        };
        if !within.is_empty() {
            config["entity_checks"] = json!(stated(within));
        }
        fields.push(json!({ "config": config }));
        json!({ "entity_checks": stated(of_all), "fields": fields })
    }
}
