//! `portcullis db`: the database itself, without a gate.

use crate::cli::{DbCommand, DbFlags};
use crate::data_dir::DataDir;
use crate::kept::Kept;
use crate::settings::words::Database;
use model::rows::Refused;
use model::{EntityKind, api_key, entity, without_secrets};
use schema::{Map, Value};
use std::io::Write;
use store::{Author, Store};

pub fn run(flags: &DbFlags, out: &mut impl Write) -> Result<(), String> {
    let settings = flags.place.settings()?;
    let failed = |error: model::rows::Unavailable| format!("database: {error}");
    if settings.database() == Database::Off {
        return Err("there is no database: the settings give a declarative configuration (database = off)".to_owned());
    }
    let data = DataDir::open(&settings.data).map_err(|error| error.to_string())?;
    let Some(kept) = Kept::new(&settings, &data)? else { return Ok(()) };
    let store = kept.store;
    let said = match &flags.command {
        DbCommand::Status => {
            let version = store.version().map_err(failed)?;
            let last = match version.found {
                0 => "no tables yet: `portcullis db migrate` or the first start makes them".to_owned(),
                _ => format!("last change {}", store.last_change().map_err(failed)?),
            };
            format!("step {} of {}; {last}", version.found, version.wanted)
        }
        DbCommand::Migrate => {
            let before = store.version().map_err(failed)?;
            store.open().map_err(failed)?;
            match before.wanted - before.found.min(before.wanted) {
                0 => format!("nothing to do: step {} of {}", before.found, before.wanted),
                _ => format!("from step {} to {}", before.found, before.wanted),
            }
        }
        DbCommand::Encrypt => {
            let count = store.seal_anew(tell()).map_err(failed)?;
            format!("{count} entities are under the first key now")
        }
        DbCommand::HashKeys => {
            let count = hash_keys(&store, tell()).map_err(|refused| format!("database: {refused}"))?;
            format!("{count} API keys cannot be read any more; older backups still hold them")
        }
        DbCommand::Backup { file } => {
            store.back_up(file).map_err(failed)?;
            format!("{} holds everything, sealed with the encryption key, of which it has no copy", file.display())
        }
        DbCommand::Restore { file } => {
            store.restore(file).map_err(failed)?;
            format!("the database is what {} holds", file.display())
        }
    };
    writeln!(out, "{said}").map_err(|error| error.to_string())
}

/// How far it is, now and then.
fn tell() -> impl FnMut(u64) {
    let mut told = 0;
    move |count| {
        if count >= told + 10_000 {
            told = count;
            eprintln!("{count} entities");
        }
    }
}

/// Puts API keys into the form that nobody can read; the number of those that were not in it. Running gates follow.
fn hash_keys(store: &Store, mut tell: impl FnMut(u64)) -> Result<u64, Refused> {
    let Some(kind) = entity::kind("keyauth_credentials") else { return Ok(0) };
    let shown = |kind: &EntityKind, entity: &Map<String, Value>| without_secrets(&kind.record, entity).into();
    let author = Author { name: "portcullis db hash-keys", shown: &|kind, entity| shown(kind, entity) };
    let mut ids = Vec::new();
    store.each(kind, |row| ids.push(row.id))?;
    let mut count = 0;
    for ids in ids.chunks(1000) {
        count += store.change(Some(&author), |change| {
            let mut count = 0;
            for id in ids {
                let Some(mut row) = change.by_id(kind, *id, 0)? else { continue };
                if api_key::hide(kind, &mut row.json, None, false).is_some() {
                    change.put(kind, &row)?;
                    count += 1;
                }
            }
            Ok::<u64, Refused>(count)
        })?;
        tell(count);
    }
    Ok(count)
}
