//! Kong's listen syntax (`proxy_listen`, `admin_listen`), and the sockets made from it.

mod bind;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

pub use bind::{BindError, adjust, bind};

/// Pending connections that the kernel may hold for one socket (it caps this at `net.core.somaxconn`).
pub const DEFAULT_BACKLOG: u32 = 16384;

/// One address to listen on, such as `0.0.0.0:8443 ssl http2 backlog=4096`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Where to listen. Port 0 lets the system choose; see [`Listen::with_port`].
    pub addr: SocketAddr,
    /// `ssl`: connections start with a TLS handshake.
    pub tls: bool,
    /// `http2`: HTTP/2 is served too; by ALPN with `ssl`, by prior knowledge without.
    pub http2: bool,
    /// `backlog`: pending connections.
    pub backlog: u32,
    /// `ipv6only`: an IPv6 socket does not also take IPv4 (on unless `ipv6only=off`, as in nginx).
    pub ipv6_only: bool,
    /// `so_keepalive`: TCP keep-alive probes on accepted connections.
    pub keepalive: Option<Keepalive>,
}

/// TCP keep-alive; what is absent stays as the system has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keepalive {
    /// Seconds of silence before the first probe.
    pub idle_s: Option<u32>,
    /// Seconds between probes.
    pub interval_s: Option<u32>,
    /// Unanswered probes until the connection counts as dead.
    pub probes: Option<u32>,
}

impl Listen {
    /// The same listener on another port.
    ///
    /// With port 0 each worker would be given a port of its own. So bind once, ask the socket for its
    /// port, and let the other workers bind `listen.with_port(port)`.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        let mut listen = self.clone();
        listen.addr.set_port(port);
        listen
    }
}

/// Why a listen setting cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("listen address \"{entry}\": {problem}")]
pub struct ListenError {
    /// The entry at fault, as written.
    pub entry: String,
    /// What is wrong with it.
    pub problem: ListenProblem,
}

/// What is wrong with one listen entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenProblem {
    /// Nothing between two commas.
    #[error("is empty; write address:port, or \"off\" alone to listen nowhere")]
    Empty,
    /// `off` next to other addresses.
    #[error("\"off\" must stand alone; remove it or the other addresses")]
    OffAmongOthers,
    /// `unix:/path`.
    #[error("unix sockets are not supported; write an IP address and a port")]
    UnixSocket,
    /// No `:port`.
    #[error("has no port; write address:port, an IPv6 address in brackets")]
    NoPort,
    /// The port is not a number from 0 to 65535.
    #[error("\"{0}\" is not a port; write a number from 0 to 65535")]
    Port(String),
    /// A host name, or nonsense, where an IP address belongs.
    #[error("\"{0}\" is not an IP address; names are not resolved here: write an IPv4 address, [IPv6] or *")]
    NotAnIp(String),
    /// An option of Kong that this gateway cannot honour.
    #[error("the option \"{0}\" is not supported; remove it")]
    Unsupported(String),
    /// An option nobody knows.
    #[error("\"{0}\" is not an option of a listen address")]
    Unknown(String),
    /// The value of an option is out of range or unreadable.
    #[error("\"{option}\": {expected}")]
    Value {
        /// The option, as written.
        option: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// The address stands twice.
    #[error("stands twice: connections would be spread over both listeners at random; remove one")]
    Duplicate,
}

/// Reads a comma-separated list of listen addresses. `off` gives an empty list.
pub fn parse_listens(text: &str) -> Result<Vec<Listen>, ListenError> {
    if text.trim() == "off" {
        return Ok(Vec::new());
    }
    let mut listens: Vec<Listen> = Vec::new();
    for entry in text.split(',').map(str::trim) {
        let refuse = |problem| ListenError { entry: entry.to_owned(), problem };
        let listen = parse_listen(entry).map_err(refuse)?;
        // SO_REUSEPORT would accept this, and half of the connections would meet the wrong options.
        if listen.addr.port() != 0 && listens.iter().any(|other| other.addr == listen.addr) {
            return Err(refuse(ListenProblem::Duplicate));
        }
        listens.push(listen);
    }
    Ok(listens)
}

fn parse_listen(entry: &str) -> Result<Listen, ListenProblem> {
    let mut words = entry.split_ascii_whitespace();
    let addr = parse_addr(words.next().ok_or(ListenProblem::Empty)?)?;
    let mut listen =
        Listen { addr, tls: false, http2: false, backlog: DEFAULT_BACKLOG, ipv6_only: true, keepalive: None };
    for word in words {
        set_option(&mut listen, word)?;
    }
    Ok(listen)
}

fn set_option(listen: &mut Listen, word: &str) -> Result<(), ListenProblem> {
    let wrong = |expected| ListenProblem::Value { option: word.to_owned(), expected };
    match word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value))) {
        ("ssl", None) => listen.tls = true,
        ("http2", None) => listen.http2 = true,
        // Every listener is bound by itself and with SO_REUSEPORT: these two ask for what is done anyway.
        ("reuseport" | "bind", None) => {}
        ("backlog", Some(value)) => {
            listen.backlog = number(value, i32::MAX as u32).ok_or_else(|| wrong("write a number from 1"))?;
        }
        ("ipv6only", Some(_)) if listen.addr.is_ipv4() => {
            return Err(wrong("has no meaning for an IPv4 address; remove it"));
        }
        ("ipv6only", Some("on")) => listen.ipv6_only = true,
        ("ipv6only", Some("off")) => listen.ipv6_only = false,
        ("ipv6only", _) => return Err(wrong("write on or off")),
        ("so_keepalive", Some("on")) => listen.keepalive = Some(Keepalive::default()),
        ("so_keepalive", Some("off")) => listen.keepalive = None,
        ("so_keepalive", Some(value)) => {
            let expected = "write on, off or idle:interval:probes, such as 60:10:5 (up to 32767 s and 127 probes)";
            listen.keepalive = Some(value.parse().map_err(|()| wrong(expected))?);
        }
        ("proxy_protocol" | "deferred" | "udp" | "quic" | "setfib" | "fastopen" | "rcvbuf" | "sndbuf", _) => {
            return Err(ListenProblem::Unsupported(word.to_owned()));
        }
        _ => return Err(ListenProblem::Unknown(word.to_owned())),
    }
    Ok(())
}

fn parse_addr(text: &str) -> Result<SocketAddr, ListenProblem> {
    if text == "off" {
        return Err(ListenProblem::OffAmongOthers);
    }
    if text.starts_with("unix:") {
        return Err(ListenProblem::UnixSocket);
    }
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(ListenProblem::NoPort);
    }
    let (host, port) = text.rsplit_once(':').ok_or(ListenProblem::NoPort)?;
    let port = u16::from_str(port).map_err(|_| ListenProblem::Port(port.to_owned()))?;
    match host {
        "*" => Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        _ => Err(ListenProblem::NotAnIp(host.to_owned())),
    }
}

fn number(text: &str, max: u32) -> Option<u32> {
    text.parse().ok().filter(|number| (1..=max).contains(number))
}

impl FromStr for Keepalive {
    type Err = ();

    /// nginx's `idle:interval:probes`, each may be empty; times in seconds or with s, m, h.
    fn from_str(text: &str) -> Result<Self, ()> {
        fn field(text: &str, read: impl Fn(&str) -> Option<u32>) -> Result<Option<u32>, ()> {
            if text.is_empty() { Ok(None) } else { read(text).map(Some).ok_or(()) }
        }
        let mut parts = text.split(':');
        let (Some(idle), Some(interval), Some(probes), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        Ok(Self {
            idle_s: field(idle, seconds)?,
            interval_s: field(interval, seconds)?,
            probes: field(probes, |text| number(text, 127))?,
        })
    }
}

fn seconds(text: &str) -> Option<u32> {
    const MAX: u32 = 32767;
    let (digits, factor) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 60),
        b'h' => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    number(digits, MAX)?.checked_mul(factor).filter(|seconds| *seconds <= MAX)
}

impl fmt::Display for Listen {
    /// Kong's spelling; [`parse_listens`] reads it back to the same value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.addr)?;
        if self.http2 {
            f.write_str(" http2")?;
        }
        if self.tls {
            f.write_str(" ssl")?;
        }
        write!(f, " reuseport backlog={}", self.backlog)?;
        if !self.ipv6_only {
            f.write_str(" ipv6only=off")?;
        }
        match self.keepalive {
            None => Ok(()),
            Some(Keepalive { idle_s: None, interval_s: None, probes: None }) => f.write_str(" so_keepalive=on"),
            Some(Keepalive { idle_s, interval_s, probes }) => {
                let text = |number: Option<u32>| number.map_or_else(String::new, |number| number.to_string());
                write!(f, " so_keepalive={}:{}:{}", text(idle_s), text(interval_s), text(probes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The printed form of what was read, or the error; what is printed must read back to the same.
    fn check(text: &str, expect: &str) {
        let outcome = match parse_listens(text) {
            Ok(listens) => {
                let printed = listens.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                if !listens.is_empty() {
                    assert_eq!(parse_listens(&printed).unwrap(), listens, "{text}");
                }
                printed
            }
            Err(error) => error.to_string(),
        };
        assert!(outcome.contains(expect), "{text}: {outcome}");
    }

    #[test]
    fn reads_what_kong_reads() {
        check("off", "");
        check(" 0.0.0.0:8000 ", "0.0.0.0:8000 reuseport backlog=16384");
        check(
            "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384",
            "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384",
        );
        check("*:80 bind", "0.0.0.0:80 reuseport");
        check("[::]:8000 ipv6only=off", "[::]:8000 reuseport backlog=16384 ipv6only=off");
        check("[::1]:0 ssl ipv6only=on backlog=7", "[::1]:0 ssl reuseport backlog=7");
        check("127.0.0.1:1 so_keepalive=on", "so_keepalive=on");
        check("127.0.0.1:1 so_keepalive=1m::10", "so_keepalive=60::10");
        check("127.0.0.1:0, 127.0.0.1:0", "127.0.0.1:0 reuseport backlog=16384, 127.0.0.1:0");
    }

    #[test]
    fn refuses_the_rest_and_says_why() {
        check("", "is empty");
        check("0.0.0.0:1,", "is empty");
        check("0.0.0.0:1, off", "must stand alone");
        check("unix:/run/kong.sock", "unix sockets are not supported");
        check("127.0.0.1", "has no port");
        check("::1", "has no port");
        check("[::1]", "\"1]\" is not a port");
        check("127.0.0.1:65536", "\"65536\" is not a port");
        check("localhost:8000", "\"localhost\" is not an IP address");
        check("0.0.0.0:1 proxy_protocol", "\"proxy_protocol\" is not supported");
        check("0.0.0.0:1 deferred", "\"deferred\" is not supported");
        check("0.0.0.0:1 tls", "\"tls\" is not an option");
        check("0.0.0.0:1 ssl=on", "\"ssl=on\" is not an option");
        check("0.0.0.0:1 backlog", "\"backlog\" is not an option");
        check("0.0.0.0:1 backlog=0", "\"backlog=0\": write a number");
        check("0.0.0.0:1 ipv6only=on", "no meaning for an IPv4");
        check("[::]:1 ipv6only=yes", "write on or off");
        check("0.0.0.0:1 so_keepalive=1:2", "write on, off or");
        check("0.0.0.0:1 so_keepalive=10h::", "write on, off or");
        check("0.0.0.0:1, 0.0.0.0:1 ssl", "stands twice");
    }
}
