//! Entities in a database, and what of them is in force in this gate.
//!
//! What changes seldom (routes, services, plugins, certificates) is compiled into a plan, anew with each change of it. Who
//! may call changes all the time, and is put into the registry one by one; every plan has the same registry.

use crate::data_dir::DataDir;
use crate::parts;
use crate::settings::Settings;
use crate::settings::words::Database;
use jose::seal::Ring;
use model::entity::KINDS;
use model::invalid::Offence;
use model::rows::Unavailable;
use model::{Configuration, EntityKind, Invalid, Row, Rows};
use net::upstream_tls::{UpstreamTls, UpstreamTlsOptions};
use proxy::plan::{Plan, Workshop};
use proxy::registry::{Registry, Upgrade};
use schema::Catalog;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use store::{Changed, Feed, LastKnown, Place, PostgresSettings, PostgresTls, Store};
use uuid::Uuid;

/// The database, and this gate's copy of it where it is elsewhere.
pub struct Kept {
    pub store: Arc<Store>,
    last_known: Option<LastKnown>,
    /// Whether the copy did not follow the last time.
    copy_fails: AtomicBool,
}

/// What came out of the database last.
#[derive(Clone)]
pub struct Applied {
    /// The number of the last change that is in force here.
    pub number: u64,
    configuration: Arc<Configuration>,
    registry: Arc<Registry>,
}

impl Applied {
    /// The entities that are in the database, but for callers.
    pub fn configuration(&self) -> Arc<Configuration> {
        self.configuration.clone()
    }

    /// Says who hears of passwords that are kept in Kong's form.
    pub fn upgrade_passwords_by(&self, upgrade: Upgrade) {
        self.registry.upgrade_passwords_by(upgrade);
    }
}

/// Where everything can be read.
enum Source<'a> {
    Database(&'a Store),
    /// The database does not answer.
    Copy(&'a LastKnown, u64),
}

/// Changes that are ready to come into force.
pub struct News {
    applied: Applied,
    pub plan: NewPlan,
    callers: Vec<Change>,
}

/// What becomes of the plan.
pub enum NewPlan {
    /// Only callers have changed.
    AsItWas,
    Is(Box<Plan>),
    /// This gate cannot carry what is in the database: what was in force stays.
    CannotBe(Invalid),
}

type Change = (&'static EntityKind, Uuid, Option<Row>);

/// What a look at the feed finds.
pub enum Looked {
    NothingNew,
    News(Box<News>),
}

/// What compiling needs.
pub struct Tools<'a> {
    pub workshop: &'a Workshop,
    pub catalog: &'a Catalog,
    pub environment: &'a HashMap<String, String>,
    /// Seconds since 1970.
    pub now: i64,
}

impl Source<'_> {
    fn number(&self) -> Result<u64, Unavailable> {
        match self {
            Source::Database(store) => store.last_change(),
            Source::Copy(_, number) => Ok(*number),
        }
    }

    fn each(&self, kind: &'static EntityKind, take: impl FnMut(Row)) -> Result<(), Unavailable> {
        match self {
            Source::Database(store) => store.each(kind, take),
            Source::Copy(copy, _) => copy.each(kind, take),
        }
    }
}

/// The database of a gate by itself, in the data directory.
pub const SQLITE: &str = "portcullis.db";
const LAST_KNOWN: &str = "last-known.db";

const KEYS: &str = "encryption.key";

fn ring(settings: &Settings, data: &DataDir) -> Result<Ring, String> {
    let (from, text) = match (&settings.encryption_key_file, &settings.encryption_key) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path);
            (path.display().to_string(), text.map_err(|error| format!("{}: {error}", path.display()))?)
        }
        (None, Some(keys)) => ("encryption_key".to_owned(), keys.expose().replace(',', "\n")),
        (None, None) => (data.path(KEYS).display().to_string(), data.read_or_make(KEYS, random_key)?.0),
    };
    Ring::read(&text).map_err(|error| format!("{from}: {error}"))
}

fn random_key() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn postgres(settings: &Settings) -> Result<PostgresSettings, String> {
    let options = UpstreamTlsOptions {
        ca_certificates: parts::authorities(settings)?,
        verify: settings.pg_ssl_verify,
        ..UpstreamTlsOptions::default()
    };
    let tls = || UpstreamTls::default().config(&options).map_err(|error| format!("pg_ssl: {error}"));
    Ok(PostgresSettings {
        host: settings.pg_host.clone(),
        port: settings.pg_port,
        user: settings.pg_user.clone(),
        password: settings.pg_password.as_ref().map(|password| password.expose().to_owned()),
        database: settings.pg_database.clone(),
        schema: settings.pg_schema.clone(),
        timeout: settings.pg_timeout,
        tls: match settings.pg_ssl {
            true => Some(PostgresTls { config: tls()?, optional: !settings.pg_ssl_required }),
            false => None,
        },
    })
}

impl Kept {
    /// The database that the settings name, if they name one. It is not asked yet.
    pub fn new(settings: &Settings, data: &DataDir) -> Result<Option<Kept>, String> {
        let failed = |error: Unavailable| format!("database: {error}");
        let ring = || ring(settings, data).map(Arc::new);
        let (place, ring, copy) = match settings.database() {
            Database::Off => return Ok(None),
            Database::Sqlite => (Place::Sqlite(data.path(SQLITE)), ring()?, None),
            Database::Postgres => (Place::Postgres(postgres(settings)?), ring()?, Some(data.path(LAST_KNOWN))),
        };
        let last_known = copy.map(|path| LastKnown::new(path, ring.clone())).transpose().map_err(failed)?;
        let store = Arc::new(Store::new(place, ring).map_err(failed)?);
        Ok(Some(Kept { store, last_known, copy_fails: AtomicBool::new(false) }))
    }

    /// Everything that is in the database, or in the copy while that does not answer, with the plan that it makes; or
    /// what is wrong, in words.
    pub fn load(&self, tools: &Tools) -> Result<(Applied, Plan), Vec<String>> {
        let one = in_one_word;
        let Err(error) = self.store.open() else {
            // The key is right. A copy under another one is of no use to anybody, and made anew.
            if let Some(copy) = self.last_known.as_ref().filter(|copy| copy.number().is_err()) {
                tracing::warn!("the copy of the database cannot be read, and is made anew");
                copy.remove();
            }
            return read(&Source::Database(&self.store), tools);
        };
        let Some(copy) = &self.last_known else { return Err(one(error)) };
        match copy.number() {
            Ok(Some(number)) => {
                tracing::error!("the database does not answer; the gate goes by what it knew last: {error}");
                read(&Source::Copy(copy, number), tools)
            }
            Ok(None) => Err(one(error)),
            Err(wrong) => Err([one(error), one(wrong)].concat()),
        }
    }

    /// Everything anew, for the feed does not go back so far. Who may call is in force at once: that is another matter than
    /// what they may call, which may be more than this gate can carry.
    fn load_again(&self, applied: &Applied, tools: &Tools) -> Result<News, Unavailable> {
        let source = Source::Database(&self.store);
        let (applied, invalid) = read_others(&source, applied.registry.clone(), tools)?;
        let mut there = HashSet::new();
        each_caller(&source, |kind, row| {
            applied.registry.leave_groups(kind, &row);
            there.insert(row.id);
        })?;
        applied.registry.retain(|id| there.contains(&id));
        // A key may be another one's until that one has been changed, too.
        let (mut late, vaults) = (Vec::new(), applied.configuration.vaults());
        each_caller(&source, |kind, row| {
            if applied.registry.put(kind, &row, vaults).is_err() {
                late.push((kind, row));
            }
        })?;
        late.iter().for_each(|(kind, row)| put(&applied.registry, kind, row, &applied.configuration));
        Ok(ready(applied, invalid, Vec::new(), tools))
    }

    /// What is done besides, now and then: the copy follows, and what is over is taken away.
    ///
    /// What the audit log has of a time before `audit_from` (in seconds since 1970) is forgotten.
    pub fn look_after(&self, audit_from: Option<u64>) {
        let swept = self.store.sweep().and_then(|()| audit_from.map_or(Ok(()), |time| self.store.forget_audit(time)));
        // That the database does not answer is told where changes are looked for.
        if let Err(error) = &swept {
            tracing::debug!("database: {error}");
        }
        let Some(copy) = self.last_known.as_ref().filter(|_| swept.is_ok()) else { return };
        let failed = copy.follow(&self.store).err();
        if failed.is_some() != self.copy_fails.swap(failed.is_some(), Relaxed) {
            match failed {
                Some(error) => tracing::error!("the copy of the database does not follow: {error}"),
                None => tracing::info!("the copy of the database follows again"),
            }
        }
    }

    /// The plan of what is in force, by other tools.
    pub fn compile(&self, applied: &Applied, tools: &Tools) -> Result<Plan, Invalid> {
        let (configuration, invalid) =
            applied.configuration.changed([], tools.catalog, tools.environment, applied.number);
        plan_of(&Applied { configuration: configuration.into(), ..applied.clone() }, invalid, tools)
    }

    /// What was changed in the database since the last time, ready to come into force.
    pub fn look(&self, applied: &Applied, tools: &Tools) -> Result<Looked, Unavailable> {
        match self.store.changes(applied.number)? {
            Feed::Since(_, number) if number == applied.number => Ok(Looked::NothingNew),
            Feed::Since(changed, number) => {
                self.prepare(applied, &changed, number, self.store.as_ref(), tools).map(Box::new).map(Looked::News)
            }
            Feed::Lost => self.load_again(applied, tools).map(Box::new).map(Looked::News),
        }
    }

    /// What must be done for changes. They are not in force yet: whether this gate can carry them is found out here.
    pub fn prepare(
        &self,
        applied: &Applied,
        changed: &[Changed],
        number: u64,
        rows: &dyn Rows,
        tools: &Tools,
    ) -> Result<News, Unavailable> {
        let (mut callers, mut others): (Vec<Change>, Vec<Change>) = (Vec::new(), Vec::new());
        for Changed { kind, id } in changed {
            let row = rows.by_id(kind, *id, 0)?;
            let list = if Registry::holds(kind) { &mut callers } else { &mut others };
            list.push((kind, *id, row));
        }
        // Who is referred to comes before who refers.
        callers.sort_by_key(|(kind, _, _)| proxy::registry::KINDS.iter().position(|own| *own == kind.name));
        if others.is_empty() {
            let applied = Applied { number, ..applied.clone() };
            return Ok(News { applied, plan: NewPlan::AsItWas, callers });
        }
        let (configuration, invalid) = applied.configuration.changed(others, tools.catalog, tools.environment, number);
        let applied = Applied { number, configuration: configuration.into(), ..applied.clone() };
        Ok(ready(applied, invalid, callers, tools))
    }

    /// Whether this gate can carry all of it, and callers that are to be put there are as they must be.
    pub fn check(&self, news: News) -> Result<News, Invalid> {
        if let NewPlan::CannotBe(invalid) = news.plan {
            return Err(invalid);
        }
        let vaults = news.applied.configuration.vaults();
        let changed = news.callers.iter().map(|(_, id, _)| *id).collect();
        for (kind, _, row) in &news.callers {
            let Some(row) = row else { continue };
            if let Err(violations) = news.applied.registry.check(kind, row, vaults, &changed) {
                let (place, entity) = (row.place.clone(), schema::Value::Null);
                let offence = Offence { place, entity_type: kind.singular, entity, violations };
                return Err(Invalid { entities: vec![offence], ..Invalid::default() });
            }
        }
        Ok(news)
    }

    /// Puts changes in force, but for the plan.
    pub fn apply(&self, news: News) -> (Applied, NewPlan) {
        let News { applied, plan, callers } = news;
        let registry = &applied.registry;
        // First what is gone, and what a row says no longer, so that nothing new is taken for it.
        for (kind, id, row) in &callers {
            match row {
                Some(row) => registry.leave_groups(kind, row),
                None => registry.remove(kind, *id),
            }
        }
        let there = || callers.iter().filter_map(|(kind, _, row)| Some((kind, row.as_ref()?)));
        // A key may be another one's until that one has been changed, too.
        let vaults = applied.configuration.vaults();
        let late: Vec<_> = there().filter(|(kind, row)| registry.put(kind, row, vaults).is_err()).collect();
        late.into_iter().for_each(|(kind, row)| put(registry, kind, row, &applied.configuration));
        (applied, plan)
    }
}

fn read(source: &Source, tools: &Tools) -> Result<(Applied, Plan), Vec<String>> {
    let (applied, invalid) = read_others(source, Arc::default(), tools).map_err(in_one_word)?;
    let callers = each_caller(source, |kind, row| put(&applied.registry, kind, &row, &applied.configuration));
    callers.map_err(in_one_word)?;
    let plan = plan_of(&applied, invalid, tools).map_err(|invalid| in_words(&invalid))?;
    Ok((applied, plan))
}

/// Everything but who may call.
fn read_others(source: &Source, registry: Arc<Registry>, tools: &Tools) -> Result<(Applied, Invalid), Unavailable> {
    // What changes while this reads is read again with the feed.
    let number = source.number()?;
    let mut rows: Vec<Change> = Vec::new();
    for kind in KINDS.iter().filter(|kind| !Registry::holds(kind)) {
        source.each(kind, |row| rows.push((kind, row.id, Some(row))))?;
    }
    let (configuration, invalid) = Configuration::empty().changed(rows, tools.catalog, tools.environment, number);
    Ok((Applied { number, configuration: configuration.into(), registry }, invalid))
}

/// Whoever may call, in the order in which they are put into the registry.
fn each_caller(source: &Source, mut take: impl FnMut(&'static EntityKind, Row)) -> Result<(), Unavailable> {
    let kinds = proxy::registry::KINDS.iter().filter_map(|kind| model::entity::kind(kind));
    kinds.into_iter().try_for_each(|kind| source.each(kind, |row| take(kind, row)))
}

/// With the plan of what is in the database, if this gate can carry it.
fn ready(applied: Applied, invalid: Invalid, callers: Vec<Change>, tools: &Tools) -> News {
    let plan = plan_of(&applied, invalid, tools);
    News { applied, plan: plan.map_or_else(NewPlan::CannotBe, |plan| NewPlan::Is(Box::new(plan))), callers }
}

/// The plan of what was read, unless something of it is known to be wrong.
fn plan_of(applied: &Applied, invalid: Invalid, tools: &Tools) -> Result<Plan, Invalid> {
    match invalid.is_empty() {
        true => tools.workshop.compile_for(applied.registry.clone(), applied.configuration.clone(), tools.now),
        false => Err(invalid),
    }
}

fn in_one_word(error: Unavailable) -> Vec<String> {
    vec![format!("database: {error}")]
}

/// What is wrong with entities, one by one.
pub fn in_words(invalid: &Invalid) -> Vec<String> {
    let offence = |offence: &Offence| {
        format!("database: {} {}: {}", offence.entity_type, offence.entity["id"], offence.violations.message())
    };
    invalid.entities.iter().map(offence).collect()
}

/// A credential that cannot work lets nobody in.
fn put(registry: &Registry, kind: &EntityKind, row: &Row, configuration: &Configuration) {
    if let Err(violations) = registry.put(kind, row, configuration.vaults()) {
        tracing::error!("{} {} cannot be used: {}", kind.singular, row.id, violations.message());
        registry.remove(kind, row.id);
    }
}
