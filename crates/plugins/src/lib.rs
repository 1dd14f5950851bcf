//! Every bundled plugin, one file each.
//!
//! A plugin is a file with its configuration, its behaviour and its tests, and one line in [`PLUGINS`].

mod acl;
mod answers;
mod any_of;
mod authorize;
mod basic_auth;
mod bot_detection;
mod claims;
mod client_certificates;
mod consumer_by;
mod correlation_id;
mod cors;
mod directory;
mod endpoint;
mod formats;
mod forward_auth;
mod header_cert_auth;
mod hmac_auth;
mod ip_restriction;
mod jwt;
mod key_auth;
mod ldap_auth;
mod ldap_auth_advanced;
mod limits;
mod mtls_auth;
mod oauth2_introspection;
mod rate_limiting;
mod redis_config;
mod request_size_limiting;
mod request_termination;
mod response_ratelimiting;
mod whole_body;

use http::StatusCode;
use proxy::authenticate::Authenticate;
use proxy::plugin::Definition;
use schema::Catalog;

/// The plugins of this build.
pub static PLUGINS: &[Definition] = &[
    Definition::of::<correlation_id::CorrelationId>(),
    Definition::of::<bot_detection::BotDetection>(),
    Definition::of::<cors::Cors>(),
    Definition::of::<Authenticate<mtls_auth::MtlsAuth>>(),
    Definition::of::<Authenticate<header_cert_auth::HeaderCertAuth>>(),
    Definition::of::<Authenticate<any_of::AnyOf>>(),
    Definition::of::<Authenticate<oauth2_introspection::Introspection>>(),
    Definition::of::<Authenticate<jwt::Jwt>>(),
    Definition::of::<Authenticate<key_auth::KeyAuth>>(),
    Definition::of::<Authenticate<ldap_auth::LdapAuth>>(),
    Definition::of::<Authenticate<ldap_auth_advanced::LdapAuthAdvanced>>(),
    Definition::of::<Authenticate<basic_auth::BasicAuth>>(),
    Definition::of::<Authenticate<hmac_auth::HmacAuth>>(),
    Definition::of::<forward_auth::ForwardAuth>(),
    Definition::of::<ip_restriction::IpRestriction>(),
    Definition::of::<request_size_limiting::RequestSizeLimiting>(),
    Definition::of::<acl::Acl>(),
    Definition::of::<authorize::Authorize>(),
    Definition::of::<rate_limiting::RateLimiting>(),
    Definition::of::<response_ratelimiting::ResponseRatelimiting>(),
    Definition::of::<request_termination::RequestTermination>(),
];

/// The schemas of the plugins that `enabled` lets in.
pub fn catalog(enabled: impl Fn(&str) -> bool) -> Catalog {
    let enabled = PLUGINS.iter().filter(|definition| enabled(definition.name));
    Catalog { plugins: enabled.map(Definition::schema).collect() }
}

/// A status that a configuration gives as a number.
fn status(number: f64) -> Option<StatusCode> {
    let whole = (100.0..600.0).contains(&number) && number.fract() == 0.0;
    whole.then(|| StatusCode::from_u16(number as u16).ok()).flatten()
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::*;
    use schema::{Kind, Record, Rule, Value, json};
    use std::{fs, path::Path};

    /// Every plugin's schema, beside what a running Kong 3.9.3 answered.
    #[test]
    fn schemas_are_kongs() {
        let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kong/oracle/schemas/plugins");
        for definition in PLUGINS {
            // What Kong does not have, it has no answer for.
            let Ok(recorded) = fs::read_to_string(oracle.join(format!("{}.json", definition.name))) else { continue };
            let mut recorded: Value = serde_json::from_str(&recorded).unwrap();
            let mut schema = definition.schema();
            without_ours(&mut schema.config);
            let mut ours = schema.to_kong();
            for document in [&mut recorded, &mut ours] {
                comparable(document);
            }
            assert_eq!(ours, recorded, "{}", definition.name);
        }
    }

    fn without_ours(record: &mut Record) {
        record.fields.retain(|field| !field.has(&Rule::Ours));
        for field in &mut record.fields {
            if let Kind::Record(inner) = &mut field.kind {
                without_ours(inner);
            }
        }
    }

    /// Drops descriptions and what says nothing (`required: false`).
    fn comparable(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.remove("description");
                map.retain(|key, value| !(key == "required" && value == &json!(false)));
                map.values_mut().for_each(comparable);
            }
            Value::Array(items) => items.iter_mut().for_each(comparable),
            _ => {}
        }
    }

    #[test]
    fn odd_values_are_refused_and_never_panic() {
        for definition in PLUGINS {
            for odd in [json!(null), json!(1), json!("x"), json!([]), json!([1]), json!({"a": {}})] {
                for field in definition.schema().config.fields {
                    let mut config = json!({ (field.name): odd });
                    // Whatever the schema accepts, the plugin must be able to read.
                    if definition.schema().config.read(&mut config).is_ok()
                        && let Err(violations) = definition.build(config.clone())
                    {
                        let text = violations.message();
                        assert!(!text.contains("invalid type"), "{} {config}: {text}", definition.name);
                    }
                }
            }
        }
    }

    /// The pages say what the code says. `UPDATE_DOCS=1` rewrites them.
    #[test]
    fn reference_pages_are_up_to_date() {
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/plugins");
        for definition in PLUGINS {
            let (page, written) = (pages.join(format!("{}.md", definition.name)), definition.schema().to_markdown());
            if std::env::var_os("UPDATE_DOCS").is_some() {
                fs::write(&page, &written).unwrap();
            }
            let kept = fs::read_to_string(&page).unwrap_or_default();
            assert_eq!(kept, written, "{}: run the tests once with UPDATE_DOCS=1", page.display());
        }
    }

    #[test]
    fn unknown_options_are_refused() {
        for definition in PLUGINS {
            let violations = definition.schema().config.read(&mut json!({"colour": 1})).unwrap_err();
            assert_eq!(violations.to_json()["colour"], json!("unknown field"), "{}", definition.name);
        }
    }
}
