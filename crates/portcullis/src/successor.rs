//! The process that takes over from this one: the same command line, by the program that lies there now.

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The flag under which a gate takes over instead of starting beside nobody.
pub const FLAG: &str = "--takeover";

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Remembers where the program lies. Asked later, the system would name the file that an upgrade has replaced.
pub fn remember_program() {
    if let Ok(path) = std::env::current_exe() {
        let _ = PROGRAM.set(path);
    }
}

/// Starts the successor. What it says goes where this process writes.
pub fn start() -> io::Result<Child> {
    let program = PROGRAM.get().ok_or_else(|| io::Error::other("where the program lies is not known"))?;
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != FLAG);
    Command::new(program).args(arguments).arg(FLAG).stdin(Stdio::null()).spawn()
}
