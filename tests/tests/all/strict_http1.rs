//! HTTP/1.1 as attackers write it: every case is sent as it stands, and judged on what reached the origin.

use std::error::Error;
use std::io::{self, BufReader, Read, Write};
use std::iter;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;
use tests::{Answer, DEADLINE, Gate, Origin, Recorded};

/// How long the gate is waited for in a group that has failed already: one case has shown that it is slow
/// or silent, and the others need not show it at the same length.
const HURRY: Duration = Duration::from_secs(2);

/// Up to this many bytes a case is also sent byte by byte.
const SHORT: usize = 300;

/// What must never arrive as a request of its own.
const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

/// Stands in every forged value, so that one search finds whatever came through.
const FORGED: &str = "forged-value";

/// A chunked body that is as it should be.
const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";

/// What must become of the bytes of a case.
#[derive(Clone, Copy)]
enum Verdict {
    /// One answer with this status, then the connection ends; nothing reached the origin.
    Refused(u16),
    /// One answer with this status, and the connection may go on; nothing reached the origin.
    RefusedKeeps(u16),
    /// The head is fine, the body is malformed: 400, the connection ends, and the origin, which may have
    /// seen the beginning, saw no complete request.
    CutOff,
    /// The caller stops in the middle: the connection ends, and the origin saw no complete request.
    Abandoned,
    /// So many requests reach the origin, and as many answers with 200 come back.
    Passes(usize),
    /// One passes, and then the gate ends the connection by itself, whatever else was sent.
    PassesLast,
    /// One passes; what follows it is refused with 400, and the connection ends.
    PassesThen400,
}

use Verdict::{Abandoned, CutOff, Passes, PassesLast, PassesThen400, Refused, RefusedKeeps};

const MALFORMED: Verdict = Refused(400);

struct Case {
    name: String,
    bytes: Vec<u8>,
    verdict: Verdict,
    /// What else must be true of the requests that passed.
    checks: Vec<(String, Check)>,
}

type Check = Box<dyn Fn(&[Recorded]) -> bool>;

/// Every character of the text is one byte.
fn case(name: impl Into<String>, text: impl AsRef<str>, verdict: Verdict) -> Case {
    Case { name: name.into(), bytes: to_bytes(text.as_ref()), verdict, checks: Vec::new() }
}

fn refused(name: impl Into<String>, text: impl AsRef<str>) -> Case {
    case(name, text, MALFORMED)
}

fn passes(name: impl Into<String>, text: impl AsRef<str>) -> Case {
    case(name, text, Passes(1))
}

/// Each row: a name, a text with a `{}`, and what comes there in turn, divided by bars.
fn families(verdict: Verdict, shape: impl Fn(&str) -> String, rows: &[[&str; 3]]) -> Vec<Case> {
    let values = rows.iter().flat_map(|[name, text, values]| values.split('|').map(move |value| (name, text, value)));
    values
        .map(|(name, text, value)| case(format!("{name}: {value:?}"), shape(&text.replace("{}", value)), verdict))
        .collect()
}

fn first_line(line: &str) -> String {
    format!("{line}\r\nHost: h\r\n\r\n")
}

fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n")
}

fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n{body}")
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked", body)
}

impl Case {
    fn targets(self, targets: impl IntoIterator<Item = impl Into<String>>) -> Case {
        let wanted: Vec<String> = targets.into_iter().map(Into::into).collect();
        self.check(format!("targets {wanted:?}"), move |seen| targets_of(seen) == wanted)
    }

    /// The body of the first request, without its framing.
    fn body(self, body: &str) -> Case {
        let wanted = to_bytes(body);
        self.check(format!("body {body:?}"), move |seen| seen[0].body == wanted)
    }

    /// All values of a header of the first request.
    fn field(self, name: &'static str, values: &'static [&'static str]) -> Case {
        self.check(format!("{name} {values:?}"), move |seen| seen[0].values(name) == values)
    }

    /// Stands nowhere in the bytes, trailers included, in no case of letters.
    fn absent(self, text: &'static str) -> Case {
        let lower = |request: &Recorded| to_text(&request.raw).to_ascii_lowercase();
        self.check(format!("{text:?} absent"), move |seen| !seen.iter().any(|request| lower(request).contains(text)))
    }

    fn check(mut self, what: String, good: impl Fn(&[Recorded]) -> bool + 'static) -> Case {
        self.checks.push((what, Box::new(good)));
        self
    }

    /// Sends the case, in pieces of a size, over a connection of its own; the first thing that is not as it
    /// should be.
    fn converse(&self, size: usize, address: SocketAddr, patience: Duration) -> Result<(), Box<dyn Error>> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(&stream);
        // A gate that refuses a request may close before it has read the whole: the answer tells.
        let _ = self.bytes.chunks(size).try_for_each(|piece| (&stream).write_all(piece));
        let (passed, refusal) = match self.verdict {
            Refused(status) | RefusedKeeps(status) => (0, Some(status)),
            CutOff => (0, Some(400)),
            Passes(passed) => (passed, None),
            PassesLast => (1, None),
            PassesThen400 => (1, Some(400)),
            Abandoned => (0, None),
        };
        for expected in iter::repeat_n(200, passed).chain(refusal) {
            let answer = Answer::read(&mut reader, self.bytes.starts_with(b"HEAD "));
            let answer = answer.map_err(|error| format!("no answer with {expected}: {error}"))?;
            // An answer without a length lasts to the end, and another would stand in its body.
            if answer.status != expected || expected != 200 && answer.text().contains("HTTP/1.") {
                return Err(format!("not {expected} but {}: {}", answer.status, answer.text()).into());
            }
        }
        match self.verdict {
            RefusedKeeps(_) => return Ok(()),
            Passes(_) | Abandoned => drop(stream.shutdown(Shutdown::Write)),
            _ => {}
        }
        let mut rest = Vec::new();
        match reader.read_to_end(&mut rest) {
            // Bytes of the caller that nobody read make the end a reset.
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => {
                Err(format!("the connection stays open ({error}), and on it came {:?}", to_text(&rest)).into())
            }
            _ if rest.is_empty() || matches!(self.verdict, Abandoned) => Ok(()),
            _ => Err(format!("after the last answer came {:?}", to_text(&rest)).into()),
        }
    }

    /// What is wrong with the requests that reached the origin.
    fn inspect(&self, seen: &[Recorded], host: &str) -> Vec<String> {
        let expected = match self.verdict {
            Passes(passed) => passed,
            PassesLast | PassesThen400 => 1,
            Refused(_) | RefusedKeeps(_) | CutOff | Abandoned => 0,
        };
        let targets = targets_of(seen);
        let count = (targets.len() != expected).then(|| format!("not {expected} requests arrived: {targets:?}"));
        let smuggled = targets.iter().find(|target| target.starts_with("/smuggled"));
        let mut faults: Vec<String> = count.into_iter().collect();
        faults.extend(smuggled.map(|target| format!("{target} arrived")));
        faults.extend(seen.iter().filter_map(|request| flaw(request, host)).map(str::to_owned));
        let failed = self.checks.iter().filter(|(_, good)| !seen.is_empty() && !good(seen));
        faults.extend(failed.map(|(what, _)| format!("not {what}")));
        if !faults.is_empty() {
            let arrived: String = seen.iter().map(Recorded::text).collect();
            faults.push(format!("arrived {arrived:.1000}"));
        }
        faults
    }
}

/// What no request may have that the gate wrote, whatever it was made from.
fn flaw(request: &Recorded, host: &str) -> Option<&'static str> {
    let text = to_text(&request.raw);
    let (head, _) = text.split_once("\r\n\r\n").unwrap_or((text.as_str(), ""));
    let lines: Vec<&str> = head.split("\r\n").skip(1).collect();
    let named = |name: &&str| {
        let names = lines.iter().filter_map(|line| line.split(':').next());
        names.filter(|written| written.trim().eq_ignore_ascii_case(name)).count()
    };
    let flaws = [
        (head.replace("\r\n", "").contains(['\r', '\n', '\0']), "a bare CR, a bare LF or a NUL in the head"),
        (lines.iter().any(|line| line.starts_with([' ', '\t'])), "a header line that begins with white space"),
        (named(&"host") != 1 || request.values("host") != [host], "not exactly one Host, that of the service"),
        (["content-length", "transfer-encoding"].iter().map(named).sum::<usize>() > 1, "two headers of framing"),
    ];
    flaws.iter().find(|(flawed, _)| *flawed).map(|(_, flaw)| *flaw)
}

fn targets_of(requests: &[Recorded]) -> Vec<&str> {
    requests.iter().map(|request| request.target.as_str()).collect()
}

fn to_bytes(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(letter).expect("a character that is more than one byte")).collect()
}

fn to_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Sends all cases to one gate, the short ones also byte by byte, and shows all that went wrong together. An
/// ordinary request after each marks its end: what the origin recorded before that belongs to the case.
#[track_caller]
fn judge(cases: Vec<Case>) {
    let origin = Origin::start();
    let host = origin.address().to_string();
    let gate = Gate::start(format!(
        "_format_version: \"3.0\"\nservices:\n- url: http://{host}\n  retries: 0\n  routes:\n  - paths: [/]\n"
    ));
    let whole = cases.iter().map(|case| (case, case.bytes.len()));
    let dripped = cases.iter().filter(|case| case.bytes.len() <= SHORT).map(|case| (case, 1));
    let (mut failures, mut known) = (Vec::new(), 0_usize);
    for (index, (case, size)) in whole.chain(dripped).enumerate() {
        let patience = if failures.is_empty() { DEADLINE } else { HURRY };
        let conversed = case.converse(size, gate.proxy(), patience);
        let mut faults: Vec<String> = conversed.err().iter().map(ToString::to_string).collect();
        let target = format!("/after-{index}");
        let after = passes("", first_line(&format!("GET {target} HTTP/1.1")));
        let marked = after.converse(after.bytes.len(), gate.proxy(), patience);
        faults.extend(marked.err().map(|fault| format!("the request after it: {fault}")));
        let requests = origin.requests();
        match requests[known..].split_last() {
            Some((last, seen)) if last.target == target => faults.extend(case.inspect(seen, &host)),
            _ => faults.push(format!("{target} is not the last of {:?}", targets_of(&requests[known..]))),
        }
        known = requests.len();
        if !faults.is_empty() {
            let sent = to_text(&case.bytes[..case.bytes.len().min(300)]);
            failures.push(format!("{}\n    {size} by {size}: {sent:?}\n    {}", case.name, faults.join("\n    ")));
        }
    }
    assert!(failures.is_empty(), "{} failed of {} cases\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn request_lines() {
    let rows = [
        ["malformed line", "{}", "GET /|GET HTTP/1.1|/ HTTP/1.1|GET /?a#b HTTP/1.1|GET / http/1.1|GET / HTTPS/1.1"],
        ["malformed version", "GET / HTTP/{}", "|1|1.|.1|1.1x|01.1|1.01|1.10|1,1|+1.1|1.1 |1.1\t|1.1\0"],
        ["after the method", "GET{}/ HTTP/1.1", "  |\t| \t|\x0b|\x0c|\r|\n|\r\n |\u{a0}|"],
        ["after the target", "GET /{}HTTP/1.1", "  |\t|\t |\x0b|\r|\n|\r\n |\u{a0}|| x | HTTP/1.1 "],
        ["in the method", "G{}T / HTTP/1.1", "\0|\t|\r|\n| |(|)|,|:|;|@|[|{|\"|\x7f|\u{c9}"],
        ["in the target", "GET /{} HTTP/1.1", "\0|\x01|\t|\r|\n|\x0b|\x0c|\x1b| |#|\x7f|\u{80}|\u{c3}\u{a9}|\u{ff}"],
        ["before the line", "{}GET / HTTP/1.1", "\r\n\r\n|\n|\r|\r\n\n|\n\r\n| |\t| \r\n|X: y\r\n|\0|\u{ef}\u{bb}"],
        ["end of the line", "GET / HTTP/1.1{}X: y", "\n|\r|\r\r\n|\n\r|\r\n\t"],
        ["greeting of TLS", "{}", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03"],
    ];
    let mut cases = families(MALFORMED, first_line, &rows);
    cases.extend(families(Refused(505), first_line, &[["other version", "GET / HTTP/{}", "0.9|1.2|1.9|2.0|3.0|9.9"]]));
    let rows = [["target that is no path", "{} HTTP/1.1", "GET /%ff|GET /%c3%28|GET /a%80/b|GET *|OPTIONS *"]];
    cases.extend(families(RefusedKeeps(400), first_line, &rows));
    cases.extend([
        refused("many empty lines", "\r\n".repeat(1000) + &first_line("GET / HTTP/1.1")),
        case("HTTP/2 without having agreed on it", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refused(505)),
        case("tunnel", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", Refused(405)),
        case("cross-site tracing", first_line("TRACE / HTTP/1.1"), Refused(405)),
    ]);
    judge(cases);
}

#[test]
fn header_lines() {
    let rows = [
        ["malformed line", "{}", "X|X a|:|::|GET /smuggled HTTP/1.1|GET http://h/smuggled HTTP/1.1"],
        ["malformed name", "{}: a", "|X |X\t| X|\tX|X\r|X\0|\0X|X\u{c3}\u{a9}"],
        ["in a name", "X{}Y: a", "(|)|<|>|@|,|;|\\|\"|/|[|]|?|=|{|}| |\t|\x01|\x0b|\x7f|\u{80}|\u{e9}"],
        ["in a value", "X: a{}b", "\0|\x01|\x07|\x08|\x0b|\x0c|\x0e|\x1b|\x1f|\x7f"],
        ["at the beginning of a value", "X: {}a", "\0|\x01|\x0b|\x0c|\x1f|\x7f"],
        ["at the end of a value", "X: a{}", "\0|\x01|\x0b|\x0c|\x1f|\x7f"],
        ["end of a line", "X: a{}Y: b", "\n|\r|\r\r\n|\n\r|\r\n |\r\n\t|\r\n \r\n|\n |\0"],
        ["end of the head", "X: a{}GET /smuggled HTTP/1.1\r\nHost: h", "\n\n|\r\n\n|\n\r\n|\r\n\r|\r\r|\r\n \r\n\r\n"],
    ];
    let mut cases = families(MALFORMED, get, &rows);
    cases.push(refused("first header line is indented", "GET / HTTP/1.1\r\n X: a\r\nHost: h\r\n\r\n"));
    cases.push(refused("bare LF throughout", "GET / HTTP/1.1\nHost: h\n\n\r\n\r\n"));
    judge(cases);
}

#[test]
fn hosts() {
    let names = ".|:80|u@h|u:p@h|h/path|h?q|h#f|h\\x|a b|a\tb|a, b|a,b|a;b|a..b|.a|a..|a%2eb|\"h\"|h\0|\u{e4}|http://h";
    let ports = "h:|h:+80|h:-1|h:80:80|h:65536|h:0|h:8o|h:0x50|h: 80|::1|[::1|[::1]x|[::1]80|[::1%lo]|[a]";
    let rows = [
        ["no Host", "GET / HTTP/1.1\r\n{}", "X: y|Host : h|Host\t: h| Host: h|Host\0: h|Host h|Host|Host:|Host:\r\n h"],
        ["malformed name", "GET / HTTP/1.1\r\nHost: {}", names],
        ["malformed port or address", "GET / HTTP/1.1\r\nHost: {}", ports],
        ["two Hosts", "GET / HTTP/1.1\r\nHost: h\r\n{}", "Host: h|Host: evil|X: y\r\nhOST: h|Host : evil|Host:| evil"],
        ["two or malformed, HTTP/1.0", "GET / HTTP/1.0\r\nHost: {}", "h\r\nHost: h|h\r\nHost: evil|u@h|"],
        ["against Host", "GET {}/ HTTP/1.1\r\nHost: h", "http://evil|http://h:1|http://u@h|ftp://h|http://"],
        ["no form of a target", "GET {} HTTP/1.1\r\nHost: h", "h|h:80|h/x|?x"],
        ["authority form", "GET {} HTTP/1.1\r\nHost: h:80", "h:80"],
        ["absolute form alone", "GET {} HTTP/1.1", "http://h/"],
        ["absolute form of HTTP/1.0 against Host", "GET {} HTTP/1.0\r\nHost: h", "http://evil/"],
    ];
    judge(families(MALFORMED, |head| format!("{head}\r\n\r\n"), &rows));
}

#[test]
fn content_lengths() {
    let values = "|+5|-5|-0|0x5|5h|5.0|5e0|5 5|5\t5|5,5|5, 5|5, 6|,5|5,|5;|\"5\"|'5'|1_0|five|5\u{a0}|\u{b2}|5\x0b|5\0";
    let huge = "18446744073709551616|18446744073709551621|99999999999999999999|1000000000000000000000000000005";
    let codings = "chunked|CHUNKED|identity|gzip, chunked|";
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked";
    let rows = [
        ["length", "Content-Length: {}", values],
        ["length on a line that does not end there", "Content-Length: {}", "\r\n 5|5\r\n 5|5\n|5\r"],
        ["length beyond 64 bits", "Content-Length: {}", huge],
        ["length hidden behind", "X: a{}Content-Length: 35", "\n|\r|\0|\r\n |\r\n\t|\n\r"],
        ["after the name", "Content-Length{} 5", " :|\t:|\0:|| "],
        ["CL.CL: second length", "Content-Length: 5\r\nX: y\r\ncONTENT-lENGTH: {}", "5|40|0||+5|005|5, 5"],
        ["CL.CL: after the second name", "Content-Length: 5\r\nContent-Length{} 0", " :|\t:|\0:|| "],
        ["CL.TE: length beside coding", "Content-Length: 5\r\nTransfer-Encoding: {}", codings],
        ["CL.TE: length of zero", "Content-Length: 0\r\nX: y\r\ntransfer-encoding: {}", codings],
        ["TE.CL: coding beside length", "Transfer-Encoding: {}\r\nContent-Length: 5", codings],
        ["CL.TE: both named", &format!("Connection: {{}}\r\n{both}"), "Content-Length|Transfer-Encoding"],
        ["CL.TE: with Expect", &format!("{{}}\r\n{both}"), "Expect: 100-continue"],
    ];
    let mut cases = families(MALFORMED, |lines| post(lines, &format!("0\r\n\r\n{HIDDEN}")), &rows);
    let rows = [["CL.TE in GET", "{}", both], ["CL.CL in GET", "Content-Length: {}\r\nContent-Length: 35", "0|35"]];
    cases.extend(families(MALFORMED, |lines| get(lines) + HIDDEN, &rows));
    cases.push(refused("CL.CL in HTTP/1.0", "POST / HTTP/1.0\r\nContent-Length: 1\r\nContent-Length: 0\r\n\r\nG"));
    judge(cases);
}

#[test]
fn transfer_encodings() {
    let before = "gzip, |identity,|x|\"|'|,|;|: |\x0b|\u{a0}|\0|\r\n |\u{ef}";
    let after = "x|\"|'|,|;|;q=1|, gzip|, identity|, chunked|\x0b|\u{a0}|\0|\u{ff}|\r\n , x";
    let rows = [
        ["another coding", "Transfer-Encoding: {}", "|gzip|identity|chun ked|chunke|cow|\"\"|trailers"],
        ["TE.TE: before the coding", "Transfer-Encoding: {}chunked", before],
        ["TE.TE: after the coding", "Transfer-Encoding: chunked{}", after],
        ["TE.TE: first line", "Transfer-Encoding: {}\r\nTransfer-Encoding: chunked", "identity|gzip|cow|"],
        ["TE.TE: second line", "Transfer-Encoding: chunked\r\ntransfer-Encoding: {}", "chunked|identity|gzip|cow|"],
        ["after the name", "Transfer-Encoding{} chunked", " :|\t:|| |\0:|\x0b:|\r\n:|\u{ad}:"],
        ["coding hidden behind", "X: a{}Transfer-Encoding: chunked", "\n|\r|\0|\r\n |\r\n\t|\n\r|\x0b"],
    ];
    let mut cases = families(MALFORMED, |lines| post(lines, &format!("0\r\n\r\n{HIDDEN}")), &rows);
    let old = |method: &str| format!("{method} / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKS}");
    cases.extend(families(MALFORMED, old, &[["chunked in HTTP/1.0", "{}", "GET|POST"]]));
    judge(cases);
}

#[test]
fn chunked_bodies() {
    let sizes = " 5|5 |5\t|5 ;a|0 5|0x5|x5|+5|-5|0_5|0,5|5,|5.0|\"5\"|g|5h|5\0|\u{b2}||;a=b|5:|\n5|5;\0|5;\x01|5;\x7f";
    let lasts = "0\n\r\n|0\r\n\n|0\r\n\r|0\r\r\n|0\r\n|-0\r\n\r\n|0;a\n\r\n|0 \r\n\r\n|\r\n0\r\n\r\n";
    let long = "a".repeat(65_536);
    let rows = [
        ["size of a chunk", "{}\r\nhello\r\n0\r\n\r\n", sizes],
        ["seventeen digits", "{}\r\nhello\r\n0\r\n\r\n", "fffffffffffffffff|10000000000000005|00000000000000005"],
        ["after the size", "5{}hello\r\n0\r\n\r\n", "\n|\r|\n\r|\r\r\n|;a\n|;a\r|;a\rb\r\n|;\"\n\"\r\n|;a\r\r\n"],
        ["after the data", "5\r\nhello{}0\r\n\r\n", "|\n|\r|\n\r|XX| \r\n|\r\n\r\n| world\r\n|\r\r\n"],
        ["last chunk", "5\r\nhello\r\n{}", lasts],
        ["trailer", "0\r\n{}\r\n\r\n", "X|: a|X : a| X: a|X: a\r\n b|X: a\n|X: a\rY|X: a\0|X\x01: a|X\0: a"],
        ["extension of 64 KiB", &format!("5;{long}{{}}\r\nhello\r\n0\r\n\r\n"), "|=b"],
        ["extensions of 70 KiB", &(format!("1;{}\r\nx\r\n", &long[..1000]).repeat(70) + "{}\r\n\r\n"), "0"],
        ["trailer of 64 KiB", &format!("0\r\nX: {long}{{}}\r\n\r\n"), "|\r\nY: b"],
    ];
    // Whoever reads on after the malformed place finds another request.
    let mut cases = families(CutOff, |body| chunked(&format!("{body}{HIDDEN}")), &rows);
    cases.push(case("caller goes, largest size", chunked("ffffffffffffffff\r\nhello"), Abandoned));
    cases.push(case("caller goes, largest length", post("Content-Length: 18446744073709551615", "hello"), Abandoned));
    for whole in [chunked("5;a\r\nhello\r\n0\r\nX: a\r\n\r\n"), post("Content-Length: 5", "hello")] {
        cases.extend((1..whole.len()).map(|at| case(format!("caller goes after {at} bytes"), &whole[..at], Abandoned)));
    }
    let forge = |name: &str| {
        let lines = format!("Trailer: {name}\r\nTransfer-Encoding: chunked");
        post(&lines, &format!("2\r\nhi\r\n0\r\n{name}: {FORGED}\r\n\r\n"))
    };
    let rows = [
        ["forged trailer", "{}", "Content-Length|Transfer-Encoding|Host|Authorization|X-Forwarded-For|Forwarded"],
        ["forged trailer", "X-Consumer{}", "-Username|_Username|-ID|-Custom-ID|.Groups"],
        ["forged trailer", "X-{}", "Real-IP|Real_IP|Credential-Identifier|Anonymous-Consumer|Authenticated-Groups"],
    ];
    cases.extend(families(Passes(1), forge, &rows).into_iter().map(|case| case.body("hi").absent(FORGED)));
    judge(cases);
}

#[test]
fn requests_after_each_other() {
    let (plain, next) = (first_line("GET / HTTP/1.1"), first_line("GET /next HTTP/1.1"));
    let both = "Content-Length: 4\r\nTransfer-Encoding: chunked";
    let in_chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    let rows = [
        ["CL.0: request in a body", "{} / HTTP/1.1\r\nContent-Length: 35", "GET|POST|HEAD|OPTIONS|DELETE|PUT|PROPFIND"],
        ["CL.0: with Expect", "{} / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 35", "GET|POST|DELETE"],
    ];
    let mut cases = families(Passes(1), |line| first_line(line) + HIDDEN, &rows);
    let rows = [["TE.0: in a chunk", "{} / HTTP/1.1\r\nTransfer-Encoding: chunked", "GET|POST|HEAD|OPTIONS|DELETE"]];
    cases.extend(families(Passes(1), |line| first_line(line) + &in_chunk, &rows));
    cases = cases.into_iter().map(|case| case.body(HIDDEN)).collect();
    cases.extend([
        refused("CL.TE: the rest is a request", post(both, &format!("0\r\n\r\n{HIDDEN}"))),
        refused("TE.CL: the chunk is a request", post(both, &in_chunk)),
        refused("request after a refused one", get("Host: h") + HIDDEN),
        refused("request after a malformed one", first_line("GET / HTTP/1.1 x") + HIDDEN),
        case("request after Connection: close", get("Connection: close") + HIDDEN, PassesLast),
        case("request after HTTP/1.0", first_line("GET / HTTP/1.0") + HIDDEN, PassesLast),
        passes("escaped line ends in the target", first_line("GET /a%0d%0aHost:%20evil%0d%0a HTTP/1.1")),
        passes("escaped line ends in the query", first_line("GET /?a=%0d%0aHost:%20evil%0d%0a HTTP/1.1")),
    ]);
    let two = [
        ("request after a body of known length", post("Content-Length: 5", "hello")),
        ("request after a body of length zero", post("Content-Length: 0", "")),
        ("request after a chunked body", chunked(CHUNKS)),
        ("request after trailers", chunked("5\r\nhello\r\n0\r\nX: a\r\n\r\n")),
        ("one empty line between requests", plain.clone() + "\r\n"),
        ("one empty line after a body", post("Content-Length: 5", "hello\r\n")),
    ];
    cases.extend(two.map(|(name, first)| case(name, first + &next, Passes(2)).targets(["/", "/next"])));
    let then = [
        ("two empty lines between requests", plain.clone() + "\r\n\r\n"),
        ("bare LF between requests", plain.clone() + "\n"),
        ("body longer than its length", post("Content-Length: 5", "hello world\r\n")),
        ("bytes after the last chunk", chunked(CHUNKS) + "(x)\r\n\r\n"),
        ("second request with CL.TE", plain.clone() + &post(both, "0\r\n\r\n")),
        ("second request with bare LF", plain.clone() + &first_line("GET /smuggled HTTP/1.1\nX: y")),
        ("second request with two Hosts", plain + &first_line("GET /smuggled HTTP/1.1\r\nHost: h")),
    ];
    cases.extend(then.map(|(name, first)| case(name, first + HIDDEN, PassesThen400).targets(["/"])));
    judge(cases);
}

#[test]
fn connection_options() {
    let named = |name: &str, value: &str| {
        passes(format!("Connection names {name}"), get(&format!("Connection: {name}\r\n{name}: {value}")))
    };
    let coding = "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked";
    let mut cases = vec![
        passes("Connection names the coding", post(coding, CHUNKS)).body("hello"),
        passes("Connection names Host", get("Connection: Host")),
        passes("Connection names itself", get("Connection: Connection")),
        passes("gate's own", get("Connection: X-Forwarded-For")).field("x-forwarded-for", &["127.0.0.1"]),
        passes("gate's own", get("Connection: X-Real-IP")).field("x-real-ip", &["127.0.0.1"]),
        named("Authorization", "Basic YTpi").field("authorization", &["Basic YTpi"]),
        named("Cookie", "a=b").field("cookie", &["a=b"]),
        named("Content-Type", "text/plain").field("content-type", &["text/plain"]),
        named("X-Consumer-Username", FORGED).absent(FORGED),
    ];
    let options = "Content-Length|,\tcONTENT-length ,|X-A, Content-Length|X-A\r\nConnection: Content-Length";
    let rows = [["length", "Connection: {}\r\nContent-Length: 35", options]];
    let lengths = families(Passes(1), |lines| post(lines, HIDDEN), &rows).into_iter();
    cases.extend(lengths.map(|case| case.body(HIDDEN).field("content-length", &["35"])));
    let rows = [
        ["for one connection", "{}: gone", "Keep-Alive|Proxy-Connection|Proxy|TE|Upgrade|HTTP2-Settings"],
        ["named there", "Connection: {}\r\nX-A: gone\r\nX-B: gone", "X-A,X-B|x-b ,\tx-a|X-A\r\nConnection: X-B"],
        ["upgrade past the gate", "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: gone\r\nUpgrade: {}", "gone"],
    ];
    cases.extend(families(Passes(1), get, &rows).into_iter().map(|case| case.absent("gone")));
    let options = "close|Close|CLOSE|close, keep-alive|keep-alive, close|x-a,close|,close,|X-A\r\nConnection: close";
    cases.extend(families(PassesLast, get, &[["the last request", "Connection: {}", options]]));
    judge(cases);
}

#[test]
fn identity() {
    let names = "X-Consumer-ID|X-Consumer-Custom-ID|X-Consumer-Username|X-Consumer-Groups|X-Credential-Identifier|\
                 X-Anonymous-Consumer|X-Authenticated-Groups";
    let (lower, upper) = (names.to_ascii_lowercase(), names.to_ascii_uppercase());
    let (all, first, dots) = (names.replace('-', "_"), names.replace("X-", "X_"), names.replace('-', "."));
    let one = format!("{{}}: {FORGED}");
    let two = format!("{one}\r\nX: y\r\n{one}");
    let named = format!("Connection: {{}}\r\n{one}");
    let mut cases: Vec<Case> = Vec::new();
    for names in [names, &lower, &upper, &all, &first, &dots] {
        let rows = [["forged", &one, names], ["forged twice", &two, names], ["forged and named", &named, names]];
        cases.extend(families(Passes(1), get, &rows));
    }
    let way = "X-Real-IP|X_Real_IP|X_Forwarded_For|X.Forwarded.Proto|X-Forwarded-Proto|Forwarded";
    cases.extend(families(Passes(1), get, &[["forged way of the request", &one, way]]));
    cases = cases.into_iter().map(|case| case.absent(FORGED)).collect();
    for hidden in ["{} : a", "{}\t: a", "{}\0: a", "X: a\r\n {}: a", "X: a\n{}: a", "X: a\r{}: a", "X: a\0{}: a"] {
        cases.extend(families(MALFORMED, get, &[["identity hidden", hidden, names]]));
    }
    let twice = "Authorization: Basic YTpi\r\nX: y\r\nAUTHORIZATION: {}";
    cases.extend(families(MALFORMED, get, &[["second Authorization", twice, "Basic YTpi|Basic Yzpk|Bearer x|"]]));
    judge(cases);
}

#[test]
fn limits() {
    let target = |length: usize| first_line(&format!("GET /{} HTTP/1.1", "a".repeat(length - 1)));
    let value = |length: usize| get(&format!("X: {}", "a".repeat(length)));
    // Host is one more.
    let fields = |count: usize| get(&(1..count).map(|n| format!("X-{n}: a")).collect::<Vec<_>>().join("\r\n"));
    let lines = |count: usize| get(&vec![format!("X: {}", "a".repeat(7500)); count].join("\r\n"));
    let long = "a".repeat(200_000);
    judge(vec![
        passes("target of 8192 bytes", target(8192)),
        case("target of 8193 bytes", target(8193), RefusedKeeps(414)),
        passes("header line of 8100 bytes", value(8100)),
        case("header line of 8200 bytes", value(8200), RefusedKeeps(431)),
        case("header name of 9000 bytes", get(&format!("{}: a", &long[..9000])), RefusedKeeps(431)),
        case("header line without an end", value(80_000).trim_end(), RefusedKeeps(431)),
        passes("100 header lines", fields(100)),
        case("101 header lines", fields(101), Refused(431)),
        passes("head of 60 KB", lines(8)),
        case("head of 68 KB", lines(9), Refused(431)),
        case("head without an end", lines(11).trim_end(), Refused(431)),
        passes("body of 200 KB", post("Content-Length: 200000", &long)).body(&long),
        passes("thousand chunks", chunked(&("1\r\na\r\n".repeat(1000) + "0\r\n\r\n"))).body(&long[..1000]),
    ]);
}

/// A gate that refused everything would pass most of the above.
#[test]
fn what_is_odd_and_legal_passes() {
    let rows = [
        ["Host", "GET / HTTP/1.1\r\nhOsT:{}", "h:8080|H.Test.|127.0.0.1|[::1]|[FE80::1]:80|my_service| \th\t"],
        ["method", "{} / HTTP/1.1\r\nHost: h", "GET|HEAD|OPTIONS|DELETE|PATCH|PUT|POST|PROPFIND|M-SEARCH|get"],
        ["target", "GET /{} HTTP/1.1\r\nHost: h", "?|a?b=c&d=%20;e|?b?c/d|:@!$&'()*+,;=~-._|a%20b|/evil/x|a/../b"],
        ["absolute form", "GET http://h{}HTTP/1.1\r\nHost: H", "/ |/x?y | "],
        ["absolute form with a port", "GET http://H.test:80/{} HTTP/1.1\r\nHost: h.test:80", "|x"],
        ["other names", "GET / HTTP/1.1\r\nHost: h\r\nX-{}", "Content-Length: 5|Transfer-Encoding: chunked|Host: evil"],
        ["old, and goes on", "GET / HTTP/1.0\r\n{}", "Connection: keep-alive|Host: h\r\nConnection: Keep-Alive"],
    ];
    let mut cases = families(Passes(1), |head| format!("{head}\r\n\r\n"), &rows);
    let rows = [["header line", "{}", "X:a|x: a|X: \t  a \t |X:\ta|X: a "]];
    cases.extend(families(Passes(1), get, &rows).into_iter().map(|case| case.field("x", &["a"])));
    let coded = "Transfer-Encoding: chunked\r\n\r\n";
    let chunks = "5|05|0000000000000005|5;zzz|5;zzz=a|5;zzz=\"a;b\"|5;zzz;zzz=a";
    let rows = [
        ["length", "Content-Length: {}\r\n\r\nhello", "5|005|\t5 |5\r\nExpect: 100-continue"],
        ["several chunks", "{}1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", coded],
        ["coding", &format!("TRANSFER-encoding:{{}}\r\n\r\n{CHUNKS}"), "chunked|CHUNKED|Chunked|\tchunked \t"],
        ["chunk", &format!("{coded}{{}}\r\nhello\r\n0\r\n\r\n"), chunks],
        ["last chunk", &format!("{coded}5\r\nhello\r\n{{}}\r\n\r\n"), "0|0000|0;zzz=a|0\r\nX: a\r\nY:"],
    ];
    let hello = families(Passes(1), |text| format!("POST / HTTP/1.1\r\nHost: h\r\n{text}"), &rows);
    cases.extend(hello.into_iter().map(|case| case.body("hello").absent("zzz")));
    let twenty: String = (0..20).map(|number| first_line(&format!("GET /{number} HTTP/1.1"))).collect();
    let trailing = post("Trailer: X-Sum\r\nTransfer-Encoding: chunked", "2;a=b\r\nhi\r\n0\r\nX-Sum: sum\r\n\r\n");
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "z".repeat(3000));
    let summed = |seen: &[Recorded]| seen[0].trailers.iter().any(|(_, value)| value == "sum");
    cases.extend([
        passes("tab in a value", get("X: a\tb")).field("x", &["a\tb"]),
        passes("obs-text in a value", get("X: \u{c3}\u{ab}\u{ff}")).field("x", &["\u{c3}\u{ab}\u{ff}"]),
        passes("every sign that a name may have", get("!#$%&'*+-.^_`|~09: a")).field("!#$%&'*+-.^_`|~09", &["a"]),
        passes("the same header twice, and once empty", get("X: a\r\nX: b:c\r\nX:")).field("x", &["a", "b:c", ""]),
        passes("one empty line before the request", format!("\r\n{}", get("X: a"))),
        passes("absolute form", first_line("GET http://h/x?y HTTP/1.1")).targets(["/x?y"]),
        case("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", PassesLast),
        case("HTTP/1.0 with a body", first_line("POST / HTTP/1.0\r\nContent-Length: 2") + "hi", PassesLast).body("hi"),
        passes("WebSocket", get("Connection: Upgrade\r\nUpgrade: websocket")).field("upgrade", &["websocket"]),
        passes("TE: trailers", get("Connection: TE\r\nTE: trailers")).field("te", &["trailers"]),
        case("twenty at once", twenty, Passes(20)).targets((0..20).map(|number| format!("/{number}"))),
        passes("Expect", post("Expect: 100-continue\r\nTransfer-Encoding: chunked", CHUNKS)).body("hello"),
        passes("body that looks like chunks", post("Content-Length: 15", CHUNKS)).body(CHUNKS),
        passes("trailer", &trailing).body("hi").check("the trailer".to_owned(), summed),
        passes("no chunk but the last", chunked("0\r\n\r\n")).body(""),
        passes("extension of 3000 bytes", chunked(&long)).body("hello").absent("zzz"),
        passes("line ends and NUL as data", chunked("7\r\na\r\nb\0\r\n\r\n0\r\n\r\n")).body("a\r\nb\0\r\n"),
        passes("the last chunk as data", chunked("5\r\n0\r\n\r\n\r\n0\r\n\r\n")).body("0\r\n\r\n"),
    ]);
    judge(cases);
}
