//! The server's side of a TLS connection.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use crate::client_certificate::ClientCertificate;
use crate::stream::Stream;

/// What a handshake settled.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// The server name that the caller asked for, in lower case.
    pub server_name: Option<Box<str>>,
    /// What the caller has shown, where it was asked to.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// Whether HTTP/2 was agreed on by ALPN.
    pub http2: bool,
}

/// Does the handshake, with the configuration for the server name that is asked for. The caller of this function sets
/// the deadline.
pub async fn tls_accept(
    stream: TcpStream,
    config: impl FnOnce(Option<&str>) -> Arc<ServerConfig>,
) -> io::Result<(Stream, Handshake)> {
    let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let asked = begun.client_hello().server_name().map(str::to_ascii_lowercase);
    let stream = begun.into_stream(config(asked.as_deref())).await?;
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates().map(<[_]>::to_vec);
    let handshake = Handshake {
        server_name: session.server_name().map(|name| name.to_ascii_lowercase().into()),
        certificate: chain.and_then(ClientCertificate::of).map(Arc::new),
        http2: session.alpn_protocol() == Some(b"h2"),
    };
    Ok((Stream::tls(stream), handshake))
}
