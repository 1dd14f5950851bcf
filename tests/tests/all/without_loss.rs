//! Change without a dropped request: reloads, upgrades and a stop, each under every kind of load.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tests::{Authority, DEADLINE, Gate, Origin, TempDir, Wire, curl, eventually, http, python, workspace};

const RELOADS: usize = 1000;
const UPGRADES: usize = 100;
/// What a slow reader gets, and an upload sends.
const BIG: usize = 1 << 20;

/// A service that answers each path in its own way.
fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || drop(answer(stream)));
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let start = head.len();
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
            if let Some(value) = head[start..].to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if head.starts_with("GET /socket") {
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")?;
            return io::copy(&mut reader, &mut stream).map(drop);
        }
        let content = if head.starts_with("GET /big") { vec![b'x'; BIG] } else { length.to_string().into_bytes() };
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len()).as_bytes())?;
        stream.write_all(&content)?;
    }
}

fn config(service: SocketAddr) -> String {
    format!("_format_version: \"3.0\"\nservices:\n- url: http://{service}\n  routes:\n  - paths: [/]\n")
}

/// Calls a gate at an address; between two requests it asks whether there shall be another one.
type Caller = fn(SocketAddr, &dyn Fn() -> bool) -> io::Result<()>;

/// Callers of every kind, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    callers: Vec<JoinHandle<()>>,
    http2: Child,
}

impl Load {
    fn start(gate: &Gate) -> Load {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let kinds: [(&str, Caller); 6] = [
            ("keep-alive", keep_alive),
            ("keep-alive", keep_alive),
            ("new connections", new_connections),
            ("upload", upload),
            ("slow reader", slow_reader),
            ("websocket", websocket),
        ];
        let address = gate.proxy();
        let callers = kinds.map(|(kind, call)| {
            let (stop, done, failures) = (stop.clone(), done.clone(), failures.clone());
            thread::spawn(move || {
                let once_more = || {
                    done.fetch_add(1, SeqCst);
                    !stop.load(SeqCst)
                };
                while !stop.load(SeqCst) {
                    if let Err(error) = call(address, &once_more) {
                        failures.lock().unwrap().push(format!("{kind}: {error}"));
                    }
                }
            })
        });
        let mut http2 = Command::new(python());
        http2.arg(workspace().join("tests/http2_caller.py")).arg(address.port().to_string());
        let http2 = http2.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Load { stop, done, failures, callers: callers.into(), http2 }
    }

    /// Waits until callers of all kinds have had a few answers more.
    fn go_on(&self) {
        let enough = self.done.load(SeqCst) + 20;
        eventually(DEADLINE, || if self.done.load(SeqCst) >= enough { Ok(()) } else { Err("no answers".to_owned()) });
    }

    fn end(mut self) {
        self.stop.store(true, SeqCst);
        self.callers.into_iter().for_each(|caller| caller.join().unwrap());
        drop(self.http2.stdin.take());
        let mut said = String::new();
        self.http2.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.http2.wait().unwrap();
        let mut failures = self.failures.lock().unwrap().clone();
        let answered = said.trim().strip_prefix("answered ").and_then(|count| count.parse::<usize>().ok());
        if answered.is_none_or(|count| count == 0) {
            failures.push(format!("HTTP/2: {said}"));
        }
        assert!(
            failures.is_empty(),
            "{} failures, the first: {:#?}",
            failures.len(),
            &failures[..failures.len().min(10)]
        );
    }
}

/// One connection as long as the gate keeps it; it says so before it closes.
fn keep_alive(address: SocketAddr, once_more: &dyn Fn() -> bool) -> io::Result<()> {
    let mut wire = Wire::try_connect(address)?;
    while once_more() {
        wire.send("GET /small HTTP/1.1\r\nHost: h\r\n\r\n");
        let answer = wire.try_answer(false)?;
        expect(answer.status == 200 && answer.body == b"0", &answer.status)?;
        if answer.header("connection") == Some("close") {
            break;
        }
    }
    Ok(())
}

fn new_connections(address: SocketAddr, once_more: &dyn Fn() -> bool) -> io::Result<()> {
    once_more();
    let mut wire = Wire::try_connect(address)?;
    wire.send("GET /small HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let answer = wire.try_answer(false)?;
    expect(answer.status == 200, &answer.status)
}

fn upload(address: SocketAddr, once_more: &dyn Fn() -> bool) -> io::Result<()> {
    once_more();
    let mut wire = Wire::try_connect(address)?;
    wire.send(format!("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: {BIG}\r\n\r\n"));
    for _ in 0..16 {
        wire.send(vec![b'u'; BIG / 16]);
        // A caller that takes its time, so that changes come in the middle.
        thread::sleep(Duration::from_millis(5));
    }
    let answer = wire.try_answer(false)?;
    expect(answer.status == 200 && answer.body == BIG.to_string().as_bytes(), &answer.status)
}

fn slow_reader(address: SocketAddr, once_more: &dyn Fn() -> bool) -> io::Result<()> {
    once_more();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")?;
    let (mut all, mut piece) = (Vec::new(), vec![0; BIG / 16]);
    loop {
        match stream.read(&mut piece)? {
            0 => break,
            count => all.extend_from_slice(&piece[..count]),
        }
        thread::sleep(Duration::from_millis(2));
    }
    let body = all.windows(4).position(|window| window == b"\r\n\r\n").map(|end| all.len() - end - 4);
    expect(body == Some(BIG), &format!("{body:?} of {BIG} bytes"))
}

fn websocket(address: SocketAddr, once_more: &dyn Fn() -> bool) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET /socket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    expect(head.starts_with(b"HTTP/1.1 101 "), &String::from_utf8_lossy(&head))?;
    // A conversation ends now and then, or a gate that has a successor would wait for it to the last.
    for word in 0..50_u32 {
        if !once_more() {
            break;
        }
        stream.write_all(&word.to_be_bytes())?;
        let mut echo = [0; 4];
        stream.read_exact(&mut echo)?;
        expect(echo == word.to_be_bytes(), &"another word came back")?;
    }
    Ok(())
}

fn expect(right: bool, found: &dyn std::fmt::Display) -> io::Result<()> {
    if right { Ok(()) } else { Err(io::Error::other(found.to_string())) }
}

/// What `portcullis reload` and `upgrade` do, without a process for each.
fn tell(data: &Path, word: &str) -> String {
    let mut stream = UnixStream::connect(data.join("control.sock")).unwrap();
    stream.write_all(format!("{word}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

fn pid(data: &Path) -> u32 {
    fs::read_to_string(data.join("portcullis.pid")).unwrap().trim().parse().unwrap()
}

fn runs(pid: u32) -> bool {
    // A process that has ended and was not waited for is there still, as a zombie.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// The last successor ends with the test, whatever becomes of it.
struct Last<'a>(&'a Path, u32);

impl Drop for Last<'_> {
    fn drop(&mut self) {
        if let Ok(Ok(last)) = fs::read_to_string(self.0.join("portcullis.pid")).map(|text| text.trim().parse::<u32>())
            && last != self.1
        {
            let _ = Command::new("sh").args(["-c", &format!("kill -KILL {last}")]).status();
        }
    }
}

#[test]
fn a_thousand_reloads_lose_nothing() {
    let service = service();
    let gate = Gate::with(config(service)).env("KONG_PROXY_LISTEN", "127.0.0.1:0 http2, 127.0.0.1:0 http2 ssl").start();
    let load = Load::start(&gate);
    for turn in 0..RELOADS {
        // Sometimes with what is not right: that changes nothing either.
        let bad = turn % 10 == 9;
        gate.rewrite(if bad { "services: 5".to_owned() } else { format!("{}# {turn}\n", config(service)) });
        let answer = tell(gate.data(), "reload");
        assert_eq!(answer.contains("Refused"), bad, "{answer}");
    }
    load.go_on();
    load.end();
}

#[test]
fn a_hundred_upgrades_lose_nothing() {
    let service = service();
    let gate = Gate::with(config(service))
        .env("KONG_PROXY_LISTEN", "127.0.0.1:0 http2, 127.0.0.1:0 http2 ssl")
        .env("PORTCULLIS_WORKERS", "2")
        .start();
    let first = pid(gate.data());
    let _last = Last(gate.data(), first);
    let load = Load::start(&gate);
    let mut before = first;
    for turn in 0..UPGRADES {
        let answer = tell(gate.data(), "upgrade");
        assert!(answer.contains("has taken over"), "{}\nupgrade {turn}: {answer}", gate.said());
        let after = pid(gate.data());
        assert_ne!(after, before);
        before = after;
        load.go_on();
    }
    load.end();
    eventually(DEADLINE, || if runs(first) { Err("the first gate runs on".to_owned()) } else { Ok(()) });
    http(gate.admin_address(), "GET", "/status", &[("Kong-Admin-Token", gate.token())], b"").expect_status(200);
}

/// What was let in is answered, be it by connection or in the queue of the system.
#[test]
fn a_stop_loses_nothing_that_was_accepted() {
    let origin = Origin::answering(|request| {
        if request.target == "/slow" {
            thread::sleep(Duration::from_millis(300));
        }
        tests::Reply::new(200, "whole")
    });
    let gate = Gate::start(config(origin.address()));
    let secure = gate.proxy_tls();
    let http2 = thread::spawn(move || curl(&["--http2", "--insecure", &format!("https://{secure}/slow")]));
    origin.wait_for(1);
    let mut idle = Wire::connect(gate.proxy());
    let callers: Vec<Wire> = (0..40)
        .map(|_| {
            let mut wire = Wire::connect(gate.proxy());
            wire.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
            wire
        })
        .collect();
    gate.signal("TERM");
    for mut wire in callers {
        let answer = wire.answer().expect_status(200);
        assert_eq!((answer.text().as_str(), answer.header("connection")), ("whole", Some("close")));
    }
    // A connection without a request may still bring one that was on its way.
    idle.send("GET /late HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(idle.answer().expect_status(200).header("connection"), Some("close"));
    http2.join().unwrap().expect_status(200);
    gate.finish().expect_code(0);
}

/// A successor that does not come up changes nothing, and the reason is told.
#[test]
fn an_upgrade_that_fails_changes_nothing() {
    let service = service();
    let gate = Gate::start(config(service));
    let before = pid(gate.data());
    gate.rewrite("services: 5");
    let finished = gate.tell(&["upgrade"]).expect_code(1);
    assert!(finished.stderr.contains("ended before it was ready"), "{}", finished.stderr);
    gate.wait_until_said("services");
    assert_eq!(pid(gate.data()), before);
    gate.get("/small").expect_status(200);
    gate.rewrite(config(service));
    gate.tell(&["reload"]).expect_code(0);
}

/// What came over the Admin API a new process could not read again: it would begin with nothing.
#[test]
fn a_posted_configuration_is_not_upgraded_away() {
    let service = service();
    let gate = Gate::empty().start();
    let posted = serde_json::json!({ "config": config(service) }).to_string();
    gate.admin("POST", "/config", &posted).expect_status(201);
    let finished = gate.tell(&["upgrade"]).expect_code(1);
    assert!(finished.stderr.contains("POST /config"), "{}", finished.stderr);
    gate.get("/small").expect_status(200);
}

#[test]
fn listeners_certificates_and_limits_change_with_a_reload() {
    let service = service();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let dir = TempDir::new();
    let settings = |listen: &str, certificate: &tests::Certificate, more: &str| {
        let (cert, key) = (certificate.cert.display(), certificate.key.display());
        let text = format!("proxy_listen = \"{listen}\"\nssl_cert = \"{cert}\"\nssl_cert_key = \"{key}\"\n{more}");
        dir.write("portcullis.toml", text).to_str().unwrap().to_owned()
    };
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (stays, goes, comes) = (free(), free(), free());
    let (first, second) = (old.server(&["localhost"]), new.server(&["localhost"]));
    let path = settings(&format!("{stays} ssl, {goes}"), &first, "");
    let gate = Gate::with(config(service)).without("KONG_PROXY_LISTEN").env("PORTCULLIS_SETTINGS", &path).start();
    let trusts = |authority: &Authority| {
        let url = format!("https://localhost:{}/small", stays.port());
        let ca = authority.certificate().cert.to_str().unwrap().to_owned();
        tests::run(Command::new("curl").args(["--silent", "--cacert", &ca, &url])).code == Some(0)
    };
    eventually(DEADLINE, || if trusts(&old) { Ok(()) } else { Err(gate.said()) });
    let mut kept = Wire::connect(goes);
    kept.send("GET /small HTTP/1.1\r\nHost: h\r\n\r\n");
    kept.answer().expect_status(200);

    settings(&format!("{stays} ssl, {comes}"), &second, "headers = \"off\"\n");
    assert!(tell(gate.data(), "reload").contains("Loaded"), "{}", gate.said());
    assert!(trusts(&new) && !trusts(&old));
    let answer = http(comes, "GET", "/small", &[], b"").expect_status(200);
    assert_eq!(answer.header("via"), None, "{:?}", answer.fields);
    // The caller on the address that went gets its answer, and is told that it was the last.
    kept.send("GET /small HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(kept.answer().expect_status(200).header("connection"), Some("close"));
    eventually(DEADLINE, || {
        TcpStream::connect(goes).map_or(Ok(()), |_| Err("the old address still listens".to_owned()))
    });

    // An address that cannot be had changes nothing.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    settings(&format!("{}", taken.local_addr().unwrap()), &first, "");
    assert!(tell(gate.data(), "reload").contains("another process already uses this port"));
    assert!(trusts(&new));
}

#[test]
fn a_file_that_changes_is_read_again() {
    let service = service();
    let gate = Gate::with(config(service)).env("PORTCULLIS_WATCH_FILES", "on").start();
    gate.get("/small").expect_status(200);
    gate.rewrite(config(service).replace("paths: [/]", "paths: [/other]"));
    eventually(DEADLINE, || match gate.get("/small").status {
        404 => Ok(()),
        status => Err(format!("{status}\n{}", gate.said())),
    });
    gate.rewrite("services: 5");
    gate.wait_until_said("nothing was changed");
    gate.get("/other").expect_status(200);
}
