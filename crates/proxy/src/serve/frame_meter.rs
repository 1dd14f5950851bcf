//! A brake on HTTP/2 callers who send frames that cost us work and them nothing.

use bytes::Buf;
use net::wire::Wire;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A connection whose incoming frames are counted.
///
/// hyper limits streams, resets and header blocks. Floods of SETTINGS, PING, PRIORITY, WINDOW_UPDATE, of
/// empty DATA and of unknown frames it answers or ignores one by one (the family of CVE-2019-9512 to 9518).
/// Each such frame is paid for from an allowance that grows with time, with requests and with what the
/// gate sends; a connection that has used it up is closed.
pub(super) struct Metered {
    wire: Wire,
    frames: Frames,
    allowance: f64,
    filled: Instant,
}

/// Idle frames that a connection may send at once, and how many more each second.
const BURST: f64 = 1000.0;
const PER_SECOND: f64 = 50.0;
/// How many more for each request.
const PER_REQUEST: f64 = 8.0;
/// Bytes sent for which one more is allowed: a caller acknowledges what it takes by WINDOW_UPDATE.
const BYTES_PER_FRAME: f64 = 32.0;

/// Finds the heads of frames in what comes (RFC 9113 section 4.1).
#[derive(Default)]
struct Frames {
    /// Of a frame's head, as much as has come.
    head: [u8; HEAD],
    known: usize,
    /// What is left of the payload under way, or of the preface.
    skip: usize,
}

const HEAD: usize = 9;
const PREFACE: usize = 24;

/// What a frame does to the allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    /// Carries something.
    Useful,
    /// Carries nothing that anybody asked for.
    Idle,
}

impl Frames {
    fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(Kind)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes.advance(skipped);
            let wanted = (HEAD - self.known).min(bytes.len());
            if let (Some(room), Some(come)) = (self.head.get_mut(self.known..self.known + wanted), bytes.get(..wanted))
            {
                room.copy_from_slice(come);
            }
            self.known += wanted;
            bytes.advance(wanted);
            if self.known == HEAD {
                let [a, b, c, kind, ..] = self.head;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.known = 0;
                found(match (kind, self.skip) {
                    (0x1, _) => Kind::Request,
                    (0x0 | 0x9, 1..) => Kind::Useful,
                    _ => Kind::Idle,
                });
            }
        }
    }
}

impl Metered {
    pub(super) fn new(wire: Wire) -> Metered {
        let frames = Frames { skip: PREFACE, ..Frames::default() };
        Metered { wire, frames, allowance: BURST, filled: Instant::now() }
    }

    /// Counts what came. An error where the allowance is used up.
    fn count(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut spent, mut earned) = (0.0, 0.0);
        self.frames.read(bytes, |kind| match kind {
            Kind::Request => earned += PER_REQUEST,
            Kind::Useful => {}
            Kind::Idle => spent += 1.0,
        });
        if spent == 0.0 && earned == 0.0 {
            return Ok(());
        }
        let now = Instant::now();
        earned += now.duration_since(self.filled).as_secs_f64() * PER_SECOND;
        self.filled = now;
        self.allowance = (self.allowance + earned).min(BURST) - spent;
        match self.allowance < 0.0 {
            true => Err(io::Error::other("the caller sends too many frames that carry nothing")),
            false => Ok(()),
        }
    }

    fn sent(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = written {
            self.allowance = (self.allowance + count as f64 / BYTES_PER_FRAME).min(BURST);
        }
        written
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.wire).poll_read(cx, buf))?;
        Poll::Ready(this.count(buf.filled().get(before..).unwrap_or_default()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.wire).poll_write(cx, buf);
        self.sent(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.wire).poll_write_vectored(cx, bufs);
        self.sent(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_they_are_cut() {
        fn frame(length: u8, kind: u8) -> Vec<u8> {
            [vec![0, 0, length, kind, 0, 0, 0, 0, 1], vec![0; length.into()]].concat()
        }
        let frames = [frame(6, 0x4), frame(20, 0x1), frame(0, 0x0), frame(200, 0x0), frame(0, 0x9), frame(8, 0x6)];
        let bytes = [vec![b'p'; PREFACE], frames.concat()].concat();
        for cut in [1, 2, 7, 9, 10, 1000] {
            let mut reader = Frames { skip: PREFACE, ..Frames::default() };
            let mut found = Vec::new();
            bytes.chunks(cut).for_each(|piece| reader.read(piece, |kind| found.push(kind)));
            use Kind::{Idle, Request, Useful};
            assert_eq!(found, [Idle, Request, Idle, Useful, Idle, Idle], "{cut}");
        }
    }
}
