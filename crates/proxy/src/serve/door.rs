//! The door: what is ambiguous or too long gets no further, and who is calling.

use super::Peer;
use crate::answer::{self, Answer};
use crate::conduct::{CallerLimits, Conduct, MediaType};
use crate::exchange::{Caller, Target};
use crate::plan::Plan;
use http::{HeaderMap, StatusCode};
use http1::head::HeadFault;
use net::head::HeadError;

/// Why a request is not let in.
pub(super) enum Refused {
    /// Ambiguous or malformed: where the next request begins is not certain.
    Malformed(HeadError),
    /// No head that could be read.
    Unreadable(HeadFault),
    /// Followed by a body that is not read.
    Unwanted(StatusCode),
    /// Too long, or nothing that routes know.
    Unfit(StatusCode),
}

impl Refused {
    pub(super) fn answer(self, default: MediaType) -> Answer {
        match self {
            Refused::Malformed(error) => answer::closing(error.status(), default),
            Refused::Unreadable(fault) => answer::closing(fault.status(), default),
            Refused::Unwanted(status) => answer::closing(status, default),
            Refused::Unfit(status) => answer::nginx(status, default),
        }
    }
}

/// Judges a head, and says what it asks for.
pub(super) fn admit(
    head: &http::request::Parts,
    peer: &Peer,
    plan: &Plan,
    limits: &CallerLimits,
) -> Result<Target, Refused> {
    // What is not text once decoded could be one thing to the router and another to the service.
    let decoded = percent_encoding::percent_decode_str(head.uri.path()).decode_utf8();
    if decoded.is_err() || head.uri.path() == "*" {
        return Err(Refused::Unfit(StatusCode::BAD_REQUEST));
    }
    if head.uri.path_and_query().is_some_and(|target| target.as_str().len() > limits.line_bytes) {
        return Err(Refused::Unfit(StatusCode::URI_TOO_LONG));
    }
    if head.headers.iter().any(|(name, value)| name.as_str().len() + value.len() + 4 > limits.line_bytes) {
        return Err(Refused::Unfit(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
    let stated = http1::framing::content_length(&head.headers).ok().flatten();
    if stated.is_some_and(|length| length > limits.body_bytes) {
        return Err(Refused::Unwanted(StatusCode::PAYLOAD_TOO_LARGE));
    }
    let authority = net::head::check(head).map_err(Refused::Malformed)?;
    // A connection is for the name that its handshake asked for, and for those that share its certificate.
    if peer.server_name.as_deref().is_some_and(|name| !plan.caller_tls.covers(name, &authority.host)) {
        return Err(Refused::Unfit(StatusCode::MISDIRECTED_REQUEST));
    }
    Ok(Target {
        port: authority.port,
        host: authority.host.into_owned(),
        raw_path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        ..Target::default()
    })
}

/// Who is calling, as far as the connection and the peers that are trusted tell.
pub(super) fn caller(peer: &Peer, number: u64, headers: &HeaderMap, conduct: &Conduct) -> Caller {
    let trusted = conduct.trusted.contains(peer.address.ip());
    let said = |name: &str| headers.get(name).filter(|_| trusted).and_then(|value| value.to_str().ok());
    let ip = match trusted {
        true => conduct.trusted.real_ip(peer.address.ip(), headers, conduct.real_ip_header, conduct.real_ip_recursive),
        false => peer.address.ip(),
    };
    Caller {
        peer: peer.address,
        peer_header: peer.address_header.clone(),
        ip: ip.to_canonical(),
        trusted,
        secure: said("x-forwarded-proto").map_or(peer.tls, |protocol| protocol.eq_ignore_ascii_case("https")),
        port: said("x-forwarded-port").and_then(|port| port.parse().ok()).unwrap_or(peer.port),
        server_name: peer.server_name.clone(),
        certificate: peer.certificate.clone(),
        connection: peer.number,
        request_on_connection: number,
    }
}
