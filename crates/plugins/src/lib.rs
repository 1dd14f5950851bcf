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
mod external_auth;
mod formats;
mod forward_auth;
mod guessing;
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
mod proof_of_possession;
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
    Definition::of::<external_auth::ExternalAuth>(),
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

    /// For each plugin that proves who calls: a configuration, what is no proof for it, and what was one once.
    fn authenticators() -> Vec<(&'static str, Value, &'static [&'static str])> {
        let ca = json!(["11111111-0000-4000-8000-000000000001"]);
        let (url, ldap) =
            ("http://127.0.0.1:1/", json!({"ldap_host": "127.0.0.1", "base_dn": "dc=x", "attribute": "uid"}));
        let header = json!({"certificate_header_name": "x-cert", "certificate_header_format": "url_encoded", "ca_certificates": ca});
        let old_jwt = "authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJhbm4taHMiLCJleHAiOjF9.SoO93Yyq-gpt6LTC9cgVbmjjsbA5TMhL4yDKQ-LpWFI";
        let old_jwt: &'static [&'static str] = Box::leak(Box::new(["authorization: Bearer junk", old_jwt]));
        vec![
            (
                "any-of",
                json!({"of": [{"name": "key-auth"}, {"name": "basic-auth"}]}),
                &["apikey: wrong", "apikey: old"],
            ),
            ("basic-auth", json!({}), &["authorization: Basic YW5uOndyb25n", "authorization: Basic !"]),
            ("header-cert-auth", header, &["x-cert: junk", "x-cert: -----BEGIN%20CERTIFICATE-----"]),
            (
                "hmac-auth",
                json!({}),
                &[
                    "authorization: hmac username=\"ann\", algorithm=\"hmac-sha256\", headers=\"date\", signature=\"eA==\"",
                    "authorization: hmac",
                ],
            ),
            ("jwt", json!({"claims_to_verify": ["exp"]}), old_jwt),
            ("key-auth", json!({}), &["apikey: wrong", "apikey: old"]),
            ("ldap-auth", ldap.clone(), &["authorization: ldap YW5uOndyb25n", "authorization: ldap !"]),
            ("ldap-auth-advanced", ldap, &["authorization: ldap YW5uOndyb25n", "authorization: ldap YW5uOg=="]),
            ("mtls-auth", json!({"ca_certificates": ca}), &["x-client-cert-dn: CN=ann", "ssl-client-cert: junk"]),
            (
                "oauth2-introspection",
                json!({"introspection_url": url, "authorization_value": "x"}),
                &["authorization: Bearer junk", "authorization: Basic YW5uOnBhOnNz"],
            ),
        ]
    }

    /// Nothing, what is wrong and what was good once prove nobody, and neither does whatever callers say of themselves.
    #[tokio::test]
    async fn every_authenticator_refuses_what_is_no_proof() {
        let known = authenticators();
        for definition in PLUGINS.iter().filter(|definition| definition.authenticates) {
            let (name, config, wrong) = known
                .iter()
                .find(|(name, ..)| *name == definition.name)
                .unwrap_or_else(|| panic!("{}: say here what is no proof for it", definition.name));
            let forged = ["x-consumer-username: ann", "x_consumer_id: 1", "x-credential-identifier: ann"];
            let mut tried: Vec<Vec<&str>> = vec![Vec::new(), forged.to_vec()];
            tried.extend(wrong.iter().map(|one| vec![*one]));
            tried.extend(wrong.iter().map(|one| [&[*one][..], &forged].concat()));
            for request in tried {
                let outcome = testing::outcome(None, name, config.clone(), &request).await;
                let refused = ["401 ", "503 ", "500 "].iter().any(|status| outcome.starts_with(status));
                assert!(refused, "{name} {request:?}: {outcome}");
                // Whoever goes on as somebody without a proof is said to be anonymous, and nothing else.
                let mut open = config.clone();
                open["anonymous"] = json!("guest");
                let outcome = testing::outcome(None, name, open, &request).await;
                let guest = outcome.contains("x-anonymous-consumer: true") && !outcome.contains("ann\nx-c");
                let undecided = outcome.starts_with("503 ") || outcome.starts_with("500 ");
                assert!(
                    undecided || guest && outcome.contains("x-consumer-username: guest"),
                    "{name} {request:?}: {outcome}"
                );
            }
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
