//! A connection with what was read ahead of it, what waits to be written, and its timer.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::alarm::Alarm;
use crate::stream::Stream;

/// How much is read at once: a head, or a head with a small body, in one system call.
const READ: usize = 16 * 1024;
/// How much is read at once where more is known to come.
const READ_MORE: usize = 64 * 1024;

thread_local! {
    /// Where bytes land of which nobody knows when they will come: a connection that waits holds no buffer.
    static LANDING: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// A connection and its buffers.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    /// What was read and not used yet.
    pub input: BytesMut,
    /// What is to be written; of it, `sent` bytes have gone out.
    pub output: Vec<u8>,
    sent: usize,
    /// For whatever the connection waits for.
    pub alarm: Alarm,
    /// How many bytes were written so far.
    pub written: u64,
}

impl Wire {
    /// A connection of which nothing was read yet.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self { stream, input: BytesMut::new(), output: Vec::new(), sent: 0, alarm: Alarm::default(), written: 0 }
    }

    /// Reads what comes next, whenever that is; 0 at the end. Holds no memory while nothing comes.
    pub fn poll_await(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() > self.input.len() {
            return self.poll_fill(0, cx);
        }
        LANDING.with_borrow_mut(|landing| {
            let mut landing = ReadBuf::new(landing);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut landing))?;
            self.input.extend_from_slice(landing.filled());
            Poll::Ready(Ok(landing.filled().len()))
        })
    }

    /// Reads what is about to come, of which `expected` bytes are known; 0 at the end.
    pub fn poll_fill(&mut self, expected: u64, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // A little room left over would make for many small reads. The buffer is used again as soon as nobody holds a part
        // of it, so most often this takes no memory.
        if self.input.capacity() - self.input.len() < READ / 2 {
            self.input.reserve(if expected > READ as u64 { READ_MORE } else { READ });
        }
        pin!(self.stream.read_buf(&mut self.input)).poll(cx)
    }

    /// Writes the output.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(&mut Bytes::new(), cx)
    }

    /// Writes the output and then `data`, which is not copied.
    pub fn poll_send(&mut self, data: &mut Bytes, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut self.stream;
        loop {
            let output = self.output.get(self.sent..).unwrap_or_default();
            let count = ready!(match (output, &**data) {
                ([], []) => break,
                (output, data @ [_, ..]) if !output.is_empty() && stream.is_write_vectored() => {
                    Pin::new(&mut *stream).poll_write_vectored(cx, &[IoSlice::new(output), IoSlice::new(data)])
                }
                ([], data) => Pin::new(&mut *stream).poll_write(cx, data),
                (output, _) => Pin::new(&mut *stream).poll_write(cx, output),
            })?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count as u64;
            let of_output = count.min(output.len());
            self.sent += of_output;
            data.advance(count - of_output);
        }
        self.output.clear();
        self.sent = 0;
        Pin::new(stream).poll_flush(cx)
    }

    /// Gives the buffers back, as far as nothing is in them.
    pub fn release(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() {
            self.output = Vec::new();
        }
    }

    /// Makes the other side see a broken connection instead of an orderly end.
    pub fn break_off(&self) {
        self.stream.break_off();
    }
}

/// As a stream, beginning with what was read ahead. What is written passes by the output.
impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.input.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let ahead = this.input.split_to(buf.remaining().min(this.input.len()));
        buf.put_slice(&ahead);
        this.release();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Wire::new(near.into()), listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_connection_that_waits_holds_no_buffer() {
        let (mut wire, mut far) = pair().await;
        assert!(poll_fn(|cx| Poll::Ready(wire.poll_await(cx))).await.is_pending());
        assert_eq!(wire.input.capacity(), 0);
        far.write_all(b"hello").await.unwrap();
        assert_eq!(poll_fn(|cx| wire.poll_await(cx)).await.unwrap(), 5);
        assert_eq!(wire.input, "hello");
        wire.input.clear();
        wire.release();
        assert_eq!(wire.input.capacity(), 0);
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_first() {
        let (mut wire, mut far) = pair().await;
        far.write_all(b"hello, ").await.unwrap();
        poll_fn(|cx| wire.poll_fill(0, cx)).await.unwrap();
        far.write_all(b"world").await.unwrap();
        far.shutdown().await.unwrap();
        let mut text = String::new();
        wire.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello, world");
    }

    #[tokio::test]
    async fn writes_the_output_before_the_data() {
        let (mut wire, mut far) = pair().await;
        wire.output.extend_from_slice(b"head ");
        let mut data = Bytes::from(vec![b'x'; 4 << 20]);
        let read = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.map(|_| all)
        });
        poll_fn(|cx| wire.poll_send(&mut data, cx)).await.unwrap();
        assert_eq!(wire.written, 5 + (4 << 20));
        drop(wire);
        let all = read.await.unwrap().unwrap();
        assert!(all.starts_with(b"head xxx") && all.len() == 5 + (4 << 20));
    }
}
