//! Declarative documents: what they become, and everything that is wrong with them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use model::declarative::{Context, read_text};
use model::vault::Vaults;
use model::{Configuration, entity};
use schema::{Catalog, Map, PluginSchema, Schema, Value, json};
use serde::Deserialize;
use std::collections::HashMap;

/// A plugin of these tests.
#[derive(Deserialize, Schema)]
#[allow(dead_code, reason = "only its schema is looked at")]
struct Config {
    /// A list.
    #[schema(default = ["apikey"])]
    names: Vec<String>,
}

fn catalog() -> Catalog {
    let mut config = Config::record();
    config.prefix = "config.";
    Catalog {
        plugins: vec![PluginSchema { name: "key-auth", priority: 1, config, on_consumer: false, stream_too: false }],
    }
}

fn read(text: &str) -> Result<Configuration, Vec<String>> {
    let environment = HashMap::from([("SECRET".to_owned(), "from-the-environment".to_owned())]);
    let context = Context { catalog: &catalog(), vaults: Vaults::new(environment), now: 1_700_000_000 };
    read_text(text, context).map_err(|(invalid, node)| match node {
        Some(node) => invalid.findings(&node).into_iter().map(|finding| finding.to_string()).collect(),
        None => invalid.document.flat().into_iter().map(|(_, text)| text).collect(),
    })
}

/// The findings of a document whose first line is the format's version.
#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let found = read(&format!("_format_version: \"3.0\"\n{text}")).err().unwrap();
    assert_eq!(found, expected);
}

/// The one row of a kind.
#[track_caller]
fn row(text: &str, kind: &str) -> Map<String, Value> {
    let configuration = read(&format!("_format_version: \"3.0\"\n{text}")).unwrap();
    let [row] = configuration.rows(kind) else { panic!("{} rows of {kind}", configuration.rows(kind).len()) };
    row.json.clone()
}

#[test]
fn nested_and_flat_say_the_same() {
    let nested =
        "services:\n- name: s\n  host: h\n  routes:\n  - name: r\n    paths: [/a]\n    plugins: [{name: key-auth}]";
    let flat = "services: [{name: s, host: h}]\nroutes: [{name: r, paths: [/a], service: s}]\nplugins: [{name: key-auth, route: {name: r}}]";
    let rows = |text: &str| {
        let configuration = read(&format!("_format_version: \"3.0\"\n{text}")).unwrap();
        let kinds = ["services", "routes", "plugins"];
        kinds.map(|kind| {
            let mut json = configuration.rows(kind)[0].json.clone();
            // An identity without a name is derived from what it is derived from.
            json.remove("id").filter(|_| kind == "plugins");
            json
        })
    };
    assert_eq!(rows(nested), rows(flat));
    assert_eq!(row(nested, "routes")["service"]["id"], json!(model::id::derived("services", "s")));
}

#[test]
fn every_violation_is_found_with_its_line() {
    refused(
        "services:\n- name: a b\n  host: h:1\n  colour: red\n  routes:\n  - paths: [x, /ok]\n    plugins:\n    - {name: nope}\n    - name: key-auth\n      config: {names: 1, odd: 2}\nconsumers:\n- tags: [a]\nodd: 1",
        &[
            "3: services.1.name: invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~",
            "4: services.1.host: must not have a port",
            "5: services.1.colour: unknown field",
            "7: services.1.routes.1.paths.1: should start with: / (fixed path) or ~/ (regex path)",
            "9: services.1.routes.1.plugins.1.name: plugin 'nope' not enabled; add it to the 'plugins' configuration property",
            "11: services.1.routes.1.plugins.2.config.names: expected an array",
            "11: services.1.routes.1.plugins.2.config.odd: unknown field",
            "13: consumers.1: at least one of these fields must be non-empty: 'custom_id', 'username'",
            "14: odd: unknown field",
        ],
    );
}

#[test]
fn references_must_lead_somewhere() {
    refused(
        "routes:\n- {paths: [/], service: ghost}\nplugins:\n- {name: key-auth, service: ghost}\n",
        &[
            "3: routes.1.service: invalid reference 'service: ghost' (no such entry in 'services')",
            "5: plugins.1.service: invalid reference 'service: ghost' (no such entry in 'services')",
        ],
    );
    // Everything that is wrong is told at once, also of entities that are wrong in another way.
    refused(
        "services: [{name: s}, {name: s}]\nplugins: [{name: key-auth, service: ghost, config: {x: 1}}]",
        &[
            "2: services.1.host: required field missing",
            "2: services.2: uniqueness violation: 'services' entity with name set to 's' already declared",
            "2: services.2.host: required field missing",
            "3: plugins.1.config.x: unknown field",
            "3: plugins.1.service: invalid reference 'service: ghost' (no such entry in 'services')",
        ],
    );
    // What is wrong itself is not blamed once more at everything that refers to it.
    refused(
        "services:\n- {name: s, host: 1, routes: [{paths: [/]}]}\nroutes:\n- {paths: [/x], service: s}\n",
        &["3: services.1.host: expected a string"],
    );
}

#[test]
fn names_are_unique_and_secrets_stay_secret() {
    refused(
        "services: [{name: a, host: h}, {name: a, host: i}]",
        &["2: services.2: uniqueness violation: 'services' entity with name set to 'a' already declared"],
    );
    let found = read(
        "_format_version: \"3.0\"\nconsumers:\n- username: a\n  keyauth_credentials: [{key: hush}]\n- username: b\n  keyauth_credentials: [{key: hush}]",
    );
    let found = found.err().unwrap().join("\n");
    assert!(found.contains("uniqueness violation") && !found.contains("hush"), "{found}");
}

#[test]
fn what_is_not_carried_is_refused_by_name() {
    refused(
        "routes:\n- {name: tunnel, protocols: [tcp], sources: [{port: 1}]}\n- {name: raw, protocols: [udp], sources: [{port: 1}]}\n",
        &[
            "3: routes.1.protocols: route 'tunnel' is a stream route (tcp): this gate carries http, https, grpc and grpcs",
            "4: routes.2.protocols: route 'raw' is a stream route (udp): this gate carries http, https, grpc and grpcs",
        ],
    );
}

#[test]
fn versions_of_the_format() {
    let check = |head: &str, expected: &str| assert_eq!(read(head).err().unwrap(), [expected]);
    check("services: []", "1: _format_version: required field missing");
    check("_format_version: 3.0", "1: _format_version: expected a string");
    check("_format_version: \"4.0\"", "1: _format_version: expected one of: 1.1, 2.1, 3.0");
    check("", "1: failed parsing declarative configuration: expected an object");
    check("[1]", "1: failed parsing declarative configuration: expected an object");
    check("a: [", "failed parsing declarative configuration: line 1, column 4: unclosed bracket '['");
}

#[test]
fn old_formats_mark_no_regular_expressions() {
    let text = "_format_version: \"2.1\"\nroutes:\n- paths: ['/a/\\d+', /plain-1.2]\n";
    let configuration = read(text).unwrap();
    assert_eq!(configuration.rows("routes")[0].json["paths"], json!(["~/a/\\d+", "/plain-1.2"]));
}

#[test]
fn a_url_is_four_fields() {
    let check = |url: &str, expected: Value| {
        let service = row(&format!("services: [{{url: \"{url}\"}}]"), "services");
        let fields = ["protocol", "host", "port", "path"].map(|field| service[field].clone());
        assert_eq!(json!(fields), expected, "{url}");
    };
    check("http://h", json!(["http", "h", 80, null]));
    check("https://h:8443/a/b", json!(["https", "h", 8443, "/a/b"]));
    check("https://h/", json!(["https", "h", 443, "/"]));
    check("http://[::1]:81", json!(["http", "[::1]", 81, null]));
    refused(
        "services: [{url: h}]",
        &[
            "2: services.1.host: required field missing",
            "2: services.1.url: missing scheme: expected, say, http://host:port/path",
        ],
    );
}

#[test]
fn passwords_are_hashed_once() {
    let consumer = "id: 11111111-1111-4111-8111-111111111111\n  username: c\n  basicauth_credentials: [{username: u, password: p}]";
    let text = format!("consumers:\n- {consumer}");
    // sha1("p" + the consumer's id)
    let hash = jose::digest::sha1_hex(b"p11111111-1111-4111-8111-111111111111");
    assert_eq!(row(&text, "basicauth_credentials")["password"], json!(hash));
    assert_eq!(row(&format!("_transform: false\n{text}"), "basicauth_credentials")["password"], json!("p"));
}

#[test]
fn what_is_absent_is_made() {
    let text = "consumers: [{username: c, keyauth_credentials: [{}], jwt_secrets: [{}], hmacauth_credentials: [{username: u}]}]";
    for (kind, fields) in [
        ("keyauth_credentials", &["key"][..]),
        ("jwt_secrets", &["key", "secret"]),
        ("hmacauth_credentials", &["secret"]),
    ] {
        let row = row(text, kind);
        assert!(fields.iter().all(|field| row[*field].as_str().is_some_and(|made| made.len() == 32)), "{kind}");
    }
    assert_eq!(row("upstreams: [{name: u, targets: [{target: a.test}]}]", "targets")["target"], json!("a.test:8000"));
}

#[test]
fn secrets_come_from_vaults_and_only_from_them() {
    let text = |name: &str| {
        format!(
            "_format_version: \"3.0\"\nconsumers: [{{username: c, jwt_secrets: [{{key: k, secret: '{{vault://env/{name}}}'}}]}}]"
        )
    };
    let secret = |configuration: &Configuration| {
        let typed = configuration.typed::<model::credential::JwtSecret>("jwt_secrets");
        typed
            .into_iter()
            .map(|(_, secret)| secret.map(|secret| secret.secret.unwrap().reveal().to_owned()))
            .next()
            .unwrap()
    };
    let configuration = read(&text("secret")).unwrap();
    assert_eq!(secret(&configuration).unwrap(), "from-the-environment");
    // What is shown is the reference, not what it stands for.
    assert_eq!(configuration.rows("jwt_secrets")[0].json["secret"], json!("{vault://env/secret}"));
    assert_eq!(
        read(&text("absent")).err().unwrap(),
        [
            "2: consumers.1.jwt_secrets.1.secret: cannot resolve {vault://env/absent}: the environment variable ABSENT is not set"
        ]
    );
}

#[test]
fn a_configuration_can_be_written_and_read_again() {
    let text = "_format_version: \"3.0\"\nservices: [{name: s, host: h, routes: [{name: r, paths: [/a]}]}]\n\
                consumers: [{username: c, acls: [{group: g}], basicauth_credentials: [{username: u, password: p}]}]\n\
                upstreams: [{name: u.test, targets: [{target: 'a:1'}]}]\nvaults: [{name: env, prefix: mine, config: {prefix: x_}}]";
    let first = read(text).unwrap();
    let second = read(&first.to_document(0).to_string()).unwrap();
    for kind in entity::KINDS.iter() {
        let json = |configuration: &Configuration| -> Vec<_> {
            configuration.rows(kind.name).iter().map(|row| row.json.clone()).collect()
        };
        assert_eq!(json(&first), json(&second), "{}", kind.name);
    }
}

/// A secret in the wrong place is a secret all the same: no error may repeat it.
#[test]
fn errors_repeat_no_secret() {
    let documents = [
        "services: [{name: s, url: 'http://u:hunter2@h:80/'}]",
        "services: [{name: s, host: 'u:hunter2@h'}]",
        "consumers: [{username: u, keyauth_credentials: [hunter2]}]",
        "consumers: [{username: u, keyauth_credentials: [{kye: hunter2}]}]",
        "consumers: [{username: u, passwd: hunter2}]",
        "consumers: [{username: u, basicauth_credentials: [{password: hunter2}]}]",
        "consumers: [{username: u, jwt_secrets: [{secret: hunter2, algorithm: no}]}]",
        "certificates: [{cert: x, private_key: hunter2}]",
        "plugins: [{name: key-auth, config: {names: 1, secret: hunter2}}]",
        "plugins: [{name: key-auth, confg: {secret: hunter2}}]",
        "upstreams: [{name: u, healthchecks: {active: {timeout: x, headers: {authorization: [hunter2]}}}}]",
    ];
    for document in documents {
        let text = format!("_format_version: \"3.0\"\n{document}");
        let context = Context { catalog: &catalog(), vaults: Vaults::new(HashMap::new()), now: 0 };
        let (invalid, node) = read_text(&text, context).err().unwrap();
        let findings: Vec<String> = invalid.findings(&node.unwrap()).iter().map(ToString::to_string).collect();
        let told = format!("{findings:?} {} {:?}", invalid.fields(), invalid.flattened());
        assert!(!told.contains("hunter2"), "{document}: {told}");
    }
}

#[test]
fn slips_in_references_are_no_secrets() {
    let read_key = |key: &str| {
        let text =
            format!("_format_version: \"3.0\"\nconsumers: [{{username: c, keyauth_credentials: [{{key: '{key}'}}]}}]");
        let context = Context {
            catalog: &catalog(),
            vaults: Vaults::new(HashMap::from([("EMPTY".to_owned(), String::new())])),
            now: 0,
        };
        read_text(&text, context).err().map(|(invalid, _)| invalid.entities[0].violations.message()).unwrap_or_default()
    };
    let slip =
        "schema violation (key: this is no reference to a vault; write {vault://env/NAME} and nothing around it)";
    for key in ["{vault://env/key} ", "{vault://env/key", "x{vault://env/key}"] {
        assert_eq!(read_key(key), slip, "{key}");
    }
    assert_eq!(
        read_key("{vault://env/empty}"),
        "schema violation (key: cannot resolve {vault://env/empty}: the environment variable EMPTY is empty)"
    );
}

#[test]
fn identities_are_kongs() {
    // Kong names a target by its address and its upstream.
    let upstream = model::id::derived("upstreams", "u.test");
    let target = row("upstreams: [{name: u.test, targets: [{target: '127.0.0.1:8000'}]}]", "targets");
    assert_eq!(target["id"], json!(model::id::derived("targets", &format!("127.0.0.1:8000:{upstream}"))));
    refused("services: [{name: s, host: h, id: not-a-uuid}]", &["2: services.1.id: expected a valid UUID"]);
    refused("services: [{name: s, host: h, id: 5}]", &["2: services.1.id: expected a string"]);
}
