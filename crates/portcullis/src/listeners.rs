//! The sockets that the gate listens on: opened, put to use, changed, and handed to a successor.

use net::listen::{self, Listen};
use proxy::serve::Listener;
use std::net::TcpListener;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Sockets that another gate has handed over, each with the address it was opened for.
pub type Inherited = Vec<(Listen, TcpListener)>;

/// Puts a socket to use; the number says which of an address's sockets it is.
type Use = Box<dyn Fn(usize, Listener) + Send + Sync>;

/// Everything the gate listens on for callers, or for its operators.
pub struct Listeners {
    /// How many sockets an address has: one for each core that accepts.
    each: usize,
    put_to_use: Use,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Vec<Open>,
    /// Nothing is opened any more: a successor may be listening there by now.
    stopped: bool,
}

/// One address.
struct Open {
    /// As the settings name it, be it with port 0.
    wanted: Listen,
    /// With the port that the system chose.
    listen: Listen,
    /// Handles of our own beside those in use: for a change of options, and for a successor.
    sockets: Vec<TcpListener>,
    stop: watch::Sender<bool>,
}

impl Listeners {
    pub fn new(each: usize, put_to_use: impl Fn(usize, Listener) + Send + Sync + 'static) -> Listeners {
        Listeners { each, put_to_use: Box::new(put_to_use), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens what is wanted and not open yet, and changes nothing. What another gate has handed over is used
    /// before anything is opened.
    pub fn prepare(&self, wanted: &[Listen], inherited: &mut Inherited) -> Result<Prepared, String> {
        let state = self.state();
        if state.stopped {
            return Err(STOPPING.to_owned());
        }
        let open = &state.open;
        let fresh = wanted.iter().filter(|wanted| !open.iter().any(|open| open.wanted == **wanted));
        let fresh = fresh.map(|wanted| {
            // The same sockets with other options: nobody in their queues is lost.
            let same = open.iter().find(|open| same_place(&open.wanted, wanted));
            let sockets = match same {
                Some(open) => open.sockets.iter().map(TcpListener::try_clone).collect::<Result<_, _>>(),
                None => Ok(take(inherited, wanted)),
            };
            self.bind(wanted, sockets.map_err(|error| cannot_share(&error))?)
        });
        let fresh: Vec<Open> = fresh.collect::<Result<_, String>>()?;
        // Shared here, where it may still fail: applying must not.
        let shared = |open: &Open| open.sockets.iter().map(TcpListener::try_clone).collect::<Result<Vec<_>, _>>();
        let in_use: Result<Vec<_>, _> = fresh.iter().map(shared).collect();
        let in_use = in_use.map_err(|error| cannot_share(&error))?;
        Ok(Prepared { wanted: wanted.to_vec(), fresh: fresh.into_iter().zip(in_use).collect() })
    }

    /// Sockets of one address, all on one port: where port 0 was asked for, the first finds it. More than are
    /// needed are used too: callers may wait in their queues.
    fn bind(&self, wanted: &Listen, mut sockets: Vec<TcpListener>) -> Result<Open, String> {
        let mut listen = wanted.clone();
        for socket in &sockets {
            listen::adjust(socket, wanted).map_err(|error| format!("{wanted}: {error}"))?;
        }
        if sockets.is_empty() {
            sockets.push(listen::bind(wanted).map_err(|error| error.to_string())?);
        }
        if let Some(Ok(address)) = sockets.first().map(TcpListener::local_addr) {
            listen = listen.with_port(address.port());
        }
        while sockets.len() < self.each {
            sockets.push(listen::bind(&listen).map_err(|error| error.to_string())?);
        }
        Ok(Open { wanted: wanted.clone(), listen, sockets, stop: watch::channel(false).0 })
    }

    /// Listens where it was prepared to, and nowhere else. A gate that has been told to stop meanwhile stays so.
    pub fn apply(&self, prepared: Prepared) {
        let mut state = self.state();
        if state.stopped {
            return;
        }
        let open = &mut state.open;
        let mut fresh = Vec::new();
        for (opened, in_use) in prepared.fresh {
            for (index, socket) in in_use.into_iter().enumerate() {
                let Listen { tls, http2, .. } = opened.listen;
                (self.put_to_use)(index, Listener { socket, tls, http2, stop: opened.stop.subscribe() });
            }
            fresh.push(opened);
        }
        open.retain(|open| {
            let stays = prepared.wanted.contains(&open.wanted);
            if !stays {
                let _ = open.stop.send(true);
            }
            stays
        });
        open.extend(fresh);
        open.sort_by_key(|open| prepared.wanted.iter().position(|wanted| *wanted == open.wanted));
    }

    /// Where the gate can be reached.
    pub fn addresses(&self) -> Vec<Listen> {
        self.state().open.iter().map(|open| open.listen.clone()).collect()
    }

    /// Handles of every socket, for a successor.
    pub fn share(&self) -> std::io::Result<Inherited> {
        let state = self.state();
        let sockets = state.open.iter().flat_map(|open| open.sockets.iter().map(|socket| (&open.wanted, socket)));
        sockets.map(|(wanted, socket)| Ok((wanted.clone(), socket.try_clone()?))).collect()
    }

    /// Takes no new connections but those that wait already.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        for open in state.open.drain(..) {
            // Our own handles first: those in use are then the last, and close when everybody is in.
            drop(open.sockets);
            let _ = open.stop.send(true);
        }
    }
}

const STOPPING: &str = "this gate is stopping";

/// Sockets that are open and not in use yet.
pub struct Prepared {
    wanted: Vec<Listen>,
    /// Each with the handles that are to be put to use.
    fresh: Vec<(Open, Vec<TcpListener>)>,
}

/// The inherited sockets of an address.
fn take(inherited: &mut Inherited, wanted: &Listen) -> Vec<TcpListener> {
    let of_place = |(listen, _): &(Listen, TcpListener)| listen == wanted || same_place(listen, wanted);
    let (taken, others): (Inherited, Inherited) = std::mem::take(inherited).into_iter().partition(of_place);
    *inherited = others;
    taken.into_iter().map(|(_, socket)| socket).collect()
}

/// Port 0 is another place each time.
fn same_place(one: &Listen, other: &Listen) -> bool {
    one.addr == other.addr && one.addr.port() != 0
}

fn cannot_share(error: &std::io::Error) -> String {
    format!("a listening socket cannot be shared: {error}")
}
