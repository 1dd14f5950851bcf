//! Opening a listening socket, and telling the operator why one cannot be opened.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::{Keepalive, Listen};

/// Why a listening socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another socket holds the port without sharing it.
    #[error(
        "cannot listen on {addr}: another process already uses this port; \
         find it with `ss -ltnp sport = :{port}` and stop it, or choose another port",
        port = addr.port()
    )]
    InUse {
        /// The wanted address.
        addr: SocketAddr,
    },
    /// The process may not bind this port.
    #[error(
        "cannot listen on {addr}: permission denied; ports below 1024 need CAP_NET_BIND_SERVICE \
         (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE), or choose a port from 1024 upwards"
    )]
    Denied {
        /// The wanted address.
        addr: SocketAddr,
    },
    /// No interface of this machine has the address.
    #[error("cannot listen on {addr}: this machine does not have that address; choose one that `ip addr` shows")]
    NoSuchAddress {
        /// The wanted address.
        addr: SocketAddr,
    },
    /// Anything else the system had against it.
    #[error("cannot listen on {addr}: {source}")]
    Socket {
        /// The wanted address.
        addr: SocketAddr,
        /// The answer of the system.
        source: io::Error,
    },
}

/// Opens a non-blocking listening socket. Each worker opens its own, and the kernel spreads connections
/// over them (SO_REUSEPORT).
///
/// SO_REUSEPORT also means that a second gateway of the same user binds the same port without an error
/// and takes a share of the connections. The kernel allows this to no other user.
pub fn bind(listen: &Listen) -> Result<TcpListener, BindError> {
    let addr = listen.addr;
    open(listen).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { addr },
        io::ErrorKind::PermissionDenied => BindError::Denied { addr },
        io::ErrorKind::AddrNotAvailable => BindError::NoSuchAddress { addr },
        _ => BindError::Socket { addr, source },
    })
}

fn open(listen: &Listen) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(listen.addr), Type::STREAM, Some(Protocol::TCP))?;
    if listen.addr.is_ipv6() {
        socket.set_only_v6(listen.ipv6_only)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.addr.into())?;
    let socket = socket.into();
    adjust(&socket, listen)?;
    Ok(socket)
}

/// Gives a socket the options of an address, also one that listens already.
pub fn adjust(socket: &TcpListener, listen: &Listen) -> io::Result<()> {
    let socket = SockRef::from(socket);
    // Accepted sockets inherit this from the listener, which saves a system call for each connection.
    match listen.keepalive {
        Some(keepalive) => set_keepalive(&socket, keepalive)?,
        None => socket.set_keepalive(false)?,
    }
    socket.listen(i32::try_from(listen.backlog).unwrap_or(i32::MAX))
}

fn set_keepalive(socket: &SockRef<'_>, keepalive: Keepalive) -> io::Result<()> {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let mut probes = TcpKeepalive::new();
    if let Some(idle_s) = keepalive.idle_s {
        probes = probes.with_time(seconds(idle_s));
    }
    if let Some(interval_s) = keepalive.interval_s {
        probes = probes.with_interval(seconds(interval_s));
    }
    if let Some(count) = keepalive.probes {
        probes = probes.with_retries(count);
    }
    socket.set_tcp_keepalive(&probes)
}

#[cfg(test)]
mod tests {
    use super::super::parse_listens;
    use super::*;

    fn listen(text: &str) -> Listen {
        parse_listens(text).unwrap().remove(0)
    }

    #[test]
    fn workers_share_the_port_the_system_chose() {
        let wanted = listen("127.0.0.1:0 so_keepalive=60:10:5");
        let first = bind(&wanted).unwrap();
        let port = first.local_addr().unwrap().port();
        let second = bind(&wanted.with_port(port)).unwrap();
        assert_eq!(second.local_addr().unwrap(), first.local_addr().unwrap());
        assert!(SockRef::from(&second).keepalive().unwrap());
        assert_eq!(first.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn says_that_a_port_is_taken() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let error = bind(&listen("127.0.0.1:0").with_port(port)).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error}");
        assert!(error.to_string().contains(&format!("sport = :{port}")), "{error}");
    }

    #[test]
    fn says_that_an_address_is_not_ours() {
        let error = bind(&listen("192.0.2.1:0")).unwrap_err();
        assert!(matches!(error, BindError::NoSuchAddress { .. }), "{error}");
    }
}
