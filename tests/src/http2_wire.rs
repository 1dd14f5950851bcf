//! One HTTP/2 connection with prior knowledge, frame by frame (RFC 9113 section 4).

use crate::DEADLINE;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

#[derive(Debug)]
pub struct Http2Wire(TcpStream);

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u8,
    pub payload: Vec<u8>,
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const WINDOW_UPDATE: u8 = 8;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

impl Http2Wire {
    /// Connects, and says these settings.
    pub fn connect(address: SocketAddr, settings: &[u8]) -> Http2Wire {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut wire = Http2Wire(stream);
        wire.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        wire.send(SETTINGS, 0, 0, settings);
        wire
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).expect("a short frame");
        self.0.write_all(&[&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()).unwrap();
    }

    /// Reads until there is such a frame, and returns all that came.
    pub fn until(&mut self, last: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !frames.last().is_some_and(&last) {
            let mut header = [0; 9];
            self.0.read_exact(&mut header).unwrap();
            let [highest, high, low, kind, flags, _, _, _, stream] = header;
            let length = u32::from_be_bytes([0, highest, high, low]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).unwrap();
            frames.push(Frame { kind, flags, stream, payload });
        }
        frames
    }
}

/// The head of `POST http://h` and this path, as HPACK without a table (RFC 7541 appendix A), with these fields:
/// the number of a name in the static table, from 16 on, and a value.
pub fn post(path: &str, fields: &[(u8, &str)]) -> Vec<u8> {
    let text = |value: &str| [&[value.len() as u8], value.as_bytes()].concat();
    let mut head = [&[0x83, 0x86, 0x04][..], &text(path), b"\x01\x01h"].concat();
    for (name, value) in fields {
        head.extend([&[0x0f, name - 15][..], &text(value)].concat());
    }
    head
}
