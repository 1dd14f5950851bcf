//! A body as HTTP/1.1 writes it, to callers and to services.

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http1::write;
use net::wire::Wire;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By its length, or by the end of the connection.
    Plain,
    Chunked,
}

/// Writes one body.
pub struct BodyWriter {
    framing: Framing,
    /// A piece too large to be copied; it follows the output.
    piece: Bytes,
    /// The piece is a chunk, and the end of its line is still to be written.
    open_chunk: bool,
    ended: bool,
    /// Since when nothing has gone out, and how many bytes had by then.
    progress: (Option<Instant>, u64),
}

/// Up to this size the chunks of a body are copied behind each other, which costs less than writing twice.
const COPIED: usize = 16 * 1024;
/// The same where nothing comes after a piece: it goes out with what stands before it, in one call.
const COPIED_PLAIN: usize = 4 * 1024;

impl BodyWriter {
    pub fn new(framing: Framing) -> BodyWriter {
        BodyWriter { framing, piece: Bytes::new(), open_chunk: false, ended: false, progress: (None, 0) }
    }

    /// Whether what waits must go out before more is added.
    pub fn is_full(&self, wire: &Wire) -> bool {
        // Over TLS a piece can be taken, and its flush still be waited for: its chunk is not ended yet.
        self.open_chunk || !self.piece.is_empty() || wire.output.len() >= COPIED
    }

    /// Adds a piece, or the trailers; they need chunks to travel.
    pub fn add(&mut self, wire: &mut Wire, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => self.add_data(wire, data),
            Err(frame) => {
                if let (Ok(trailers), Framing::Chunked, false) = (frame.into_trailers(), self.framing, self.ended) {
                    write::last_chunk(&mut wire.output, &trailers);
                    self.ended = true;
                }
            }
        }
    }

    fn add_data(&mut self, wire: &mut Wire, data: Bytes) {
        // An empty chunk would be the last one.
        if data.is_empty() {
            return;
        }
        let chunked = self.framing == Framing::Chunked;
        if chunked {
            write::chunk_size(&mut wire.output, data.len());
        }
        if data.len() < if chunked { COPIED } else { COPIED_PLAIN } {
            wire.output.extend_from_slice(&data);
            if chunked {
                wire.output.extend_from_slice(b"\r\n");
            }
        } else {
            self.piece = data;
            self.open_chunk = chunked;
        }
    }

    /// Adds the end.
    pub fn end(&mut self, wire: &mut Wire) {
        if self.framing == Framing::Chunked && !self.ended {
            write::last_chunk(&mut wire.output, &HeaderMap::new());
        }
        self.ended = true;
    }

    /// Ready when nothing has gone out for `limit`, counted from the first time that this is asked.
    pub fn poll_stuck(&mut self, wire: &mut Wire, limit: Duration, cx: &mut Context) -> Poll<()> {
        let since = match self.progress {
            (Some(since), written) if written == wire.written => since,
            _ => Instant::now(),
        };
        self.progress = (Some(since), wire.written);
        wire.alarm.poll(since + limit, cx)
    }

    /// From here on it is something else that is waited for.
    pub fn wait_anew(&mut self) {
        self.progress.0 = None;
    }

    /// Sends what was added.
    pub fn poll_send(&mut self, wire: &mut Wire, cx: &mut Context) -> Poll<io::Result<()>> {
        ready!(wire.poll_send(&mut self.piece, cx))?;
        // Even an empty part of a buffer holds all of it, so that it could not be read into again.
        self.piece = Bytes::new();
        if std::mem::take(&mut self.open_chunk) {
            wire.output.extend_from_slice(b"\r\n");
        }
        Poll::Ready(Ok(()))
    }
}
