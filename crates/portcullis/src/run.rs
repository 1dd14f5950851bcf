//! `portcullis start`: from settings to a running gate, and to its end.

use crate::cli::{EXIT_FAILED, EXIT_USAGE, StartFlags};
use crate::data_dir::DataDir;
use crate::gate::{Gate, Handle, Parts};
use crate::settings::access_log::AccessLog as Sink;
use crate::settings::words::AccessLogFormat;
use crate::settings::{Settings, environment};
use crate::{conduct, control, logging, report};
use admin::{Admin, Token};
use net::egress::Egress;
use net::listen::{self, Listen};
use net::mount;
use proxy::access_log::{AccessLog, Format};
use proxy::plan::{DefaultCertificate, Workshop};
use proxy::serve::{Listener, Worker};
use schema::json;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::sync::Arc;
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
    match start(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.iter().for_each(|line| say(line));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn start(settings: Settings) -> Result<(), Failure> {
    let one = |error: String| vec![error];
    let data = DataDir::open(&settings.data).map_err(|error| one(error.to_string()))?;
    // First of all, so that a second gate changes nothing for the one that runs with this directory.
    let socket = data.path(control::SOCKET);
    let control = control::listen(&socket).map_err(|error| one(format!("{}: {error}", socket.display())))?;
    let result = serve(&settings, &data, control);
    for file in [control::SOCKET, PID, ADDRESSES] {
        let _ = std::fs::remove_file(data.path(file));
    }
    result
}

fn serve(settings: &Settings, data: &DataDir, control: UnixListener) -> Result<(), Failure> {
    let one = |error: String| vec![error];
    let gate = Arc::new(Gate::new(parts(settings, data).map_err(one)?)?);
    let workers = settings.workers.count().get();
    let sockets = bind(&settings.proxy_listen, workers).map_err(one)?;
    let admin_sockets = bind(&settings.admin_listen, 1).map_err(one)?;
    let token = match &settings.admin_token {
        Some(token) => token.expose().to_owned(),
        None => data.admin_token().map_err(one)?,
    };
    let token = Token::new(&token).ok_or_else(|| one("the token of the Admin API is empty".to_owned()))?;

    let (stop, stopped) = watch::channel(false);
    let egress = Arc::new(Egress::default());
    let addresses = Addresses::of(&sockets, &admin_sockets);
    let mut running = Vec::new();
    for (index, listeners) in per_worker(sockets, workers).into_iter().enumerate() {
        let worker = Worker::start(index, gate.shared.clone(), egress.clone(), listeners, stopped.clone());
        running.push(worker.map_err(|error| one(format!("a worker cannot be started: {error}")))?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| one(error.to_string()))?;
    let result = runtime.block_on(async {
        let control = tokio::net::UnixListener::from_std(control).map_err(|error| error.to_string())?;
        tokio::spawn(control::serve(control, gate.clone()));
        let admin = Arc::new(Admin::new(Handle(gate.clone()), token));
        let answer: mount::Answer = Arc::new(move |request| admin.answer(request));
        for bound in admin_sockets {
            let tls = bound.listen.tls.then(|| gate.shared.plan.load().caller_tls.http1.clone());
            tokio::spawn(mount::serve(bound.socket, tls, answer.clone()));
        }
        announce(settings, &gate, &addresses, data)?;
        until_told_to_stop(&gate).await.map_err(|error| error.to_string())
    });
    tracing::info!("stopping: no new connections; requests under way have {:?}", settings.stop_timeout_s);
    // The receivers are gone only where every worker has ended already.
    let _ = stop.send(true);
    running.into_iter().for_each(Worker::join);
    if let Some(log) = &gate.shared.log {
        log.close();
    }
    result.map_err(one)
}

fn parts(settings: &Settings, data: &DataDir) -> Result<Parts, String> {
    let unknown: Vec<&str> = settings
        .plugins
        .named()
        .filter(|name| !plugins::PLUGINS.iter().any(|definition| definition.name == *name))
        .collect();
    if !unknown.is_empty() {
        return Err(format!("plugins: this version has no {}", unknown.join(", ")));
    }
    Ok(Parts {
        workshop: Workshop {
            plugins: plugins::PLUGINS,
            default_certificate: default_certificate(settings, data)?,
            session_tickets: settings.ssl_session_tickets,
            upstream_tls: net::upstream_tls::UpstreamTls::default(),
            authorities: authorities(settings)?,
        },
        catalog: plugins::catalog(|name| settings.plugins.allows(name)),
        conduct: conduct::of(settings),
        log: access_log(settings)?,
        file: settings.declarative_config.clone(),
        text: settings.declarative_config_string.as_ref().map(|text| text.expose().to_owned()),
        environment: environment().collect::<HashMap<_, _>>(),
        settings: json!({
            "database": settings.database.to_string(),
            "router_flavor": "traditional_compatible",
            "proxy_listen": settings.proxy_listen.iter().map(Listen::to_string).collect::<Vec<_>>(),
            "admin_listen": settings.admin_listen.iter().map(Listen::to_string).collect::<Vec<_>>(),
            "log_level": settings.log_level.word(),
        }),
    })
}

fn default_certificate(settings: &Settings, data: &DataDir) -> Result<DefaultCertificate, String> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (certificate, key) = match (&settings.ssl_cert, &settings.ssl_cert_key) {
        (Some(certificate), Some(key)) => (read(certificate)?, read(key)?),
        _ => {
            if settings.proxy_listen.iter().any(|listen| listen.tls) {
                tracing::warn!(
                    "callers whose server name no certificate covers get a self-signed one; set ssl_cert and ssl_cert_key"
                );
            }
            data.default_certificate()?
        }
    };
    net::certificate::parse(&certificate, &key).map(DefaultCertificate).map_err(|error| format!("ssl_cert: {error}"))
}

/// `None` for whom the operating system trusts.
fn authorities(settings: &Settings) -> Result<Option<Vec<net::CertificateDer<'static>>>, String> {
    let store = &settings.lua_ssl_trusted_certificate;
    if store.files.is_empty() {
        return Ok(None);
    }
    let mut authorities = if store.system { net::certificate::system_authorities() } else { Vec::new() };
    for path in &store.files {
        let failed = |error: String| format!("lua_ssl_trusted_certificate: {}: {error}", path.display());
        let pem = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        authorities.extend(net::certificate::parse_chain(&pem).map_err(|error| failed(error.to_string()))?);
    }
    Ok(Some(authorities))
}

fn access_log(settings: &Settings) -> Result<Option<AccessLog>, String> {
    let sink: Box<dyn Write + Send> = match &settings.proxy_access_log {
        Sink::Off => return Ok(None),
        Sink::Stdout => Box::new(io::stdout()),
        Sink::File(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path);
            Box::new(file.map_err(|error| format!("proxy_access_log: {}: {error}", path.display()))?)
        }
    };
    let format = match settings.access_log_format {
        AccessLogFormat::Json => Format::Json,
        AccessLogFormat::Common => Format::Common,
    };
    AccessLog::start(format, sink).map(Some).map_err(|error| format!("proxy_access_log: {error}"))
}

/// A listening socket with what it was asked for.
struct Bound {
    listen: Listen,
    socket: std::net::TcpListener,
}

/// A socket for each worker and listener, all of a listener on one port: where port 0 was asked for, the
/// first socket finds one.
fn bind(listens: &[Listen], workers: usize) -> Result<Vec<Bound>, String> {
    let mut bound = Vec::new();
    for listen in listens {
        let first = listen::bind(listen).map_err(|error| error.to_string())?;
        let port = first.local_addr().map_err(|error| error.to_string())?.port();
        let listen = listen.with_port(port);
        bound.push(Bound { listen: listen.clone(), socket: first });
        for _ in 1..workers {
            let socket = listen::bind(&listen).map_err(|error| error.to_string())?;
            bound.push(Bound { listen: listen.clone(), socket });
        }
    }
    Ok(bound)
}

fn per_worker(sockets: Vec<Bound>, workers: usize) -> Vec<Vec<Listener>> {
    let mut listeners: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    for (index, Bound { listen, socket }) in sockets.into_iter().enumerate() {
        if let Some(worker) = listeners.get_mut(index % workers) {
            worker.push(Listener { socket, tls: listen.tls, http2: listen.http2 });
        }
    }
    listeners
}

/// Where the gate can be reached.
struct Addresses {
    proxy: Vec<String>,
    admin: Vec<String>,
}

/// Files in the data directory for those who look after the gate.
const ADDRESSES: &str = "addresses.json";
const PID: &str = "portcullis.pid";

impl Addresses {
    fn of(proxy: &[Bound], admin: &[Bound]) -> Addresses {
        let url =
            |bound: &Bound| format!("{}://{}", if bound.listen.tls { "https" } else { "http" }, bound.listen.addr);
        let urls = |bound: &[Bound]| {
            let mut urls: Vec<String> = bound.iter().map(url).collect();
            urls.dedup();
            urls
        };
        Addresses { proxy: urls(proxy), admin: urls(admin) }
    }
}

/// Says what listens where, what was loaded, and what to try next; the last line is for scripts.
fn announce(settings: &Settings, gate: &Gate, addresses: &Addresses, data: &DataDir) -> Result<(), String> {
    let json = json!({ "proxy": addresses.proxy, "admin": addresses.admin });
    for (file, text) in [(ADDRESSES, json.to_string()), (PID, std::process::id().to_string())] {
        data.write(file, &text).map_err(|error| error.to_string())?;
    }
    let source = report::name(settings.declarative_config.as_deref());
    let token = match settings.admin_token {
        Some(_) => "the admin_token that was set".to_owned(),
        None => format!("in {}", data.path(crate::settings::ADMIN_TOKEN_FILE).display()),
    };
    let first = addresses.proxy.first().map_or("", String::as_str);
    let admin = addresses.admin.first().map_or("", String::as_str);
    let mut out = io::stdout().lock();
    let mut write = || {
        writeln!(out, "portcullis {}", env!("CARGO_PKG_VERSION"))?;
        writeln!(out, "  loaded     {}: {}", source, report::summary(&gate.shared.plan.load().configuration))?;
        writeln!(out, "  callers    {}", addresses.proxy.join(", "))?;
        writeln!(out, "  Admin API  {} (token: {token})", addresses.admin.join(", "))?;
        writeln!(out, "  try        curl -i {first}/")?;
        if !admin.is_empty() {
            writeln!(out, "             curl -H \"Kong-Admin-Token: $TOKEN\" {admin}/routes")?;
        }
        writeln!(out, "             portcullis reload --data {}", settings.data.display())?;
        writeln!(out, "ready proxy={} admin={}", addresses.proxy.join(","), addresses.admin.join(","))?;
        out.flush()
    };
    // A gate whose output nobody reads works all the same.
    let _ = write();
    Ok(())
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
                let reloaded = tokio::task::spawn_blocking(move || gate.reload()).await;
                if let Ok(Err(violations)) = reloaded {
                    violations.iter().for_each(|violation| tracing::error!("{violation}"));
                    tracing::error!("nothing was changed");
                }
            }
        }
    }
}
