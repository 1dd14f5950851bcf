//! What a gate knew last, on a disk of its own: with it a gate starts while the database that many share does not
//! answer.

use crate::sql::{Cell, Sql};
use crate::{Change, Engine, Feed, Place, Store};
use jose::seal::Ring;
use model::entity::KINDS;
use model::rows::Unavailable;
use model::{EntityKind, Row};
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

/// A copy of a database, in SQLite, sealed as that one is. It follows; nobody else writes it.
pub struct LastKnown(Store);

/// The number of the last change that the copy has. Nothing is to be made of a copy without one.
const COPIED: &str = "copied";

impl LastKnown {
    pub fn new(path: PathBuf, ring: Arc<Ring>) -> Result<LastKnown, Unavailable> {
        Store::new(Place::Sqlite(path), ring).map(LastKnown)
    }

    /// Takes away the files of a copy that cannot be read. The next look makes it anew.
    pub fn remove(&self) {
        if let Engine::Sqlite(path) = &self.0.engine {
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{end}", path.display()));
            }
        }
    }

    /// The number of the last change that the copy has, if it has ever been made.
    pub fn number(&self) -> Result<Option<u64>, Unavailable> {
        self.0.with_connection(number)
    }

    pub fn each(&self, kind: &'static EntityKind, take: impl FnMut(Row)) -> Result<(), Unavailable> {
        self.0.each(kind, take)
    }

    /// Takes over what has changed since the last time.
    pub fn follow(&self, store: &Store) -> Result<(), Unavailable> {
        let (known, origin) = (self.number()?, store.origin()?);
        let feed = match known {
            Some(known) if self.0.with_connection(of)? == Some(origin.clone()) => store.changes(known)?,
            _ => Feed::Lost,
        };
        match feed {
            Feed::Since(changed, last) if known == Some(last) && changed.is_empty() => Ok(()),
            Feed::Since(changed, last) => self.0.change(None, |copy| {
                for one in changed {
                    let row = store.read(|rows| rows.by_id(one.kind, one.id, 0))?;
                    copy.put_as_it_is(one.kind, one.id, row.as_ref())?;
                }
                copy.remember(&origin, last)
            }),
            Feed::Lost => self.0.change(None, |copy| {
                // What changes while this reads is read again with the feed.
                let last = store.last_change()?;
                copy.0.sql.run("DELETE FROM entities")?;
                for kind in KINDS.iter() {
                    let mut result = Ok(());
                    store.each(kind, |row| {
                        if result.is_ok() {
                            result = copy.put_as_it_is(kind, row.id, Some(&row));
                        }
                    })?;
                    result?;
                }
                copy.remember(&origin, last)
            }),
        }
    }
}

/// The database that the copy is of.
const ORIGIN: &str = "copy of";

impl Change<'_> {
    /// Neither claims nor references: these were seen to where the entity comes from.
    fn put_as_it_is(&self, kind: &'static EntityKind, id: Uuid, row: Option<&Row>) -> Result<(), Unavailable> {
        let key: [Cell; 2] = [kind.name.into(), id.into()];
        let Some(row) = row else {
            return self.0.sql.ask("DELETE FROM entities WHERE kind = $1 AND id = $2", &key).map(drop);
        };
        let body = self.0.sealer.write(kind, id, &row.json)?;
        let [kind, id] = key;
        self.0.replace([kind, id, body.into(), row.expires_at.into()])
    }

    fn remember(&self, origin: &[u8], number: u64) -> Result<(), Unavailable> {
        for (name, value) in [(ORIGIN, origin.to_vec()), (COPIED, number.to_be_bytes().to_vec())] {
            let sql = "INSERT INTO facts (name, value) VALUES ($1, $2) \
                       ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            self.0.sql.ask(sql, &[name.into(), value.into()])?;
        }
        Ok(())
    }
}

fn number(sql: &dyn Sql) -> Result<Option<u64>, Unavailable> {
    let bytes = crate::fact(sql, COPIED)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes))
}

fn of(sql: &dyn Sql) -> Result<Option<Vec<u8>>, Unavailable> {
    crate::fact(sql, ORIGIN)
}
