//! A process that belongs to its value: its output is captured, and it ends when the value goes.

use crate::{DEADLINE, eventually};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Which package brings a program, for the message when it is missing.
const PACKAGES: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("dnsmasq", "dnsmasq-base"),
    ("glewlwyd", "glewlwyd"),
    ("openssl", "openssl"),
    ("nginx", "nginx-light"),
    ("node", "nodejs"),
    ("python3", "python3"),
    ("redis-cli", "redis-tools"),
    ("redis-server", "redis-server"),
    ("sh", "dash"),
    ("slapadd", "slapd"),
    ("slapd", "slapd"),
];

/// A server's program where a package puts it: `/usr/sbin` is not in everybody's PATH.
pub fn system_program(name: &str) -> PathBuf {
    let packaged = Path::new("/usr/sbin").join(name);
    if packaged.exists() { packaged } else { name.into() }
}

#[derive(Debug)]
pub struct Process {
    name: String,
    child: Mutex<Child>,
    stdout: Captured,
    stderr: Captured,
}

/// What a process left when it had ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

/// Runs a command to its end, which must come within [`DEADLINE`].
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    Process::spawn(command).finish(DEADLINE)
}

impl Process {
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Process {
        let name = command.get_program().to_string_lossy().into_owned();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{}", explain(&name, &error)));
        let stdout = Captured::new(child.stdout.take().unwrap());
        let stderr = Captured::new(child.stderr.take().unwrap());
        Process { name, child: Mutex::new(child), stdout, stderr }
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.so_far()).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.so_far()).into_owned()
    }

    /// Both streams, for a message.
    pub fn output(&self) -> String {
        format!("--- {} stdout\n{}--- stderr\n{}", self.name, self.stdout(), self.stderr())
    }

    pub fn exited(&self) -> Option<ExitStatus> {
        self.child().try_wait().unwrap()
    }

    /// Sends a signal by name (`TERM`, `HUP`).
    #[track_caller]
    pub fn signal(&self, name: &str) {
        // The lock is held over the check and the signal, so that the number is still ours.
        let mut child = self.child();
        assert!(child.try_wait().unwrap().is_none(), "{} has ended already\n{}", self.name, self.output());
        let command = format!("kill -{name} {}", child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    }

    /// Waits until the process has ended by itself.
    #[track_caller]
    pub fn finish(mut self, deadline: Duration) -> Finished {
        let status = eventually(deadline, || {
            self.exited().ok_or_else(|| format!("{} still runs\n{}", self.name, self.output()))
        });
        let stdout = self.stdout.complete();
        let stderr = String::from_utf8_lossy(&self.stderr.complete()).into_owned();
        Finished { code: status.code(), stdout, stderr }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child();
        // Both fail only when it has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Finished {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    #[track_caller]
    pub fn expect_code(self, code: i32) -> Finished {
        assert_eq!(self.code, Some(code), "exit code\n--- stdout\n{}--- stderr\n{}", self.text(), self.stderr);
        self
    }
}

/// One output stream, read by a thread of its own so that the process never waits on a full pipe.
#[derive(Debug)]
struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Captured {
    fn new(mut stream: impl Read + Send + 'static) -> Captured {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Captured { bytes, reader: Some(reader) }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    /// Everything up to the end of the stream; only to be called when the process has ended.
    fn complete(&mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.so_far()
    }
}

fn explain(name: &str, error: &std::io::Error) -> String {
    let package = PACKAGES.iter().find(|(program, _)| *program == name);
    match (error.kind(), package) {
        (ErrorKind::NotFound, Some((_, package))) => {
            format!("{name} is not installed: `apt-get install {package}` brings it, and so does ./test")
        }
        _ => format!("{name}: {error}"),
    }
}
