//! The kinds of entities, their names in files and URLs, and how they hang together.

use crate::{
    admin_token, certificate, consumer, consumer_group, credential, key, plugin_row, route, service, target, upstream,
    vault,
};
use schema::{Field, Kind, Record, Rule, Schema};
use std::sync::LazyLock;

/// One kind of entity.
pub struct EntityKind {
    /// The name in declarative files, errors and `/schemas/`: `keyauth_credentials`.
    pub name: &'static str,
    /// The name in flattened errors: `keyauth_credential`.
    pub singular: &'static str,
    /// The segment in Admin API paths: `key-auths`.
    pub collection: &'static str,
    /// The segment below a parent: `/consumers/{c}/key-auth`.
    pub nested: &'static str,
    /// The field that may stand for the identity in paths and references.
    pub endpoint_key: Option<&'static str>,
    /// Fields that must be unique together.
    pub unique_together: &'static [&'static [&'static str]],
    /// The fields that an identity is derived from where there is no endpoint key.
    pub composite_key: &'static [&'static str],
    /// A field of ours that is part of both where it is given.
    pub besides: Option<&'static str>,
    /// Whether an entity may be given for a time only (`ttl`).
    pub has_ttl: bool,
    /// Whether the Kong that is open source has it.
    pub in_kong: bool,
    pub record: Record,
}

impl EntityKind {
    /// The fields that refer to another entity, with the kind they refer to.
    pub fn references(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.record.fields.iter().filter_map(|field| match field.kind {
            Kind::Foreign(kind) => Some((field.name, kind)),
            _ => None,
        })
    }

    /// The field by which this kind hangs below `parent`.
    pub fn reference_to(&self, parent: &str) -> Option<&'static str> {
        self.references().find(|(_, kind)| *kind == parent).map(|(field, _)| field)
    }

    pub fn unique_fields(&self) -> impl Iterator<Item = &Field> {
        self.record.fields.iter().filter(|field| field.has(&Rule::Unique))
    }
}

/// The kind with this name.
pub fn kind(name: &str) -> Option<&'static EntityKind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Every kind, parents before children.
pub static KINDS: LazyLock<Vec<EntityKind>> = LazyLock::new(|| {
    vec![
        entity::<vault::Vault>("vaults", "vault").key("prefix"),
        entity::<certificate::Certificate>("certificates", "certificate"),
        entity::<certificate::CaCertificate>("ca_certificates", "ca_certificate"),
        entity::<certificate::Sni>("snis", "sni").key("name"),
        entity::<key::KeySet>("key_sets", "key_set").key("name").at("key-sets", "key-sets"),
        entity::<key::Key>("keys", "key").key("name").together(&[&["kid", "set"]]).composite(&["kid", "set"]),
        entity::<upstream::Upstream>("upstreams", "upstream").key("name"),
        entity::<target::Target>("targets", "target")
            .key("target")
            .together(&[&["upstream", "target"]])
            .composite(&["upstream", "target"]),
        entity::<service::Service>("services", "service").key("name"),
        entity::<route::Route>("routes", "route").key("name"),
        entity::<consumer::Consumer>("consumers", "consumer").key("username"),
        entity::<consumer_group::ConsumerGroup>("consumer_groups", "consumer_group").key("name").not_in_kong(),
        entity::<consumer_group::Membership>("consumer_group_consumers", "consumer_group_consumer")
            .together(&[&["consumer", "consumer_group"]])
            .composite(&["consumer", "consumer_group"])
            .not_in_kong(),
        entity::<plugin_row::PluginRow>("plugins", "plugin")
            .key("instance_name")
            .together(&[&["name", "route", "service", "consumer"]])
            .composite(&["name", "route", "service", "consumer"])
            .besides("consumer_group"),
        entity::<credential::Acl>("acls", "acl").together(&[&["consumer", "group"]]).composite(&["consumer", "group"]),
        entity::<credential::KeyAuth>("keyauth_credentials", "keyauth_credential")
            .key("key")
            .at("key-auths", "key-auth"),
        entity::<credential::BasicAuth>("basicauth_credentials", "basicauth_credential")
            .key("username")
            .at("basic-auths", "basic-auth"),
        entity::<credential::HmacAuth>("hmacauth_credentials", "hmacauth_credential")
            .key("username")
            .at("hmac-auths", "hmac-auth"),
        entity::<credential::JwtSecret>("jwt_secrets", "jwt_secret").key("key").at("jwts", "jwt"),
        entity::<credential::MtlsAuth>("mtls_auth_credentials", "mtls_auth_credential")
            .at("mtls-auths", "mtls-auth")
            .not_in_kong()
            .together(&[&["subject_name", "ca_certificate"]])
            .composite(&["subject_name", "ca_certificate"]),
        entity::<credential::Oauth2Credential>("oauth2_credentials", "oauth2_credential")
            .key("client_id")
            .at("oauth2", "oauth2"),
        entity::<credential::Oauth2Token>("oauth2_tokens", "oauth2_token").key("access_token"),
        entity::<admin_token::AdminToken>("admin_tokens", "admin_token").key("name").not_in_kong(),
    ]
});

fn entity<T: Schema>(name: &'static str, singular: &'static str) -> EntityKind {
    EntityKind {
        name,
        singular,
        collection: name,
        nested: name,
        endpoint_key: None,
        unique_together: &[],
        composite_key: &[],
        besides: None,
        has_ttl: matches!(name, "keyauth_credentials" | "oauth2_tokens"),
        in_kong: true,
        record: T::record(),
    }
}

impl EntityKind {
    fn key(self, field: &'static str) -> EntityKind {
        EntityKind { endpoint_key: Some(field), ..self }
    }

    fn at(self, collection: &'static str, nested: &'static str) -> EntityKind {
        EntityKind { collection, nested, ..self }
    }

    fn besides(self, field: &'static str) -> EntityKind {
        EntityKind { besides: Some(field), ..self }
    }

    fn not_in_kong(self) -> EntityKind {
        EntityKind { in_kong: false, ..self }
    }

    fn together(self, unique_together: &'static [&'static [&'static str]]) -> EntityKind {
        EntityKind { unique_together, ..self }
    }

    fn composite(self, composite_key: &'static [&'static str]) -> EntityKind {
        EntityKind { composite_key, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::{Value, json};
    use std::{fs, path::Path};

    /// Every entity's schema, beside what a running Kong 3.9.3 answered.
    #[test]
    fn schemas_are_kongs() {
        let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kong/oracle/schemas");
        for kind in KINDS.iter().filter(|kind| kind.in_kong) {
            let recorded = fs::read_to_string(oracle.join(format!("{}.json", kind.name))).unwrap();
            let mut recorded: Value = serde_json::from_str(&recorded).unwrap();
            let mut record = kind.record.clone();
            record.fields.retain(|field| !field.has(&Rule::Ours));
            let mut ours = record.to_kong();
            for document in [&mut recorded, &mut ours] {
                comparable(document);
            }
            assert_eq!(ours, recorded, "{}", kind.name);
        }
    }

    /// The page says what the code says. `UPDATE_DOCS=1` rewrites it.
    #[test]
    fn the_reference_page_is_up_to_date() {
        let mut written =
            String::from("# Entities\n\nWhat may stand in a declarative file, kind by kind. Written from the code.\n");
        for kind in KINDS.iter() {
            let (table, checks) = (kind.record.to_markdown(), kind.record.checks_in_words());
            written += &format!("\n## {}\n\n{}\n\n{table}", kind.name, kind.record.doc);
            if !checks.is_empty() {
                written += &format!("\n{checks}");
            }
        }
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/entities.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&page, &written).unwrap();
        }
        assert_eq!(fs::read_to_string(&page).unwrap_or_default(), written, "run the tests once with UPDATE_DOCS=1");
    }

    /// Drops descriptions and what says nothing (`required: false`), and orders lists of fields.
    fn comparable(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.remove("description");
                map.retain(|key, value| !(matches!(key.as_str(), "required" | "unique") && value == &json!(false)));
                // Here secrets of credentials may stand in vaults, which Kong does not read there.
                map.remove("referenceable");
                // Kong writes a default of null in some places and leaves it out in others.
                map.retain(|key, value| !(key == "default" && value.is_null()));
                // The default that Kong states for `healthchecks` forgets one of its fields.
                if let Some(Value::Object(default)) = map.get_mut("default") {
                    default.remove("threshold");
                }
                map.values_mut().for_each(comparable);
            }
            Value::Array(items) => {
                items.iter_mut().for_each(comparable);
                let is_field = |item: &Value| item.as_object().is_some_and(|map| map.len() == 1);
                if items.iter().all(is_field) {
                    items.sort_by_key(Value::to_string);
                }
            }
            _ => {}
        }
    }
}
