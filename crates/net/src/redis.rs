//! Redis, for what several gates must know together: one server, a cluster, or the master that sentinels name.
//!
//! All that is asked for is one script on one key. A Redis that fails is left alone for a moment, so that its
//! troubles do not become the callers'.

use crate::egress;
use crate::fetch::{Fetcher, NOBODY, Tls};
use crate::rest::Rest;
use crate::shared::Shared;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

mod slot;

/// Where Redis is and how to speak with it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    pub topology: Topology,
    pub login: Login,
    pub database: i64,
    /// How long one question may take, with all that it needs.
    pub timeout: Duration,
    pub tls: Option<Tls>,
}

/// What a name means.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Topology {
    One(Node),
    /// Some nodes of a cluster, which know the others.
    Cluster(Vec<Node>),
    /// Sentinels, which know the master of this name.
    Sentinels {
        nodes: Vec<Node>,
        master: String,
        login: Login,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub host: String,
    pub port: u16,
}

/// Who the gate is to Redis. It has no `Debug`: it holds a password.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Login {
    pub username: Option<String>,
    pub password: Option<String>,
}

/// What Redis is asked to do.
pub struct Script {
    code: &'static str,
    /// Redis keeps the code under this.
    hash: String,
}

impl Script {
    pub fn new(code: &'static str) -> Script {
        Script { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }
}

/// One Redis, for all who name it with the same settings.
pub struct Redis {
    settings: Settings,
    connections: Mutex<HashMap<Node, Kept>>,
    /// Which node of a cluster keeps which slot, as far as it became known.
    slots: Mutex<HashMap<u16, Node>>,
    /// The last that the sentinels named.
    master: Mutex<Option<Node>>,
    /// Held by the one who connects; the others wait for it.
    connecting: tokio::sync::Mutex<()>,
    rest: Rest,
    /// How many connections were made.
    made: AtomicU64,
}

/// A connection. All requests share it: answers come in the order of the questions.
#[derive(Clone)]
struct Kept {
    connection: MultiplexedConnection,
    /// Which one it is, so that a newer one is not thrown away for it.
    number: u64,
}

/// What a node is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// It keeps something.
    Keeper,
    /// It knows who does.
    Sentinel,
}

/// How often a cluster may send a question on.
const REDIRECTIONS: usize = 5;

/// Every Redis in use: a new configuration goes on with the connections that there are.
static ALL: Shared<Settings, Redis> = Shared::new();

impl Redis {
    /// The Redis of these settings. Nothing is connected yet.
    pub fn of(settings: Settings) -> Arc<Redis> {
        ALL.get_or(settings, |settings| Redis {
            settings,
            connections: Mutex::default(),
            slots: Mutex::default(),
            master: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            rest: Rest::default(),
            made: AtomicU64::new(0),
        })
    }

    /// Runs a script on a key. The error is in words, and logged once for each time that Redis falls ill.
    ///
    /// The question goes on to its end when the one who asked has gone: otherwise callers without patience would keep it
    /// secret that Redis does not answer.
    pub async fn run(
        self: &Arc<Redis>,
        fetcher: &Arc<Fetcher>,
        script: &'static Script,
        key: String,
        arguments: Vec<i64>,
    ) -> Result<Vec<i64>, String> {
        if self.rest.rests() {
            return Err("it failed a moment ago".to_owned());
        }
        let (own, of) = (self.clone(), fetcher.clone());
        let asked = fetcher.run(async move { own.ask_in_time(&of, script, &key, &arguments).await }).await;
        asked.unwrap_or_else(|| Err(NOBODY.to_owned()))
    }

    async fn ask_in_time(
        self: Arc<Redis>,
        fetcher: &Arc<Fetcher>,
        script: &Script,
        key: &str,
        arguments: &[i64],
    ) -> Result<Vec<i64>, String> {
        let turn = self.rest.turn()?;
        let deadline = Instant::now() + self.settings.timeout;
        let asked = timeout_at(deadline, self.ask(fetcher, script, key, arguments, deadline)).await;
        let late = || Err(format!("no answer within {} ms", self.settings.timeout.as_millis()));
        match asked.unwrap_or_else(|_| late()) {
            Ok(answer) => {
                if turn.went_well() {
                    tracing::info!(redis = %self, "Redis answers again");
                }
                Ok(answer)
            }
            Err(reason) => {
                if turn.failed() {
                    tracing::error!(redis = %self, "Redis cannot be asked: {reason}");
                }
                // Whatever stands still is not waited for again, and who has taken over is found out anew.
                lock(&self.connections).clear();
                lock(&self.slots).clear();
                *lock(&self.master) = None;
                Err(reason)
            }
        }
    }

    async fn ask(
        self: &Arc<Redis>,
        fetcher: &Arc<Fetcher>,
        script: &Script,
        key: &str,
        arguments: &[i64],
        deadline: Instant,
    ) -> Result<Vec<i64>, String> {
        let slot = slot::of(key);
        let (mut redirected, mut asking, mut tried_again): (Option<Node>, bool, bool) = (None, false, false);
        for _ in 0..REDIRECTIONS {
            let node = match redirected.take() {
                Some(node) => node,
                None => self.node_for(fetcher, slot, deadline).await?,
            };
            let mut kept = self.connection(fetcher, &node, Role::Keeper, deadline).await?;
            let error = match invoke(&mut kept.connection, script, key, arguments, asking).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            asking = false;
            match error.kind() {
                ErrorKind::Server(ServerErrorKind::Moved) => {
                    let (to, slot) = redirection(&error, &node)?;
                    lock(&self.slots).insert(slot, to.clone());
                    redirected = Some(to);
                }
                ErrorKind::Server(ServerErrorKind::Ask) => {
                    redirected = Some(redirection(&error, &node)?.0);
                    asking = true;
                }
                // A connection that was kept may have ended; a master may have become a replica.
                _ if (error.is_unrecoverable_error() || is_read_only(&error)) && !tried_again => {
                    tried_again = true;
                    self.forget(&node, kept.number);
                    lock(&self.slots).remove(&slot);
                    *lock(&self.master) = None;
                }
                _ => return Err(format!("{node}: {error}")),
            }
        }
        Err(format!("the cluster sent a question on {REDIRECTIONS} times"))
    }

    /// The node to ask for a slot.
    async fn node_for(self: &Arc<Redis>, fetcher: &Arc<Fetcher>, slot: u16, deadline: Instant) -> Result<Node, String> {
        match &self.settings.topology {
            Topology::One(node) => Ok(node.clone()),
            Topology::Cluster(nodes) => {
                if let Some(known) = lock(&self.slots).get(&slot) {
                    return Ok(known.clone());
                }
                let mut failure = "no node of the cluster is named".to_owned();
                for (index, node) in nodes.iter().enumerate() {
                    let share = egress::share(deadline, nodes.len() - index);
                    match self.connection(fetcher, node, Role::Keeper, share).await {
                        Ok(_) => return Ok(node.clone()),
                        Err(error) => failure = error,
                    }
                }
                Err(failure)
            }
            Topology::Sentinels { nodes, master, .. } => {
                if let Some(known) = lock(&self.master).clone() {
                    return Ok(known);
                }
                let mut failure = "no sentinel is named".to_owned();
                for (index, node) in nodes.iter().enumerate() {
                    // One that never answers leaves time for the others.
                    let share = egress::share(deadline, nodes.len() - index + 1);
                    match timeout_at(share, self.master_by(fetcher, node, master, share)).await {
                        Ok(Ok(found)) => {
                            *lock(&self.master) = Some(found.clone());
                            return Ok(found);
                        }
                        Ok(Err(error)) => failure = error,
                        Err(_) => failure = format!("sentinel {node}: no answer in time"),
                    }
                }
                Err(failure)
            }
        }
    }

    /// The master, by the words of one sentinel.
    async fn master_by(
        self: &Arc<Redis>,
        fetcher: &Arc<Fetcher>,
        sentinel: &Node,
        master: &str,
        deadline: Instant,
    ) -> Result<Node, String> {
        let mut kept = self.connection(fetcher, sentinel, Role::Sentinel, deadline).await?;
        let asked = redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(master).to_owned();
        let found: Result<Option<(String, u16)>, RedisError> = asked.query_async(&mut kept.connection).await;
        match found {
            Ok(Some((host, port))) => Ok(Node { host, port }),
            Ok(None) => Err(format!("sentinel {sentinel} knows no master '{master}'")),
            Err(error) => {
                self.forget(sentinel, kept.number);
                Err(format!("sentinel {sentinel}: {error}"))
            }
        }
    }

    async fn connection(
        self: &Arc<Redis>,
        fetcher: &Arc<Fetcher>,
        node: &Node,
        role: Role,
        deadline: Instant,
    ) -> Result<Kept, String> {
        if let Some(kept) = lock(&self.connections).get(node) {
            return Ok(kept.clone());
        }
        let _turn = self.connecting.lock().await;
        if let Some(kept) = lock(&self.connections).get(node) {
            return Ok(kept.clone());
        }
        let connection = self.connect(fetcher, node, role, deadline).await?;
        let mut connections = lock(&self.connections);
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let kept = Kept { connection, number };
        connections.insert(node.clone(), kept.clone());
        Ok(kept)
    }

    async fn connect(
        &self,
        fetcher: &Arc<Fetcher>,
        node: &Node,
        role: Role,
        deadline: Instant,
    ) -> Result<MultiplexedConnection, String> {
        let Settings { topology, login, database, tls, timeout, .. } = &self.settings;
        let failed = |error: &dyn fmt::Display| format!("{node}: {error}");
        let stream = fetcher.connect(&node.host, node.port, tls.as_ref(), deadline).await;
        let stream = stream.map_err(|error| failed(&error))?;
        let login = match (role, topology) {
            (Role::Sentinel, Topology::Sentinels { login, .. }) => login,
            _ => login,
        };
        let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
        if role == Role::Keeper {
            info = info.set_db(*database);
        }
        if let Some(username) = &login.username {
            info = info.set_username(username);
        }
        if let Some(password) = &login.password {
            info = info.set_password(password);
        }
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(*timeout));
        let opened = MultiplexedConnection::new_with_config(&info, stream, config);
        let opened = timeout_at(deadline, opened).await.map_err(|_| failed(&"no greeting in time"))?;
        let (connection, work) = opened.map_err(|error| failed(&error))?;
        fetcher.start(work);
        Ok(connection)
    }

    fn forget(&self, node: &Node, number: u64) {
        let mut connections = lock(&self.connections);
        if connections.get(node).is_some_and(|kept| kept.number == number) {
            connections.remove(node);
        }
    }
}

async fn invoke(
    connection: &mut MultiplexedConnection,
    script: &Script,
    key: &str,
    arguments: &[i64],
    asking: bool,
) -> Result<Vec<i64>, RedisError> {
    let with = |name: &str, which: &str| -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(which).arg(1).arg(key).arg(arguments);
        command
    };
    if asking {
        // Both in one message: others write on this connection, too. And with the code: a node that is only just being
        // given a slot knows no scripts.
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().add_command(with("EVAL", script.code));
        let (answer,): (Vec<i64>,) = both.query_async(connection).await?;
        return Ok(answer);
    }
    match with("EVALSHA", &script.hash).query_async(connection).await {
        // A Redis that has started anew knows no scripts; this teaches it.
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            with("EVAL", script.code).query_async(connection).await
        }
        answered => answered,
    }
}

fn is_read_only(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// Where a node sends a question on to. One without a host means the node's own.
fn redirection(error: &RedisError, from: &Node) -> Result<(Node, u16), String> {
    let unreadable = || format!("{from}: a redirection that cannot be read: {error}");
    let (place, slot) = error.redirect_node().ok_or_else(unreadable)?;
    let (host, port) = place.rsplit_once(':').ok_or_else(unreadable)?;
    let host = if host.is_empty() { from.host.clone() } else { host.to_owned() };
    Ok((Node { host, port: port.parse().map_err(|_| unreadable())? }, slot))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (kind, nodes) = match &self.settings.topology {
            Topology::One(node) => return node.fmt(f),
            Topology::Cluster(nodes) => ("cluster of", nodes),
            Topology::Sentinels { nodes, .. } => ("sentinels", nodes),
        };
        let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        write!(f, "{kind} {}", nodes.join(", "))
    }
}
