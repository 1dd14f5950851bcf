//! Bodies that a plugin must see whole before the request goes on.

use bytes::Bytes;
use http::StatusCode;
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::authenticate::Refusal;
use proxy::body::{BodyError, BufferError};

/// The largest body that is held in memory, in bytes.
const LIMIT: usize = 8 * 1024 * 1024;

/// Reads the body to its end; it still goes on to the service.
pub async fn read(exchange: &mut Exchange) -> Result<Bytes, Refusal> {
    read_up_to(exchange, LIMIT).await.map_err(|answer| Refusal::Final(Box::new(answer)))
}

/// As [`read`], where it is not larger than this; the error is the answer of one that is, or that does not come whole.
pub async fn read_up_to(exchange: &mut Exchange, limit_bytes: usize) -> Result<Bytes, Answer> {
    let (status, message) = match exchange.body.buffer(limit_bytes).await {
        Ok(body) => return Ok(body),
        Err(BufferError::TooLarge { .. }) => (StatusCode::PAYLOAD_TOO_LARGE, "Payload too large"),
        Err(BufferError::Broken(BodyError::TooLarge)) => (StatusCode::PAYLOAD_TOO_LARGE, "Payload too large"),
        Err(BufferError::Broken(BodyError::CallerStalled)) => (StatusCode::REQUEST_TIMEOUT, "Request timeout"),
        Err(BufferError::Broken(_)) => (StatusCode::BAD_REQUEST, "Bad request"),
    };
    Err(Answer::error(status, message))
}
