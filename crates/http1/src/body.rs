//! The body of a message, piece by piece, whatever says where it ends.

use crate::chunked::{ChunkFault, Decoder, Piece};
use crate::framing::Length;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;

/// Reads one body.
#[derive(Debug)]
pub struct Reader(State);

#[derive(Debug)]
enum State {
    Exact(u64),
    Chunked(Decoder),
    UntilClose,
    Ended,
}

/// What comes next of a body.
#[derive(Debug, PartialEq)]
pub enum Next {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// More bytes must come.
    More,
}

/// How a body stands when its connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtClose {
    Whole,
    /// A part is missing.
    Broken,
}

impl Reader {
    pub fn new(length: Length) -> Reader {
        Reader(match length {
            Length::Exact(0) => State::Ended,
            Length::Exact(length) => State::Exact(length),
            Length::Chunked => State::Chunked(Decoder::default()),
            Length::UntilClose => State::UntilClose,
        })
    }

    pub fn ended(&self) -> bool {
        matches!(self.0, State::Ended)
    }

    /// How many bytes are still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self.0 {
            State::Exact(left) => Some(left),
            State::Ended => Some(0),
            State::Chunked(_) | State::UntilClose => None,
        }
    }

    /// Takes the next piece out of what has come.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Next, ChunkFault> {
        match &mut self.0 {
            State::Ended => Ok(Next::End),
            State::Exact(_) | State::UntilClose if input.is_empty() => Ok(Next::More),
            State::UntilClose => Ok(Next::Data(input.split().freeze())),
            State::Exact(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.0 = State::Ended;
                }
                Ok(Next::Data(input.split_to(taken).freeze()))
            }
            State::Chunked(decoder) => match decoder.decode(input)? {
                None => Ok(Next::More),
                Some(Piece::Data(data)) => Ok(Next::Data(data)),
                Some(Piece::End(trailers)) => {
                    self.0 = State::Ended;
                    Ok(if trailers.is_empty() { Next::End } else { Next::Trailers(trailers) })
                }
            },
        }
    }

    /// The other side has closed: an answer without a length is whole, everything else is cut short.
    pub fn close(&mut self) -> AtClose {
        match self.0 {
            State::Ended => AtClose::Whole,
            State::UntilClose => {
                self.0 = State::Ended;
                AtClose::Whole
            }
            State::Exact(_) | State::Chunked(_) => AtClose::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every piece in letters: data as it is, `|` for the end, `+` where more must come.
    fn check(length: Length, input: &str, expected: &str, left: &str, at_close: AtClose) {
        let (mut reader, mut input, mut found) = (Reader::new(length), BytesMut::from(input), String::new());
        loop {
            match reader.next(&mut input).unwrap() {
                Next::Data(data) => found.push_str(std::str::from_utf8(&data).unwrap()),
                Next::Trailers(trailers) => found.push_str(&format!("{trailers:?}")),
                Next::End => break found.push('|'),
                Next::More => break found.push('+'),
            }
        }
        assert_eq!((found.as_str(), std::str::from_utf8(&input).unwrap()), (expected, left));
        assert_eq!(reader.close(), at_close);
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        use AtClose::{Broken, Whole};
        check(Length::NONE, "next", "|", "next", Whole);
        check(Length::Exact(3), "abcnext", "abc|", "next", Whole);
        check(Length::Exact(5), "abc", "abc+", "", Broken);
        check(Length::UntilClose, "abc", "abc+", "", Whole);
        check(Length::Chunked, "3\r\nabc\r\n0\r\n\r\nnext", "abc|", "next", Whole);
        check(Length::Chunked, "0\r\na: b\r\n\r\n", "{\"a\": \"b\"}|", "", Whole);
        check(Length::Chunked, "3\r\nabc\r\n", "abc+", "", Broken);
    }
}
