//! Connections that go on as something else (RFC 9110 section 7.8): bytes in both directions.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

/// Joins caller and service once both have switched protocols, until both are done.
pub fn open(caller: OnUpgrade, service: OnUpgrade) {
    tokio::task::spawn_local(async move {
        let (Ok(caller), Ok(service)) = (caller.await, service.await) else { return };
        let (mut caller, mut service) = (TokioIo::new(caller), TokioIo::new(service));
        // How a tunnel ends is the business of its two ends.
        let _ = tokio::io::copy_bidirectional(&mut caller, &mut service).await;
    });
}
