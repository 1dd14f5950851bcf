//! The running gate: the configuration in force, and how it is replaced.

use crate::report;
use admin::{Connections, Facts};
use model::document::Node;
use model::vault::Vaults;
use model::{Configuration, Invalid, declarative};
use proxy::access_log::AccessLog;
use proxy::conduct::Conduct;
use proxy::plan::{Plan, Workshop};
use proxy::serve::{Counters, Shared};
use schema::{Catalog, Value};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// What everything that changes the configuration needs.
pub struct Gate {
    pub shared: Arc<Shared>,
    workshop: Workshop,
    catalog: Catalog,
    /// Where `reload` reads from.
    file: Option<PathBuf>,
    environment: HashMap<String, String>,
    settings: Value,
    hostname: String,
    node_id: Uuid,
    /// One change at a time; the last one wins.
    changing: Mutex<()>,
}

/// What makes a gate.
pub struct Parts {
    pub workshop: Workshop,
    pub catalog: Catalog,
    pub conduct: Conduct,
    pub log: Option<AccessLog>,
    pub file: Option<PathBuf>,
    pub text: Option<String>,
    pub environment: HashMap<String, String>,
    /// The settings in force as JSON, without secrets.
    pub settings: Value,
}

impl Gate {
    /// A gate with its first configuration, or every violation in words.
    pub fn new(parts: Parts) -> Result<Gate, Vec<String>> {
        let Parts { workshop, catalog, conduct, log, file, text, environment, settings } = parts;
        let text = match (&file, text) {
            (Some(path), _) => Some(read(path).map_err(|error| vec![error])?),
            (None, text) => text,
        };
        let plan = match text {
            Some(text) => compile(&workshop, &catalog, &environment, &text).map_err(|(invalid, node)| {
                report::violations(&report::name(file.as_deref()), &invalid, node.as_ref())
            })?,
            None => workshop
                .compile(Arc::new(Configuration::empty()), now())
                .map_err(|invalid| report::violations("configuration", &invalid, None))?,
        };
        let shared = Shared {
            plan: Arc::new(plan).into(),
            conduct: Arc::new(conduct).into(),
            log,
            counters: Counters::default(),
        };
        Ok(Gate {
            shared: Arc::new(shared),
            workshop,
            catalog,
            file,
            environment,
            settings,
            hostname: hostname(),
            node_id: Uuid::new_v4(),
            changing: Mutex::new(()),
        })
    }

    /// Reads the file again. A file that is not right changes nothing; the error is every violation in words.
    pub fn reload(&self) -> Result<String, Vec<String>> {
        let Some(path) = &self.file else {
            return Err(vec![
                "there is no declarative_config to read again; configurations come over POST /config".to_owned(),
            ]);
        };
        let text = read(path).map_err(|error| vec![error])?;
        match self.swap_text(&text) {
            Ok(configuration) => Ok(report::summary(&configuration)),
            Err((invalid, node)) => Err(report::violations(&report::name(Some(path)), &invalid, node.as_ref())),
        }
    }

    fn swap_text(&self, text: &str) -> Result<Arc<Configuration>, (Invalid, Option<Node>)> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = compile(&self.workshop, &self.catalog, &self.environment, text)?;
        Ok(self.swap(plan))
    }

    /// From here on every new request is held against the new plan; those under way keep theirs.
    fn swap(&self, plan: Plan) -> Arc<Configuration> {
        let configuration = plan.configuration.clone();
        self.shared.plan.store(Arc::new(plan));
        tracing::info!(hash = configuration.hash, "loaded {}", report::summary(&configuration));
        configuration
    }
}

/// Text to plan.
pub fn compile(
    workshop: &Workshop,
    catalog: &Catalog,
    environment: &HashMap<String, String>,
    text: &str,
) -> Result<Plan, (Invalid, Option<Node>)> {
    let configuration = declarative::read_text(text, context(catalog, environment))?;
    // The lines are looked up only where there is something to say.
    workshop.compile(Arc::new(configuration), now()).map_err(|invalid| (invalid, model::document::parse(text).ok()))
}

fn context<'a>(catalog: &'a Catalog, environment: &HashMap<String, String>) -> declarative::Context<'a> {
    let now = u64::try_from(now()).unwrap_or_default();
    declarative::Context { catalog, vaults: Vaults::new(environment.clone()), now }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn read(path: &PathBuf) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// The gate, as the Admin API holds it.
pub struct Handle(pub Arc<Gate>);

impl admin::Gate for Handle {
    fn configuration(&self) -> Arc<Configuration> {
        self.0.shared.plan.load().configuration.clone()
    }

    fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    fn load(&self, document: &str) -> Result<Arc<Configuration>, Invalid> {
        self.0.swap_text(document).map_err(|(invalid, _)| invalid)
    }

    fn facts(&self) -> Facts {
        let counters = &self.0.shared.counters;
        let (accepted, active) = (counters.accepted.load(Relaxed), counters.active.load(Relaxed));
        Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: self.0.hostname.clone(),
            node_id: self.0.node_id,
            pid: std::process::id(),
            settings: self.0.settings.clone(),
            connections: Connections {
                accepted,
                active,
                handled: accepted,
                reading: 0,
                waiting: 0,
                writing: active,
                total_requests: counters.requests.load(Relaxed),
            },
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(now()).unwrap_or_default()
    }
}
