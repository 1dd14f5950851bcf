//! A real Redis: a server, a sentinel or a node of a cluster, with a port of its own.

use crate::process::system_program;
use crate::{DEADLINE, Finished, Process, TempDir, eventually, run};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    settings: String,
    process: Option<Process>,
    dir: TempDir,
}

impl Redis {
    /// A server with these lines of configuration; it keeps nothing on disk.
    pub fn start(settings: &str) -> Redis {
        Redis::launch(format!("save ''\n{settings}"), "")
    }

    /// A server that speaks TLS, and nothing else.
    pub fn with_tls(cert: &Path, key: &Path, settings: &str) -> Redis {
        let (cert, key) = (cert.display(), key.display());
        let settings = format!(
            "save ''\ntls-port PORT\ntls-cert-file {cert}\ntls-key-file {key}\ntls-auth-clients no\n{settings}"
        );
        Redis::launch(settings, "tls-")
    }

    /// Three masters that share the slots.
    pub fn cluster() -> Vec<Redis> {
        let nodes: Vec<Redis> = (0..3)
            .map(|_| {
                let bus = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
                Redis::start(&format!("cluster-enabled yes\ncluster-node-timeout 2000\ncluster-port {bus}"))
            })
            .collect();
        let slots = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        for (index, (node, (first, last))) in nodes.iter().zip(slots).enumerate() {
            node.cli(&["cluster", "addslotsrange", first, last]).expect_code(0);
            node.cli(&["cluster", "set-config-epoch", &(index + 1).to_string()]).expect_code(0);
        }
        for node in &nodes[1..] {
            let bus = node.cli(&["config", "get", "cluster-port"]).text();
            let bus = bus.lines().last().unwrap_or_default();
            nodes[0].cli(&["cluster", "meet", "127.0.0.1", &node.port().to_string(), bus]).expect_code(0);
        }
        for node in &nodes {
            eventually(DEADLINE, || match node.cli(&["cluster", "info"]).text() {
                info if info.contains("cluster_state:ok") => Ok(()),
                info => Err(info),
            });
        }
        nodes
    }

    /// A sentinel that watches one master, named `mymaster`.
    pub fn sentinel(master: &Redis) -> Redis {
        let watched = format!(
            "sentinel monitor mymaster 127.0.0.1 {} 1\nsentinel down-after-milliseconds mymaster 1000\n\
             sentinel failover-timeout mymaster 5000\n",
            master.address.port()
        );
        Redis::launch(format!("{watched}# --sentinel"), "")
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Asks it something with its own client.
    pub fn cli(&self, args: &[&str]) -> Finished {
        run(Command::new("redis-cli").args(["-p", &self.port().to_string()]).args(args))
    }

    /// Ends it. Whatever it knew is gone.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again, at the same place.
    pub fn start_again(&mut self) {
        assert!(self.run(""), "redis did not come back to its port");
    }

    pub fn signal(&self, name: &str) {
        self.process.as_ref().unwrap().signal(name);
    }

    fn launch(settings: String, tls: &str) -> Redis {
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let settings = settings.replace("PORT", &address.port().to_string());
            let mut server = Redis { address, settings, process: None, dir: TempDir::new() };
            if server.run(tls) {
                return server;
            }
        }
        panic!("redis found no free port in five attempts")
    }

    fn run(&mut self, tls: &str) -> bool {
        let port = if tls.is_empty() { self.port() } else { 0 };
        let config = format!("bind 127.0.0.1\nport {port}\ndir {}\n{}\n", self.dir.path().display(), self.settings);
        // A sentinel writes into it what it learns.
        let config = self.dir.write("redis.conf", config);
        let mut command = Command::new(system_program("redis-server"));
        command.arg(config);
        if self.settings.contains("# --sentinel") {
            command.arg("--sentinel");
        }
        let process = Process::spawn(&mut command);
        let up = eventually(DEADLINE, || match process.exited() {
            Some(_) => Ok(false),
            None if process.stdout().contains("Ready to accept connections") => Ok(true),
            None if process.stdout().contains("+monitor master mymaster") => Ok(true),
            None => Err(process.output()),
        });
        assert!(up || process.output().contains("in use"), "redis ended\n{}", process.output());
        self.process = up.then_some(process);
        up
    }
}
