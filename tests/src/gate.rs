//! The gate under test: the built binary as a process, on ports that the system chose.

mod binary;
mod ready;

pub use binary::workspace;

use crate::{Answer, DEADLINE, Finished, Postgres, Process, TempDir, eventually, http, postgres, run};
use binary::binary;
use ready::Addresses;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TOKEN: &str = "token-of-the-tests";

#[derive(Debug)]
pub struct Gate {
    addresses: Addresses,
    // Ends before the directory it works in goes.
    process: Process,
    data: TempDir,
    config: Option<PathBuf>,
    env: Vec<(String, String)>,
}

/// A gate that is not started yet.
#[derive(Debug)]
pub struct GateBuilder {
    data: TempDir,
    config: Option<PathBuf>,
    env: Vec<(String, String)>,
    /// In blocks of 512 bytes.
    largest_file: Option<u64>,
}

impl Gate {
    /// With a declarative file of this content, and otherwise as the tests want it.
    #[track_caller]
    pub fn start(config: impl AsRef<[u8]>) -> Gate {
        Gate::with(config).start()
    }

    pub fn with(config: impl AsRef<[u8]>) -> GateBuilder {
        let mut builder = Gate::empty();
        let path = builder.data.write("kong.yml", config);
        builder = builder.env("KONG_DECLARATIVE_CONFIG", path.to_str().unwrap());
        GateBuilder { config: Some(path), ..builder }
    }

    /// Without a declarative file: the configuration comes over the Admin API.
    pub fn empty() -> GateBuilder {
        Gate::stored().env("KONG_DATABASE", "off")
    }

    /// A gate that keeps entities in a database: SQLite, unless its settings say otherwise.
    pub fn stored() -> GateBuilder {
        let data = TempDir::new();
        let path = data.path().to_str().unwrap().to_owned();
        GateBuilder { data, config: None, env: Vec::new(), largest_file: None }
            .env("KONG_PROXY_LISTEN", "127.0.0.1:0, 127.0.0.1:0 http2 ssl")
            .env("KONG_ADMIN_LISTEN", "127.0.0.1:0")
            .env("PORTCULLIS_DATA", &path)
            .env("PORTCULLIS_ADMIN_TOKEN", TOKEN)
    }

    /// One of several gates with a database in common, and the same encryption key.
    pub fn sharing(server: &Postgres) -> GateBuilder {
        let port = server.port().to_string();
        [
            ("DATABASE", "postgres"),
            ("PG_PORT", &port),
            ("PG_USER", postgres::USER),
            ("PG_DATABASE", postgres::USER),
            ("PG_PASSWORD", postgres::PASSWORD),
        ]
        .iter()
        .fold(Gate::stored(), |gate, (name, value)| gate.env(&format!("KONG_{name}"), value))
        .env("PORTCULLIS_ENCRYPTION_KEY", &"5".repeat(64))
    }

    /// Any other command of the binary, without a gate: `version`, `check FILE`.
    #[track_caller]
    pub fn command(args: &[&str]) -> Finished {
        run(clean(&mut Command::new(binary())).args(args))
    }

    /// A command that speaks to this gate: `reload`.
    #[track_caller]
    pub fn tell(&self, args: &[&str]) -> Finished {
        self.tell_with::<&str, &str>(args, &[])
    }

    /// As [`Gate::tell`], with variables.
    #[track_caller]
    pub fn tell_with<K: AsRef<str>, V: AsRef<str>>(&self, args: &[&str], env: &[(K, V)]) -> Finished {
        let mut command = Command::new(binary());
        clean(&mut command).envs(env.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
        run(command.env("PORTCULLIS_DATA", self.data.path()).args(args))
    }

    /// The variables that it was started with.
    pub fn settings(&self) -> Vec<(String, String)> {
        self.env.clone()
    }

    pub fn proxy(&self) -> SocketAddr {
        self.addresses.proxy
    }

    pub fn proxy_tls(&self) -> SocketAddr {
        self.addresses.proxy_tls
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.addresses.admin
    }

    pub fn token(&self) -> &'static str {
        TOKEN
    }

    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Asks the Admin API, with the token.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str, json: &str) -> Answer {
        let fields = [("Kong-Admin-Token", TOKEN), ("Content-Type", "application/json")];
        http(self.addresses.admin, method, path, &fields, json.as_bytes())
    }

    /// A GET through the gate over plain HTTP.
    #[track_caller]
    pub fn get(&self, target: &str) -> Answer {
        http(self.addresses.proxy, "GET", target, &[], b"")
    }

    /// Puts another content into the declarative file; nothing is read yet.
    pub fn rewrite(&self, config: impl AsRef<[u8]>) {
        fs::write(self.config.as_ref().expect("the gate has no declarative file"), config).unwrap();
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Everything that the gate has said on both streams.
    pub fn said(&self) -> String {
        self.process.output()
    }

    /// Waits until the gate has said this: what it says comes to us a little later.
    #[track_caller]
    pub fn wait_until_said(&self, text: &str) {
        eventually(DEADLINE, || if self.said().contains(text) { Ok(()) } else { Err(self.said()) });
    }

    /// Waits until the gate has ended by itself.
    #[track_caller]
    pub fn finish(self) -> Finished {
        self.process.finish(DEADLINE)
    }
}

impl GateBuilder {
    /// Sets a variable; the last value of a name counts.
    pub fn env(mut self, name: &str, value: &str) -> GateBuilder {
        self.env.retain(|(before, _)| before != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> GateBuilder {
        self.env.retain(|(before, _)| before != name);
        self
    }

    /// No file may grow beyond this many bytes, as if the disk were full then.
    pub fn largest_file(self, bytes: u64) -> GateBuilder {
        GateBuilder { largest_file: Some(bytes / 512), ..self }
    }

    pub fn data(&self) -> &Path {
        self.data.path()
    }

    #[track_caller]
    pub fn start(self) -> Gate {
        let process = self.spawn();
        let addresses = eventually(DEADLINE, || {
            if let Some(line) = process.stdout().lines().find(|line| line.starts_with("ready ")) {
                return Ok(Ok(line.to_owned()));
            }
            // A gate that has ended will not become ready: no need to wait for the deadline.
            match process.exited() {
                Some(status) => Ok(Err(format!("the gate ended ({status}) and was not ready\n{}", process.output()))),
                None => Err(format!("no line `ready ..`\n{}", process.output())),
            }
        })
        .and_then(|line| Addresses::parse(&line))
        .unwrap_or_else(|reason| panic!("{reason}"));
        Gate { addresses, process, data: self.data, config: self.config, env: self.env }
    }

    /// For a gate that must not start: waits until it has ended.
    #[track_caller]
    pub fn refuse(self) -> Finished {
        self.spawn().finish(DEADLINE)
    }

    #[track_caller]
    fn spawn(&self) -> Process {
        let pairs = self.env.iter().map(|(name, value)| (name, value));
        let mut command = Command::new(binary());
        if let Some(blocks) = self.largest_file {
            command = Command::new("sh");
            // A signal that is ignored stays so in the program that follows: it sees an error and not its end.
            command.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]).arg(binary());
        }
        Process::spawn(clean(&mut command).arg("start").envs(pairs))
    }
}

/// Takes the settings of whoever runs the tests away: they are no part of a test.
pub fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KONG_") || text.starts_with("PORTCULLIS_") {
            command.env_remove(&name);
        }
    }
    command
}
