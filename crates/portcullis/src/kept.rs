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
use model::rows::{self, Tagged, Unavailable};
use model::{Configuration, EntityKind, Invalid, Row, Rows};
use net::upstream_tls::{UpstreamTls, UpstreamTlsOptions};
use proxy::plan::{Plan, Workshop};
use proxy::registry::{Registry, Upgrade};
use schema::Catalog;
use std::collections::HashMap;
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
    /// The configuration is older than the number, for this gate cannot carry the one of the database.
    is_behind: bool,
}

impl Applied {
    /// Others have taken the place of those who may call.
    pub fn retire(&self) {
        self.registry.retire();
    }

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
    Change(&'a store::Change<'a>),
    /// The database does not answer.
    Copy(&'a LastKnown, u64),
}

/// Changes that are ready to come into force.
pub struct News {
    applied: Applied,
    /// Nothing if only callers have changed.
    pub plan: Option<Plan>,
    callers: Vec<Change>,
}

type Change = (&'static EntityKind, Uuid, Option<Row>);

/// Changes, or why this gate cannot carry what is in the database all the same.
pub type Prepared = Result<News, (News, Invalid)>;

/// What can come into force.
pub enum Ready {
    News(News),
    /// In place of all that was there.
    Everything(Applied, Plan),
}

/// What a look at the feed finds.
pub enum Looked {
    NothingNew,
    News(Box<Prepared>),
    /// The feed does not go back so far: everything must be loaded again.
    Lost,
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
            Source::Change(change) => change.last_change(),
            Source::Copy(_, number) => Ok(*number),
        }
    }

    fn each(&self, kind: &'static EntityKind, mut take: impl FnMut(Row)) -> Result<(), Unavailable> {
        match self {
            Source::Database(store) => store.each(kind, take),
            Source::Change(change) => rows::each(change.rows(), kind, None, &Tagged::Anyhow, 0, |row| {
                take(row);
                Ok(())
            }),
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

    /// Everything that is in the database, anew.
    pub fn load_again(&self, tools: &Tools) -> Result<(Applied, Plan), Vec<String>> {
        read(&Source::Database(&self.store), tools)
    }

    /// What a change under way makes of the database, ready to come into force; an error is why it cannot.
    pub fn prepare_change<E>(&self, applied: &Applied, change: &store::Change, tools: &Tools) -> Result<Ready, E>
    where
        E: From<Unavailable> + From<Invalid>,
    {
        match change.changes(applied.number)? {
            // With those of other gates, since this one has looked.
            Feed::Since(changed, number) if !applied.is_behind => {
                let news = self.prepare(applied, &changed, number, change.rows(), tools)?;
                let news = news.map_err(|(_, invalid)| invalid)?;
                self.check(&news)?;
                Ok(Ready::News(news))
            }
            _ => {
                let (applied, plan) =
                    read(&Source::Change(change), tools).map_err(|wrong| Unavailable(wrong.join("; ")))?;
                Ok(Ready::Everything(applied, plan))
            }
        }
    }

    /// Who may call, anew, with the entities that are in force: for a database whose other entities cannot work here.
    pub fn load_callers(&self, applied: &Applied, tools: &Tools) -> Result<(Applied, Plan), Vec<String>> {
        let number = self.store.last_change().map_err(in_one_word)?;
        let configuration = applied.configuration.clone();
        let registry = callers(&Source::Database(&self.store), &configuration)?;
        let plan = tools.workshop.compile_for(registry.clone(), configuration.clone(), tools.now);
        Ok((Applied { number, configuration, registry, is_behind: true }, plan.map_err(|invalid| in_words(&invalid))?))
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
        tools.workshop.compile_for(applied.registry.clone(), applied.configuration.clone(), tools.now)
    }

    /// What was changed in the database since the last time, ready to come into force.
    pub fn look(&self, applied: &Applied, tools: &Tools) -> Result<Looked, Unavailable> {
        match self.store.changes(applied.number)? {
            Feed::Since(_, number) if number != applied.number && applied.is_behind => Ok(Looked::Lost),
            Feed::Since(_, number) if number == applied.number => Ok(Looked::NothingNew),
            Feed::Since(changed, number) => {
                self.prepare(applied, &changed, number, self.store.as_ref(), tools).map(Box::new).map(Looked::News)
            }
            Feed::Lost => Ok(Looked::Lost),
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
    ) -> Result<Prepared, Unavailable> {
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
            return Ok(Ok(News { applied, plan: None, callers }));
        }
        let (configuration, invalid) = applied.configuration.changed(others, tools.catalog, tools.environment, number);
        let configuration = Arc::new(configuration);
        let applied = Applied { number, configuration: configuration.clone(), ..applied.clone() };
        if !invalid.is_empty() {
            return Ok(Err((News { applied, plan: None, callers }, invalid)));
        }
        Ok(match tools.workshop.compile_for(applied.registry.clone(), configuration, tools.now) {
            Ok(plan) => Ok(News { applied, plan: Some(plan), callers }),
            // Who may call is another matter than what they may call.
            Err(invalid) => Err((News { applied, plan: None, callers }, invalid)),
        })
    }

    /// Whether callers that are to be put there are as they must be.
    pub fn check(&self, news: &News) -> Result<(), Invalid> {
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
        Ok(())
    }

    /// Puts changes in force, but for the plan.
    pub fn apply(&self, news: News) -> (Applied, Option<Plan>) {
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
    let one = in_one_word;
    // What changes while this reads is read again with the feed.
    let number = source.number().map_err(one)?;
    let mut rows: Vec<Change> = Vec::new();
    for kind in KINDS.iter().filter(|kind| !Registry::holds(kind)) {
        source.each(kind, |row| rows.push((kind, row.id, Some(row)))).map_err(one)?;
    }
    let (configuration, invalid) = Configuration::empty().changed(rows, tools.catalog, tools.environment, number);
    if !invalid.is_empty() {
        return Err(in_words(&invalid));
    }
    let registry = callers(source, &configuration)?;
    let configuration = Arc::new(configuration);
    let plan = tools.workshop.compile_for(registry.clone(), configuration.clone(), tools.now);
    let plan = plan.map_err(|invalid| in_words(&invalid))?;
    Ok((Applied { number, configuration, registry, is_behind: false }, plan))
}

fn callers(source: &Source, configuration: &Configuration) -> Result<Arc<Registry>, Vec<String>> {
    let registry = Registry::default();
    for kind in proxy::registry::KINDS.iter().filter_map(|kind| model::entity::kind(kind)) {
        source.each(kind, |row| put(&registry, kind, &row, configuration)).map_err(in_one_word)?;
    }
    Ok(Arc::new(registry))
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
