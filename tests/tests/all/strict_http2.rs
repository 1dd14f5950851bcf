//! HTTP/2 frame by frame: `tests/http2_attacks.py` attacks the gate, and what reached the service is judged here.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;
use tests::{Finished, Gate, Origin, Process, Recorded, Reply, clean, curl, python, run, workspace};

/// The script ends itself before.
const WHOLE: Duration = Duration::from_secs(90);
const LEAST_CASES: usize = 70;
const GROUPS: &[&str] = &["requests", "framing", "headers", "pseudo-headers", "flow", "floods", "controls"];

/// What floods may cost, at any time.
const MOST_GROWTH_KIB: u64 = 32 * 1024;

/// Stands in every forged value of the script.
const FORGED: &str = "forged-value";

/// What a service must not see in a trailer, and what must not cross from one connection to the next.
const NO_TRAILERS: &[&str] = &["host", "content-length", "transfer-encoding", "authorization", "forwarded"];
const OF_ONE_CONNECTION: &[&str] = &["keep-alive", "proxy-connection", "upgrade", "http2-settings"];

#[test]
fn a_request_ends_where_it_ends() {
    judge(&["requests"], &Origin::start(), false);
}

#[test]
fn frames_come_where_they_belong() {
    judge(&["framing"], &Origin::start(), false);
}

#[test]
fn headers_are_lines_and_no_more() {
    judge(&["headers"], &Origin::start(), false);
}

#[test]
fn a_request_line_is_made_of_what_is_whole() {
    judge(&["pseudo-headers"], &Origin::start(), false);
}

#[test]
fn windows_are_kept() {
    judge(&["flow"], &Origin::start(), false);
}

#[test]
fn ordinary_requests_pass() {
    judge(&["controls"], &Origin::start(), false);
}

#[test]
fn over_tls_it_is_the_same() {
    judge(&["requests", "controls"], &Origin::start(), true);
}

/// Also judged by the memory that the gate takes: what it holds for a caller must not depend on the caller.
#[test]
fn floods_drown_nobody() {
    let origin = Origin::answering(|request| match request.target.starts_with("/slow-") {
        true => Reply::new(200, vec![b'x'; 1024 * 1024]),
        false => Reply::new(200, "short"),
    });
    judge(&["floods"], &origin, false);
}

#[test]
fn the_table_is_long_enough() {
    let finished = run(clean(attacker().arg("--list"))).expect_code(0);
    let text = finished.text();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        *counts.entry(line.split(' ').next().unwrap()).or_default() += 1;
    }
    assert!(text.lines().count() >= LEAST_CASES, "{counts:?}");
    assert!(counts.keys().all(|group| GROUPS.contains(group)) && counts.len() == GROUPS.len(), "{counts:?}");
}

/// Runs the script and then an ordinary request; fails with all that was wrong, on either side of the gate.
#[track_caller]
fn judge(groups: &[&str], origin: &Origin, tls: bool) {
    let gate = Gate::with(format!(
        "_format_version: \"3.0\"\nservices:\n- url: {}\n  retries: 0\n  routes:\n  - paths: [/]\n",
        origin.url()
    ))
    .env("KONG_PROXY_LISTEN", "127.0.0.1:0 http2, 127.0.0.1:0 http2 ssl")
    .start();
    let ordinary = format!("https://{}/ordinary", gate.proxy_tls());
    let ask = || curl(&["--http2", "--insecure", &ordinary]).expect_status(200);
    ask();
    let before = memory_kib(&gate, "VmRSS:");
    let finished = attack(groups, if tls { gate.proxy_tls() } else { gate.proxy() }, tls);
    let (after, peak) = (memory_kib(&gate, "VmRSS:"), memory_kib(&gate, "VmHWM:"));
    // On a connection of its own; whatever was still on its way to the service has arrived before it.
    ask();

    let text = finished.text();
    let outcome = |line| serde_json::from_str(line).unwrap_or_else(|_| json!({"no outcome": line}));
    let outcomes: Vec<Value> = text.lines().map(outcome).collect();
    let wrong = outcomes.iter().filter(|outcome| outcome["ok"] != true);
    let mut wrong: Vec<String> = wrong.map(|outcome| format!("not as expected: {outcome}")).collect();
    if finished.code != Some(0) || outcomes.is_empty() {
        wrong.push(format!("the script ended with {:?} after {} cases", finished.code, outcomes.len()));
    }
    let seen = origin.requests();
    wrong.extend(miscounted(&outcomes, &seen));
    for request in &seen {
        wrong.extend(flaws(request).into_iter().map(|flaw| format!("{flaw}:\n{}", start_of(request))));
    }
    if groups.contains(&"floods") && peak.saturating_sub(before) >= MOST_GROWTH_KIB {
        wrong.push(format!("memory in KiB: {before} before, {peak} at most, {after} after"));
    }
    let (cases, said) = (outcomes.len(), gate.said());
    assert!(wrong.is_empty(), "{cases} cases\n{}\n{}\n{said}", wrong.join("\n"), finished.stderr);
}

fn attack(groups: &[&str], address: SocketAddr, tls: bool) -> Finished {
    let mut command = attacker();
    command.args(["--port", &address.port().to_string()]);
    command.args(groups.iter().flat_map(|group| ["--group", group]));
    command.args(tls.then_some("--tls"));
    Process::spawn(clean(&mut command)).finish(WHOLE)
}

#[track_caller]
fn attacker() -> Command {
    let program = python();
    let finished = run(Command::new(&program).args(["-c", "import h2, hpack, hyperframe"]));
    let lacks = format!("{0} lacks h2: `{0} -m pip install h2` brings it", program.display());
    assert_eq!(finished.code, Some(0), "{lacks}\n{}", finished.stderr);
    let mut command = Command::new(program);
    command.arg(workspace().join("tests/http2_attacks.py"));
    command
}

/// Each path must have come as often as the script says, and no other at all.
fn miscounted(outcomes: &[Value], seen: &[Recorded]) -> Vec<String> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for request in seen {
        let path = request.target.split('?').next().unwrap_or_default();
        *counts.entry(path).or_default() += 1;
    }
    let mut wrong = Vec::new();
    let mut expect = |path: &str, least: u64, most: u64| {
        let count = counts.remove(path).unwrap_or(0);
        if !(least..=most).contains(&count) {
            wrong.push(format!("{path} reached the service {count} times, not {least} to {most}"));
        }
    };
    expect("/ordinary", 2, 2);
    for outcome in outcomes {
        for (path, range) in outcome["forwarded"].as_object().into_iter().flatten() {
            expect(path, range[0].as_u64().unwrap(), range[1].as_u64().unwrap());
        }
    }
    wrong.extend(counts.iter().map(|(path, count)| format!("{path:?} reached the service {count} times")));
    wrong
}

/// What no request may look like behind the gate, whatever the caller sent.
fn flaws(request: &Recorded) -> Vec<String> {
    let mut flaws = Vec::new();
    let mut must = |holds: bool, flaw: &str| {
        if !holds {
            flaws.push(flaw.to_owned());
        }
    };
    let text = request.text();
    let (head, _) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let lines: Vec<&str> = head.split("\r\n").collect();
    must(!lines.iter().any(|line| line.contains(['\r', '\n', '\0'])), "a line that some readers take for two");
    let is_plain = lines[0].split(' ').count() == 3 && lines[0].ends_with(" HTTP/1.1");
    must(is_plain, "a request line of other than three words");
    must(request.target.starts_with('/') && !request.target.contains('#'), "a target that is no path");
    must(!head.contains("smuggled"), "something smuggled in the head");
    must(!text.contains(FORGED), "a forged value");
    must(request.values("host").len() == 1, "not exactly one Host");

    let lengths = request.values("content-length");
    must(lengths.len() <= 1, "more than one Content-Length");
    let is_number = |length: &&str| !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    must(lengths.iter().all(is_number), "a Content-Length that is no number");
    let codings = request.values("transfer-encoding");
    must(codings.is_empty() || codings == ["chunked"], "a Transfer-Encoding other than chunked");
    must(lengths.is_empty() || codings.is_empty(), "Content-Length beside Transfer-Encoding");

    must(request.values("cookie").len() <= 1, "more than one Cookie");
    must(request.values("te").iter().all(|value| *value == "trailers"), "a TE other than trailers");
    for name in OF_ONE_CONNECTION {
        must(request.values(name).is_empty(), name);
    }
    for (name, _) in request.fields.iter().chain(&request.trailers) {
        must(!is_identity(name), name);
    }
    for (name, _) in &request.trailers {
        must(!NO_TRAILERS.contains(&name.to_ascii_lowercase().as_str()), &format!("{name} as a trailer"));
    }
    flaws
}

/// Whatever stands for the hyphens: CGI and its heirs read all such names as one.
fn is_identity(name: &str) -> bool {
    let alike = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().map(alike).collect();
    ["x-consumer-", "x-credential-", "x-authenticated-", "x-anonymous-consumer"].iter().any(|own| name.starts_with(own))
}

/// Enough of a request for a message.
fn start_of(request: &Recorded) -> String {
    request.text().chars().take(2000).collect()
}

/// A line of `/proc/<pid>/status`.
#[track_caller]
fn memory_kib(gate: &Gate, name: &str) -> u64 {
    let pid = fs::read_to_string(gate.data().join("portcullis.pid")).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
