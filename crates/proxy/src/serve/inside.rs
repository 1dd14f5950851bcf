//! Services that are the gate itself: `internal://admin`.

use super::Core;
use super::reply::Reply;
use crate::answer::{Answer, UpstreamError};
use crate::body::{Body, BufferError};
use crate::exchange::Exchange;
use crate::message::Message;
use crate::outgoing::Outgoing;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// A part of the gate that answers requests, of a consumer if one was proven. It may take its time.
pub type Inside = Arc<dyn Fn(Request<Bytes>, Option<Uuid>) -> Response<Bytes> + Send + Sync>;

/// The largest body of a request to the gate itself, in bytes.
const LARGEST: usize = 16 * 1024 * 1024;

impl Core {
    /// The gate itself is asked, apart from the traffic of callers.
    pub(super) async fn answer_inside(&self, exchange: &mut Exchange, asked: Instant) -> Reply {
        let text = |status, text| Reply::refused(Answer::error(status, text));
        let body = match exchange.body.buffer(LARGEST).await {
            Ok(body) => body,
            Err(BufferError::TooLarge { .. }) => return text(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large"),
            Err(BufferError::Broken(_)) => return text(StatusCode::BAD_REQUEST, "Bad Request"),
        };
        let target = match Outgoing::new(exchange) {
            Ok(outgoing) => outgoing.target().parse::<Uri>(),
            Err(error) => return Reply::failed(error, exchange, asked),
        };
        let (Ok(target), Some(admin)) = (target, self.shared.admin.get().cloned()) else {
            return Reply::failed(UpstreamError::NoPeer, exchange, asked);
        };
        let mut request = Request::new(body);
        *request.method_mut() = exchange.request.method.clone();
        *request.uri_mut() = target;
        *request.headers_mut() = exchange.request.headers.clone();

        if let Ok(host) = HeaderValue::from_str(&exchange.host()) {
            request.headers_mut().insert(HOST, host);
        }
        // The anonymous consumer has proven nothing.
        let proven = exchange.identity.as_ref().filter(|identity| identity.credential.is_some());
        let consumer = proven.and_then(|identity| Some(identity.consumer.as_ref()?.id));
        match tokio::task::spawn_blocking(move || admin(request, consumer)).await {
            Ok(response) => Reply::proxied(response.map(Body::Full), exchange, asked, None),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred"),
        }
    }
}
