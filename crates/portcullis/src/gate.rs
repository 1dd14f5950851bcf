//! The running gate: the configuration in force, and how it is replaced.

use crate::cli::StartFlags;
use crate::data_dir::DataDir;
use crate::kept::{self, Kept, Looked, NewPlan, News, Tools};
use crate::listeners::{Inherited, Listeners, Prepared};
use crate::settings::{Settings, SettingsErrors, Warning};
use crate::upgrade_passwords;
use crate::{conduct, logging, parts, report};
use admin::{Connections, Facts};
use arc_swap::ArcSwap;
use http::{Method, StatusCode};
use model::document::Node;
use model::rows::Unavailable;
use model::vault::Vaults;
use model::{Configuration, EntityKind, Invalid, Rows, Writes, declarative, without_secrets};
use net::dns::Names;
use net::listen::Listen;
use proxy::plan::{Plan, Workshop};
use proxy::serve::{Counters, Shared};
use schema::{Catalog, Map, Value};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use store::{Author, Feed};
use uuid::Uuid;

/// What everything that changes the configuration needs.
pub struct Gate {
    pub shared: Arc<Shared>,
    catalog: Catalog,
    /// Where settings are read from again.
    sources: Sources,
    data: DataDir,
    shown: ArcSwap<Value>,
    /// What was read last, without those who call.
    entities: ArcSwap<Configuration>,
    operation: ArcSwap<Operation>,
    names: Arc<Names>,
    hostname: String,
    node_id: Uuid,
    /// Its lock lets one change happen at a time; the last one wins.
    state: Mutex<State>,
    callers: OnceLock<Listeners>,
    operators: OnceLock<Listeners>,
    /// Nothing where the configuration is one document.
    kept: Option<Kept>,
}

/// Where settings come from besides the settings file.
#[derive(Clone)]
pub struct Sources {
    pub flags: StartFlags,
    pub environment: Vec<(String, String)>,
}

impl Sources {
    pub fn read(&self) -> Result<(Settings, Vec<Warning>), SettingsErrors> {
        Settings::load(&self.flags, self.environment.iter().cloned())
    }

    fn environment(&self) -> HashMap<String, String> {
        self.environment.iter().cloned().collect()
    }
}

/// What is in force beside the plan.
struct State {
    settings: Settings,
    workshop: Workshop,
    /// The configuration came over the Admin API: no other process could read it again.
    posted: bool,
    /// Of the database, where there is one.
    applied: Option<kept::Applied>,
    /// Whether the database did not answer the last time.
    is_cut_off: bool,
}

impl Gate {
    /// A gate with its first configuration, or every violation in words.
    pub fn new(settings: Settings, sources: Sources, data: DataDir, names: Arc<Names>) -> Result<Gate, Vec<String>> {
        let one = |error: String| vec![error];
        let workshop = parts::workshop(&settings, &data, &names, Arc::default()).map_err(one)?;
        let log = parts::access_log(&settings).map_err(one)?;
        let catalog = plugins::catalog(|name| settings.plugins.allows(name));
        let kept = Kept::new(&settings, &data).map_err(one)?;
        let (applied, plan) = match &kept {
            None => (None, plan(&workshop, &catalog, &sources, &settings, || Arc::new(Configuration::empty()))?),
            Some(kept) => {
                let environment = sources.environment();
                let tools = Tools { workshop: &workshop, catalog: &catalog, environment: &environment, now: now() };
                let (applied, plan) = kept.load(&tools)?;
                (Some(applied), plan)
            }
        };
        let entities = ArcSwap::new(plan.configuration.clone());
        let shared = Shared {
            plan: Arc::new(plan).into(),
            conduct: Arc::new(conduct::of(&settings)).into(),
            log,
            counters: Counters::default(),
            admin: OnceLock::new(),
        };
        Ok(Gate {
            shared: Arc::new(shared),
            catalog,
            sources,
            data,
            shown: ArcSwap::from_pointee(parts::shown(&settings)),
            entities,
            operation: ArcSwap::from_pointee(Operation::of(&settings)),
            names,
            hostname: hostname(),
            node_id: Uuid::new_v4(),
            state: Mutex::new(State { settings, workshop, posted: false, applied, is_cut_off: false }),
            callers: OnceLock::new(),
            operators: OnceLock::new(),
            kept,
        })
    }

    /// Opens the doors, for callers and for operators, with what another gate has handed over.
    pub fn open(&self, callers: Listeners, operators: Listeners, mut inherited: [Inherited; 2]) -> Result<(), String> {
        let state = self.state();
        let [of_callers, of_operators] = &mut inherited;
        callers.apply(callers.prepare(&state.settings.proxy_listen, of_callers)?);
        operators.apply(operators.prepare(&state.settings.admin_listen, of_operators)?);
        let _ = (self.callers.set(callers), self.operators.set(operators));
        Ok(())
    }

    pub fn callers(&self) -> Option<&Listeners> {
        self.callers.get()
    }

    pub fn operators(&self) -> Option<&Listeners> {
        self.operators.get()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads settings, certificates and the declarative file again. What is not right changes nothing; the error
    /// is every violation in words.
    pub fn reload(&self) -> Result<String, Vec<String>> {
        let one = |error: String| vec![error];
        let mut state = self.state();
        let (settings, warnings) = self.sources.read().map_err(|errors| one(errors.to_string()))?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let workshop =
            parts::workshop(&settings, &self.data, &self.names, state.workshop.upstream_tls.clone()).map_err(one)?;
        // Configurations that came over the Admin API stay, under the new settings.
        let now_in_force = || self.shared.plan.load().configuration.clone();
        let plan = match (&self.kept, &state.applied) {
            (Some(kept), Some(applied)) => {
                let environment = self.sources.environment();
                kept.compile(applied, &self.tools(&workshop, &environment))
                    .map_err(|invalid| kept::in_words(&invalid))?
            }
            _ => plan(&workshop, &self.catalog, &self.sources, &settings, now_in_force)?,
        };
        let named = settings.declarative_config.is_some() || settings.declarative_config_string.is_some();
        let posted = state.posted && !named;
        // Both are opened before anything is changed.
        let callers = prepare(&self.callers, &settings.proxy_listen).map_err(one)?;
        let operators = prepare(&self.operators, &settings.admin_listen).map_err(one)?;
        self.names.configure(parts::dns(&settings)).map_err(one)?;
        let later = parts::later(&state.settings, &settings);
        self.shared.conduct.store(Arc::new(conduct::of(&settings)));
        self.shown.store(Arc::new(parts::shown(&settings)));
        self.operation.store(Arc::new(Operation::of(&settings)));
        let configuration = self.swap(plan);
        logging::set(settings.log_level);
        for (listeners, fresh) in [callers, operators].into_iter().flatten() {
            listeners.apply(fresh);
        }
        (state.settings, state.workshop, state.posted) = (settings, workshop, posted);
        let mut summary = report::summary(&configuration);
        if !later.is_empty() {
            summary.push_str(&format!("; from the next start or upgrade on: {}", later.join(", ")));
        }
        Ok(summary)
    }

    /// Reads everything again for nobody in particular: what is wrong goes to the log.
    pub fn reload_and_tell(&self) {
        if let Err(violations) = self.reload() {
            violations.iter().for_each(|violation| tracing::error!("{violation}"));
            tracing::error!("nothing was changed");
        }
    }

    fn swap_text(&self, text: &str) -> Result<Arc<Configuration>, (Invalid, Option<Node>)> {
        let mut state = self.state();
        let plan = compile(&state.workshop, &self.catalog, &self.sources.environment(), text)?;
        state.posted = true;
        Ok(self.swap(plan))
    }

    fn tools<'a>(&'a self, workshop: &'a Workshop, environment: &'a HashMap<String, String>) -> Tools<'a> {
        Tools { workshop, catalog: &self.catalog, environment, now: now() }
    }

    /// Looks for changes of other gates from now on.
    pub fn follow(self: &Arc<Gate>) -> std::io::Result<()> {
        let Some(kept) = &self.kept else { return Ok(()) };
        if let Some(applied) = &self.state().applied {
            upgrade_passwords::start(self, applied)?;
        }
        let gate = Arc::downgrade(self);
        kept.store.watch(move || {
            if let Some(gate) = gate.upgrade()
                && let Some(kept) = &gate.kept
            {
                gate.catch_up(kept);
                kept.look_after(gate.audit_from());
            }
        })
    }

    /// Whether the database did not answer the last time.
    pub fn is_cut_off(&self) -> bool {
        self.state().is_cut_off
    }

    /// Since when the audit log is kept, in seconds since 1970.
    fn audit_from(&self) -> Option<u64> {
        let kept_for = self.state().settings.audit_log_record_ttl?;
        u64::try_from(now()).ok()?.checked_sub(kept_for.as_secs())
    }

    /// Puts in force what was changed in the database meanwhile.
    fn catch_up(&self, kept: &Kept) {
        let mut state = self.state();
        let Some(applied) = &state.applied else { return };
        let environment = self.sources.environment();
        let tools = self.tools(&state.workshop, &environment);
        let looked = kept.look(applied, &tools);
        match &looked {
            Err(error) if !state.is_cut_off => {
                tracing::error!("the database does not answer; the gate goes on with what it knows: {error}");
            }
            Ok(_) if state.is_cut_off => tracing::info!("the database answers again"),
            _ => {}
        }
        let is_cut_off = looked.is_err();
        if let Ok(Looked::News(news)) = looked {
            self.put_in_force(kept, &mut state, *news);
        }
        state.is_cut_off = is_cut_off;
    }

    fn put_in_force(&self, kept: &Kept, state: &mut State, news: News) {
        let (applied, plan) = kept.apply(news);
        match plan {
            NewPlan::AsItWas => {}
            NewPlan::Is(plan) => drop(self.swap(*plan)),
            NewPlan::CannotBe(invalid) => {
                let wrong = kept::in_words(&invalid).join("; ");
                tracing::error!("what is in the database now cannot work here, and what was in force stays: {wrong}");
            }
        }
        // Also where no plan could be made of it: who may use the Admin API is in it.
        self.entities.store(applied.configuration());
        state.applied = Some(applied);
    }

    /// From here on every new request is held against the new plan; those under way keep theirs.
    fn swap(&self, plan: Plan) -> Arc<Configuration> {
        let configuration = plan.configuration.clone();
        self.shared.plan.store(Arc::new(plan));
        self.entities.store(configuration.clone());
        tracing::info!(hash = configuration.hash, "loaded {}", report::summary(&configuration));
        configuration
    }

    /// Why no other process could go on with what is in force here.
    pub fn bound_to_this_process(&self) -> Option<String> {
        self.state().posted.then(|| {
            "the configuration in force came over POST /config, and a new process could not read it again; \
             put it into the file that declarative_config names, and reload"
                .to_owned()
        })
    }

    /// The files that a change of which is a change of the gate.
    pub fn files(&self) -> Vec<PathBuf> {
        let state = self.state();
        let settings = &state.settings;
        let named = [&settings.declarative_config, &settings.ssl_cert, &settings.ssl_cert_key];
        let variables = &self.sources.environment;
        let own = crate::settings::file_path(&self.sources.flags, variables);
        named.into_iter().flatten().cloned().chain([own]).collect()
    }
}

/// What the Admin API goes by.
struct Operation {
    /// The names that it is asked under.
    hosts: Vec<String>,
    /// Whether any other name will do.
    any_host: bool,
    readable_keys: bool,
}

impl Operation {
    fn of(settings: &Settings) -> Operation {
        let hosts = settings.admin_hosts.clone();
        // Who lets other machines in reaches the gate under a name that only they know.
        let any_host = hosts.is_empty() && !settings.admin_listen.iter().all(|own| own.addr.ip().is_loopback());
        Operation { hosts, any_host, readable_keys: settings.readable_keys }
    }
}

/// The declarative text that the settings name, if they name one.
fn text(settings: &Settings) -> Result<Option<String>, String> {
    match (&settings.declarative_config, &settings.declarative_config_string) {
        (Some(path), _) => read(path).map(Some),
        (None, text) => Ok(text.as_ref().map(|text| text.expose().to_owned())),
    }
}

/// The plan of the configuration that the settings name, or else of another one; or every violation in words.
fn plan(
    workshop: &Workshop,
    catalog: &Catalog,
    sources: &Sources,
    settings: &Settings,
    otherwise: impl FnOnce() -> Arc<Configuration>,
) -> Result<Plan, Vec<String>> {
    let compiled = match text(settings).map_err(|error| vec![error])? {
        Some(text) => compile(workshop, catalog, &sources.environment(), &text),
        None => workshop.compile(otherwise(), now()).map_err(|invalid| (invalid, None)),
    };
    compiled.map_err(|(invalid, node)| {
        report::violations(&report::name(settings.declarative_config.as_deref()), &invalid, node.as_ref())
    })
}

type Prepare<'a> = Option<(&'a Listeners, Prepared)>;

fn prepare<'a>(listeners: &'a OnceLock<Listeners>, wanted: &[Listen]) -> Result<Prepare<'a>, String> {
    let Some(listeners) = listeners.get() else { return Ok(None) };
    Ok(Some((listeners, listeners.prepare(wanted, &mut Inherited::new())?)))
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
    fn document(&self) -> Option<Arc<Configuration>> {
        self.0.kept.is_none().then(|| self.0.shared.plan.load().configuration.clone())
    }

    fn rows(&self) -> Arc<dyn Rows> {
        match &self.0.kept {
            Some(kept) => kept.store.clone(),
            None => self.0.shared.plan.load().configuration.clone(),
        }
    }

    fn change<T, E>(&self, who: &str, make: impl FnOnce(&dyn Writes) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Unavailable> + From<Invalid>,
    {
        let gate = &self.0;
        let mut state = gate.state();
        let (Some(kept), Some(applied)) = (&gate.kept, &state.applied) else {
            return Err(Unavailable("the configuration is a document".to_owned()).into());
        };
        let environment = gate.sources.environment();
        let tools = gate.tools(&state.workshop, &environment);
        let shown = |kind: &'static EntityKind, entity: &Map<String, Value>| {
            let name = entity.get("name").and_then(Value::as_str);
            without_secrets(&model::record(kind, &gate.catalog, name), entity).into()
        };
        let author = Author { name: who, shown: &shown };
        let (made, news) = kept.store.change(Some(&author), |change| {
            let made = make(change.writes())?;
            // With those of other gates, since this one has looked.
            let Feed::Since(changed, number) = change.changes(applied.number)? else {
                return Err(Unavailable("this gate must read everything again first; try again".to_owned()).into());
            };
            let news = kept.prepare(applied, &changed, number, change.rows(), &tools)?;
            Ok::<_, E>((made, kept.check(news)?))
        })?;
        gate.put_in_force(kept, &mut state, news);
        Ok(made)
    }

    fn in_force(&self) -> Arc<Configuration> {
        self.0.entities.load_full()
    }

    fn is_known_host(&self, host: &str) -> bool {
        let operation = self.0.operation.load();
        operation.any_host || operation.hosts.iter().any(|own| own == host)
    }

    fn has_readable_keys(&self) -> bool {
        self.0.operation.load().readable_keys
    }

    fn log(&self, who: &str, method: &Method, path: &str, status: StatusCode) {
        tracing::info!(who, %method, path, status = status.as_u16(), "Admin API");
    }

    fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    fn load(&self, document: &str) -> Result<Arc<Configuration>, Invalid> {
        self.0.swap_text(document).map_err(|(invalid, _)| invalid)
    }

    fn read(&self, document: &str) -> Result<declarative::Written, Invalid> {
        declarative::read_as_written(document, context(&self.0.catalog, &self.0.sources.environment()))
    }

    fn explain(&self, question: admin::Question) -> Value {
        let tls = question.request.uri().scheme_str() == Some("https");
        let question = proxy::serve::Question { request: question.request, ip: question.ip, tls };
        let (plan, conduct) = (self.0.shared.plan.load_full(), self.0.shared.conduct.load_full());
        // Plugins run on one core; this thread is one for a moment.
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(proxy::serve::explain(question, plan, conduct, self.0.names.clone())),
            Err(error) => schema::json!({ "because": error.to_string() }),
        }
    }

    fn facts(&self) -> Facts {
        let counters = &self.0.shared.counters;
        let (accepted, active) = (counters.accepted.load(Relaxed), counters.active.load(Relaxed));
        Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: self.0.hostname.clone(),
            node_id: self.0.node_id,
            pid: std::process::id(),
            settings: Value::clone(&self.0.shown.load()),
            database: self.0.kept.as_ref().map(|kept| kept.store.last_change().is_ok()),
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
