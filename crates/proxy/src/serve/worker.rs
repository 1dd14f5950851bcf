//! One core: a thread, a runtime, its own listening sockets and connections to services.

use super::date::Date;
use super::{Core, Peer, Shared, connection};
use crate::upstream::Pool;
use net::egress::Egress;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

/// A socket that this worker accepts on.
pub struct Listener {
    pub socket: std::net::TcpListener,
    pub tls: bool,
    pub http2: bool,
}

/// A running core.
pub struct Worker {
    thread: JoinHandle<()>,
}

/// How often connections that nobody uses are looked for.
const SWEEP: Duration = Duration::from_secs(10);

impl Worker {
    /// Starts a core. It runs until `stop` turns true and its connections have ended, or `stop_timeout` is
    /// over.
    pub fn start(
        index: usize,
        shared: Arc<Shared>,
        egress: Arc<Egress>,
        listeners: Vec<Listener>,
        stop: watch::Receiver<bool>,
    ) -> io::Result<Worker> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            LocalSet::new().block_on(&runtime, run(shared, egress, listeners, stop));
        })?;
        Ok(Worker { thread })
    }

    /// Waits for the core to end.
    pub fn join(self) {
        // A panic was reported when it happened.
        let _ = self.thread.join();
    }
}

async fn run(shared: Arc<Shared>, egress: Arc<Egress>, listeners: Vec<Listener>, mut stop: watch::Receiver<bool>) {
    let pool = Pool::new(egress, shared.conduct.load().keepalive);
    let core = Rc::new(Core { shared: shared.clone(), pool: pool.clone(), date: Date::new() });
    let acceptors =
        listeners.into_iter().map(|listener| tokio::task::spawn_local(accept(core.clone(), listener, stop.clone())));
    let acceptors: Vec<_> = acceptors.collect();
    let sweeper = tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            pool.sweep();
        }
    });
    let _ = stop.wait_for(|stop| *stop).await;
    let drained = async {
        for acceptor in acceptors {
            let _ = acceptor.await;
        }
    };
    let limit = shared.conduct.load().stop_timeout;
    if tokio::time::timeout(limit, drained).await.is_err() {
        tracing::warn!(?limit, "requests were still under way when the time to stop was over");
    }
    sweeper.abort();
}

/// Accepts until told to stop, then waits for the connections to end.
async fn accept(core: Rc<Core>, listener: Listener, mut stop: watch::Receiver<bool>) {
    let Listener { socket, tls, http2 } = listener;
    let port = socket.local_addr().map_or(0, |address| address.port());
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, port, "a listening socket cannot be used"),
    };
    let mut connections = JoinSet::new();
    let for_connections = stop.clone();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = socket.accept() => match accepted {
                Ok((stream, address)) => {
                    let peer = peer(&core.shared, address, port, tls);
                    connections.spawn_local(counted(core.clone(), stream, peer, http2, for_connections.clone()));
                }
                Err(error) => {
                    // Out of file descriptors: accepting again at once would only burn the core.
                    tracing::error!(%error, port, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

fn peer(shared: &Shared, address: SocketAddr, port: u16, tls: bool) -> Peer {
    let number = shared.counters.accepted.fetch_add(1, Relaxed) + 1;
    let address_header = crate::identity::header_value(&address.ip().to_canonical().to_string());
    Peer { address, address_header, port, tls, server_name: None, number }
}

async fn counted(core: Rc<Core>, stream: tokio::net::TcpStream, peer: Peer, http2: bool, stop: watch::Receiver<bool>) {
    let shared = core.shared.clone();
    shared.counters.active.fetch_add(1, Relaxed);
    connection::serve(core, stream, peer, http2, stop).await;
    shared.counters.active.fetch_sub(1, Relaxed);
}
