//! A real PostgreSQL with a data directory and a port of its own. Uses the standard library alone, so that the tests of
//! the store can read this file, too.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

#[derive(Debug)]
pub struct Postgres {
    dir: PathBuf,
    port: u16,
    server: Option<Child>,
}

/// The user and the password of the server.
pub const USER: &str = "portcullis";
pub const PASSWORD: &str = "a password for tests";

const PATIENCE: Duration = Duration::from_secs(60);

impl Postgres {
    /// A server with one empty database, named as its user. It asks for the password (SCRAM).
    pub fn start() -> Postgres {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("portcullis-postgres-{}-{number}", process::id()));
        fs::create_dir(&dir).unwrap();
        let word = dir.join("password");
        fs::write(&word, PASSWORD).unwrap();
        if let Some((user, group)) = other_user() {
            std::os::unix::fs::chown(&dir, Some(user), Some(group)).unwrap();
            std::os::unix::fs::chown(&word, Some(user), Some(group)).unwrap();
        }
        let mut init = program("initdb");
        init.args([
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
            "--auth=scram-sha-256",
            "--username",
            USER,
            "--pwfile",
        ]);
        let made = init.arg(&word).arg("-D").arg(dir.join("data")).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut postgres = Postgres { dir, port, server: None };
        postgres.start_again();
        postgres.ask(&format!("CREATE DATABASE {USER}"), "postgres");
        postgres
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again, at the same place.
    pub fn start_again(&mut self) {
        let mut server = program("postgres");
        server.arg("-D").arg(self.dir.join("data")).args(["-p", &self.port.to_string(), "-h", "127.0.0.1"]);
        server.arg("-c").arg(format!("unix_socket_directories={}", self.dir.display()));
        // Few of the tests fail power; `kill -9` loses nothing that was written.
        server.args(["-c", "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=64MB"]);
        let log = fs::File::create(self.dir.join("log")).unwrap();
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.server = Some(server.spawn().unwrap());
        let end = Instant::now() + PATIENCE;
        while !self.answers() {
            assert!(Instant::now() < end, "PostgreSQL does not start: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it at once, with the connections that there are; what was committed stays.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // SIGQUIT: immediate shutdown, of its children too.
            let _ = Command::new("kill").args(["-QUIT", &server.id().to_string()]).status();
            let _ = server.wait();
        }
    }

    /// Runs SQL with its own client; the text of the answer.
    pub fn sql(&self, sql: &str) -> String {
        self.ask(sql, USER)
    }

    fn ask(&self, sql: &str, database: &str) -> String {
        let mut client = Command::new("psql");
        client.env("PGPASSWORD", PASSWORD).args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER]);
        let answer = client.args(["-d", database, "-At", "-c", sql]).output().unwrap();
        assert!(answer.status.success(), "{sql}: {}", String::from_utf8_lossy(&answer.stderr));
        String::from_utf8_lossy(&answer.stdout).trim().to_owned()
    }

    fn answers(&self) -> bool {
        let ready = Command::new("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]).status();
        TcpStream::connect(("127.0.0.1", self.port)).is_ok() && ready.is_ok_and(|ready| ready.success())
    }

    fn log(&self) -> String {
        let mut text = String::new();
        let _ = fs::File::open(self.dir.join("log")).and_then(|mut log| log.read_to_string(&mut text));
        text
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A program of the server, of the newest version that is installed; as another user where this one is root, which
/// PostgreSQL refuses to be.
fn program(name: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|found| found.path());
    let mut programs: Vec<PathBuf> =
        versions.map(|version| version.join("bin").join(name)).filter(|own| own.exists()).collect();
    programs.sort();
    let own = programs.pop().unwrap_or_else(|| panic!("{name} is missing: ./test installs it (Debian's postgresql)"));
    match other_user() {
        None => Command::new(own),
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups", "--"]).arg(own);
            // It may not be allowed to be where this process is.
            command.current_dir("/");
            command
        }
    }
}

/// The user that Debian's package makes, if this process is root's.
fn other_user() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let users = fs::read_to_string(Path::new("/etc/passwd")).unwrap_or_default();
    let line = users.lines().find(|line| line.starts_with("postgres:")).filter(|_| root)?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
