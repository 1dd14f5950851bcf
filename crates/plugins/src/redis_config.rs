//! How a configuration says where Redis is.

use net::fetch::Tls;
use net::redis::{Login, Node, Redis, Settings, Topology};
use schema::{Check, Condition, Moved, Schema, Secret, Violations};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// Where Redis is and how to speak with it.
#[derive(Deserialize, Schema)]
pub struct RedisConfig {
    /// The host of Redis.
    host: Option<String>,
    /// Its port.
    #[schema(default = 6379, between(0, 65535))]
    port: Option<i64>,
    /// How many milliseconds Redis may take, with all that is needed to ask it.
    #[schema(default = 2000, between(0, 2_147_483_646))]
    timeout: Option<i64>,
    /// The user name that the gate shows itself with (Redis 6 and newer).
    #[schema(referenceable)]
    username: Option<String>,
    /// The password.
    #[schema(encrypted, referenceable, len_min(0))]
    password: Option<Secret>,
    /// The number of the database. A cluster has only one.
    #[schema(default = 0)]
    database: Option<i64>,
    /// Whether to speak TLS.
    #[schema(default = false)]
    ssl: Option<bool>,
    /// Whether the certificate of Redis is verified. **Without, anybody on the way can read the password.**
    #[schema(default = false)]
    ssl_verify: Option<bool>,
    /// Whom the certificate must be for, where that is not the host.
    server_name: Option<String>,
    /// Some nodes of a cluster, instead of `host` and `port`. They know the others.
    #[schema(ours)]
    cluster_nodes: Option<Vec<ClusterNode>>,
    /// Sentinels, instead of `host` and `port`. They know the master.
    #[schema(ours)]
    sentinel_nodes: Option<Vec<SentinelNode>>,
    /// The name under which the sentinels know the master.
    #[schema(ours)]
    sentinel_master: Option<String>,
    /// The user name that the gate shows itself to the sentinels with.
    #[schema(ours, referenceable)]
    sentinel_username: Option<String>,
    /// The password for the sentinels.
    #[schema(ours, encrypted, referenceable)]
    sentinel_password: Option<Secret>,
}

/// A node of a cluster.
#[derive(Deserialize, Schema)]
struct ClusterNode {
    /// Its address or name.
    #[schema(default = "127.0.0.1")]
    ip: Option<String>,
    /// Its port.
    #[schema(default = 6379, between(0, 65535))]
    port: Option<i64>,
}

/// A sentinel.
#[derive(Deserialize, Schema)]
struct SentinelNode {
    /// Its address or name.
    #[schema(default = "127.0.0.1")]
    host: Option<String>,
    /// Its port.
    #[schema(default = 26379, between(0, 65535))]
    port: Option<i64>,
}

/// The older names of these options.
pub const MOVED: &[Moved] = &[
    Moved { name: "redis_host", to: ("redis", "host") },
    Moved { name: "redis_port", to: ("redis", "port") },
    Moved { name: "redis_password", to: ("redis", "password") },
    Moved { name: "redis_username", to: ("redis", "username") },
    Moved { name: "redis_ssl", to: ("redis", "ssl") },
    Moved { name: "redis_ssl_verify", to: ("redis", "ssl_verify") },
    Moved { name: "redis_server_name", to: ("redis", "server_name") },
    Moved { name: "redis_timeout", to: ("redis", "timeout") },
    Moved { name: "redis_database", to: ("redis", "database") },
];

/// What `policy: redis` needs.
pub const HOST: Check = Check::Unless(&["redis.cluster_nodes", "redis.sentinel_nodes"], &needed("redis.host"));
pub const PORT: Check = needed("redis.port");
pub const TIMEOUT: Check = needed("redis.timeout");

const fn needed(then: &'static str) -> Check {
    Check::When { field: "policy", is: Condition::Equals("redis"), then, must: Condition::Required, error: None }
}

impl RedisConfig {
    /// The Redis that is meant; nothing where none is.
    pub fn shared(self) -> Result<Option<Arc<Redis>>, Violations> {
        match self.host.is_none() && self.cluster_nodes.is_none() && self.sentinel_nodes.is_none() {
            true => Ok(None),
            false => Ok(Some(Redis::of(self.settings()?))),
        }
    }

    fn settings(self) -> Result<Settings, Violations> {
        let wrong = |text: &str| Err(Violations::field("redis", text));
        let port = |port: Option<i64>, usual: u16| port.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual);
        let (cluster, sentinels) = (self.cluster_nodes.unwrap_or_default(), self.sentinel_nodes.unwrap_or_default());
        let topology = match (self.host, cluster.is_empty(), sentinels.is_empty()) {
            (None, false, true) => {
                let node = |node: ClusterNode| Node { host: node.ip.unwrap_or_default(), port: port(node.port, 6379) };
                Topology::Cluster(cluster.into_iter().map(node).collect())
            }
            (None, true, false) => {
                let Some(master) = self.sentinel_master else {
                    return wrong("sentinel_master: required with sentinel_nodes");
                };
                let node =
                    |node: SentinelNode| Node { host: node.host.unwrap_or_default(), port: port(node.port, 26379) };
                let login = Login { username: self.sentinel_username, password: revealed(self.sentinel_password) };
                Topology::Sentinels { nodes: sentinels.into_iter().map(node).collect(), master, login }
            }
            (Some(host), true, true) => Topology::One(Node { host, port: port(self.port, 6379) }),
            _ => return wrong("give one of host, cluster_nodes and sentinel_nodes"),
        };
        let database = self.database.unwrap_or(0);
        if database != 0 && matches!(topology, Topology::Cluster(_)) {
            return wrong("database: a cluster has no other than 0");
        }
        let timeout = u64::try_from(self.timeout.unwrap_or(2000)).unwrap_or(2000).max(1);
        let verify = self.ssl_verify.unwrap_or(false);
        Ok(Settings {
            topology,
            login: Login { username: self.username, password: revealed(self.password) },
            database,
            timeout: Duration::from_millis(timeout),
            tls: self.ssl.unwrap_or(false).then_some(Tls { server_name: self.server_name, verify }),
        })
    }
}

fn revealed(secret: Option<Secret>) -> Option<String> {
    secret.map(|secret| secret.reveal().to_owned()).filter(|password| !password.is_empty())
}
