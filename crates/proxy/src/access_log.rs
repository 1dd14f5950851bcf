//! One line for each request, written by a thread of its own.
//!
//! No line holds a secret: of a query only the names of its arguments are written, and of the headers only
//! the user agent and the referring page without its query.

use crate::exchange::{Exchange, millis_since};
use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, StatusCode};
use serde::Serialize;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    Json,
    /// The Common Log Format, with referrer and user agent, as nginx and Kong write it.
    Common,
}

/// Where lines go; cheap to clone.
#[derive(Clone)]
pub struct AccessLog {
    format: Format,
    waiting: Arc<Waiting>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// Lines on their way to the thread that writes them.
#[derive(Default)]
struct Waiting {
    lines: Mutex<Lines>,
    wake: Condvar,
}

#[derive(Default)]
struct Lines {
    text: String,
    /// Lines that found no room.
    lost: u64,
    closed: bool,
}

/// Bytes of lines that may wait. A disk that cannot keep up costs lines, not requests.
const MAX_WAITING: usize = 16 * 1024 * 1024;
/// Lines are written together: after this long, or this many bytes. Waking a thread for each line would
/// cost more than the request.
const GATHER: Duration = Duration::from_millis(100);
const ENOUGH: usize = 64 * 1024;

impl AccessLog {
    /// Starts the thread that writes to `sink`.
    pub fn start(format: Format, sink: Box<dyn Write + Send>) -> io::Result<AccessLog> {
        let waiting = Arc::new(Waiting::default());
        let source = waiting.clone();
        let writer = thread::Builder::new().name("access-log".to_owned()).spawn(move || source.write_all(sink))?;
        Ok(AccessLog { format, waiting, writer: Arc::new(Mutex::new(Some(writer))) })
    }

    /// Writes what waits, and ends the thread. Lines that come later are lost.
    pub fn close(&self) {
        self.waiting.lock().closed = true;
        self.waiting.wake.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A panic was reported when it happened.
            let _ = writer.join();
        }
    }

    fn write(&self, pending: &Pending) {
        let line = match self.format {
            Format::Json => pending.json(),
            Format::Common => pending.common(),
        };
        let mut lines = self.waiting.lock();
        if lines.text.len() + line.len() > MAX_WAITING {
            lines.lost += 1;
            return;
        }
        let before = lines.text.len();
        lines.text.push_str(&line);
        lines.text.push('\n');
        // The thread sleeps while nothing waits, and gathers once something does.
        if before == 0 || before < ENOUGH && lines.text.len() >= ENOUGH {
            drop(lines);
            self.waiting.wake.notify_one();
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut sink: Box<dyn Write + Send>) {
        loop {
            let lines = self.lock();
            let lines = self.wake.wait_while(lines, |lines| lines.text.is_empty() && !lines.closed);
            let lines = lines.unwrap_or_else(PoisonError::into_inner);
            let gathered =
                self.wake.wait_timeout_while(lines, GATHER, |lines| lines.text.len() < ENOUGH && !lines.closed);
            let (mut lines, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            let (text, lost, closed) = (std::mem::take(&mut lines.text), std::mem::take(&mut lines.lost), lines.closed);
            drop(lines);
            if let Err(error) = sink.write_all(text.as_bytes()).and_then(|()| sink.flush()) {
                tracing::error!(%error, "the access log cannot be written");
            }
            if lost > 0 {
                tracing::warn!(lost, "the access log could not be written fast enough; lines are lost");
            }
            if closed {
                return;
            }
        }
    }
}

/// What is known of a request when the head of its answer goes out.
pub struct Entry {
    exchange: Facts,
    status: StatusCode,
    /// How long the service took to the head of its answer, if one was asked.
    upstream_ms: Option<u64>,
}

struct Facts {
    started: std::time::Instant,
    started_at: OffsetDateTime,
    client_ip: String,
    method: String,
    path: String,
    /// The names of the query's arguments.
    arguments: Vec<String>,
    version: http::Version,
    host: String,
    user_agent: Option<String>,
    referrer: Option<String>,
    scheme: &'static str,
    request_id: String,
    route: Option<String>,
    service: Option<String>,
    consumer: Option<String>,
}

/// An entry on its way: the line is written when this is dropped, which is when the answer has ended or
/// broken off.
pub struct Pending {
    entry: Entry,
    log: AccessLog,
    pub sent_bytes: u64,
    /// Whether the answer reached its end.
    pub complete: bool,
}

impl Pending {
    /// `complete` says whether there is no body to wait for.
    pub fn new(log: AccessLog, entry: Entry, complete: bool) -> Pending {
        Pending { entry, log, sent_bytes: 0, complete }
    }

    fn json(&self) -> String {
        let Entry { exchange, status, upstream_ms } = &self.entry;
        let line = Line {
            started_at: exchange.started_at.unix_timestamp_nanos() / 1_000_000,
            client_ip: &exchange.client_ip,
            request: Request {
                id: &exchange.request_id,
                method: &exchange.method,
                scheme: exchange.scheme,
                host: &exchange.host,
                path: &exchange.path,
                arguments: &exchange.arguments,
                version: version(exchange.version),
                user_agent: exchange.user_agent.as_deref(),
                referrer: exchange.referrer.as_deref(),
            },
            response: Response { status: status.as_u16(), size_bytes: self.sent_bytes, complete: self.complete },
            latencies_ms: Latencies { request: millis_since(exchange.started), upstream: *upstream_ms },
            route: exchange.route.as_deref(),
            service: exchange.service.as_deref(),
            consumer: exchange.consumer.as_deref(),
        };
        serde_json::to_string(&line).unwrap_or_default()
    }

    fn common(&self) -> String {
        let Entry { exchange, status, .. } = &self.entry;
        let quoted = |text: &str| text.replace('\\', "\\x5C").replace('"', "\\x22");
        let or_dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), quoted);
        let arguments = match exchange.arguments.is_empty() {
            true => String::new(),
            false => {
                format!("?{}", exchange.arguments.iter().map(|name| format!("{name}=*")).collect::<Vec<_>>().join("&"))
            }
        };
        format!(
            "{} - {} [{}] \"{} {}{} {}\" {} {} \"{}\" \"{}\" kong_request_id: \"{}\"",
            exchange.client_ip,
            or_dash(&exchange.consumer).replace(' ', "_"),
            exchange.started_at.format(COMMON_TIME).unwrap_or_default(),
            exchange.method,
            quoted(&exchange.path),
            quoted(&arguments),
            version(exchange.version),
            status.as_u16(),
            self.sent_bytes,
            or_dash(&exchange.referrer),
            or_dash(&exchange.user_agent),
            exchange.request_id,
        )
    }
}

/// A line in JSON; what is not known is left out.
#[derive(Serialize)]
struct Line<'a> {
    started_at: i128,
    client_ip: &'a str,
    request: Request<'a>,
    response: Response,
    latencies_ms: Latencies,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<&'a str>,
}

#[derive(Serialize)]
struct Request<'a> {
    id: &'a str,
    method: &'a str,
    scheme: &'a str,
    host: &'a str,
    path: &'a str,
    arguments: &'a [String],
    version: &'a str,
    user_agent: Option<&'a str>,
    referrer: Option<&'a str>,
}

#[derive(Serialize)]
struct Response {
    status: u16,
    size_bytes: u64,
    complete: bool,
}

#[derive(Serialize)]
struct Latencies {
    request: u64,
    upstream: Option<u64>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.log.write(self);
    }
}

const COMMON_TIME: &[FormatItem] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

impl Entry {
    pub fn new(exchange: &Exchange, status: StatusCode, upstream_ms: Option<u64>) -> Entry {
        let route = exchange.route();
        let service = route.and_then(|route| route.service.as_deref());
        let consumer = exchange.identity.as_ref().and_then(|identity| identity.consumer.as_deref());
        let name = |name: Option<&str>, id: uuid::Uuid| name.map_or_else(|| id.to_string(), str::to_owned);
        let headers = &exchange.request.headers;
        let facts = Facts {
            started: exchange.started,
            started_at: OffsetDateTime::now_utc(),
            client_ip: exchange.caller.ip.to_string(),
            method: exchange.request.method.to_string(),
            path: exchange.target.raw_path.clone(),
            arguments: exchange.request.uri.query().map(argument_names).unwrap_or_default(),
            version: exchange.request.version,
            host: exchange.target.host.clone(),
            user_agent: text(headers, USER_AGENT),
            referrer: text(headers, REFERER).map(|url| url.split(['?', '#']).next().unwrap_or_default().to_owned()),
            scheme: if exchange.caller.secure { "https" } else { "http" },
            request_id: exchange.id.as_str().to_owned(),
            route: route.map(|route| name(route.name.as_deref(), route.id)),
            service: service.map(|service| name(service.name.as_deref(), service.id)),
            consumer: consumer.map(|consumer| name(consumer.username.as_deref(), consumer.id)),
        };
        Entry { exchange: facts, status, upstream_ms }
    }
}

/// A query without its values. What has no `=` could itself be a value, so it is not shown either.
fn argument_names(query: &str) -> Vec<String> {
    query.split('&').map(|pair| pair.split_once('=').map_or("*", |(name, _)| name).to_owned()).collect()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_waits_is_written_before_the_end() {
        let paper = Paper::default();
        let log = AccessLog::start(Format::Json, Box::new(paper.clone())).unwrap();
        for number in 0..10_000 {
            let mut lines = log.waiting.lock();
            lines.text.push_str(&format!("{number}\n"));
            drop(lines);
            log.waiting.wake.notify_one();
        }
        log.close();
        let written = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        let expected: String = (0..10_000).map(|number| format!("{number}\n")).collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn queries_lose_their_values() {
        assert_eq!(argument_names("apikey=secret&x=1&token"), ["apikey", "x", "*"]);
    }
}
