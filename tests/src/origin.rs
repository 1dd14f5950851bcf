//! The service behind the gate: records every request byte for byte, and answers with what it saw or
//! as a test tells it.

use crate::message::{Body, Framing, Head};
use crate::{DEADLINE, eventually};
use serde_json::{Map, Value, json};
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Which connection brought it, counted from 0.
    pub connection: usize,
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Head and body with all framing.
    pub raw: Vec<u8>,
}

/// What the origin answers; the length of the body is added.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

struct Shared {
    script: Box<dyn Fn(&Recorded) -> Reply + Send + Sync>,
    requests: Mutex<Vec<Recorded>>,
    connections: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
}

impl Origin {
    /// Answers 200 with a JSON echo of method, path, query, headers and body.
    pub fn start() -> Origin {
        Origin::answering(echo)
    }

    /// Answers as told. The script may block: each connection has a thread of its own.
    pub fn answering(script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Origin {
        Origin::at("127.0.0.1:0", script)
    }

    /// The same at an address of this machine.
    pub fn at(address: &str, script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            requests: Mutex::default(),
            connections: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        let accepting = thread::spawn(move || accept(&listener, &accepting));
        Origin { address, shared, accepting: Some(accepting) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The requests so far, as soon as there are `count` of them.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Recorded> {
        eventually(DEADLINE, || {
            let requests = self.requests();
            if requests.len() >= count { Ok(requests) } else { Err(format!("{} of {count} requests", requests.len())) }
        })
    }

    #[track_caller]
    pub fn last(&self) -> Recorded {
        self.shared.requests.lock().unwrap().last().cloned().expect("no request reached the origin")
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // One connection more makes `accept` look at the flag.
        let _ = TcpStream::connect(self.address);
        // From here on connections are refused.
        let _ = self.accepting.take().map(JoinHandle::join);
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Recorded {
    pub fn values(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The whole request as text, for searches and messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, fields: Vec::new(), body: body.into() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Reply {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn bytes(&self, method: &str) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Answer\r\n", self.status);
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let bodiless = matches!(self.status, 204 | 304);
        if !bodiless {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let body = if bodiless || method == "HEAD" { &[][..] } else { &self.body };
        [head.as_bytes(), body].concat()
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (connection, stream) in listener.incoming().enumerate() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        shared.connections.lock().unwrap().extend(stream.try_clone());
        let shared = Arc::clone(shared);
        // The peer may go at any moment: what it had sent whole is recorded, the rest is its affair.
        thread::spawn(move || {
            let _ = serve(stream, connection, &shared);
        });
    }
}

fn serve(mut stream: TcpStream, connection: usize, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut reader)? {
        if head.values("expect").any(|value| value.eq_ignore_ascii_case("100-continue")) {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = Body::read(&mut reader, head.framing(Framing::Nothing))?;
        let request = record(connection, head, body);
        shared.requests.lock().unwrap().push(request.clone());
        stream.write_all(&(shared.script)(&request).bytes(&request.method))?;
        if request.values("connection").iter().any(|value| value.eq_ignore_ascii_case("close")) {
            break;
        }
    }
    stream.shutdown(Shutdown::Both)
}

fn record(connection: usize, head: Head, body: Body) -> Recorded {
    let mut words = head.first_line.split(' ').map(str::to_owned);
    Recorded {
        connection,
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        fields: head.fields,
        raw: [head.raw, body.raw].concat(),
        body: body.content,
        trailers: body.trailers,
    }
}

fn echo(request: &Recorded) -> Reply {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut headers = Map::new();
    for (name, value) in &request.fields {
        let name = name.to_ascii_lowercase();
        let joined = match headers.get(&name).and_then(Value::as_str) {
            Some(before) => format!("{before}, {value}"),
            None => value.clone(),
        };
        headers.insert(name, joined.into());
    }
    let body = String::from_utf8_lossy(&request.body);
    let seen = json!({"method": request.method, "path": path, "query": query, "headers": headers, "body": body});
    Reply::new(200, seen.to_string()).with("Content-Type", "application/json")
}
