//! `portcullis db`: the database itself, without a gate.

use crate::cli::{DbCommand, DbFlags};
use crate::data_dir::DataDir;
use crate::kept::Kept;
use crate::settings::words::Database;
use std::io::Write;

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
            let mut told = 0;
            let count = store.seal_anew(|count| {
                if count >= told + 10_000 {
                    told = count;
                    eprintln!("{count} entities");
                }
            });
            format!("{} entities are under the first key now", count.map_err(failed)?)
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
