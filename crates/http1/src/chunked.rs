//! Chunked bodies (RFC 9112 section 7.1).

use crate::head::{self, Limits, Scan};
use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use memchr::memchr;
use thiserror::Error;

/// Why a chunked body cannot be read any further.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ChunkFault {
    #[error("the size of a chunk is malformed")]
    Size,
    #[error("the data of a chunk is longer or shorter than its size")]
    Data,
    #[error("the extension of a chunk is malformed, or the extensions are too long")]
    Extension,
    #[error("the trailers are malformed or too long")]
    Trailers,
}

/// A piece of a chunked body.
#[derive(Debug, PartialEq)]
pub enum Piece {
    Data(Bytes),
    /// The end, with its trailers.
    End(HeaderMap),
}

/// The most bytes that all the chunk extensions of a body may have together; they are dropped.
const EXTENSIONS: usize = 4096;
/// The longest line that can be the size of a chunk, leading zeros included.
const SIZE_DIGITS: usize = 16;
const TRAILERS: Limits = Limits { bytes: 8192, fields: 32 };

/// Reads a chunked body.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// How far the line under way was looked at.
    seen: usize,
    extensions: usize,
}

#[derive(Debug)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers(Scan),
    Ended,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder { state: State::Size, seen: 0, extensions: 0 }
    }
}

impl Decoder {
    pub fn ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// The next piece of what has come; `None` if more must come.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Piece>, ChunkFault> {
        loop {
            match &mut self.state {
                State::Size => match self.size(input)? {
                    None => return Ok(None),
                    Some(0) => self.state = State::Trailers(Scan::default()),
                    Some(size) => self.state = State::Data(size),
                },
                State::Data(_) if input.is_empty() => return Ok(None),
                State::Data(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::DataEnd;
                    }
                    return Ok(Some(Piece::Data(input.split_to(taken).freeze())));
                }
                State::DataEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        self.state = State::Size;
                    }
                    None if matches!(**input, [] | [b'\r']) => return Ok(None),
                    _ => return Err(ChunkFault::Data),
                },
                State::Trailers(scan) => {
                    let end = scan.end(input, TRAILERS.bytes).map_err(|_| ChunkFault::Trailers)?;
                    let Some(end) = end else { return Ok(None) };
                    let lines = input.split_to(end).freeze();
                    let trailers = head::fields(&lines, &lines, TRAILERS).map_err(|_| ChunkFault::Trailers)?;
                    self.state = State::Ended;
                    return Ok(Some(Piece::End(trailers)));
                }
                State::Ended => return Ok(None),
            }
        }
    }

    /// Takes the line with a chunk's size.
    fn size(&mut self, input: &mut BytesMut) -> Result<Option<u64>, ChunkFault> {
        let Some(found) = memchr(b'\n', input.get(self.seen..).unwrap_or_default()) else {
            self.seen = input.len();
            // Nonsense shows early, and must not be waited for to its end.
            hexadecimal(input)?;
            if memchr(b'\r', input).is_some_and(|at| at + 1 < input.len()) {
                return Err(ChunkFault::Size);
            }
            return if input.len() > SIZE_DIGITS + EXTENSIONS { Err(ChunkFault::Extension) } else { Ok(None) };
        };
        let newline = self.seen + found;
        let line = input.get(..newline).and_then(|line| line.strip_suffix(b"\r")).ok_or(ChunkFault::Size)?;
        let (size, digits) = hexadecimal(line)?;
        let extension = line.get(digits..).unwrap_or_default();
        if digits == 0 || memchr(b'\r', line).is_some() {
            return Err(ChunkFault::Size);
        }
        self.extensions += extension.len();
        if self.extensions > EXTENSIONS || !extension.iter().all(|byte| head::is_value(*byte)) {
            return Err(ChunkFault::Extension);
        }
        input.advance(newline + 1);
        self.seen = 0;
        Ok(Some(size))
    }
}

/// The number at the beginning, and how many digits it has; after it nothing stands but an extension or
/// the end of the line.
fn hexadecimal(text: &[u8]) -> Result<(u64, usize), ChunkFault> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let follows = text.get(digits);
    if digits > SIZE_DIGITS || !matches!(follows, None | Some(b';' | b'\r')) || (digits == 0 && follows.is_some()) {
        return Err(ChunkFault::Size);
    }
    let digit = |number: u64, byte: &u8| number << 4 | (*byte as char).to_digit(16).map_or(0, u64::from);
    Ok((text.iter().take(digits).fold(0, digit), digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The body and its trailers, however it is cut; `None` if its end is missing.
    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, Option<HeaderMap>, usize), ChunkFault> {
        let (mut decoder, mut input, mut data) = (Decoder::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            input.extend_from_slice(piece);
            while let Some(piece) = decoder.decode(&mut input)? {
                match piece {
                    Piece::Data(bytes) => data.extend_from_slice(&bytes),
                    Piece::End(trailers) => return Ok((data, Some(trailers), input.len())),
                }
            }
        }
        Ok((data, None, input.len()))
    }

    fn check(text: &str, expected: Result<(&str, bool), ChunkFault>) {
        let whole = decode(&[text.as_bytes()]);
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        let slowly = decode(&bytes);
        let shape = |found: Result<(Vec<u8>, Option<HeaderMap>, usize), ChunkFault>| {
            found.map(|(data, trailers, _)| (String::from_utf8(data).unwrap(), trailers.is_some()))
        };
        let expected = expected.map(|(data, ended)| (data.to_owned(), ended));
        assert_eq!(shape(whole), expected, "{text:?}");
        assert_eq!(shape(slowly), expected, "{text:?} byte by byte");
    }

    #[test]
    fn reads_bodies() {
        check("0\r\n\r\n", Ok(("", true)));
        check("5\r\nhello\r\n0\r\n\r\nGET", Ok(("hello", true)));
        check("5;a=b;c=\"d\"\r\nhello\r\n000A\r\n0123456789\r\n00\r\nx: y\r\n\r\n", Ok(("hello0123456789", true)));
        check("5\r\nhel", Ok(("hel", false)));
        check("5\r\nhello\r\n", Ok(("hello", false)));
        check("0\r\nx: y\r\n", Ok(("", false)));
        let (_, trailers, left) = decode(&[b"0\r\nx: y\r\nX: z\r\n\r\nGET /"]).unwrap();
        assert_eq!((trailers.unwrap().get_all("x").iter().count(), left), (2, 5));
    }

    #[test]
    fn refuses_what_others_may_read_otherwise() {
        use ChunkFault as F;
        for size in [
            "\r\n",
            " 5\r\n",
            "5 \r\n",
            "5 ;a\r\n",
            "0x5\r\n",
            "+5\r\n",
            "-5\r\n",
            "5_0\r\n",
            "5,\r\n",
            "5\n",
            "5\rh",
            "g\r\n",
            "ffffffffffffffff1\r\n",
            "\n",
            ";a\r\n",
        ] {
            check(size, Err(F::Size));
        }
        check("5\r\nhello!\r\n", Err(F::Data));
        check("5\r\nhello\n0\r\n\r\n", Err(F::Data));
        check("5\r\nhello0\r\n\r\n", Err(F::Data));
        check("5;a\u{0}\r\nhello\r\n", Err(F::Extension));
        check("5;a\rb\r\nhello\r\n", Err(F::Size));
        check("5;a\nhello\r\n", Err(F::Size));
        check(&format!("5;{}", "a".repeat(5000)), Err(F::Extension));
        check(&format!("1;{0}\r\nx\r\n1;{0}\r\nx\r\n", "a".repeat(3000)), Err(F::Extension));
        check("0\r\nx\r\n\r\n", Err(F::Trailers));
        check("0\r\nx: y\r\n z\r\n\r\n", Err(F::Trailers));
        check("0\r\nx: y\n\r\n", Err(F::Trailers));
        check("0\r\n\n", Err(F::Trailers));
        check(&format!("0\r\nx: {}\r\n\r\n", "a".repeat(9000)), Err(F::Trailers));
    }

    proptest! {
        /// However a body is cut into chunks and the chunks into packets, the same bytes come out.
        #[test]
        fn any_cut_gives_the_same_body(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            cut in 1_usize..9,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\nnext");
            let packets: Vec<&[u8]> = wire.chunks(cut).collect();
            let (data, trailers, _) = decode(&packets).unwrap();
            prop_assert_eq!(data, chunks.concat());
            prop_assert!(trailers.is_some());
        }
    }
}
