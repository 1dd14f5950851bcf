//! Open sockets on their way from one process to another (SCM_RIGHTS), so that a new gate goes on where the old
//! one listened: the system's queue of connections stays with the socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// How many go with one message; Linux allows 253.
const BATCH: usize = 64;

/// Sends sockets, in order. The other side gets its own handles of them.
pub fn send(stream: &UnixStream, sockets: &[TcpListener]) -> io::Result<()> {
    for batch in sockets.chunks(BATCH) {
        let handles: Vec<BorrowedFd<'_>> = batch.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&handles)) {
            return Err(io::Error::other("too many sockets for one message"));
        }
        // A message must carry a byte, or the sockets with it are lost.
        sendmsg(stream, &[IoSlice::new(b".")], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives `count` sockets.
pub fn receive(stream: &UnixStream, count: usize) -> io::Result<Vec<TcpListener>> {
    let mut sockets = Vec::new();
    while sockets.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let received = recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let before = sockets.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(handles) = message {
                sockets.extend(handles.map(|handle: OwnedFd| TcpListener::from(handle)));
            }
        }
        if received.bytes == 0 || sockets.len() == before {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the other gate sent fewer sockets than it announced",
            ));
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    #[test]
    fn a_socket_arrives_with_its_queue() {
        let listeners: Vec<TcpListener> = (0..BATCH + 3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let mut caller = TcpStream::connect(listeners[BATCH].local_addr().unwrap()).unwrap();
        caller.write_all(b"hello").unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        send(&near, &listeners).unwrap();
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        drop(listeners);
        let arrived = receive(&far, BATCH + 3).unwrap();
        assert!(arrived.iter().map(|listener| listener.local_addr().unwrap()).eq(addresses));
        let mut word = [0; 5];
        arrived[BATCH].accept().unwrap().0.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"hello");
        drop(near);
        assert_eq!(receive(&far, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
