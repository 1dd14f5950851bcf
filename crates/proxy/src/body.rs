//! Bodies on their way through: from the caller, from the service, or made here.

use crate::caller_body::CallerBody;
use crate::upstream::{UpstreamBody, WatchedBody};
use bytes::{Bytes, BytesMut};
use http::HeaderName;
use http_body::{Body as _, Frame, SizeHint};
use http1::chunked::ChunkFault;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use thiserror::Error;

/// A body of a request or a response.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    /// Bytes at hand.
    Full(Bytes),
    /// What the caller is sending.
    Caller(CallerBody),
    /// A body of which a part was taken and lost: it must never be taken for a whole one.
    Lost,
    /// What the caller is sending to a service that speaks HTTP/2, with an eye on how far it has gone.
    Watched(Box<WatchedBody>),
    /// What the service is sending.
    Upstream(Box<UpstreamBody>),
}

/// A body broke off.
#[derive(Debug, Error)]
pub enum BodyError {
    #[error("the body broke off: {}", cause(.0))]
    Http2(hyper::Error),
    #[error("the body broke off: {0}")]
    Connection(io::Error),
    #[error("the body broke off: the connection was closed before its end")]
    Closed,
    #[error("the body is malformed: {0}")]
    Malformed(ChunkFault),
    #[error("the service sent nothing more within its read_timeout")]
    Stalled,
    #[error("the caller sent nothing more within client_body_timeout_s")]
    CallerStalled,
    #[error("the body is larger than client_max_body_size")]
    TooLarge,
    #[error("the caller's credential was taken away")]
    Revoked,
    #[error("a part of the body is lost")]
    Lost,
}

/// What HTTP/2 says of an error; hyper's own words name only what it was about.
pub fn cause(error: &hyper::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// A body could not be held in memory.
#[derive(Debug, Error)]
pub enum BufferError {
    #[error(transparent)]
    Broken(#[from] BodyError),
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
}

impl Body {
    /// Reads the body to its end and keeps it in its place, so that it can still be forwarded. After an
    /// error nothing can be forwarded any more.
    pub async fn buffer(&mut self, limit_bytes: usize) -> Result<Bytes, BufferError> {
        match self {
            Body::Empty => return Ok(Bytes::new()),
            Body::Full(bytes) if bytes.len() > limit_bytes => return Err(BufferError::TooLarge { limit_bytes }),
            Body::Full(bytes) => return Ok(bytes.clone()),
            _ => {}
        }
        let mut body = std::mem::replace(self, Body::Lost);
        let mut buffer = BytesMut::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            if let Ok(data) = frame?.into_data() {
                if buffer.len() + data.len() > limit_bytes {
                    return Err(BufferError::TooLarge { limit_bytes });
                }
                buffer.extend_from_slice(&data);
            }
        }
        let bytes = buffer.freeze();
        *self = Body::Full(bytes.clone());
        Ok(bytes)
    }
}

impl Body {
    /// Takes these names out of its trailers, besides those that nobody may say there.
    pub fn reserve(&mut self, names: &Arc<[HeaderName]>) {
        if let (Body::Caller(body), false) = (self, names.is_empty()) {
            body.reserve(names);
        }
    }

    /// Lets no more than this of it pass. What is larger breaks off when too much has come.
    pub fn limit(&mut self, limit_bytes: u64) {
        if let Body::Caller(body) = self {
            body.limit(limit_bytes);
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Body::Empty => Poll::Ready(None),
            Body::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Caller(body) => body.poll_frame(cx),
            Body::Lost => Poll::Ready(Some(Err(BodyError::Lost))),
            Body::Watched(body) => Pin::new(body).poll_frame(cx),
            Body::Upstream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_empty(),
            Body::Caller(body) => body.is_end_stream(),
            Body::Lost => false,
            Body::Watched(body) => body.is_end_stream(),
            Body::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Caller(body) => body.size_hint(),
            Body::Lost => SizeHint::default(),
            Body::Watched(body) => body.size_hint(),
            Body::Upstream(body) => body.size_hint(),
        }
    }
}
