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
use model::rows::Unavailable;
use model::{Configuration, EntityKind, Invalid, Row, Rows};
use net::upstream_tls::{UpstreamTls, UpstreamTlsOptions};
use proxy::plan::{Plan, Workshop};
use proxy::registry::Registry;
use schema::Catalog;
use std::collections::HashMap;
use std::sync::Arc;
use store::{Changed, Place, PostgresSettings, PostgresTls, Store};
use uuid::Uuid;

/// The database, and who may call as far as this gate knows.
pub struct Kept {
    pub store: Arc<Store>,
    registry: Arc<Registry>,
}

/// What came out of the database last.
pub struct Applied {
    /// The number of the last change that is in force here.
    pub number: u64,
    configuration: Arc<Configuration>,
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
pub type Prepared = Result<News, (Applied, Invalid)>;

/// What compiling needs.
pub struct Tools<'a> {
    pub workshop: &'a Workshop,
    pub catalog: &'a Catalog,
    pub environment: &'a HashMap<String, String>,
    /// Seconds since 1970.
    pub now: i64,
}

/// The database that the settings name, if they name one.
pub fn open(settings: &Settings, data: &DataDir) -> Result<Option<Arc<Store>>, String> {
    let place = match settings.database() {
        Database::Off => return Ok(None),
        Database::Sqlite => Place::Sqlite(data.path("portcullis.db")),
        Database::Postgres => Place::Postgres(postgres(settings)?),
    };
    let store = Store::open(place, ring(settings, data)?);
    store.map(|store| Some(Arc::new(store))).map_err(|error| format!("database: {error}"))
}

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
    /// Everything that is in the database, with the plan that it makes; or what is wrong, in words.
    pub fn load(store: Arc<Store>, tools: &Tools) -> Result<(Kept, Applied, Plan), Vec<String>> {
        let one = |error: Unavailable| vec![format!("database: {error}")];
        // What changes while this reads is read again with the feed.
        let number = store.last_change().map_err(one)?;
        let mut rows: Vec<Change> = Vec::new();
        for kind in KINDS.iter().filter(|kind| !Registry::holds(kind)) {
            store.each(kind, |row| rows.push((kind, row.id, Some(row)))).map_err(one)?;
        }
        let (configuration, invalid) = Configuration::empty().changed(rows, tools.catalog, tools.environment, number);
        let wrong = |invalid: Invalid| {
            let offence = |offence: &model::invalid::Offence| {
                format!("database: {} {}: {}", offence.entity_type, offence.entity["id"], offence.violations.message())
            };
            invalid.entities.iter().map(offence).collect::<Vec<_>>()
        };
        if !invalid.is_empty() {
            return Err(wrong(invalid));
        }
        let registry = Arc::new(Registry::default());
        for kind in proxy::registry::KINDS.iter().filter_map(|kind| model::entity::kind(kind)) {
            store.each(kind, |row| put(&registry, kind, &row, &configuration)).map_err(one)?;
        }
        let configuration = Arc::new(configuration);
        let plan = tools.workshop.compile_for(registry.clone(), configuration.clone(), tools.now).map_err(wrong)?;
        Ok((Kept { store, registry }, Applied { number, configuration }, plan))
    }

    /// The plan of what is in force, by other tools.
    pub fn compile(&self, applied: &Applied, tools: &Tools) -> Result<Plan, Invalid> {
        tools.workshop.compile_for(self.registry.clone(), applied.configuration.clone(), tools.now)
    }

    /// What the feed tells since the last time, ready to come into force; nothing where it tells nothing.
    pub fn news(&self, applied: &Applied, tools: &Tools) -> Result<Option<Prepared>, Unavailable> {
        let (changed, number) = self.store.changes(applied.number)?;
        match number == applied.number {
            true => Ok(None),
            false => Ok(Some(self.prepare(applied, &changed, number, self.store.as_ref(), tools)?)),
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
            let applied = Applied { number, configuration: applied.configuration.clone() };
            return Ok(Ok(News { applied, plan: None, callers }));
        }
        let (configuration, invalid) = applied.configuration.changed(others, tools.catalog, tools.environment, number);
        let configuration = Arc::new(configuration);
        let applied = Applied { number, configuration: configuration.clone() };
        if !invalid.is_empty() {
            return Ok(Err((applied, invalid)));
        }
        Ok(match tools.workshop.compile_for(self.registry.clone(), configuration, tools.now) {
            Ok(plan) => Ok(News { applied, plan: Some(plan), callers }),
            Err(invalid) => Err((applied, invalid)),
        })
    }

    /// Whether callers that are to be put there are as they must be.
    pub fn check(&self, news: &News) -> Result<(), Invalid> {
        let vaults = news.applied.configuration.vaults();
        for (kind, _, row) in &news.callers {
            let Some(row) = row else { continue };
            if let Err(violations) = self.registry.check(kind, row, vaults) {
                let (place, entity) = (row.place.clone(), schema::Value::Null);
                let offence = model::invalid::Offence { place, entity_type: kind.singular, entity, violations };
                return Err(Invalid { entities: vec![offence], ..Invalid::default() });
            }
        }
        Ok(())
    }

    /// Puts changes in force, but for the plan.
    pub fn apply(&self, news: News) -> (Applied, Option<Plan>) {
        let News { applied, plan, callers } = news;
        for (kind, id, row) in callers {
            match row {
                Some(row) => put(&self.registry, kind, &row, &applied.configuration),
                None => self.registry.remove(kind, id),
            }
        }
        (applied, plan)
    }
}

/// A credential that cannot work lets nobody in.
fn put(registry: &Registry, kind: &EntityKind, row: &Row, configuration: &Configuration) {
    if let Err(violations) = registry.put(kind, row, configuration.vaults()) {
        tracing::error!("{} {} cannot be used: {}", kind.singular, row.id, violations.message());
        registry.remove(kind, row.id);
    }
}
