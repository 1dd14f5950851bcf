//! A client that sends exactly the bytes it is given, also such as no HTTP library would send.

use crate::{Answer, DEADLINE};
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

/// One connection, for several requests after each other.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Wire {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Wire {
        Wire::try_connect(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Wire { reader: BufReader::new(stream.try_clone()?), stream })
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A gate that refuses a request may close before it has read the whole: the answer tells.
        match self.stream.write_all(bytes.as_ref()) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                panic!("send: {error}")
            }
            _ => {}
        }
    }

    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.try_answer(false).unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// The answer to a HEAD request, whose framing fields announce a body that does not come.
    #[track_caller]
    pub fn answer_to_head(&mut self) -> Answer {
        self.try_answer(true).unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    pub fn try_answer(&mut self, to_head: bool) -> io::Result<Answer> {
        Answer::read(&mut self.reader, to_head)
    }
}

/// Sends bytes over a connection of their own and reads one answer.
#[track_caller]
pub fn raw(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    let mut wire = Wire::connect(address);
    wire.send(bytes);
    wire.answer()
}

/// An ordinary request over a connection of its own.
#[track_caller]
pub fn http(address: SocketAddr, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
    raw(address, request(address, method, target, fields, body))
}

/// As [`http`], of a server that may have gone.
pub fn try_http(
    address: SocketAddr,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut wire = Wire::try_connect(address)?;
    wire.stream.write_all(&request(address, method, target, fields, body))?;
    wire.try_answer(false)
}

fn request(address: SocketAddr, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in fields {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        bytes.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    bytes.push_str("\r\n");
    [bytes.as_bytes(), body].concat()
}
