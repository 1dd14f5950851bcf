//! The body of an answer, counted for the log.

use crate::access_log::Pending;
use crate::body::{Body, BodyError};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A body that knows how much of it has gone out.
pub struct Counted {
    pub(super) body: Body,
    pub(super) pending: Option<Box<Pending>>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let ended = self.body.is_end_stream();
        if let Some(pending) = &mut self.pending {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => {
                    pending.sent_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                    pending.complete = ended;
                }
                Poll::Ready(None) => pending.complete = true,
                _ => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
