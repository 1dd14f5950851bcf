//! TLS on both sides: who the gate shows itself as, whom it believes, and what it shows to services.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tests::{Authority, Certificate, Gate, Nginx, Origin, curl, run};

const TRUSTED: &str = "11111111-1111-4111-8111-111111111111";
const SHOWN: &str = "22222222-2222-4222-8222-222222222222";

/// A gate before an HTTPS service, believing one authority and showing one certificate, or none.
fn gate(service: SocketAddr, believed: &Authority, shown: Option<&Certificate>) -> Gate {
    let mut config = format!(
        "_format_version: \"3.0\"\nca_certificates:\n- id: {TRUSTED}\n  cert: {}\n",
        believed.certificate().cert_yaml()
    );
    let mut client = String::new();
    if let Some(shown) = shown {
        let (cert, key) = (shown.cert_yaml(), shown.key_yaml());
        config.push_str(&format!("certificates:\n- id: {SHOWN}\n  cert: {cert}\n  key: {key}\n"));
        client = format!("  client_certificate: {SHOWN}\n");
    }
    config.push_str(&format!(
        "services:\n- name: behind\n  url: https://{service}\n  tls_verify: true\n  ca_certificates: [{TRUSTED}]\n\
         {client}  routes:\n  - name: all\n    paths: [/]\n"
    ));
    Gate::start(config)
}

#[test]
fn a_service_of_the_configured_authority_is_believed() {
    let authority = Authority::new("services");
    let nginx = Nginx::https(&authority.server(&["127.0.0.1"]), None, "location / { return 200 served; }");
    let gate = gate(nginx.address(), &authority, None);
    assert_eq!(gate.get("/").expect_status(200).text(), "served");
}

/// Whoever takes over the service's address must not get the callers' requests.
#[test]
fn a_service_of_another_authority_is_a_502() {
    let stranger = Authority::new("stranger");
    let nginx = Nginx::https(&stranger.server(&["127.0.0.1"]), None, "location / { return 200 served; }");
    let gate = gate(nginx.address(), &Authority::new("services"), None);
    gate.get("/").expect_status(502);
}

/// The right authority but the name of another service: a stolen certificate of a lesser one.
#[test]
fn a_service_with_the_name_of_another_is_a_502() {
    let authority = Authority::new("services");
    let nginx = Nginx::https(&authority.server(&["other.test"]), None, "location / { return 200 served; }");
    gate(nginx.address(), &authority, None).get("/").expect_status(502);
}

#[test]
fn the_service_sees_the_gates_certificate() {
    let authority = Authority::new("services");
    let callers = Authority::new("callers");
    let nginx = Nginx::https(
        &authority.server(&["127.0.0.1"]),
        Some(&callers.certificate().cert),
        "location / { return 200 $ssl_client_s_dn; }",
    );
    let shown = callers.client("the-gate");
    assert_eq!(gate(nginx.address(), &authority, Some(&shown)).get("/").expect_status(200).text(), "CN=the-gate");
    // nginx's answer to a caller without one.
    gate(nginx.address(), &authority, None).get("/").expect_status(400);
}

#[test]
fn the_name_that_the_caller_asks_for_chooses_the_certificate() {
    let authority = Authority::new("front");
    let mut config = "_format_version: \"3.0\"\ncertificates:\n".to_owned();
    for (names, snis) in [(&["shop.test"][..], "shop.test"), (&["*.wild.test"], "\"*.wild.test\"")] {
        let certificate = authority.server(names);
        let (cert, key) = (certificate.cert_yaml(), certificate.key_yaml());
        config.push_str(&format!("- cert: {cert}\n  key: {key}\n  snis:\n  - name: {snis}\n"));
    }
    let gate = Gate::start(config);
    for (asked, subject) in [("shop.test", "shop.test"), ("a.wild.test", "*.wild.test")] {
        let seen = shown(gate.proxy_tls(), Some(asked), &authority.certificate().cert);
        assert!(subject_is(&seen, subject), "{asked}:\n{seen}");
        assert!(seen.contains("Verify return code: 0"), "{asked}:\n{seen}");
    }
    for asked in [Some("unknown.test"), None] {
        let seen = shown(gate.proxy_tls(), asked, &authority.certificate().cert);
        assert!(subject_is(&seen, "localhost"), "{asked:?}:\n{seen}");
    }
}

#[test]
fn without_a_certificate_the_gate_makes_one_and_warns() {
    let origin = Origin::start();
    let gate = Gate::start(format!(
        "_format_version: \"3.0\"\nservices:\n- name: behind\n  url: {}\n  routes:\n  - name: all\n    paths: [/]\n",
        origin.url()
    ));
    curl(&["--insecure", &format!("https://{}/", gate.proxy_tls())]).expect_status(200);
    gate.wait_until_said("self-signed");
}

/// A key in PEM needs no password; none may stand in what the gate says, or tells to one without the token.
/// (With the token the Admin API shows keys as Kong does, or its tools could not compare configurations.)
#[test]
fn no_private_key_is_told() {
    let authority = Authority::new("services");
    let shown = authority.client("the-gate");
    let nginx = Nginx::https(&authority.server(&["127.0.0.1"]), None, "location / { return 200 served; }");
    let gate = gate(nginx.address(), &authority, Some(&shown));
    let key = std::fs::read_to_string(&shown.key).unwrap();
    let line = key.lines().nth(1).unwrap();
    gate.admin("GET", "/certificates", "").expect_status(200);
    let told = tests::http(gate.admin_address(), "GET", "/certificates", &[], b"").expect_status(401).text();
    assert!(!told.contains(line) && !gate.said().contains(line), "{told}\n{}", gate.said());
}

/// What openssl sees when it connects and asks for a name.
fn shown(address: SocketAddr, name: Option<&str>, authority: &Path) -> String {
    let address = address.to_string();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address, "-CAfile"]).arg(authority);
    match name {
        Some(name) => command.args(["-servername", name]),
        None => command.arg("-noservername"),
    };
    run(&mut command).text()
}

/// Versions of openssl write `CN = x` or `CN=x`.
fn subject_is(seen: &str, name: &str) -> bool {
    seen.lines().any(|line| {
        line.replace(' ', "").starts_with("subject=") && line.replace(' ', "").ends_with(&format!("CN={name}"))
    })
}

/// A caller who reads slowly fills the socket, and then TLS takes bytes that it cannot pass on yet: no byte of the
/// chunks' framing may be lost in between. Three answers on one connection, or the last one's fault would not show.
#[test]
fn long_chunked_answers_arrive_whole() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let content = vec![b'x'; 8 << 20];
    let expected = content.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let content = content.clone();
            std::thread::spawn(move || answer_in_chunks(stream, &content));
        }
    });
    let gate = Gate::start(format!(
        "_format_version: \"3.0\"\nservices:\n- url: http://{address}\n  routes:\n  - paths: [/]\n"
    ));
    let url = format!("https://{}/", gate.proxy_tls());
    let dir = tests::TempDir::new();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--http1.1", "--insecure", "--limit-rate", "30M"]);
    let files: Vec<_> = (0..3).map(|number| dir.join(&format!("answer{number}"))).collect();
    for file in &files {
        command.arg("--output").arg(file).arg(&url);
    }
    run(&mut command).expect_code(0);
    for file in &files {
        let got = std::fs::read(file).unwrap();
        assert!(got == expected, "{} bytes", got.len());
    }
}

fn answer_in_chunks(mut stream: std::net::TcpStream, content: &[u8]) -> std::io::Result<()> {
    use std::io::{BufRead, BufReader, Write};
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    loop {
        loop {
            match lines.next().transpose()? {
                None => return Ok(()),
                Some(line) if line.is_empty() => break,
                Some(_) => {}
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for piece in content.chunks(100_000) {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
            stream.write_all(piece)?;
            stream.write_all(b"\r\n")?;
        }
        stream.write_all(b"0\r\n\r\n")?;
    }
}
