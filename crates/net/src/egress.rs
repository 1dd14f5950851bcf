//! Connections to upstreams: name, address, TCP, TLS, all under one deadline.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::{CertificateError, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::dns::{Names, Place};

/// Why there is no connection. In every case nothing of the request was sent, so it may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address, or none came in time.
    #[error(
        "the host name \"{host}\" could not be resolved: {reason}; check the host of the service and the DNS servers"
    )]
    Name {
        /// The name.
        host: String,
        /// The resolver's words.
        reason: Arc<str>,
    },
    /// The machine is there, and nobody listens on the port.
    #[error("connection to {addr} refused: nothing listens there; check that the upstream runs and its port")]
    Refused {
        /// The last address tried.
        addr: SocketAddr,
    },
    /// The network has no way there.
    #[error("connection to {addr} failed: {source}; check the route and firewalls to the upstream")]
    Unreachable {
        /// The last address tried.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// No answer in time.
    #[error("connection to {addr} timed out: no answer within connect_timeout; a firewall may be dropping packets")]
    Timeout {
        /// The last address tried.
        addr: SocketAddr,
    },
    /// Our own fault, not the upstream's: out of file descriptors or local ports.
    #[error(
        "no connection to {addr} could be opened: {source}; this machine is out of file descriptors (raise LimitNOFILE) or local ports"
    )]
    Exhausted {
        /// The address to be connected to.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// TLS cannot be spoken to such a name.
    #[error("\"{name}\" cannot be used as a TLS server name; it must be a DNS name or an IP address")]
    ServerName {
        /// The name.
        name: String,
    },
    /// The handshake was not done in time.
    #[error(
        "the TLS handshake with \"{name}\" was not done within connect_timeout; check that the upstream speaks TLS on this port"
    )]
    TlsTimeout {
        /// The name of the upstream.
        name: String,
    },
    /// The upstream's certificate is not believed.
    #[error(
        "the certificate of \"{name}\" was not accepted: {reason}; add its CA to ca_certificates, or correct name or certificate"
    )]
    Certificate {
        /// The name of the upstream.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The handshake failed otherwise.
    #[error("the TLS handshake with \"{name}\" failed: {source}; check that the upstream speaks TLS on this port")]
    Tls {
        /// The name of the upstream.
        name: String,
        /// The library's or the system's words.
        source: io::Error,
    },
}

/// Looks up a host by `deadline`: a DNS name or an IP address (IPv6 with or without brackets).
pub async fn look_up(names: &Arc<Names>, host: &str, deadline: Instant) -> Result<(Arc<[Place]>, Until), ConnectError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok((Arc::new([Place::of(ip)]), None));
    }
    let failed = |reason| ConnectError::Name { host: host.to_owned(), reason };
    let known = by(deadline, names.look_up(host)).await;
    let known = known.ok_or_else(|| failed("no answer within connect_timeout".into()))?;
    Ok((known.answer.map_err(failed)?, Some(known.until.into())))
}

/// When a name must be looked up again; an address never.
pub type Until = Option<Instant>;

/// Until when the next one of so many addresses may take: an equal share of the time that is left, so that one which
/// never answers leaves time for the others.
pub fn share(deadline: Instant, addresses: usize) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / u32::try_from(addresses).unwrap_or(u32::MAX).max(1)
}

/// Connects to an address by `deadline`.
pub async fn connect(addr: SocketAddr, deadline: Instant) -> Result<TcpStream, ConnectError> {
    let connected = match by(deadline, TcpStream::connect(addr)).await {
        None => return Err(ConnectError::Timeout { addr }),
        Some(connected) => connected,
    };
    // Requests are written whole: waiting for more to send (Nagle) only adds delay.
    connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream)).map_err(|source| classify(addr, source))
}

/// Speaks TLS over a connection by `deadline`. `server_name` is what the certificate must be for.
/// The protocol agreed by ALPN is `stream.get_ref().1.alpn_protocol()`.
pub async fn tls_connect<S>(
    stream: S,
    config: Arc<ClientConfig>,
    server_name: &str,
    deadline: Instant,
) -> Result<TlsStream<S>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bare = server_name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(server_name);
    let name = || server_name.to_owned();
    let wanted = ServerName::try_from(bare.to_owned()).map_err(|_| ConnectError::ServerName { name: name() })?;
    match by(deadline, TlsConnector::from(config).connect(wanted, stream)).await {
        None => Err(ConnectError::TlsTimeout { name: name() }),
        Some(Ok(stream)) => Ok(stream),
        Some(Err(source)) => Err(match certificate_error(&source) {
            Some(reason) => ConnectError::Certificate { name: name(), reason },
            None => ConnectError::Tls { name: name(), source },
        }),
    }
}

fn classify(addr: SocketAddr, source: io::Error) -> ConnectError {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    match (source.kind(), source.raw_os_error()) {
        (io::ErrorKind::ConnectionRefused, _) => ConnectError::Refused { addr },
        (io::ErrorKind::TimedOut, _) => ConnectError::Timeout { addr },
        (io::ErrorKind::AddrNotAvailable, _) | (_, Some(ENFILE | EMFILE)) => ConnectError::Exhausted { addr, source },
        _ => ConnectError::Unreachable { addr, source },
    }
}

/// What is wrong with the upstream's certificate, if that is what the handshake failed for.
fn certificate_error(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some("no trusted CA has issued it".to_owned())
        }
        // The library prints what is inside as a Rust value.
        rustls::Error::InvalidCertificate(CertificateError::Other(inner)) => Some(inner.0.to_string()),
        rustls::Error::InvalidCertificate(error) => Some(error.to_string()),
        _ => None,
    }
}

/// The outcome, or `None` when the deadline comes first; a deadline in the past starts nothing.
async fn by<F: Future>(deadline: Instant, work: F) -> Option<F::Output> {
    if deadline <= Instant::now() {
        return None;
    }
    timeout_at(deadline, work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns;
    use crate::handshake::{Issuer, server, trusting};
    use std::time::Duration;
    use tokio::net::TcpListener;
    use tokio::runtime::Handle;
    use tokio_rustls::TlsAcceptor;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    async fn check(host: &str, port: u16, deadline: Instant, expect: &str) {
        let names = Names::new(dns::Settings::default(), Handle::current()).unwrap();
        let connected = async {
            let (places, _) = look_up(&names, host, deadline).await?;
            connect((places[0].ip, port).into(), deadline).await
        };
        let outcome = match connected.await {
            Ok(stream) => format!("connected, nodelay {}", stream.nodelay().unwrap()),
            Err(error) => error.to_string(),
        };
        assert!(outcome.contains(expect), "{host}: {outcome}");
    }

    #[tokio::test]
    async fn connects_by_address_and_by_name() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        check("127.0.0.1", port, soon(), "connected, nodelay true").await;
        check("localhost", port, soon(), "connected, nodelay true").await;
    }

    #[tokio::test]
    async fn tells_failures_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        check("127.0.0.1", port, Instant::now(), "timed out").await;
        check("localhost", port, Instant::now(), "could not be resolved: no answer").await;
        drop(listener);
        check("127.0.0.1", port, soon(), "refused").await;
        check("[127.0.0.1]", port, soon(), "refused").await;
        // RFC 6761: never resolved.
        check("nothing.invalid", port, soon(), "\"nothing.invalid\" could not be resolved").await;
        check("bad name", port, soon(), "\"bad name\" could not be resolved").await;
    }

    #[tokio::test]
    async fn tells_tls_failures_apart() {
        async fn check(client: &Arc<ClientConfig>, upstream: &Issuer, name: &str, deadline: Instant, expect: &str) {
            let (near, far) = tokio::io::duplex(1 << 16);
            let acceptor = TlsAcceptor::from(server(upstream.issue(&["a.test", "::1"])));
            let (_, called) = tokio::join!(acceptor.accept(far), async {
                tls_connect(near, Arc::clone(client), name, deadline).await.map(|_| "connected")
            });
            let outcome = called.map_or_else(|error| error.to_string(), str::to_owned);
            assert!(outcome.contains(expect), "{outcome}");
        }
        let (issuer, stranger) = (Issuer::new(), Issuer::named("stranger"));
        let client = trusting(&issuer, |_| ());
        check(&client, &issuer, "a.test", soon(), "connected").await;
        check(&client, &issuer, "[::1]", soon(), "connected").await;
        check(&client, &issuer, "a.test", Instant::now(), "not done within").await;
        check(&client, &stranger, "a.test", soon(), "of \"a.test\" was not accepted: no trusted CA").await;
        check(&client, &issuer, "b.test", soon(), "of \"b.test\" was not accepted: certificate not valid").await;
        check(&client, &issuer, "b c", soon(), "cannot be used as a TLS server name").await;
        let shallow = trusting(&issuer, |options| options.verify_depth = Some(0));
        check(&shallow, &issuer.intermediate("between"), "a.test", soon(), "more than 0 intermediate").await;
    }

    #[tokio::test]
    async fn a_plain_text_upstream_is_a_failed_handshake() {
        use tokio::io::AsyncWriteExt;
        let (near, mut far) = tokio::io::duplex(1 << 16);
        far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let error = tls_connect(near, trusting(&Issuer::new(), |_| ()), "a.test", soon()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
    }
}
