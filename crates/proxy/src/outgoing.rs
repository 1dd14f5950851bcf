//! The head of a request as its service gets it (RFC 9110 section 7.6).

use crate::answer::UpstreamError;
use crate::destination::Destination;
use crate::early::Early;
use crate::exchange::Exchange;
use crate::fields::{Fields, put_cookies, put_joined};
use crate::forward::{Hop, REQUEST_ID};
use crate::identity::header_value;
use crate::message::Message;
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, VIA};
use http::{HeaderName, HeaderValue, Method, Version};
use http1::write::Digits;
use std::net::IpAddr;

static REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static FORWARDED_PATH: HeaderName = HeaderName::from_static("x-forwarded-path");
static FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// A caller's request on its way to a service.
pub struct Outgoing<'a> {
    exchange: &'a Exchange,
    target: String,
    host: HeaderValue,
}

impl<'a> Outgoing<'a> {
    pub fn new(exchange: &'a Exchange) -> Result<Outgoing<'a>, UpstreamError> {
        let path = &exchange.target.upstream_path;
        let query = exchange.target.query.as_deref();
        let mut target = String::with_capacity(path.len() + query.map_or(0, str::len) + 1);
        target.push_str(path);
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        match http1::head::is_target(&target) {
            true => Ok(Outgoing { exchange, target, host: HeaderValue::from_static("") }),
            false => Err(UpstreamError::Request("its path holds characters that no request target may hold")),
        }
    }

    /// Says whom it is for: the destination, or with `preserve` the host that the caller asked for.
    pub fn address(&mut self, destination: &Destination, preserve: bool) -> Result<(), UpstreamError> {
        let host = match preserve {
            false => Ok(destination.authority.clone()),
            true => HeaderValue::try_from(self.exchange.host()),
        };
        self.host = host.map_err(|_| UpstreamError::Request("its host holds characters that no header may hold"))?;
        Ok(())
    }
}

impl Message for Outgoing<'_> {
    fn method(&self) -> &Method {
        &self.exchange.request.method
    }

    fn target(&self) -> &str {
        &self.target
    }

    fn host(&self) -> &HeaderValue {
        &self.host
    }

    fn hop(&self) -> &Hop {
        &self.exchange.hop
    }

    fn early(&self) -> &Early {
        &self.exchange.early
    }

    fn states_length(&self) -> bool {
        self.exchange.request.headers.contains_key(CONTENT_LENGTH)
    }

    fn write_fields(&self, out: &mut impl Fields) {
        let Exchange { request, caller, target, conduct, id, .. } = self.exchange;
        let mut said = Said::default();
        for (name, value) in &request.headers {
            if !self.is_written_apart(name, &mut said) {
                out.put(name, value.as_bytes());
            }
        }
        let all = |name: &HeaderName| request.headers.get_all(name).iter();
        if said.cookies > 0 {
            put_cookies(out, all(&COOKIE));
        }
        let via: &[u8] = match request.version {
            Version::HTTP_10 => b"1.0 portcullis",
            Version::HTTP_2 => b"2 portcullis",
            _ => b"1.1 portcullis",
        };
        match said.via {
            true => put_joined(out, &VIA, all(&VIA), via),
            false => out.put(&VIA, via),
        }
        match said.forwarded_for {
            true => put_joined(out, &FORWARDED_FOR, all(&FORWARDED_FOR), caller.peer_header.as_bytes()),
            false => out.put(&FORWARDED_FOR, caller.peer_header.as_bytes()),
        }
        match caller.ip == caller.peer.ip() {
            true => out.put(&REAL_IP, caller.peer_header.as_bytes()),
            false => out.put(&REAL_IP, caller.ip.to_string().as_bytes()),
        }
        // Only trusted peers may have said the following before us.
        if !said.proto {
            out.put(&FORWARDED_PROTO, if caller.secure { b"https" } else { b"http" });
        }
        if !said.host {
            put_text(out, &FORWARDED_HOST, &target.host);
        }
        if !said.port {
            out.put(&FORWARDED_PORT, Digits::of(caller.port.into()).as_bytes());
        }
        if !said.path {
            put_text(out, &FORWARDED_PATH, &target.raw_path);
        }
        if let (false, Some(prefix)) = (said.prefix, &target.prefix) {
            put_text(out, &FORWARDED_PREFIX, prefix);
        }
        if conduct.forwarded_upstream {
            put_joined(out, &FORWARDED, all(&FORWARDED), self.forwarded().as_bytes());
        }
        if conduct.request_id_upstream {
            out.put(&REQUEST_ID, id.as_str().as_bytes());
        }
    }
}

impl Outgoing<'_> {
    /// What the gate has to say in `Forwarded` (RFC 7239 section 4). What is no token stands in quotes.
    fn forwarded(&self) -> String {
        let Exchange { caller, target, .. } = self.exchange;
        let node = match caller.peer.ip().to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        let port = target.port.map(|port| format!(":{port}")).unwrap_or_default();
        let proto = if caller.secure { "https" } else { "http" };
        match target.host.is_empty() {
            true => format!("for={node};proto={proto}"),
            false => format!("for={node};host=\"{}{port}\";proto={proto}", target.host),
        }
    }

    /// Whether a field of the caller is not copied: it is written with what the gate has to add, replaced, or
    /// belongs to this connection.
    fn is_written_apart(&self, name: &HeaderName, said: &mut Said) -> bool {
        let trusted = self.exchange.caller.trusted;
        let believed = |said: &mut bool| {
            *said = trusted;
            !trusted
        };
        match name.as_str().as_bytes().first() {
            // The gate has asked for the body by the time that it goes on.
            Some(b'c' | b'e' | b'h') => {
                if *name == COOKIE && self.exchange.request.version == Version::HTTP_2 {
                    said.cookies += 1;
                    return true;
                }
                *name == CONTENT_LENGTH || *name == EXPECT || *name == HOST
            }
            Some(b'f') => *name == FORWARDED && self.exchange.conduct.forwarded_upstream,
            Some(b'v') if *name == VIA => {
                said.via = true;
                true
            }
            Some(b'x') => match name {
                name if *name == FORWARDED_FOR => {
                    said.forwarded_for = true;
                    true
                }
                name if *name == FORWARDED_PROTO => believed(&mut said.proto),
                name if *name == FORWARDED_HOST => believed(&mut said.host),
                name if *name == FORWARDED_PORT => believed(&mut said.port),
                name if *name == FORWARDED_PATH => believed(&mut said.path),
                name if *name == FORWARDED_PREFIX => believed(&mut said.prefix),
                name => *name == REAL_IP || *name == REQUEST_ID,
            },
            _ => false,
        }
    }
}

/// What the caller said that the gate has to add to, or may leave as it is.
#[derive(Default)]
struct Said {
    cookies: usize,
    via: bool,
    forwarded_for: bool,
    proto: bool,
    host: bool,
    port: bool,
    path: bool,
    prefix: bool,
}

/// Text of the caller's as a value; what no header can hold is encoded.
fn put_text(out: &mut impl Fields, name: &HeaderName, text: &str) {
    match text.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
        true => out.put(name, text.as_bytes()),
        false => out.put(name, header_value(text).as_bytes()),
    }
}
