//! The door for commands to a running gate: a socket in the data directory, which only its owner can enter.
//!
//! A request is a line with a word; the answer is a line of JSON. After `takeover` the listening sockets follow.

use crate::gate::Gate;
use crate::listeners::Inherited;
use crate::successor;
use net::handover;
use net::listen::{Listen, parse_listens};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The socket's name in the data directory.
pub const SOCKET: &str = "control.sock";

/// What became of a command.
#[derive(Debug, Deserialize, Serialize)]
pub enum Outcome {
    /// What is in force now, in words.
    Loaded(String),
    /// Why nothing changed, a violation a line.
    Refused(Vec<String>),
}

/// What a command asks for.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Read settings and configuration again.
    Reload,
    /// Start a successor, and go when it is ready.
    Upgrade,
}

impl Command {
    fn word(self) -> &'static str {
        match self {
            Command::Reload => "reload",
            Command::Upgrade => "upgrade",
        }
    }
}

const TAKEOVER: &str = "takeover";
const READY: &str = "ready";

/// The sockets that follow a line of this: each with its address, in the language of the settings.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Handover {
    callers: Vec<String>,
    operators: Vec<String>,
    /// Why there are none.
    refused: Option<String>,
}

/// How long a successor may take to be ready: it compiles its configuration first.
const SUCCESSION: Duration = Duration::from_secs(300);

/// Opens the door. The socket of a gate that has ended is replaced.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another gate runs with this data directory; give each gate its own with the setting `data`",
        )),
        Err(_) => {
            let _ = std::fs::remove_file(path);
            UnixListener::bind(path)
        }
    }
}

/// Opens the door of a successor beside that of the gate that still runs; [`Door::take_over`] puts it in place.
pub struct Door {
    pub listener: UnixListener,
    beside: PathBuf,
}

impl Door {
    pub fn beside(path: &Path) -> io::Result<Door> {
        let beside = path.with_extension("next");
        let _ = std::fs::remove_file(&beside);
        Ok(Door { listener: UnixListener::bind(&beside)?, beside })
    }

    pub fn take_over(&self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.beside, path)
    }
}

/// How far a succession has come.
struct Succession {
    /// Somebody has asked for it and waits for the answer, which must be given before this gate ends.
    asked: AtomicBool,
    /// The successor is ready.
    taken: AtomicBool,
    /// Turns true when this gate may end.
    relieved: watch::Sender<bool>,
}

impl Succession {
    /// Lets this gate end, once the successor is ready and whoever asked for it knows.
    fn conclude(&self) {
        if self.taken.load(SeqCst) && !self.asked.load(SeqCst) {
            self.relieved.send_replace(true);
        }
    }
}

/// Serves commands, each on a thread of its own, as long as the process runs. `relieved` turns true when a
/// successor has taken over.
pub fn serve(listener: UnixListener, gate: Arc<Gate>, relieved: watch::Sender<bool>) -> io::Result<()> {
    let succession = Succession { asked: AtomicBool::new(false), taken: AtomicBool::new(false), relieved };
    let succession = Arc::new(succession);
    let accept = move || {
        for stream in listener.incoming().flatten() {
            let (gate, succession) = (gate.clone(), succession.clone());
            // Whoever asked may be gone.
            let answer = move || drop(command(stream, &gate, &succession));
            let _ = std::thread::Builder::new().name("command".to_owned()).spawn(answer);
        }
    };
    std::thread::Builder::new().name("control".to_owned()).spawn(accept).map(drop)
}

fn command(mut stream: UnixStream, gate: &Gate, succession: &Succession) -> io::Result<()> {
    match read_line(&mut stream)?.as_str() {
        "reload" => {
            let outcome = gate.reload().map_or_else(Outcome::Refused, Outcome::Loaded);
            write_line(&mut stream, &outcome)
        }
        "upgrade" => {
            if succession.asked.swap(true, SeqCst) {
                return write_line(&mut stream, &Outcome::Refused(vec!["an upgrade is under way already".to_owned()]));
            }
            let outcome = match gate.bound_to_this_process() {
                Some(reason) => Outcome::Refused(vec![reason]),
                None => upgrade(succession),
            };
            let told = write_line(&mut stream, &outcome);
            succession.asked.store(false, SeqCst);
            succession.conclude();
            told
        }
        TAKEOVER => hand_over(stream, gate, succession),
        _ => Ok(()),
    }
}

/// Starts a successor, which asks for the sockets by itself, and waits until it has them and is ready.
fn upgrade(succession: &Succession) -> Outcome {
    let refused = |reason: String| Outcome::Refused(vec![reason]);
    let mut successor = match successor::start() {
        Ok(successor) => successor,
        Err(error) => return refused(format!("the new gate cannot be started: {error}")),
    };
    let until = Instant::now() + SUCCESSION;
    loop {
        if succession.taken.load(SeqCst) {
            let text = format!("process {} has taken over; this one ends when its requests have", successor.id());
            return Outcome::Loaded(text);
        }
        if let Some(status) = ended(&mut successor) {
            return refused(format!(
                "the new gate ended before it was ready ({status}); what it said stands in the gate's log"
            ));
        }
        if Instant::now() > until {
            let _ = successor.kill();
            return refused(format!("the new gate was not ready after {} s, and was stopped", SUCCESSION.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ended(child: &mut Child) -> Option<ExitStatus> {
    child.try_wait().ok().flatten()
}

/// Gives a successor handles of the sockets. It has taken over when it says so, and not before: until then both
/// listen, and this gate goes on as if nothing had happened.
fn hand_over(mut stream: UnixStream, gate: &Gate, succession: &Succession) -> io::Result<()> {
    if let Some(reason) = gate.bound_to_this_process() {
        return write_line(&mut stream, &Handover { refused: Some(reason), ..Handover::default() });
    }
    let share = |listeners: Option<&crate::listeners::Listeners>| listeners.map_or(Ok(Vec::new()), |open| open.share());
    let (callers, operators) = (share(gate.callers())?, share(gate.operators())?);
    let names = |shared: &Inherited| shared.iter().map(|(listen, _)| listen.to_string()).collect();
    let handover = Handover { callers: names(&callers), operators: names(&operators), refused: None };
    write_line(&mut stream, &handover)?;
    let sockets: Vec<TcpListener> = callers.into_iter().chain(operators).map(|(_, socket)| socket).collect();
    handover::send(&stream, &sockets)?;
    drop(sockets);
    if read_line(&mut stream)? == READY {
        succession.taken.store(true, SeqCst);
        succession.conclude();
    }
    Ok(())
}

/// A gate that another one is to take over from.
pub struct Predecessor(UnixStream);

impl Predecessor {
    /// Asks for its sockets: those for callers, and those for operators.
    pub fn ask(path: &Path) -> io::Result<(Predecessor, [Inherited; 2])> {
        let mut stream = UnixStream::connect(path)?;
        stream.write_all(format!("{TAKEOVER}\n").as_bytes())?;
        let Handover { callers, operators, refused } =
            serde_json::from_str(&read_line(&mut stream)?).map_err(io::Error::other)?;
        if let Some(reason) = refused {
            return Err(io::Error::other(reason));
        }
        let mut sockets = handover::receive(&stream, callers.len() + operators.len())?.into_iter();
        let mut named = |names: Vec<String>| -> io::Result<Inherited> {
            let listens = names.iter().map(|name| one_listen(name)).collect::<io::Result<Vec<_>>>()?;
            Ok(listens.into_iter().zip(sockets.by_ref()).collect())
        };
        let inherited = [named(callers)?, named(operators)?];
        Ok((Predecessor(stream), inherited))
    }

    /// From here on the other gate takes no new connections.
    pub fn relieve(mut self) -> io::Result<()> {
        self.0.write_all(format!("{READY}\n").as_bytes())
    }
}

fn one_listen(name: &str) -> io::Result<Listen> {
    let listens = parse_listens(name).map_err(io::Error::other)?;
    listens.into_iter().next().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Asks a running gate, and waits until it has happened.
pub fn ask(path: &Path, command: Command) -> io::Result<Outcome> {
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(format!("{}\n", command.word()).as_bytes())?;
    serde_json::from_str(&read_line(&mut stream)?).map_err(io::Error::other)
}

fn write_line(stream: &mut UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Reads up to the end of a line and no byte further: what follows may come with sockets.
fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte)? == 1 && byte != [b'\n'] {
        line.push(byte[0]);
    }
    String::from_utf8(line).map_err(io::Error::other)
}
