//! mtls-auth and header-cert-auth: which certificates are believed, and whose they are.

use serde_json::json;
use std::path::PathBuf;
use std::process::Command;
use tests::{
    Answer, Certificate, Gate, GateBuilder, Origin, Reply, TempDir, base64, curl, curl_as, http, python, run, workspace,
};

/// An authority and what it has issued, in one directory.
struct House(TempDir);

impl House {
    fn new() -> House {
        let house = House(TempDir::new());
        house.run(&["root", &house.path("root"), "Test Root"]);
        house
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn issue(&self, by: &str, name: &str, options: serde_json::Value) -> PathBuf {
        self.run(&["issue", &self.path(by), &self.path(name), &options.to_string()]);
        self.0.join(name)
    }

    fn run(&self, args: &[&str]) {
        run(Command::new(python()).arg(workspace().join("tests/certificates.py")).args(args)).expect_code(0);
    }

    fn pem(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn yaml(&self, name: &str) -> String {
        serde_json::to_string(&self.pem(name)).unwrap()
    }
}

const ROOT: &str = "11111111-0000-4000-8000-000000000001";
const OTHER: &str = "11111111-0000-4000-8000-000000000002";

/// The route `/cert` asks for a certificate, `/open` does not.
fn gate(origin: &Origin, house: &House, plugin: &str, config: &str) -> GateBuilder {
    Gate::with(format!(
        "_format_version: \"3.0\"
ca_certificates:
- {{id: {ROOT}, cert: {}}}
services:
- name: shop
  url: {}
  routes:
  - name: cert
    paths: [/cert]
    plugins: [{{name: {plugin}, config: {{ca_certificates: [{ROOT}]{config}}}}}]
  - {{name: open, paths: [/open]}}
consumers:
- {{username: ann}}
- username: bob
  mtls_auth_credentials: [{{subject_name: bob.example.test, ca_certificate: {ROOT}}}]
- {{username: usual}}",
        house.yaml("root"),
        origin.url()
    ))
}

/// With the certificate of this name, or none.
fn ask(gate: &Gate, house: &House, path: &str, cert: Option<&str>) -> Answer {
    let url = format!("https://{}{path}", gate.proxy_tls());
    let own = cert.map(|name| Certificate { cert: house.0.join(name), key: house.0.join(&format!("{name}.key")) });
    curl_as(own.as_ref(), &[&url])
}

#[test]
fn a_certificate_names_its_consumer() {
    let (origin, house) = (Origin::start(), House::new());
    house.issue("root", "ann", json!({ "cn": "ann" }));
    house.issue("root", "bob", json!({ "cn": "ann", "dns": ["Bob.Example.test"], "uri": ["spiffe://x/b"] }));
    let gate = gate(&origin, &house, "mtls-auth", ", authenticated_group_by: DN").start();
    ask(&gate, &house, "/cert", Some("ann")).expect_status(200);
    let seen = origin.last();
    assert_eq!(seen.values("x-consumer-username"), ["ann"]);
    assert_eq!(seen.values("x-client-cert-dn"), ["CN=ann"]);
    assert_eq!(seen.values("x-credential-identifier"), ["CN=ann"]);
    // Where there are alternative names the common name does not count.
    ask(&gate, &house, "/cert", Some("bob")).expect_status(200);
    assert_eq!(origin.last().values("x-consumer-username"), ["bob"]);
    assert_eq!(origin.last().values("x-client-cert-san"), ["bob.example.test, spiffe://x/b"]);
    // Nobody needs one to connect, and other routes do not look.
    ask(&gate, &house, "/open", None).expect_status(200);
    let refused = ask(&gate, &house, "/cert", None).expect_status(401);
    assert_eq!(refused.json()["message"], "No required TLS certificate was sent");
    http(gate.proxy(), "GET", "/cert", &[("X-Client-Cert-Dn", "CN=ann")], b"").expect_status(401);
    http(gate.proxy(), "GET", "/open", &[("X_Client_Cert_Dn", "CN=ann")], b"").expect_status(200);
    assert!(!origin.last().text().contains("CN=ann"));
}

#[test]
fn a_certificate_that_is_not_good_is_refused() {
    let (origin, house) = (Origin::start(), House::new());
    house.run(&["root", &house.path("stranger"), "Test Root"]);
    house.issue("stranger", "strange", json!({ "cn": "ann" }));
    house.issue("root", "old", json!({ "cn": "ann", "days": -1 }));
    house.issue("root", "server", json!({ "cn": "ann", "eku": "server" }));
    house.issue("root", "nobody", json!({ "cn": "stranger" }));
    house.issue("root", "leaf", json!({ "cn": "ann" }));
    house.issue("leaf", "by-leaf", json!({ "cn": "ann", "chain": true }));
    house.issue("root", "ann", json!({ "cn": "ann" }));
    let gate = gate(&origin, &house, "mtls-auth", "").start();
    for name in ["strange", "old", "server", "nobody", "by-leaf"] {
        let refused = ask(&gate, &house, "/cert", Some(name)).expect_status(401);
        assert_eq!(refused.json()["message"], "TLS certificate failed verification", "{name}");
        assert_eq!(refused.header("www-authenticate"), None);
        ask(&gate, &house, "/open", Some(name)).expect_status(200);
    }
    ask(&gate, &house, "/cert", Some("ann")).expect_status(200);
}

/// Where credentials say which authority a name is from, no other authority can give that name.
#[test]
fn a_name_belongs_to_its_authority() {
    let (origin, house) = (Origin::start(), House::new());
    house.run(&["root", &house.path("other"), "Other Root"]);
    house.issue("other", "false-ann", json!({ "cn": "ann" }));
    house.issue("root", "ann", json!({ "cn": "ann" }));
    house.issue("root", "comma", json!({ "cn": "ann, O=Admins" }));
    let gate = Gate::start(format!(
        "_format_version: \"3.0\"
ca_certificates: [{{id: {ROOT}, cert: {}}}, {{id: {OTHER}, cert: {}}}]
services: [{{name: shop, url: '{}', routes: [{{name: cert, paths: [/cert]}}]}}]
consumers:
- {{username: ann, mtls_auth_credentials: [{{subject_name: ann, ca_certificate: {ROOT}}}]}}
- {{username: usual}}
plugins: [{{name: mtls-auth, config: {{ca_certificates: [{ROOT}, {OTHER}]}}}}]",
        house.yaml("root"),
        house.yaml("other"),
        origin.url()
    ));
    ask(&gate, &house, "/cert", Some("ann")).expect_status(200);
    ask(&gate, &house, "/cert", Some("false-ann")).expect_status(401);
    let any = crate::client_certificates::gate(&origin, &house, "mtls-auth", ", default_consumer: usual").start();
    ask(&any, &house, "/cert", Some("comma")).expect_status(200);
    assert_eq!(origin.last().values("x-client-cert-dn"), ["CN=ann\\, O\\=Admins"]);
}

#[test]
fn who_is_looked_for_can_be_said() {
    let (origin, house) = (Origin::start(), House::new());
    house.issue("root", "nobody", json!({ "cn": "stranger" }));
    for (config, status, consumer) in [
        (", skip_consumer_lookup: true", 200, vec![]),
        (", default_consumer: usual", 200, vec!["usual"]),
        (", anonymous: usual", 200, vec!["usual"]),
        (", consumer_by: [custom_id]", 401, vec![]),
    ] {
        let gate = gate(&origin, &house, "mtls-auth", config).start();
        ask(&gate, &house, "/cert", Some("nobody")).expect_status(status);
        if status == 200 {
            assert_eq!(origin.last().values("x-consumer-username"), consumer, "{config}");
        }
    }
    let missing = gate(&origin, &house, "mtls-auth", "").start();
    drop(missing);
    let refused = Gate::with(format!(
        "_format_version: \"3.0\"\nplugins: [{{name: mtls-auth, config: {{ca_certificates: [{OTHER}]}}}}]"
    ))
    .refuse();
    assert!(refused.stderr.contains(&format!("there is no ca_certificate {OTHER}")), "{}", refused.stderr);
}

#[test]
fn an_authority_between_counts_only_with_its_root_or_if_that_is_said() {
    let (origin, house) = (Origin::start(), House::new());
    house.issue("root", "between", json!({ "cn": "Between", "ca": true }));
    house.issue("between", "whole", json!({ "cn": "ann", "chain": true }));
    house.issue("between", "alone", json!({ "cn": "ann" }));
    let rooted = gate(&origin, &house, "mtls-auth", "").start();
    ask(&rooted, &house, "/cert", Some("whole")).expect_status(200);
    ask(&rooted, &house, "/cert", Some("alone")).expect_status(401);
    // The authority between stands in the configuration, its root does not.
    let config = |partial: bool| {
        format!(
            "_format_version: \"3.0\"
ca_certificates: [{{id: {ROOT}, cert: {}}}]
services: [{{name: shop, url: '{}', routes: [{{name: cert, paths: [/cert]}}]}}]
plugins: [{{name: mtls-auth, config: {{ca_certificates: [{ROOT}], allow_partial_chain: {partial}, skip_consumer_lookup: true}}}}]",
            house.yaml("between"),
            origin.url()
        )
    };
    ask(&Gate::start(config(false)), &house, "/cert", Some("alone")).expect_status(401);
    ask(&Gate::start(config(true)), &house, "/cert", Some("alone")).expect_status(200);
}

#[test]
fn what_is_revoked_is_refused() {
    let (origin, house) = (Origin::start(), House::new());
    let lists = Origin::answering({
        let path = house.path("list");
        move |request| match request.target.as_str() {
            "/list" => Reply::new(200, std::fs::read(&path).unwrap()),
            _ => Reply::new(404, ""),
        }
    });
    let url = format!("{}/list", lists.url());
    house.issue("root", "ann", json!({ "cn": "ann", "crl": url }));
    house.issue("root", "lost", json!({ "cn": "ann", "crl": url }));
    house.issue("root", "unlisted", json!({ "cn": "ann", "crl": format!("{}/none", lists.url()) }));
    house.issue("root", "plain", json!({ "cn": "ann" }));
    house.run(&["revoked", &house.path("root"), &house.path("list"), &house.path("lost")]);
    for (mode, statuses) in
        [("SKIP", [200, 200, 200, 200]), ("IGNORE_CA_ERROR", [200, 401, 200, 200]), ("STRICT", [200, 401, 401, 401])]
    {
        let gate = gate(&origin, &house, "mtls-auth", &format!(", revocation_check_mode: {mode}")).start();
        let found = ["ann", "lost", "unlisted", "plain"].map(|name| ask(&gate, &house, "/cert", Some(name)).status);
        assert_eq!(found, statuses, "{mode}");
    }
    let own =
        gate(&origin, &house, "mtls-auth", &format!(", revocation_check_mode: SKIP, crls: [{}]", house.yaml("list")));
    let own = own.start();
    ask(&own, &house, "/cert", Some("lost")).expect_status(401);
    ask(&own, &house, "/cert", Some("plain")).expect_status(200);
    assert!(lists.requests().len() <= 4, "a list is kept: {}", lists.requests().len());
}

#[test]
fn only_the_server_names_of_the_route_are_asked() {
    let (origin, house) = (Origin::start(), House::new());
    house.issue("root", "ann", json!({ "cn": "ann" }));
    let gate = Gate::start(format!(
        "_format_version: \"3.0\"
ca_certificates: [{{id: {ROOT}, cert: {}}}]
services:
- name: shop
  url: {}
  routes:
  - name: cert
    paths: [/]
    snis: [Secure.test]
    protocols: [https]
    plugins: [{{name: mtls-auth, config: {{ca_certificates: [{ROOT}], send_ca_dn: true}}}}]
  - {{name: open, paths: [/]}}
consumers: [{{username: ann}}]",
        house.yaml("root"),
        origin.url()
    ));
    for (name, asked) in [("secure.test", true), ("open.test", false)] {
        let address = gate.proxy_tls().to_string();
        let mut command = Command::new("openssl");
        let said = run(command.args(["s_client", "-connect", &address, "-servername", name])).text();
        assert_eq!(said.contains("Acceptable client certificate CA names"), asked, "{said}");
        assert_eq!(said.contains("CN = Test Root"), asked, "{said}");
    }
    let port = gate.proxy_tls().port();
    let resolve = format!("secure.test:{port}:127.0.0.1");
    let url = format!("https://secure.test:{port}/");
    for http in ["--http1.1", "--http2"] {
        let (cert, key) = (house.path("ann"), house.path("ann.key"));
        curl(&["--insecure", http, "--resolve", &resolve, "--cert", &cert, "--key", &key, &url]).expect_status(200);
        assert_eq!(origin.last().values("x-consumer-username"), ["ann"]);
        curl(&["--insecure", http, "--resolve", &resolve, &url]).expect_status(401);
    }
}

#[test]
fn a_trusted_proxy_may_send_the_certificate() {
    let (origin, house) = (Origin::start(), House::new());
    house.issue("root", "ann", json!({ "cn": "ann" }));
    house.run(&["root", &house.path("stranger"), "Test Root"]);
    house.issue("stranger", "strange", json!({ "cn": "ann" }));
    let encoded = |name: &str, format: &str| match format {
        "url_encoded" => house.pem(name).bytes().map(|byte| format!("%{byte:02X}")).collect(),
        _ => base64(house.pem(name).as_bytes()),
    };
    for format in ["url_encoded", "base64_encoded"] {
        let config = format!(", certificate_header_name: X-Client-Cert, certificate_header_format: {format}");
        let trusting =
            gate(&origin, &house, "header-cert-auth", &config).env("PORTCULLIS_TRUSTED_IPS", "127.0.0.1").start();
        let ask = |gate: &Gate, value: &str| http(gate.proxy(), "GET", "/cert", &[("X-Client-Cert", value)], b"");
        ask(&trusting, &encoded("ann", format)).expect_status(200);
        assert_eq!(origin.last().values("x-consumer-username"), ["ann"]);
        ask(&trusting, &encoded("strange", format)).expect_status(401);
        ask(&trusting, "junk").expect_status(401);
        http(trusting.proxy(), "GET", "/cert", &[], b"").expect_status(401);
        let alone = gate(&origin, &house, "header-cert-auth", &config).start();
        let refused = ask(&alone, &encoded("ann", format)).expect_status(401);
        assert_eq!(refused.json()["message"], "No required TLS certificate was sent");
        let open = gate(&origin, &house, "header-cert-auth", &format!("{config}, secure_source: false")).refuse();
        assert!(open.stderr.contains("certificates are public"), "{}", open.stderr);
    }
}
