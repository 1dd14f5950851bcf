//! The server's side of a TLS connection.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::stream::Stream;

/// What a handshake settled.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// The server name that the caller asked for, in lower case.
    pub server_name: Option<Box<str>>,
    /// Whether HTTP/2 was agreed on by ALPN.
    pub http2: bool,
}

/// Does the handshake. The caller of this function sets the deadline.
pub async fn tls_accept(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<(Stream, Handshake)> {
    let stream = TlsAcceptor::from(config).accept(stream).await?;
    let (_, session) = stream.get_ref();
    let handshake = Handshake {
        server_name: session.server_name().map(|name| name.to_ascii_lowercase().into()),
        http2: session.alpn_protocol() == Some(b"h2"),
    };
    Ok((Stream::tls(stream), handshake))
}
