//! One connection: its handshake, and which protocol is spoken on it.

use super::{Core, Peer, http1, http2};
use net::stream::Stream;
use net::wire::Wire;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Serves a connection to its end.
pub(super) async fn serve(
    core: Rc<Core>,
    stream: TcpStream,
    peer: Peer,
    http2_offered: bool,
    stop: watch::Receiver<bool>,
) {
    // A segment that waits for another to fill it only makes answers late.
    let _ = stream.set_nodelay(true);
    if !peer.tls {
        return http1::serve(core, Wire::new(Stream::Plain(stream)), peer, http2_offered, stop).await;
    }
    let plan = core.shared.plan.load_full();
    let accepted = net::accept::tls_accept(stream, move |name| plan.caller_tls.config(http2_offered, name));
    // A failed handshake is the caller's affair, and scanners make many.
    let Ok(Ok((stream, handshake))) =
        tokio::time::timeout(core.shared.conduct.load().limits.head_timeout, accepted).await
    else {
        return;
    };
    let server_name = handshake.server_name.map(Arc::from);
    let peer = Peer { server_name, certificate: handshake.certificate, ..peer };
    match handshake.http2 {
        true => http2::serve(core, Wire::new(stream), peer, stop).await,
        false => http1::serve(core, Wire::new(stream), peer, false, stop).await,
    }
}
