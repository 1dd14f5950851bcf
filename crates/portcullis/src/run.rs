//! `portcullis start`: from settings to a running gate, and to its end.

use crate::cli::{EXIT_FAILED, EXIT_USAGE, StartFlags};
use crate::control::{self, Door, Predecessor};
use crate::data_dir::DataDir;
use crate::gate::{self, Gate, Sources};
use crate::kept::SQLITE;
use crate::listeners::{Inherited, Listeners};
use crate::settings::words::Database;
use crate::settings::{ADMIN_TOKEN_FILE, Settings, environment};
use crate::successor::{self, FLAG};
use crate::{logging, parts, report};
use admin::{Admin, Token};
use net::dns::Names;
use net::listen::Listen;
use net::mount;
use proxy::serve::Worker;
use schema::json;
use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Why a gate does not start, a line each.
type Failure = Vec<String>;

pub fn run(flags: &StartFlags) -> ExitCode {
    // Nothing is left to do where even an error cannot be written.
    let say = |text: &str| drop(writeln!(io::stderr(), "{text}"));
    let (settings, warnings) = match Settings::load(flags, environment()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            say(&errors.to_string());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    logging::start(settings.log_level);
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    successor::remember_program();
    match start(settings, flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.iter().for_each(|line| say(line));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn start(settings: Settings, flags: &StartFlags) -> Result<(), Failure> {
    let one = |error: String| vec![error];
    let data = DataDir::open(&settings.data).map_err(|error| one(error.to_string()))?;
    let socket = data.path(control::SOCKET);
    let failed = |error: io::Error| one(format!("{}: {error}", socket.display()));
    // First of all, so that a second gate changes nothing for the one that runs with this directory.
    let way = match flags.takeover {
        true => {
            let (predecessor, inherited) = Predecessor::ask(&socket).map_err(|error| {
                one(format!("no gate to take over from at {}: {error}; start without {FLAG}", socket.display()))
            })?;
            Way::After(predecessor, inherited, Door::beside(&socket).map_err(failed)?)
        }
        false => Way::First(control::listen(&socket).map_err(failed)?),
    };
    let sources = Sources { flags: flags.clone(), environment: environment().collect() };
    let end = serve(settings, sources, &data, way);
    // Where another gate runs on, or has taken over, the files are that gate's.
    let ours = match &end {
        Ok(End::Told) => true,
        Ok(End::Succeeded) => false,
        Err(_) => !flags.takeover,
    };
    let files: &[&str] = if ours { &[control::SOCKET, PID, ADDRESSES] } else { &[] };
    for file in files {
        let _ = std::fs::remove_file(data.path(file));
    }
    end.map(drop)
}

/// How this gate comes to its sockets.
enum Way {
    First(UnixListener),
    /// From a gate that runs, and goes when this one is ready.
    After(Predecessor, [Inherited; 2], Door),
}

/// Why a gate has ended.
enum End {
    Told,
    Succeeded,
}

fn serve(settings: Settings, sources: Sources, data: &DataDir, way: Way) -> Result<End, Failure> {
    let one = |error: String| vec![error];
    let (token, is_new) = match &settings.admin_token {
        Some(token) => (token.expose().to_owned(), false),
        None => data.admin_token().map_err(one)?,
    };
    let (cores, watch_files) = (settings.workers.count().get(), settings.watch_files);
    // Told once, and to a person: what is kept of a service's output is read by many.
    let told = Some(token.clone()).filter(|_| is_new && io::stdout().is_terminal());
    let announcement = Announcement::of(&settings, told);
    let token = Token::new(&token).ok_or_else(|| one("the token of the Admin API is empty".to_owned()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| one(error.to_string()))?;
    let names = Names::new(parts::dns(&settings), runtime.handle().clone()).map_err(one)?;
    let gate = Arc::new(Gate::new(settings, sources, data.clone(), names.clone())?);

    let (stop, stopped) = watch::channel(false);
    let workers = (0..cores).map(|index| Worker::start(index, gate.shared.clone(), names.clone(), stopped.clone()));
    let workers: io::Result<Vec<Worker>> = workers.collect();
    let workers = workers.map_err(|error| one(format!("a worker cannot be started: {error}")))?;
    let callers = for_callers(&workers);
    let operators = for_operators(&gate, token, runtime.handle().clone());
    let result = runtime.block_on(async {
        let (inherited, door) = match way {
            Way::First(door) => (Default::default(), Ok(door)),
            Way::After(predecessor, inherited, door) => (inherited, Err((predecessor, door))),
        };
        gate.open(callers, operators, inherited)?;
        announcement.files(&gate, data)?;
        let (relieve, mut relieved) = watch::channel(false);
        let failed = |error: io::Error| error.to_string();
        let door = match door {
            Ok(door) => door,
            Err((predecessor, door)) => {
                door.take_over(&data.path(control::SOCKET)).map_err(failed)?;
                predecessor.relieve().map_err(failed)?;
                door.listener
            }
        };
        control::serve(door, gate.clone(), relieve).map_err(failed)?;
        gate.follow().map_err(failed)?;
        if watch_files {
            crate::watch::start(gate.clone()).map_err(failed)?;
        }
        announcement.say(&gate);
        tokio::select! {
            told = until_told_to_stop(&gate) => told.map(|()| End::Told).map_err(failed),
            _ = relieved.wait_for(|relieved| *relieved) => Ok(End::Succeeded),
        }
    });
    match &result {
        Ok(End::Succeeded) => tracing::info!("a new gate has taken over; requests under way are finished here"),
        _ => tracing::info!(
            "stopping: no new connections; requests under way have {:?}",
            gate.shared.conduct.load().stop_timeout
        ),
    }
    [gate.callers(), gate.operators()].into_iter().flatten().for_each(Listeners::stop);
    // The receivers are gone only where every worker has ended already.
    let _ = stop.send(true);
    // Whoever talks to the Admin API meanwhile is answered: its runtime goes on.
    let join = || workers.into_iter().for_each(Worker::join);
    let joined = runtime.block_on(async { tokio::task::spawn_blocking(join).await });
    if let Err(error) = joined {
        tracing::error!(%error, "the cores could not be waited for");
    }
    if let Some(log) = &gate.shared.log {
        log.close();
    }
    result.map_err(one)
}

/// Sockets for callers go to the cores, one each.
fn for_callers(workers: &[Worker]) -> Listeners {
    let cores: Vec<_> = workers.iter().map(Worker::listeners).collect();
    Listeners::new(workers.len(), move |index, listener| {
        if let Some(core) = cores.get(index % cores.len().max(1)) {
            // A core that has ended ended for a reason that was reported.
            let _ = core.send(listener);
        }
    })
}

/// Sockets for the Admin API are served by the main thread.
fn for_operators(gate: &Arc<Gate>, token: Token, runtime: Handle) -> Listeners {
    let admin = Arc::new(Admin::new(gate::Handle(gate.clone()), token));
    let within = admin.clone();
    // Set once: this is called once.
    let _ = gate.shared.admin.set(Arc::new(move |request, consumer| within.answer_within(request, consumer)));
    let answer: mount::Answer = Arc::new(move |request| admin.answer(request));
    let shared = gate.shared.clone();
    Listeners::new(1, move |_, listener| {
        let shared = shared.clone();
        let tls: mount::Tls = Arc::new(move || listener.tls.then(|| shared.plan.load().caller_tls.of_the_gate()));
        runtime.spawn(mount::serve(listener.socket, tls, answer.clone(), listener.stop));
    })
}

/// What is said of the gate once it is ready.
struct Announcement {
    source: String,
    /// Where the token of the Admin API is.
    token: String,
    data: PathBuf,
}

/// Files in the data directory for those who look after the gate.
pub const ADDRESSES: &str = "addresses.json";
const PID: &str = "portcullis.pid";

impl Announcement {
    /// `told` is a token that is told this once.
    fn of(settings: &Settings, told: Option<String>) -> Announcement {
        let file = settings.data.join(ADMIN_TOKEN_FILE);
        Announcement {
            source: match settings.database() {
                Database::Off => report::name(settings.declarative_config.as_deref()),
                Database::Sqlite => settings.data.join(SQLITE).display().to_string(),
                Database::Postgres => format!("PostgreSQL at {}:{}", settings.pg_host, settings.pg_port),
            },
            token: match (&settings.admin_token, told) {
                (Some(_), _) => "the admin_token that was set".to_owned(),
                (None, Some(token)) => format!("{token}, told this once and kept in {}", file.display()),
                (None, None) => format!("in {}", file.display()),
            },
            data: settings.data.clone(),
        }
    }

    /// For scripts, in the data directory.
    fn files(&self, gate: &Gate, data: &DataDir) -> Result<(), String> {
        let json = json!({ "proxy": urls(gate.callers()), "admin": urls(gate.operators()) });
        for (file, text) in [(ADDRESSES, json.to_string()), (PID, std::process::id().to_string())] {
            data.write(file, &text).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Says what listens where, what was loaded, and what to try next; the last line is for scripts.
    fn say(&self, gate: &Gate) {
        let (callers, operators) = (urls(gate.callers()), urls(gate.operators()));
        let first = callers.first().map_or("", String::as_str);
        let admin = operators.first().map_or("", String::as_str);
        let mut out = io::stdout().lock();
        let mut write = || {
            writeln!(out, "portcullis {}", env!("CARGO_PKG_VERSION"))?;
            writeln!(out, "  loaded     {}: {}", self.source, report::summary(&gate.shared.plan.load().configuration))?;
            writeln!(out, "  callers    {}", callers.join(", "))?;
            writeln!(out, "  Admin API  {} (token: {})", operators.join(", "), self.token)?;
            writeln!(out, "  try        curl -i {first}/")?;
            if !admin.is_empty() {
                writeln!(out, "             curl -H \"Kong-Admin-Token: $TOKEN\" {admin}/routes")?;
            }
            writeln!(out, "             portcullis reload --data {}", self.data.display())?;
            writeln!(out, "ready proxy={} admin={}", callers.join(","), operators.join(","))?;
            out.flush()
        };
        // A gate whose output nobody reads works all the same.
        let _ = write();
    }
}

fn urls(listeners: Option<&Listeners>) -> Vec<String> {
    let url = |listen: Listen| format!("{}://{}", if listen.tls { "https" } else { "http" }, listen.addr);
    listeners.map(Listeners::addresses).unwrap_or_default().into_iter().map(url).collect()
}

/// SIGHUP reads the configuration again; SIGTERM and SIGINT end the gate.
async fn until_told_to_stop(gate: &Arc<Gate>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {
                let gate = gate.clone();
                let _ = tokio::task::spawn_blocking(move || gate.reload_and_tell()).await;
            }
        }
    }
}
