//! Connections that go on as something else (RFC 9110 section 7.8): bytes in both directions.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use tokio::task::JoinSet;

/// The tunnels of one core.
#[derive(Default)]
pub struct Tunnels(RefCell<JoinSet<()>>);

impl Tunnels {
    /// Waits until every tunnel has ended.
    pub async fn drained(&self) {
        let mut tunnels = std::mem::take(&mut *self.0.borrow_mut());
        while tunnels.join_next().await.is_some() {}
    }
}

/// Joins caller and service once both have switched protocols, until both are done.
pub fn open(tunnels: &Tunnels, caller: OnUpgrade, service: OnUpgrade) {
    let mut tunnels = tunnels.0.borrow_mut();
    while tunnels.try_join_next().is_some() {}
    tunnels.spawn_local(async move {
        let (Ok(caller), Ok(service)) = (caller.await, service.await) else { return };
        let (mut caller, mut service) = (TokioIo::new(caller), TokioIo::new(service));
        // How a tunnel ends is the business of its two ends.
        let _ = tokio::io::copy_bidirectional(&mut caller, &mut service).await;
    });
}
