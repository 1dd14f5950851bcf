//! Attack: a caller writes the headers by which services know who calls. The service behind believes
//! them, so each forged one that arrives is a login without a password. Judged on the bytes that a
//! recording origin received.

use serde_json::json;
use tests::{Answer, Gate, Origin, Recorded, Wire, curl, hs256, raw};

/// Stands in every forged value, so that one search finds whatever came through.
const FORGED: &str = "forged-value";

const NAMES: &[&str] = &[
    "X-Consumer-ID",
    "X-Consumer-Custom-ID",
    "X-Consumer-Username",
    "X-Credential-Identifier",
    "X-Anonymous-Consumer",
    "X-Consumer-Groups",
    "X-Authenticated-Groups",
    "X-Authenticated-Scope",
    "X-Authenticated-UserId",
    // The whole family: older and newer gateways put more into it.
    "X-Credential-Username",
    "X-Credential-Key",
    "X-Credential-Jti",
];

const CONSUMER: &str = "6b8e1d5c-3f52-4b2e-9a37-1d2f6c7e8a90";
const CREDENTIAL: &str = "0d9a6f3e-7c1b-4e58-8f24-5b3a2c1d0e9f";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A way through the gate: its path, the caller's real credential, and what the service must be told.
struct Way {
    path: &'static str,
    credential: String,
    told: &'static [(&'static str, &'static str)],
}

fn ways() -> Vec<Way> {
    let token = hs256(SECRET, &json!({"iss": "alice-issuer"}));
    let way = |path, credential: &str, told| Way { path, credential: credential.to_owned(), told };
    vec![
        way("/open", "", &[]),
        way(
            "/key",
            "apikey: alice-key\r\n",
            &[
                ("X-Consumer-ID", CONSUMER),
                ("X-Consumer-Username", "alice"),
                ("X-Consumer-Custom-ID", "a-1"),
                ("X-Credential-Identifier", CREDENTIAL),
            ],
        ),
        way(
            "/jwt",
            &format!("Authorization: Bearer {token}\r\n"),
            &[
                ("X-Consumer-ID", CONSUMER),
                ("X-Consumer-Username", "alice"),
                ("X-Consumer-Custom-ID", "a-1"),
                ("X-Credential-Identifier", "alice-issuer"),
            ],
        ),
        way("/anonymous", "", &[("X-Consumer-Username", "nobody"), ("X-Anonymous-Consumer", "true")]),
        way("/groups", "apikey: alice-key\r\n", &[("X-Consumer-Username", "alice"), ("X-Consumer-Groups", "staff")]),
    ]
}

fn gate(origin: &Origin) -> Gate {
    Gate::start(format!(
        "\
_format_version: \"3.0\"
consumers:
- id: {CONSUMER}
  username: alice
  custom_id: a-1
  keyauth_credentials:
  - id: {CREDENTIAL}
    key: alice-key
  jwt_secrets:
  - key: alice-issuer
    secret: {SECRET}
  acls:
  - group: staff
- username: nobody
services:
- name: behind
  url: {}
  routes:
  - name: open
    paths: [/open]
  - name: key
    paths: [/key]
    plugins:
    - name: key-auth
  - name: jwt
    paths: [/jwt]
    plugins:
    - name: jwt
  - name: anonymous
    paths: [/anonymous]
    plugins:
    - name: key-auth
      config: {{anonymous: nobody}}
  - name: groups
    paths: [/groups]
    plugins:
    - name: key-auth
    - name: acl
      config: {{allow: [staff]}}
",
        origin.url()
    ))
}

/// Every way to write the name that some service reads as the same name.
fn spellings(name: &str) -> Vec<String> {
    let mixed: String = name
        .char_indices()
        .map(|(at, c)| if at % 2 == 0 { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() })
        .collect();
    let mut spellings = vec![name.to_owned(), name.to_ascii_lowercase(), name.to_ascii_uppercase(), mixed];
    // CGI and its heirs (PHP, WSGI, Rack) see `X_Consumer_ID` and `X-Consumer-ID` as one variable.
    for spelling in spellings.clone() {
        spellings.push(spelling.replace('-', "_"));
        spellings.push(spelling.replacen('-', "_", 1));
        let last = spelling.rfind('-').unwrap();
        spellings.push(format!("{}_{}", &spelling[..last], &spelling[last + 1..]));
    }
    spellings.sort_unstable();
    spellings.dedup();
    spellings
}

fn forged(names: impl IntoIterator<Item = String>) -> String {
    names.into_iter().map(|name| format!("{name}: {FORGED}\r\n")).collect()
}

fn every_spelling() -> impl Iterator<Item = String> {
    NAMES.iter().flat_map(|name| spellings(name))
}

fn head(way: &Way, connection: &str, fields: &str) -> String {
    let (path, credential) = (way.path, &way.credential);
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: {connection}\r\n{fields}{credential}\r\n")
}

fn send(gate: &Gate, way: &Way, connection: &str, fields: &str) -> Answer {
    raw(gate.proxy(), head(way, connection, fields))
}

/// Nothing forged arrived, and what the gate says stands there once.
#[track_caller]
fn believable(seen: &Recorded, way: &Way) {
    assert!(!seen.text().contains(FORGED), "{}: a forged header arrived\n{}", way.path, seen.text());
    for (name, value) in way.told {
        assert_eq!(seen.values(name), [*value], "{}: {name}\n{}", way.path, seen.text());
    }
}

/// Without a gate between, all of them arrive: the measure measures.
#[test]
fn the_measure_sees_what_nobody_strips() {
    let origin = Origin::start();
    raw(origin.address(), format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", forged(every_spelling())));
    assert_eq!(origin.last().text().matches(FORGED).count(), every_spelling().count());
}

#[test]
fn no_spelling_reaches_the_service() {
    let origin = Origin::start();
    let gate = gate(&origin);
    for way in ways() {
        // One name a request, so that the heads stay within any limit; duplicates of one name are
        // part of it.
        for name in NAMES {
            let twice = spellings(name).into_iter().flat_map(|spelling| [spelling.clone(), spelling]);
            send(&gate, &way, "close", &forged(twice)).expect_status(200);
            believable(&origin.last(), &way);
        }
    }
}

/// A header named in `Connection` is dropped on the way (RFC 9110, 7.6.1). A gate that strips after
/// it has set its own headers lets the caller take those away; one that looks at `Connection` first
/// and keeps what it names lets forged ones pass.
#[test]
fn connection_neither_lets_forged_ones_pass_nor_takes_ours_away() {
    let origin = Origin::start();
    let gate = gate(&origin);
    for way in ways() {
        for name in NAMES {
            for spelling in [(*name).to_owned(), name.to_ascii_lowercase(), name.replace('-', "_")] {
                let connection = format!("close, {spelling}");
                send(&gate, &way, &connection, &forged([spelling.clone()])).expect_status(200);
                believable(&origin.last(), &way);
                send(&gate, &way, &connection, "").expect_status(200);
                believable(&origin.last(), &way);
            }
        }
    }
}

/// The same attack on the other headers that the gate sets for the service.
#[test]
fn connection_does_not_take_the_gates_own_headers_away() {
    let origin = Origin::start();
    let gate = gate(&origin);
    for name in ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-IP"] {
        for way in ways() {
            send(&gate, &way, &format!("close, {name}"), "").expect_status(200);
            assert_eq!(origin.last().values(name).len(), 1, "{}: {name}\n{}", way.path, origin.last().text());
        }
    }
}

/// Legal names that only resemble ours are not ours: they may arrive under their own name, but no
/// trimming on the way may turn one into an identity header.
#[test]
fn no_neighbouring_name_becomes_an_identity_header() {
    let origin = Origin::start();
    let gate = gate(&origin);
    for way in ways() {
        for name in NAMES {
            let around = ["-", "_", ".", "'", "~", "!", "|"];
            let neighbours = around.iter().flat_map(|sign| [format!("{name}{sign}"), format!("{sign}{name}")]);
            send(&gate, &way, "close", &forged(neighbours)).expect_status(200);
            for (field, value) in origin.last().fields {
                let read_as = field.replace('_', "-");
                let is_identity = NAMES.iter().any(|name| name.eq_ignore_ascii_case(&read_as));
                assert!(!is_identity || value != FORGED, "{}: {field} arrived\n{}", way.path, origin.last().text());
            }
        }
    }
}

/// Illegal heads (RFC 9112, 5.1 and 5.2) that some parsers mend: white space before the colon, a
/// folded line, a bare carriage return. Refused or stripped, never handed on.
#[test]
fn no_illegal_head_carries_one_through() {
    let origin = Origin::start();
    let gate = gate(&origin);
    for way in ways() {
        for name in ["X-Consumer-ID", "X-Consumer-Username", "X-Credential-Identifier"] {
            for line in [
                format!("{name} : {FORGED}\r\n"),
                format!("{name}\t: {FORGED}\r\n"),
                format!(" {name}: {FORGED}\r\n"),
                format!("X-Harmless: a\r\n {name}: {FORGED}\r\n"),
                format!("X-Harmless: a\r{name}: {FORGED}\r\n"),
                format!("X-Harmless: a\n{name}: {FORGED}\r\n"),
                format!("X-Harmless: a\0\r\n{name}: {FORGED}\r\n"),
            ] {
                let before = origin.requests().len();
                let mut wire = Wire::connect(gate.proxy());
                wire.send(head(&way, "close", &line));
                // A connection closed without an answer is a refusal too.
                let status = wire.try_answer(false).map_or(400, |answer| answer.status);
                assert!(matches!(status, 200 | 400), "{} {line:?}: {status}", way.path);
                for seen in &origin.requests()[before..] {
                    assert!(!carries(seen, name), "{} {line:?} arrived\n{}", way.path, seen.text());
                }
            }
        }
    }
}

/// Whether some reader finds the name at the beginning of a line, whatever it takes for a line's end.
fn carries(seen: &Recorded, name: &str) -> bool {
    let text = seen.text().to_ascii_lowercase().replace('_', "-");
    let mut lines = text.split(['\r', '\n', '\0']).map(str::trim_start);
    lines.any(|line| line.starts_with(&name.to_ascii_lowercase()) && line.contains(FORGED))
}

/// Some services merge trailers into the headers.
#[test]
fn no_trailer_carries_one_through() {
    let origin = Origin::start();
    let gate = gate(&origin);
    for way in ways() {
        let (path, credential) = (way.path, &way.credential);
        let trailers = forged(NAMES.iter().map(|name| (*name).to_owned()));
        let names = NAMES.join(", ");
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{credential}Trailer: {names}\r\n\
             Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{trailers}\r\n"
        );
        raw(gate.proxy(), request).expect_status(200);
        let seen = origin.last();
        assert_eq!(seen.body, b"hi");
        believable(&seen, &way);
    }
}

/// An upgrade leaves HTTP behind; its head must go through the same door.
#[test]
fn no_upgrade_carries_one_through() {
    let origin = Origin::start();
    let gate = gate(&origin);
    for way in ways() {
        let upgrade =
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let fields = upgrade.to_owned() + &forged(NAMES.iter().map(|name| (*name).to_owned()));
        send(&gate, &way, "Upgrade", &fields).expect_status(200);
        believable(&origin.last(), &way);
    }
}

#[test]
fn no_http_2_request_carries_one_through() {
    let origin = Origin::start();
    let gate = gate(&origin);
    for way in ways() {
        let url = format!("https://{}{}", gate.proxy_tls(), way.path);
        for name in NAMES {
            let mut fields: Vec<String> =
                spellings(name).iter().map(|spelling| format!("{spelling}: {FORGED}")).collect();
            fields.extend(way.credential.lines().map(str::to_owned));
            let mut args = vec!["--http2", "--insecure", url.as_str()];
            args.extend(fields.iter().flat_map(|field| ["--header", field.as_str()]));
            let answer = curl(&args).expect_status(200);
            assert_eq!(answer.version, "2");
            believable(&origin.last(), &way);
        }
    }
}

/// What the gate refuses must not reach the service at all, whoever it claims to come from.
#[test]
fn a_forged_identity_is_no_credential() {
    let origin = Origin::start();
    let gate = gate(&origin);
    for way in ways().iter().filter(|way| !way.credential.is_empty()) {
        let without = Way { path: way.path, credential: String::new(), told: &[] };
        for name in NAMES {
            send(&gate, &without, "close", &forged(spellings(name))).expect_status(401);
        }
    }
    assert_eq!(origin.requests().len(), 0);
}

/// `Forwarded` is written where it is asked for, after what a trusted proxy says, and nobody else's word is passed on.
#[test]
fn forwarded_says_who_called() {
    let origin = Origin::start();
    let config = format!("_format_version: \"3.0\"\nservices:\n- url: {}\n  routes:\n  - paths: [/]\n", origin.url());
    let said = [("Forwarded", "for=192.0.2.7;host=forged.test")];
    let ours = |gate: &Gate| format!("for=127.0.0.1;host=\"{}\";proto=http", gate.proxy());
    let with = |trusted: &str| {
        Gate::with(&config).env("KONG_HEADERS_UPSTREAM", "Forwarded").env("KONG_TRUSTED_IPS", trusted).start()
    };
    let gate = with("");
    tests::http(gate.proxy(), "GET", "/", &said, b"").expect_status(200);
    assert_eq!(origin.last().values("forwarded"), [ours(&gate)]);
    let gate = with("127.0.0.1");
    tests::http(gate.proxy(), "GET", "/", &said, b"").expect_status(200);
    assert_eq!(origin.last().values("forwarded"), [format!("{}, {}", said[0].1, ours(&gate))]);
    let gate = Gate::start(&config);
    tests::http(gate.proxy(), "GET", "/", &said, b"").expect_status(200);
    assert!(origin.last().values("forwarded").is_empty());
}
