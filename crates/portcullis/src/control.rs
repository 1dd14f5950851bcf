//! The door for `portcullis reload`: a socket in the data directory, which only its owner can enter.
//!
//! A request is a line with a word; the answer is a line of JSON.

use crate::gate::Gate;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

/// The socket's name in the data directory.
pub const SOCKET: &str = "control.sock";

/// What became of a reload.
#[derive(Debug, Deserialize, Serialize)]
pub enum Outcome {
    /// What is in force now, in words.
    Loaded(String),
    /// Why nothing changed, a violation a line.
    Refused(Vec<String>),
}

/// Opens the door. The socket of a gate that has ended is replaced. It does not block, as the runtime wants it.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another gate runs with this data directory; give each gate its own with the setting `data`",
        )),
        Err(_) => {
            let _ = std::fs::remove_file(path);
            let listener = UnixListener::bind(path)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        }
    }
}

/// Serves one request after the other.
pub async fn serve(listener: tokio::net::UnixListener, gate: Arc<Gate>) {
    while let Ok((stream, _)) = listener.accept().await {
        let gate = gate.clone();
        tokio::spawn(async move {
            let (read, mut write) = stream.into_split();
            let line = tokio::io::BufReader::new(read).lines().next_line().await;
            if !matches!(line.ok().flatten().as_deref(), Some("reload")) {
                return;
            }
            let outcome = tokio::task::spawn_blocking(move || gate.reload()).await;
            let outcome = match outcome {
                Ok(Ok(summary)) => Outcome::Loaded(summary),
                Ok(Err(violations)) => Outcome::Refused(violations),
                Err(error) => Outcome::Refused(vec![error.to_string()]),
            };
            let mut answer = serde_json::to_vec(&outcome).unwrap_or_default();
            answer.push(b'\n');
            // Whoever asked may be gone.
            let _ = write.write_all(&answer).await;
        });
    }
}

/// Asks a running gate to read its file again, and waits until that has happened.
pub fn ask(path: &Path) -> io::Result<Outcome> {
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(b"reload\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::other)
}
