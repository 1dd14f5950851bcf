//! The answer to a request, before plugins have looked at it.

use crate::answer::{self, Answer, UpstreamError};
use crate::balancer::Choice;
use crate::body::Body;
use crate::exchange::{Exchange, millis_since};
use crate::forward;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use std::time::Instant;

/// What the caller gets.
pub(super) struct Reply {
    pub(super) content: Content,
    /// How long a service took, if one was asked.
    pub(super) upstream_ms: Option<u64>,
}

/// Whose answer it is.
pub(super) enum Content {
    Proxied(Response<Body>),
    Own(Answer),
}

impl Reply {
    pub(super) fn refused(answer: Answer) -> Reply {
        Reply { content: Content::Own(answer), upstream_ms: None }
    }

    pub(super) fn failed(error: UpstreamError, exchange: &Exchange, asked: Instant) -> Reply {
        let service = exchange.route().and_then(|route| route.service.as_ref()?.name.as_deref());
        tracing::warn!(request_id = exchange.id.as_str(), service, %error, "no answer from the service");
        let upstream_ms = error.reached_upstream().then(|| millis_since(asked));
        Reply { content: Content::Own(error.answer(exchange.conduct.error_default_type)), upstream_ms }
    }

    pub(super) fn proxied(
        response: Response<Body>,
        exchange: &Exchange,
        asked: Instant,
        choice: Option<Choice>,
    ) -> Reply {
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let asked_for = exchange.hop.upgrade.as_ref();
        let to_other = |protocol: &HeaderValue| {
            let headers = response.headers();
            headers.contains_key(UPGRADE) && forward::upgrade_among(headers, std::slice::from_ref(protocol)).is_none()
        };
        if switched && asked_for.is_none_or(to_other) {
            // Nobody asked for this: what follows is no HTTP, and must not reach the caller as such.
            let answer = answer::nginx(StatusCode::BAD_GATEWAY, exchange.conduct.error_default_type);
            return Reply { content: Content::Own(answer), upstream_ms: Some(millis_since(asked)) };
        }
        let upstream_ms = millis_since(asked);
        let (mut head, body) = response.into_parts();
        forward::leave_upstream_connection(&mut head);
        if let Some(protocol) = asked_for.filter(|_| switched) {
            head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(UPGRADE, protocol.clone());
        }
        if let Some(choice) = choice {
            choice.write(&mut head.headers);
        }
        Reply { content: Content::Proxied(Response::from_parts(head, body)), upstream_ms: Some(upstream_ms) }
    }
}
