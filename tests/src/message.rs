//! HTTP/1.1 messages as they stand on the wire: just enough of RFC 9112 to record what was sent and
//! to see where a message ends, written apart from the gate so that both cannot share a mistake.

use serde_json::Value;
use std::io::{self, BufRead, Read};

/// A head with its bytes as they came.
#[derive(Debug, Clone)]
pub struct Head {
    pub raw: Vec<u8>,
    pub first_line: String,
    pub fields: Vec<(String, String)>,
}

/// A body, freed of its framing.
#[derive(Debug, Clone, Default)]
pub struct Body {
    pub content: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// With chunk sizes and trailers.
    pub raw: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Nothing,
    Length(u64),
    Chunked,
    UntilClose,
}

/// An answer as a client sees it.
#[derive(Debug, Clone)]
pub struct Answer {
    pub version: String,
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Head {
    /// Reads to the empty line; `None` when the peer has nothing more to say.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
        let mut raw = Vec::new();
        let mut lines = Vec::new();
        loop {
            let Some(line) = read_line(reader, &mut raw)? else {
                return if raw.is_empty() { Ok(None) } else { Err(cut_short("a head")) };
            };
            if line.is_empty() && !lines.is_empty() {
                break;
            }
            if !line.is_empty() {
                lines.push(line);
            }
        }
        let first_line = lines.remove(0);
        Ok(Some(Head { raw, first_line, fields: lines.iter().map(|line| field(line)).collect() }))
    }

    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        values(&self.fields, name)
    }

    /// How the body of this head is framed; `otherwise` when the head does not say.
    pub fn framing(&self, otherwise: Framing) -> Framing {
        if self.values("transfer-encoding").any(|coding| coding.to_ascii_lowercase().contains("chunked")) {
            return Framing::Chunked;
        }
        match self.values("content-length").next().map(str::parse) {
            Some(Ok(length)) => Framing::Length(length),
            Some(Err(_)) => panic!("content-length is no number: {:?}", self.fields),
            None => otherwise,
        }
    }
}

impl Body {
    pub fn read(reader: &mut impl BufRead, framing: Framing) -> io::Result<Body> {
        let mut body = Body::default();
        match framing {
            Framing::Nothing => {}
            Framing::Length(length) => body.take(reader, length)?,
            Framing::UntilClose => {
                reader.read_to_end(&mut body.content)?;
            }
            Framing::Chunked => return Body::read_chunks(reader),
        }
        body.raw = body.content.clone();
        Ok(body)
    }

    fn read_chunks(reader: &mut impl BufRead) -> io::Result<Body> {
        let mut body = Body::default();
        loop {
            let line = read_line(reader, &mut body.raw)?.ok_or_else(|| cut_short("a chunk size"))?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size =
                u64::from_str_radix(digits, 16).map_err(|_| io::Error::other(format!("{line:?} is no chunk size")))?;
            if size == 0 {
                break;
            }
            let before = body.content.len();
            body.take(reader, size)?;
            let chunk = body.content[before..].to_vec();
            body.raw.extend(chunk);
            read_line(reader, &mut body.raw)?;
        }
        while let Some(line) = read_line(reader, &mut body.raw)?.filter(|line| !line.is_empty()) {
            body.trailers.push(field(&line));
        }
        Ok(body)
    }

    fn take(&mut self, reader: &mut impl BufRead, length: u64) -> io::Result<()> {
        match reader.take(length).read_to_end(&mut self.content)? as u64 == length {
            true => Ok(()),
            false => Err(cut_short("a body")),
        }
    }
}

impl Answer {
    /// Reads one answer; interim ones (1xx) are passed over, save 101 that ends HTTP.
    pub fn read(reader: &mut impl BufRead, to_head: bool) -> io::Result<Answer> {
        loop {
            let head = Head::read(reader)?.ok_or_else(|| cut_short("the answer: nothing"))?;
            let answer = Answer::of_head(&head)?;
            if (100..200).contains(&answer.status) && answer.status != 101 {
                continue;
            }
            let bodiless = to_head || matches!(answer.status, 101 | 204 | 304);
            let framing = if bodiless { Framing::Nothing } else { head.framing(Framing::UntilClose) };
            return Ok(Answer { body: Body::read(reader, framing)?.content, ..answer });
        }
    }

    /// A status line and fields, without a body yet.
    pub fn of_head(head: &Head) -> io::Result<Answer> {
        let mut words = head.first_line.split(' ');
        let version = words.next().unwrap_or_default().trim_start_matches("HTTP/").to_owned();
        let status = words.next().unwrap_or_default().parse();
        let status = status.map_err(|_| io::Error::other(format!("{:?} is no status line", head.first_line)))?;
        Ok(Answer { version, status, fields: head.fields.clone(), body: Vec::new() })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        values(&self.fields, name).next()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    #[track_caller]
    pub fn expect_status(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "status; fields {:?}, body {}", self.fields, self.text());
        self
    }
}

fn values<'a>(fields: &'a [(String, String)], name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let name = name.to_owned();
    fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(&name)).map(|(_, value)| value.as_str())
}

/// One line without its end; `None` at the end of the stream.
fn read_line(reader: &mut impl BufRead, raw: &mut Vec<u8>) -> io::Result<Option<String>> {
    let start = raw.len();
    if reader.read_until(b'\n', raw)? == 0 {
        return Ok(None);
    }
    // Every byte is one character: what is recorded must not depend on being UTF-8.
    let line: String = raw[start..].iter().map(|byte| char::from(*byte)).collect();
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Only the value is trimmed: a name with white space at its end is a finding, not noise.
fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_owned(), value.trim().to_owned())
}

fn cut_short(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("{what} was cut short"))
}
