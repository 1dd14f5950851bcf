//! One core: a thread, a runtime, its own listening sockets and connections to services.

use super::date::Date;
use super::{Core, Peer, Shared, connection};
use crate::early::Early;
use crate::upstream::Pool;
use net::dns::Names;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

/// A socket to accept on, until it is told to stop.
#[derive(Debug)]
pub struct Listener {
    pub socket: std::net::TcpListener,
    pub tls: bool,
    pub http2: bool,
    pub stop: watch::Receiver<bool>,
}

/// A running core.
#[derive(Debug)]
pub struct Worker {
    thread: JoinHandle<()>,
    listeners: mpsc::UnboundedSender<Listener>,
}

/// How often connections that nobody uses are looked for, and settings of the pool are looked at.
const SWEEP: Duration = Duration::from_secs(10);

impl Worker {
    /// Starts a core, which accepts nowhere yet. It runs until `stop` turns true and its connections have ended,
    /// or `stop_timeout` is over.
    pub fn start(
        index: usize,
        shared: Arc<Shared>,
        names: Arc<Names>,
        stop: watch::Receiver<bool>,
    ) -> io::Result<Worker> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (listeners, arriving) = mpsc::unbounded_channel();
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            LocalSet::new().block_on(&runtime, run(shared, names, arriving, stop));
        })?;
        Ok(Worker { thread, listeners })
    }

    /// Where sockets go that it shall accept on.
    pub fn listeners(&self) -> mpsc::UnboundedSender<Listener> {
        self.listeners.clone()
    }

    /// Waits for the core to end.
    pub fn join(self) {
        // A panic was reported when it happened.
        let _ = self.thread.join();
    }
}

async fn run(
    shared: Arc<Shared>,
    names: Arc<Names>,
    mut arriving: mpsc::UnboundedReceiver<Listener>,
    mut stop: watch::Receiver<bool>,
) {
    let pool = Pool::new(names, shared.conduct.load().keepalive);
    let core = Rc::new(Core { shared: shared.clone(), pool: pool.clone(), date: Date::new() });
    let settings = shared.clone();
    let sweeper = tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            pool.set_keepalive(settings.conduct.load().keepalive);
            pool.sweep();
        }
    });
    let mut acceptors = JoinSet::new();
    loop {
        tokio::select! {
            Some(listener) = arriving.recv() => drop(acceptors.spawn_local(accept(core.clone(), listener))),
            Some(_) = acceptors.join_next(), if !acceptors.is_empty() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    let drained = async { while acceptors.join_next().await.is_some() {} };
    let limit = shared.conduct.load().stop_timeout;
    if tokio::time::timeout(limit, drained).await.is_err() {
        tracing::warn!(?limit, "requests were still under way when the time to stop was over");
    }
    sweeper.abort();
}

/// Accepts until told to stop, then waits for the connections to end.
async fn accept(core: Rc<Core>, listener: Listener) {
    let Listener { socket, tls, http2, mut stop } = listener;
    let port = socket.local_addr().map_or(0, |address| address.port());
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, port, "a listening socket cannot be used"),
    };
    let mut connections = JoinSet::new();
    let for_connections = stop.clone();
    let serve = |stream, address, connections: &mut JoinSet<()>| {
        if core.shared.counters.active.load(Relaxed) >= core.shared.conduct.load().limits.connections {
            return tracing::warn!(port, "a connection was closed: there are max_connections already");
        }
        let peer = peer(&core.shared, address, port, tls);
        connections.spawn_local(counted(core.clone(), stream, peer, http2, for_connections.clone()));
    };
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = socket.accept() => match accepted {
                Ok((stream, address)) => serve(stream, address, &mut connections),
                Err(error) => {
                    // Out of file descriptors: accepting again at once would only burn the core.
                    tracing::error!(%error, port, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    // Who was in the queue when the gate was told to stop has been let in by the system already. The runtime
    // may not know of them yet: the socket itself is asked.
    match socket.into_std() {
        Ok(socket) => {
            loop {
                match socket.accept() {
                    Ok((stream, address)) => {
                        if stream.set_nonblocking(true).is_ok()
                            && let Ok(stream) = TcpStream::from_std(stream)
                        {
                            serve(stream, address, &mut connections);
                        }
                    }
                    // One that has gone already says nothing of those behind it.
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
                    Err(_) => break,
                }
            }
        }
        Err(error) => tracing::error!(%error, port, "connections may be lost that waited to be accepted"),
    }
    while connections.join_next().await.is_some() {}
}

fn peer(shared: &Shared, address: SocketAddr, port: u16, tls: bool) -> Peer {
    let number = shared.counters.accepted.fetch_add(1, Relaxed) + 1;
    let address_header = crate::identity::header_value(&address.ip().to_canonical().to_string());
    Peer { address, address_header, port, tls, server_name: None, certificate: None, number, early: Early::default() }
}

async fn counted(core: Rc<Core>, stream: TcpStream, peer: Peer, http2: bool, stop: watch::Receiver<bool>) {
    let _active = Active::new(core.shared.clone());
    connection::serve(core, stream, peer, http2, stop).await;
}

/// Counts a connection as long as it lasts, however it ends.
struct Active(Arc<Shared>);

impl Active {
    fn new(shared: Arc<Shared>) -> Active {
        shared.counters.active.fetch_add(1, Relaxed);
        Active(shared)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.counters.active.fetch_sub(1, Relaxed);
    }
}
