//! What an answer says of the gate: `Via`, `Server`, latencies, the request's identity.

use crate::conduct::{ResponseHeaders, SERVER};
use crate::exchange::Exchange;
use crate::fields::{Fields, put_joined};
use crate::forward::REQUEST_ID;
use crate::request_id::RequestId;
use http::header::{SERVER as SERVER_HEADER, VIA};
use http::{HeaderMap, HeaderName, StatusCode};
use http1::write::Digits;

static UPSTREAM_LATENCY: HeaderName = HeaderName::from_static("x-kong-upstream-latency");
static PROXY_LATENCY: HeaderName = HeaderName::from_static("x-kong-proxy-latency");
static RESPONSE_LATENCY: HeaderName = HeaderName::from_static("x-kong-response-latency");
static UPSTREAM_STATUS: HeaderName = HeaderName::from_static("x-kong-upstream-status");

/// What is written about an answer once the plugins have looked at it, as in Kong.
pub struct Marks {
    shown: ResponseHeaders,
    id: RequestId,
    /// Of a service's answer, its status before any plugin; `None` for one that the gate made.
    upstream_status: Option<StatusCode>,
    /// How long the service took, if one was asked.
    upstream_ms: Option<u64>,
    gate_ms: u64,
}

const VIA_HTTP_11: &[u8] = b"1.1 portcullis";

impl Marks {
    pub fn of(exchange: &Exchange, upstream_status: Option<StatusCode>, upstream_ms: Option<u64>) -> Marks {
        let gate_ms = exchange.elapsed_ms().saturating_sub(upstream_ms.unwrap_or_default());
        Marks { shown: exchange.conduct.headers, id: exchange.id, upstream_status, upstream_ms, gate_ms }
    }

    /// Writes them beside the fields of the answer, of which `Via` is one line with ours.
    pub fn write(&self, headers: &HeaderMap, out: &mut impl Fields) {
        let shown = self.shown;
        if self.writes_via() {
            match headers.contains_key(VIA) {
                true => put_joined(out, &VIA, headers.get_all(VIA).iter(), VIA_HTTP_11),
                false => out.put(&VIA, VIA_HTTP_11),
            }
        }
        if shown.server && !headers.contains_key(SERVER_HEADER) {
            out.put(&SERVER_HEADER, SERVER.as_bytes());
        }
        for (name, number) in self.numbers() {
            out.put(name, Digits::of(number).as_bytes());
        }
        if shown.request_id {
            out.put(&REQUEST_ID, self.id.as_str().as_bytes());
        }
    }

    /// What is a number, with its name.
    fn numbers(&self) -> impl Iterator<Item = (&'static HeaderName, u64)> {
        let shown = self.shown;
        let numbers = [
            (&UPSTREAM_LATENCY, self.upstream_ms.filter(|_| shown.upstream_latency)),
            (&PROXY_LATENCY, self.upstream_ms.filter(|_| shown.proxy_latency).map(|_| self.gate_ms)),
            (&RESPONSE_LATENCY, Some(self.gate_ms).filter(|_| shown.response_latency && self.upstream_ms.is_none())),
            (
                &UPSTREAM_STATUS,
                self.upstream_status.filter(|_| shown.upstream_status).map(|status| status.as_u16().into()),
            ),
        ];
        numbers.into_iter().filter_map(|(name, number)| Some((name, number?)))
    }

    /// Whether a field of the answer gives way to one that [`Marks::write`] writes: a service may stand behind a
    /// gate of this kind itself.
    pub fn replace(&self, name: &HeaderName) -> bool {
        // The first letter alone lets most fields go at once.
        match name.as_str().as_bytes().first() {
            Some(b'v') => *name == VIA && self.writes_via(),
            Some(b'x') => {
                (*name == REQUEST_ID && self.shown.request_id) || self.numbers().any(|(ours, _)| ours == name)
            }
            _ => false,
        }
    }

    fn writes_via(&self) -> bool {
        self.shown.via && self.upstream_ms.is_some()
    }

    /// As a part of a map of headers.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        let mut marks = HeaderMap::with_capacity(8);
        self.write(headers, &mut marks);
        for (name, value) in marks {
            if let Some(name) = name {
                headers.insert(name, value);
            }
        }
    }
}
