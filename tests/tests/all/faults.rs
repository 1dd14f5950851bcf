//! Services and callers that misbehave, case by case: each gets the answer that `docs/faults.md` promises for it.

use Step::{Again, Drip, Head, Hold, Large, Lines, Oblige, Overflow, Pause, Peek, Read, Say, Shut, Take, Wait};
use std::io::{self, BufRead, BufReader, ErrorKind, Read as _, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;
use tests::{Answer, Authority, DEADLINE, Gate, Nginx, Origin, Reply, Wire, eventually, http, raw};

/// A case of one request: its name, the request, the service's time limit in milliseconds, what the caller
/// gets (as [`got`] says it), and what the service does.
type Row<'a> = (&'static str, &'static str, u32, &'static str, &'a [Step]);
/// The case of a caller: its name, what the service does, and what the caller does and gets.
type Call = (&'static str, &'static [Step], fn(&Gate, &Service, &str));

const SHORT: u32 = 300;
const LONG: u32 = 5_000;
/// Beyond every deadline of the tests: what ends a connection then is not this limit.
const NEVER: u32 = 600_000;

const GET: &str = "GET PATH HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const POST: &str = "POST PATH HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
const UPGRADE: &str = "GET PATH HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
/// The head of a request with chunks; sent as it is, they follow without end.
const UPLOAD: &str = "POST PATH HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
const CHUNK: &str = "5\r\nhello\r\n";
/// Half of a request.
const PART: &str = "POST PATH HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhello";
const EXPECT: &str =
    "POST PATH HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const TOO_LARGE: &str = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const PROCESSING: &str = "HTTP/1.1 102 Processing\r\n\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
/// Parts of an answer: a head, or with `hello` for the beginning of its body.
const TEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
const CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
const ALL_CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello";
/// An answer of 44 bytes that nobody asked for.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

const NO_ANSWER: &[Row] = &[
    ("the service closes at once", GET, LONG, "502", &[]),
    ("the service closes after the request", GET, LONG, "502", &[Read]),
    ("the service resets the connection", GET, LONG, "502", &[Peek]),
    ("the service closes in the middle of the head", GET, LONG, "502", &[Read, Say("HTTP/1.1 200 OK\r\nContent-Le")]),
    ("the greeting of another protocol", GET, LONG, "502", &[Read, Say("SSH-2.0-OpenSSH_9.9\r\n")]),
    ("a TLS alert in place of HTTP", GET, LONG, "502", &[Read, Say("\x15\x03\x03\0\x02\x02\x46")]),
    ("a TLS greeting in place of HTTP", GET, LONG, "502", &[Read, Say("\x16\x03\x03\0\x31\x02\0\0\x2d\x03\x03")]),
    ("a body without a head, as in HTTP/0.9", GET, LONG, "502", &[Read, Say("<html>hello</html>\n")]),
    ("the service is silent", GET, SHORT, "504", &[Read, Wait]),
    ("the head of the answer comes byte by byte", GET, SHORT, "504", &[Read, Drip(OK, 30)]),
    ("the service does not take the request's body", UPLOAD, SHORT, "504", &[Read, Hold]),
];

/// Answers whose head says something wrong: whatever another reader makes of them, here they are a 502.
const HEADS: &[(&str, &str)] = &[
    ("a status line without a code", "HTTP/1.1\r\nContent-Length: 2\r\n\r\nok"),
    ("a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("a status of letters", "HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok"),
    ("a status line of `HTTP/2.0`", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("lines that end with a bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    ("one header line that ends with a bare LF", "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 2\r\n\r\nok"),
    ("a bare CR within a header line", "HTTP/1.1 200 OK\r\nA: b\rC: d\r\nContent-Length: 2\r\n\r\nok"),
    ("`Transfer-Encoding` in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("101 that nobody asked for", SWITCH),
];

/// Header lines of an answer that is otherwise whole.
const LINES: &[(&str, &str)] = &[
    ("a header line without a colon", "Content-Length: 2\r\nno colon"),
    ("a space before the colon", "Content-Length: 2\r\nA : b"),
    ("a folded header line", "Content-Length: 2\r\nA: b\r\n c"),
    ("a NUL in a header's value", "Content-Length: 2\r\nA: b\0c"),
    ("`Transfer-Encoding: gzip`", "Transfer-Encoding: gzip"),
    ("`Transfer-Encoding: gzip, chunked`", "Transfer-Encoding: gzip, chunked"),
    ("`Transfer-Encoding: identity`", "Transfer-Encoding: identity"),
    ("`Transfer-Encoding: chunked` twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    ("`Content-Length` twice and different", "Content-Length: 2\r\nContent-Length: 3"),
    ("`Content-Length` twice and the same", "Content-Length: 2\r\nContent-Length: 2"),
    ("a list as `Content-Length`", "Content-Length: 2, 2"),
    ("a negative `Content-Length`", "Content-Length: -2"),
    ("a `Content-Length` with a sign", "Content-Length: +2"),
    ("a `Content-Length` in hexadecimal", "Content-Length: 0x2"),
    ("a `Content-Length` beyond 64 bits", "Content-Length: 18446744073709551618"),
    ("`Content-Length` beside `Transfer-Encoding`", "Content-Length: 2\r\nTransfer-Encoding: chunked"),
];

const LIMITS: &[Row] = &[
    ("101 header lines", GET, LONG, "502", &[Read, Head(101, 1)]),
    ("100 header lines", GET, LONG, "200 ok", &[Read, Head(100, 1)]),
    ("a head above 64 KiB", GET, LONG, "502", &[Read, Head(70, 1_000)]),
    ("a head below 64 KiB", GET, LONG, "200 ok", &[Read, Head(60, 1_000)]),
    ("a head of 1 MiB", GET, LONG, "502", &[Read, Head(100, 10_600)]),
    ("100 without end", GET, LONG, "502", &[Read, Again(CONTINUE)]),
    ("102 without end", GET, LONG, "502", &[Read, Again(PROCESSING)]),
    ("103 without end", GET, LONG, "502", &[Read, Again(HINTS)]),
    ("100, 102 and 103, then 200", GET, LONG, "200 ok", &[Read, Say(CONTINUE), Say(PROCESSING), Say(HINTS), Say(OK)]),
    ("101 to a WebSocket request", UPGRADE, LONG, "101 hello", &[Read, Say(SWITCH), Say("hello")]),
];

const CUT: &[Row] = &[
    ("the service closes before the announced length", GET, LONG, "part", &[Read, Say(LENGTH)]),
    ("the service closes between two chunks", GET, LONG, "part", &[Read, Say(CHUNKS)]),
    ("the service closes within the last chunk", GET, LONG, "part", &[Read, Say(CHUNKS), Say("0\r\n")]),
    ("a chunk size that is no number", GET, LONG, "part", &[Read, Say(CHUNKS), Say("ZZ\r\nworld\r\n0\r\n\r\n")]),
    ("a chunk size beyond 64 bits", GET, LONG, "part", &[Read, Say(CHUNKS), Say("10000000000000005\r\nworld\r\n")]),
    ("a chunk size that ends with a bare LF", GET, LONG, "part", &[Read, Say(CHUNKS), Say("5\nworld\r\n0\r\n\r\n")]),
    ("a chunk longer than its size", GET, LONG, "part", &[Read, Say(CHUNKS), Say("5\r\nworlds\r\n0\r\n\r\n")]),
    ("a body stalls before the announced length", GET, SHORT, "part", &[Read, Say(LENGTH), Wait]),
    ("a body stalls between two chunks", GET, SHORT, "part", &[Read, Say(CHUNKS), Wait]),
    ("a body stalls that ends with the connection", GET, SHORT, "part", &[Read, Say(UNTIL_CLOSE), Wait]),
    ("a reset in a body that ends with the connection", GET, LONG, "part", &[Peek, Pause, Say(UNTIL_CLOSE), Pause]),
];

const WHOLE: &[Row] = &[
    ("a body drips within `read_timeout`", GET, 1_000, "200 ten drips!", &[Read, Say(TEN), Drip("ten drips!", 130)]),
    ("a body that ends with the connection", GET, LONG, "200 hello", &[Read, Say(UNTIL_CLOSE)]),
    ("an HTTP/1.0 body without a length", GET, LONG, "200 hello", &[Read, Say("HTTP/1.0 200 OK\r\n\r\nhello")]),
    ("an early 413, and the service reads on", UPLOAD, LONG, "413", &[Read, Say(TOO_LARGE), Shut, Wait]),
    ("an early 413, and the body is never read", PART, LONG, "413", &[Peek, Pause, Say(TOO_LARGE), Pause]),
    ("a whole answer before the request ends", PART, LONG, "200 ok", &[Read, Say(OK), Wait]),
];

/// Name, method, what the caller gets, and what the service does with a request for `first`.
const SURPLUS: &[(&str, &str, &str, Step)] = &[
    ("204 with a body", "GET", "204", Overflow("HTTP/1.1 204 No Content\r\n\r\n", false)),
    ("204 with a length and a body", "GET", "204", Overflow("HTTP/1.1 204 No\r\nContent-Length: 44\r\n\r\n", false)),
    ("304 with a body", "GET", "304", Overflow("HTTP/1.1 304 Not Modified\r\nContent-Length: 44\r\n\r\n", false)),
    ("HEAD answered with a body", "HEAD", "200", Overflow("HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n", false)),
    ("an answer after the announced length", "GET", "200 ok", Overflow(OK, false)),
    ("an answer after the last chunk", "GET", "200 hello", Overflow(ALL_CHUNKS, false)),
    ("an answer on an idle connection", "GET", "200 ok", Overflow(OK, true)),
];

/// Name, method and path of a request that comes second on a connection to the service, the statuses that it may
/// get, and how often the service may see it. Who is not to `die` closes after the first request.
const KEPT: &[[&str; 5]] = &[
    ["a kept connection is closed, then a GET", "GET", "next", "200", "1"],
    ["a kept connection is closed, then a POST", "POST", "next", "200 or 502", "0 or 1"],
    ["the service dies of a GET", "GET", "die", "502", "1 or 2"],
    ["the service dies of a POST", "POST", "die", "502", "1"],
    ["the service dies of a PUT", "PUT", "die", "502", "1"],
    ["the service dies of a DELETE", "DELETE", "die", "502", "1"],
    ["the service dies of a PATCH", "PATCH", "die", "502", "1"],
];

const TARGETS: &[Row] = &[
    ("the port of the service is closed", GET, LONG, "502", &[]),
    ("one of two targets is down", GET, LONG, "200 GET", &[]),
    ("one of two targets is down, and the request has a body", POST, LONG, "200 POSThello", &[]),
    ("every target is down", GET, LONG, "502", &[]),
];

const TLS: &[Row] = &[
    ("a certificate of an authority that is not trusted", GET, NEVER, "502", &[]),
    ("plain HTTP where TLS is expected", GET, NEVER, "502", &[Peek, Say(OK), Pause]),
    ("no TLS handshake within `connect_timeout`", GET, SHORT, "504", &[Wait]),
];

const CALLERS: &[Call] = &[
    ("the caller closes while it waits", &[Read, Wait], |gate, service, path| leave(gate, service, path, GET, 0, 1)),
    ("the caller closes in the middle of the answer", &[Read, Say(CHUNKS), Again(CHUNK)], |gate, service, path| {
        leave(gate, service, path, GET, 1_000, 1);
    }),
    ("the caller closes in the middle of a request's head", &[Oblige], |gate, service, path| {
        drop(ask(gate, "GET PATH HTTP/1.1\r\nHost:", path));
        gate.get(path).expect_status(200);
        assert_eq!(service.requests.load(SeqCst), 1);
    }),
    ("the caller closes in the middle of a body with a length", &[Read, Wait], |gate, service, path| {
        leave(gate, service, path, PART, 0, 10);
    }),
    ("the caller closes in the middle of a chunked body", &[Read, Wait], |gate, service, path| {
        leave(gate, service, path, &[UPLOAD, CHUNK].concat(), 0, CHUNK.len() + 5);
    }),
    ("a second request follows a slow one without waiting", &[Oblige], |gate, _, path| {
        let mut wire = Wire::connect(gate.proxy());
        wire.send(format!("GET {path}slow HTTP/1.1\r\nHost: h\r\n\r\nGET {path}fast HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!([wire.answer().text(), wire.answer().text()], ["slow", "fast"]);
    }),
    ("the caller is slow to read a large answer", &[Read, Large], |gate, _, path| {
        let caller = ask(gate, GET, path);
        (0..5).for_each(|_| pause());
        assert!(got(&read_to_end(&caller)) == format!("200 {}", letters(4 << 20)), "another answer arrived");
    }),
    ("the caller abandons a kept connection", &[Oblige], |gate, service, path| {
        let _abandoned = ask(gate, "GET PATH HTTP/1.1\r\nHost: h\r\n\r\n", path);
        one(&service.done, "answer of the service");
        gate.get(path).expect_status(200);
    }),
    ("the caller sends 5 MiB in chunks", &[], |gate, _, _| {
        let part = letters(1 << 20);
        let chunks = format!("100000\r\n{part}\r\n").repeat(5) + "0\r\n\r\n";
        let seen = raw(gate.proxy(), UPLOAD.replace("PATH", "/origin/") + &chunks).expect_status(200).json();
        assert!(seen["body"] == part.repeat(5), "another body arrived");
    }),
    ("`Expect: 100-continue` on a route that refuses the request", &[], |gate, _, _| {
        let bytes = read_to_end(&ask(gate, EXPECT, "/locked/"));
        assert!(bytes.starts_with(b"HTTP/1.1 401 ") && got(&bytes) == "401", "{}", shown(&bytes));
    }),
    ("`Expect: 100-continue` on a route that takes the request", &[], |gate, _, _| {
        let caller = ask(gate, EXPECT, "/origin/");
        let mut reader = BufReader::new(&caller);
        assert_eq!(read_head(&mut reader).unwrap(), CONTINUE);
        (&caller).write_all(b"hi").unwrap();
        assert_eq!(Answer::read(&mut reader, false).unwrap().expect_status(200).json()["body"], "hi");
    }),
    ("a body without end on a route that refuses the request", &[], |gate, _, _| {
        assert_eq!(got(&read_to_end(&ask(gate, UPLOAD, "/locked/"))), "401");
    }),
    ("the answer begins before the request ends", &[Read, Say(TEN), Take(10), Say("helloworld")], |gate, it, path| {
        let caller = ask(gate, PART, path);
        let mut reader = BufReader::new(&caller);
        assert!(read_head(&mut reader).unwrap().starts_with("HTTP/1.1 200 "));
        (&caller).write_all(b"world").unwrap();
        assert_eq!((io::read_to_string(reader).unwrap().as_str(), it.heard.load(SeqCst)), ("helloworld", 10));
    }),
];

#[test]
fn what_is_no_answer_is_a_502_or_a_504() {
    run(&[NO_ANSWER, LIMITS].concat());
}

#[test]
fn an_answer_in_doubt_is_a_502() {
    // The connection stays open: it is for these bytes that the answer is refused.
    let heads = HEADS.iter().map(|case| [Read, Say(case.1), Wait]);
    let steps: Vec<[Step; 3]> = heads.chain(LINES.iter().map(|case| [Read, Lines(case.1), Wait])).collect();
    let cases = HEADS.iter().chain(LINES).zip(&steps);
    run(&cases.map(|(case, steps)| (case.0, GET, LONG, "502", &steps[..])).collect::<Vec<Row>>());
}

#[test]
fn a_part_of_a_body_is_never_taken_for_the_whole() {
    run(&[CUT, WHOLE].concat());
}

/// Response queue poisoning: what a service says unasked would be the answer to whoever comes next.
#[test]
fn surplus_bytes_are_nobodys_answer() {
    let services: Vec<Arc<Service>> = SURPLUS.iter().map(|row| service(&[row.3])).collect();
    let gate = gate(services.iter().map(|service| yaml(service, LONG)), "");
    judge(SURPLUS.iter().map(|row| row.0), |index| {
        let (_, method, expected, _) = SURPLUS[index];
        let mut wire = Wire::connect(gate.proxy());
        wire.send(format!("{method} /{index}/first HTTP/1.1\r\nHost: h\r\n\r\n"));
        let answer = if method == "HEAD" { wire.answer_to_head() } else { wire.answer() };
        assert_eq!(format!("{} {}", answer.status, answer.text()).trim_end(), expected);
        // RFC 9110, 8.6: never with 204.
        assert!(expected != "204" || answer.header("content-length").is_none(), "{:?}", answer.fields);
        // Everything was said, and the gate has had to do with another request since: it must have noticed.
        one(&services[index].done, "end of what the service says");
        gate.get("/nowhere").expect_status(404);
        wire.send(format!("GET /{index}/next HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(wire.answer().expect_status(200).text(), "next");
        assert_eq!(gate.get(&format!("/{index}/other")).expect_status(200).text(), "other");
    });
}

#[test]
fn what_a_kept_connection_loses_is_not_sent_without_end() {
    let mortal = |row: &[&str; 5]| if row[2] == "die" { service(&[Oblige]) } else { service(&[Read, Say(OK)]) };
    let services: Vec<Arc<Service>> = KEPT.iter().map(mortal).collect();
    let gate = gate(services.iter().map(|service| yaml(service, LONG)), "");
    judge(KEPT.iter().map(|row| row[0]), |index| {
        let [_, method, path, statuses, times] = KEPT[index];
        gate.get(&format!("/{index}/first")).expect_status(200);
        let status = http(gate.proxy(), method, &format!("/{index}/{path}"), &[], b"").status.to_string();
        let seen = (services[index].requests.load(SeqCst) - 1).to_string();
        assert!(statuses.contains(&status) && times.contains(&seen), "{status}, and seen {seen} times");
    });
}

#[test]
fn a_target_that_is_down_costs_no_request() {
    let origin = Origin::answering(|seen| Reply::new(200, [seen.method.as_bytes(), &seen.body[..]].concat()));
    // Nobody listens on port 1: only root may, and no service of our time does.
    let urls = ["http://127.0.0.1:1", "http://one.test", "http://one.test", "http://every.test"];
    let upstreams = format!(
        "upstreams:\n\
         - {{name: one.test, targets: [{{target: '127.0.0.1:1', weight: 1000}}, {{target: '{}', weight: 10}}]}}\n\
         - {{name: every.test, targets: [{{target: '127.0.0.1:1'}}, {{target: '127.0.0.2:1'}}]}}\n",
        origin.address()
    );
    request_each(TARGETS, &gate(urls.iter().map(|url| format!("url: '{url}', retries: 5")), &upstreams), &[]);
}

#[test]
fn a_service_that_cannot_prove_itself_gets_no_request() {
    const ID: &str = "11111111-1111-4111-8111-111111111111";
    let (authority, stranger) = (Authority::new("services"), Authority::new("stranger"));
    let unknown = Nginx::https(&stranger.server(&["127.0.0.1"]), None, "location / { return 200 served; }");
    let addresses = [unknown.address(), service(TLS[1].4).address, service(TLS[2].4).address];
    let services = TLS.iter().zip(addresses).map(|(row, address)| {
        let trust = format!("tls_verify: true, ca_certificates: [{ID}]");
        format!("url: 'https://{address}', {trust}, retries: 0, connect_timeout: {}", row.2)
    });
    let believed = authority.certificate().cert_yaml();
    let gate = gate(services, &format!("ca_certificates:\n- id: {ID}\n  cert: {believed}\n"));
    request_each(TLS, &gate, &[]);
}

#[test]
fn callers_that_misbehave_harm_nobody_else() {
    let origin = Origin::start();
    let services: Vec<Arc<Service>> = CALLERS.iter().map(|row| service(row.1)).collect();
    let more = format!(
        "- {{name: origin, url: '{0}', routes: [{{paths: [/origin/]}}]}}\n\
         - {{name: locked, url: '{0}', routes: [{{paths: [/locked/], plugins: [{{name: key-auth}}]}}]}}\n",
        origin.url()
    );
    let gate = gate(services.iter().map(|service| yaml(service, NEVER)), &more);
    judge(CALLERS.iter().map(|row| row.0), |index| (CALLERS[index].2)(&gate, &services[index], &format!("/{index}/")));
}

/// The names are the same, and the answers begin alike; callers' cases are free in that.
#[test]
fn the_document_promises_what_is_tested() {
    let rows = include_str!("../../../docs/faults.md").lines();
    let rows = rows.filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows: Vec<(&str, &str)> = rows.filter(|row| row.0 != "what happens").collect();
    let simple = [NO_ANSWER, LIMITS, CUT, WHOLE, TARGETS, TLS].into_iter().flatten().map(|row| (row.0, &row.3[..3]));
    let in_doubt = HEADS.iter().chain(LINES).map(|row| (row.0, "502"));
    let surplus = SURPLUS.iter().map(|row| (row.0, &row.2[..3]));
    let kept = KEPT.iter().map(|row| (row[0], row[3]));
    let callers = CALLERS.iter().map(|row| (row.0, ""));
    let cases: Vec<(&str, &str)> = simple.chain(in_doubt).chain(surplus).chain(kept).chain(callers).collect();
    let promised = |case: &(&str, &str)| rows.iter().any(|row| row.0 == case.0 && row.1.starts_with(case.1));
    let unpromised: Vec<_> = cases.iter().filter(|case| !promised(case)).collect();
    let untested: Vec<_> = rows.iter().filter(|row| !cases.iter().any(|case| case.0 == row.0)).collect();
    assert!(unpromised.is_empty() && untested.is_empty(), "not promised: {unpromised:?}\nnot tested: {untested:?}");
    assert_eq!(rows.len(), cases.len(), "a name stands twice");
}

/// What a service does with a connection; after the last step it closes.
#[derive(Clone, Copy)]
enum Step {
    /// Reads the head of a request.
    Read,
    /// Waits for a request and leaves it unread: when the connection is closed then, it is reset.
    Peek,
    Say(&'static str),
    /// Says an answer with these header lines, and a body that could be read with a length as well as in chunks.
    Lines(&'static str),
    /// Says an answer with so many header lines, all but one with a value of this length.
    Head(usize, usize),
    /// Says an answer of 4 MiB.
    Large,
    /// Says it byte by byte, each after so many milliseconds.
    Drip(&'static str, u64),
    /// Says it again and again, until the gate closes.
    Again(&'static str),
    Pause,
    /// Says no more, and can still read.
    Shut,
    /// Reads so many bytes.
    Take(u64),
    /// Reads until the gate closes.
    Wait,
    /// Keeps the connection, and does not read: it cannot see when the gate closes.
    Hold,
    /// Answers each request with the last part of its path, `slow` after a pause; of `die` it dies.
    Oblige,
    /// The same, but the answer to `first` is this one and [`POISON`], at once or after a pause.
    Overflow(&'static str, bool),
}

/// A service, and what it has seen over all its connections.
struct Service {
    address: SocketAddr,
    /// Whole heads of requests.
    requests: AtomicUsize,
    /// Bytes that were taken after them.
    heard: AtomicUsize,
    /// How often all was done, or an obliging service has answered.
    done: AtomicUsize,
}

/// A service's side of one connection.
struct Talk {
    reader: BufReader<TcpStream>,
    service: Arc<Service>,
}

fn service(steps: &[Step]) -> Arc<Service> {
    let (listener, steps) = (TcpListener::bind("127.0.0.1:0").unwrap(), steps.to_vec());
    let (address, (requests, heard, done)) = (listener.local_addr().unwrap(), Default::default());
    let service = Arc::new(Service { address, requests, heard, done });
    let shared = service.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (mut talk, steps) = (Talk { reader: BufReader::new(stream), service: shared.clone() }, steps.clone());
            thread::spawn(move || {
                steps.into_iter().for_each(|step| talk.act(step));
                talk.service.done.fetch_add(1, SeqCst);
            });
        }
    });
    service
}

/// A service as YAML, with this `read_timeout` and `write_timeout`.
fn yaml(service: &Service, ms: u32) -> String {
    format!("url: 'http://{}', read_timeout: {ms}, write_timeout: {ms}", service.address)
}

impl Talk {
    fn act(&mut self, step: Step) {
        match step {
            Read => drop(self.request()),
            Peek => drop(self.reader.get_ref().peek(&mut [0])),
            Say(text) => self.say(text),
            Lines(lines) => self.say(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n2\r\nok\r\n0\r\n\r\n")),
            Head(lines, length) => {
                let more = format!("A: {}\r\n", "x".repeat(length)).repeat(lines - 1);
                self.say(format!("HTTP/1.1 200 OK\r\n{more}Content-Length: 2\r\n\r\nok"));
            }
            Large => self.say(whole(&letters(4 << 20))),
            Drip(text, ms) => text.as_bytes().chunks(1).for_each(|byte| {
                thread::sleep(Duration::from_millis(ms));
                self.say(byte);
            }),
            Again(text) => while self.reader.get_ref().write_all(text.repeat(100).as_bytes()).is_ok() {},
            Pause => pause(),
            Shut => drop(self.reader.get_ref().shutdown(Shutdown::Write)),
            Take(most) => self.hear(most),
            Wait => self.hear(u64::MAX),
            Hold => thread::park(),
            Oblige => self.oblige("", false),
            Overflow(first, later) => self.oblige(first, later),
        }
    }

    /// The head of the next request; `None` when the gate has closed.
    fn request(&mut self) -> Option<String> {
        let head = read_head(&mut self.reader)?;
        self.service.requests.fetch_add(1, SeqCst);
        Some(head)
    }

    fn say(&self, bytes: impl AsRef<[u8]>) {
        // Nobody may be there to hear it any more: what the caller got will show.
        let _ = self.reader.get_ref().write_all(bytes.as_ref());
    }

    fn hear(&mut self, most: u64) {
        let mut bytes = Vec::new();
        let _ = self.reader.by_ref().take(most).read_to_end(&mut bytes);
        self.service.heard.fetch_add(bytes.len(), SeqCst);
    }

    fn oblige(&mut self, first: &str, later: bool) {
        while let Some(head) = self.request() {
            let name = head.split(' ').nth(1).and_then(|target| target.rsplit('/').next()).unwrap_or_default();
            match (name, later) {
                ("die", _) => return,
                ("first", false) if !first.is_empty() => self.say([first, POISON].concat()),
                ("first", true) => {
                    self.say(first);
                    pause();
                    self.say(POISON);
                }
                ("slow", _) => {
                    pause();
                    self.say(whole(name));
                }
                _ => self.say(whole(name)),
            }
            self.service.done.fetch_add(1, SeqCst);
        }
    }
}

fn run(rows: &[Row]) {
    let services: Vec<Arc<Service>> = rows.iter().map(|row| service(row.4)).collect();
    let gate = gate(rows.iter().zip(&services).map(|(row, service)| yaml(service, row.2)), "");
    request_each(rows, &gate, &services);
}

/// One request for each row, over the route of its number. Its service must never see it twice.
fn request_each(rows: &[Row], gate: &Gate, services: &[Arc<Service>]) {
    judge(rows.iter().map(|row| row.0), |index| {
        let (_, request, _, expected, _) = rows[index];
        let caller = ask(gate, request, &format!("/{index}/"));
        let bytes = read_to_end(&caller);
        assert!(got(&bytes) == expected, "not {expected:?}, but {}", shown(&bytes));
        let seen = services.get(index).map_or(0, |service| service.requests.load(SeqCst));
        assert!(seen <= 1, "seen {seen} times");
    });
}

/// Checks every case, and shows together what failed.
fn judge(names: impl Iterator<Item = &'static str>, check: impl Fn(usize)) {
    let mut failed = Vec::new();
    for (index, name) in names.enumerate() {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(index))) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            failed.push(format!("{name}: {}", text.unwrap_or("a panic without words")));
        }
    }
    assert!(failed.is_empty(), "\n  {}\n", failed.join("\n  "));
}

/// A gate with a route `/0/`, `/1/` and so on for each service, and with more YAML behind the services. It has
/// one worker, so that every caller's request meets the same kept connections.
fn gate(services: impl Iterator<Item = String>, more: &str) -> Gate {
    let line = |(index, service)| format!("- {{name: s{index}, {service}, routes: [{{paths: [/{index}/]}}]}}\n");
    let services: String = services.enumerate().map(line).collect();
    Gate::with(format!("_format_version: \"3.0\"\nservices:\n{services}{more}")).env("PORTCULLIS_WORKERS", "1").start()
}

/// What the bytes of a closed connection are to a caller: `200` or `101` with what follows, another status, or
/// `part` of an answer that cannot be taken for the whole.
fn got(bytes: &[u8]) -> String {
    let mut rest = bytes;
    let Ok(answer) = Answer::read(&mut rest, false) else { return "part".to_owned() };
    // An answer that only the end of its connection ends would be whole wherever it is cut.
    let framed = answer.header("content-length").or(answer.header("transfer-encoding")).is_some();
    match answer.status {
        101 => format!("101 {}", String::from_utf8_lossy(rest)),
        _ if !framed || !rest.is_empty() => "an answer without a sure end".to_owned(),
        200 => format!("200 {}", answer.text()),
        status => status.to_string(),
    }
}

fn shown(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(500)]))
}

fn whole(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A text in which a block that is lost or doubled shows.
fn letters(length: usize) -> String {
    (0..length).map(|at| char::from(b'a' + (at % 23) as u8)).collect()
}

/// The slowness of a service or of a caller.
fn pause() {
    thread::sleep(Duration::from_millis(100));
}

/// Sends a request over a connection of its own, with this path in place of `PATH`; after the head of [`UPLOAD`]
/// chunks without end, as long as the gate takes them.
fn ask(gate: &Gate, request: &str, path: &str) -> TcpStream {
    let stream = TcpStream::connect(gate.proxy()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    (&stream).write_all(request.replace("PATH", path).as_bytes()).unwrap();
    if request == UPLOAD {
        let (mut endless, chunk) = (stream.try_clone().unwrap(), format!("10000\r\n{}\r\n", letters(0x10000)));
        thread::spawn(move || while endless.write_all(chunk.as_bytes()).is_ok() {});
    }
    stream
}

/// Everything until the gate closes, in order or not.
fn read_to_end(mut caller: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let ended = caller.read_to_end(&mut bytes).map_err(|error| error.kind());
    assert!(matches!(ended, Ok(_) | Err(ErrorKind::ConnectionReset)), "not closed: {ended:?}, {}", shown(&bytes));
    bytes
}

/// A head with its empty line; `None` where the connection ends before.
fn read_head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).ok().filter(|read| *read > 0)?;
    }
    Some(head)
}

/// Closes as soon as the service has seen the request and some bytes of its answer have come. Then the gate must
/// close as well, and what the service has heard of the body is less than the whole.
fn leave(gate: &Gate, service: &Service, path: &str, request: &str, bytes: usize, whole: usize) {
    let caller = ask(gate, request, path);
    one(&service.requests, "request at the service");
    (&caller).read_exact(&mut vec![0; bytes]).unwrap();
    drop(caller);
    one(&service.done, "end of the connection to the service");
    let heard = service.heard.load(SeqCst);
    assert!(heard < whole, "the service heard {heard} bytes");
}

/// Waits until something has happened.
fn one(count: &AtomicUsize, what: &str) {
    eventually(DEADLINE, || if count.load(SeqCst) > 0 { Ok(()) } else { Err(format!("no {what}")) });
}
