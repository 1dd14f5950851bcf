//! What survives a restart: entities and the feed of their changes, in SQLite or PostgreSQL.
//!
//! ```text
//! Store::read     questions over a connection of their own
//! Store::change   a transaction: what it writes comes into force as a whole, with a line in the feed for each entity
//! Store::changes  the feed: what was changed since one has last looked
//! Store::watch    says when it is time to look
//! ```
//!
//! Both engines are asked with the same SQL. Everything here waits for a disk or a network, so that nothing of it may run
//! where requests do: the gate keeps in memory what requests need.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod audit;
mod body;
mod entities;
mod last_known;
mod migrations;
mod postgres;
mod sql;
mod sqlite;

pub use audit::Author;
pub use last_known::LastKnown;
pub use migrations::Version;
pub use postgres::{PostgresSettings, PostgresTls};

use body::Sealer;
use entities::Tables;
use jose::seal::{KeyedHash, Ring};
use model::entity::KINDS;
use model::rows::{self, Asked, AuditPart, Audited, Part, Refused, Tag, TagPart, Tagged, Unavailable};
use model::{EntityKind, Row, Rows, Writes, entity, without_secrets};
use postgres::Postgres;
use schema::{Map, Value};
use sql::{Cell, Sql, odd};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Where entities are kept.
pub enum Place {
    /// A file, for one gate.
    Sqlite(PathBuf),
    /// A server, for many.
    Postgres(PostgresSettings),
}

/// The database.
pub struct Store {
    engine: Engine,
    idle: Mutex<Vec<Box<dyn Sql>>>,
    sealer: Sealer,
}

enum Engine {
    Sqlite(PathBuf),
    Postgres(Postgres),
}

/// An entity that was changed. What became of it is asked for by itself.
#[derive(Clone, Copy)]
pub struct Changed {
    pub kind: &'static EntityKind,
    pub id: Uuid,
}

/// How many changes the feed keeps. Who is further behind reads everything again.
const FEED: u64 = 100_000;
/// How many connections are kept for the next questions.
const KEPT: usize = 8;
/// How often the feed is looked at, whoever has said something or not.
const POLL: Duration = Duration::from_secs(1);
/// How many entities are read at once.
const AT_ONCE: usize = 1000;

/// The feed since the last look.
pub enum Feed {
    /// What was changed, each entity once, and the number of the last change.
    Since(Vec<Changed>, u64),
    /// The feed does not go back so far, or the database is an older copy: everything must be read again.
    Lost,
}

impl Store {
    /// A store that has not been asked yet. `ring` opens what was sealed before.
    pub fn new(place: Place, ring: Arc<Ring>) -> Result<Store, Unavailable> {
        let engine = match place {
            Place::Sqlite(path) => Engine::Sqlite(path),
            Place::Postgres(settings) => Engine::Postgres(Postgres::new(settings)?),
        };
        Ok(Store { engine, idle: Mutex::default(), sealer: Sealer { ring, hash: OnceLock::new() } })
    }

    /// Opens the database, and brings its tables up to this version. The first question does that, too.
    ///
    /// Another key than that which was used is an error.
    pub fn open(&self) -> Result<(), Unavailable> {
        self.with_connection(|_| Ok(()))
    }

    /// Asks something.
    pub fn read<T>(&self, ask: impl Fn(&dyn Rows) -> Result<T, Unavailable>) -> Result<T, Unavailable> {
        self.with_connection(|sql| ask(&self.tables(sql, None)))
    }

    /// Changes something. If `make` fails, or cannot be finished, nothing was changed. With an author it is written into
    /// the audit log.
    pub fn change<T, E: From<Unavailable>>(
        &self,
        author: Option<&Author>,
        make: impl FnOnce(&Change) -> Result<T, E>,
    ) -> Result<T, E> {
        let connection = self.begin()?;
        let sql = connection.as_ref();
        let made = make(&Change(self.tables(sql, author))).and_then(|made| {
            let commit = match self.engine {
                Engine::Sqlite(_) => "COMMIT".to_owned(),
                Engine::Postgres(_) => format!("{}; COMMIT", postgres::NOTIFY),
            };
            sql.run(&commit)?;
            Ok(made)
        });
        // A connection whose change cannot be taken back is not used again.
        if made.is_ok() || sql.run("ROLLBACK").is_ok() {
            self.keep(connection);
        }
        made
    }

    /// What was changed after the change of this number.
    pub fn changes(&self, after: u64) -> Result<Feed, Unavailable> {
        self.with_connection(|sql| match last_change(sql)?.saturating_sub(after) > FEED {
            // One by one would take longer.
            true => Ok(Feed::Lost),
            false => changes(sql, after),
        })
    }

    /// Takes away what was given for a time that is over, and the end of the feed.
    pub fn sweep(&self) -> Result<(), Unavailable> {
        let old = |sql: &dyn Sql| Ok(last_change(sql)?.saturating_sub(FEED));
        let end =
            |sql: &dyn Sql| sql.ask_one("SELECT number FROM changes WHERE number <= $1 LIMIT 1", &[old(sql)?.into()]);
        if self.with_connection(end)?.is_some() {
            let cut = |sql: &dyn Sql| sql.ask("DELETE FROM changes WHERE number <= $1", &[old(sql)?.into()]).map(drop);
            self.with_connection(cut)?;
        }
        let any = "SELECT kind FROM entities WHERE expires_at <= $1 LIMIT 1";
        match self.with_connection(|sql| sql.ask_one(any, &[now().into()]))? {
            Some(_) => self.change(None, |change| change.0.sweep()),
            None => Ok(()),
        }
    }

    /// Forgets who changed what before this time, in seconds since 1970.
    pub fn forget_audit(&self, before: u64) -> Result<(), Unavailable> {
        let any = "SELECT at FROM audit WHERE at < $1 LIMIT 1";
        match self.with_connection(|sql| sql.ask_one(any, &[before.into()]))? {
            Some(_) => self.with_connection(|sql| audit::forget(sql, before)),
            None => Ok(()),
        }
    }

    /// The number of the last change.
    pub fn last_change(&self) -> Result<u64, Unavailable> {
        self.with_connection(last_change)
    }

    /// Every entity of a kind, one after the other.
    pub fn each(&self, kind: &'static EntityKind, mut take: impl FnMut(Row)) -> Result<(), Unavailable> {
        rows::each(self, kind, None, &Tagged::Anyhow, 0, |row| {
            take(row);
            Ok(())
        })
    }

    /// Seals anew what is not under the first key of the ring; the number of entities that were. `tell` hears how many
    /// there are so far.
    pub fn seal_anew(&self, mut tell: impl FnMut(u64)) -> Result<u64, Unavailable> {
        let mut count = 0;
        self.with_connection(|sql| keep_hash_key_current(sql, &self.sealer.ring))?;
        for kind in KINDS.iter() {
            let mut old = Vec::new();
            self.each(kind, |row| old.push(row.id))?;
            for ids in old.chunks(AT_ONCE) {
                count += self.change(None, |change| change.0.seal_anew(kind, ids))?;
                tell(count);
            }
        }
        Ok(count)
    }

    /// What tells this database from others.
    pub(crate) fn origin(&self) -> Result<Vec<u8>, Unavailable> {
        self.open()?;
        self.sealer.hash.get().map(|hash| hash.of("origin").into_bytes()).ok_or_else(odd)
    }

    /// Which step of its tables the database is at. Nothing is brought forward.
    pub fn version(&self) -> Result<Version, Unavailable> {
        migrations::version(self.engine.connect()?.as_ref())
    }

    /// Copies every entity into a new file, SQLite whatever the engine, sealed as they are here. Whoever writes waits.
    pub fn back_up(&self, file: &Path) -> Result<(), Unavailable> {
        if file.exists() {
            return Err(Unavailable(format!("{} exists, and is not overwritten", file.display())));
        }
        // Under its name stands a whole backup or none.
        let part = PathBuf::from(format!("{}.part", file.display()));
        let failed = |error: std::io::Error| Unavailable(format!("{}: {error}", part.display()));
        if part.exists() {
            std::fs::remove_file(&part).map_err(failed)?;
        }
        let copy = Store::new(Place::Sqlite(part.clone()), self.sealer.ring.clone())?;
        copy.take_over(self)?;
        copy.with_connection(|sql| {
            sql.ask("INSERT INTO facts (name, value) VALUES ($1, $2)", &[WHOLE.into(), vec![1].into()]).map(drop)
        })?;
        // With its last connection it is one file.
        drop(copy);
        std::fs::rename(&part, file).map_err(failed)
    }

    /// Puts what a file of [`Store::back_up`] holds in place of everything. Gates that run follow.
    pub fn restore(&self, file: &Path) -> Result<(), Unavailable> {
        if !file.exists() {
            return Err(Unavailable(format!("there is no {}", file.display())));
        }
        let backup = Store::new(Place::Sqlite(file.to_owned()), self.sealer.ring.clone())?;
        if backup.with_connection(|sql| fact(sql, WHOLE))?.is_none() {
            return Err(Unavailable(format!("{} is no whole backup; nothing was changed", file.display())));
        }
        self.take_over(&backup)
    }

    fn take_over(&self, from: &Store) -> Result<(), Unavailable> {
        let refused = |refused: Refused| Unavailable(refused.to_string());
        // Within a change of the source it stands still.
        let shown = |kind: &EntityKind, entity: &Map<String, Value>| without_secrets(&kind.record, entity).into();
        let author = Author { name: "portcullis db restore", shown: &|kind, entity| shown(kind, entity) };
        from.change(None, |source| {
            self.change(Some(&author), |own| {
                for kind in KINDS.iter().rev() {
                    rows::each(own.rows(), kind, None, &Tagged::Anyhow, 0, |row| {
                        own.remove(kind, row.id).map_err(refused)
                    })?;
                }
                for kind in KINDS.iter() {
                    rows::each(source.rows(), kind, None, &Tagged::Anyhow, 0, |row| {
                        own.put(kind, &row).map_err(refused)
                    })?;
                }
                Ok(())
            })
        })
    }

    /// Calls `tell` when something may have been changed, by this gate or another, until the store is dropped.
    pub fn watch(self: &Arc<Store>, tell: impl Fn() + Send + 'static) -> std::io::Result<()> {
        let (heard, listening) = mpsc::channel();
        if let Engine::Postgres(server) = &self.engine {
            let (server, store, heard) = (server.clone(), Arc::downgrade(self), heard.clone());
            thread::Builder::new().name("listen".to_owned()).spawn(move || {
                while store.strong_count() > 0 {
                    // What is wrong with the server is told by those who need it.
                    let _ = server.listen(&heard);
                    thread::sleep(POLL);
                }
            })?;
        }
        let store = Arc::downgrade(self);
        thread::Builder::new().name("feed".to_owned()).spawn(move || {
            while store.strong_count() > 0 {
                // Whether it was told or is time: one look is enough for all that was said meanwhile.
                let _ = listening.recv_timeout(POLL);
                while listening.try_recv().is_ok() {}
                tell();
            }
            drop(heard);
        })?;
        Ok(())
    }

    fn tables<'a>(&'a self, sql: &'a dyn Sql, author: Option<&'a Author>) -> Tables<'a> {
        Tables { sql, sealer: &self.sealer, author, now: now() }
    }

    /// A connection in a transaction. One that was kept too long is replaced.
    fn begin(&self) -> Result<Box<dyn Sql>, Unavailable> {
        if let Some(connection) = self.kept()
            && connection.begin().is_ok()
        {
            return Ok(connection);
        }
        let connection = self.connect()?;
        connection.begin()?;
        Ok(connection)
    }

    fn connect(&self) -> Result<Box<dyn Sql>, Unavailable> {
        let connection = self.engine.connect()?;
        if self.sealer.hash.get().is_none() {
            migrations::run(connection.as_ref())?;
            let key = hash_key(connection.as_ref(), &self.sealer.ring)?;
            let _ = self.sealer.hash.set(key);
        }
        Ok(connection)
    }

    /// Questions may be asked again, on a new connection where a kept one is broken.
    fn with_connection<T>(&self, ask: impl Fn(&dyn Sql) -> Result<T, Unavailable>) -> Result<T, Unavailable> {
        if let Some(connection) = self.kept() {
            let answer = ask(connection.as_ref());
            if answer.is_ok() || connection.is_usable() {
                self.keep(connection);
                return answer;
            }
        }
        let connection = self.connect()?;
        let answer = ask(connection.as_ref());
        self.keep(connection);
        answer
    }

    fn kept(&self) -> Option<Box<dyn Sql>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, connection: Box<dyn Sql>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.is_usable() && idle.len() < KEPT {
            idle.push(connection);
        }
    }
}

/// Questions, each over a connection of its own.
impl Rows for Store {
    fn by_id(&self, kind: &'static EntityKind, id: Uuid, now: u64) -> Result<Option<Row>, Unavailable> {
        self.read(|rows| rows.by_id(kind, id, now))
    }

    fn by_field(&self, kind: &'static EntityKind, asked: &Asked) -> Result<Option<Row>, Unavailable> {
        self.read(|rows| rows.by_field(kind, asked))
    }

    fn list(&self, kind: &'static EntityKind, part: &Part) -> Result<Vec<Row>, Unavailable> {
        self.read(|rows| rows.list(kind, part))
    }

    fn tags(&self, part: &TagPart) -> Result<Vec<Tag>, Unavailable> {
        self.read(|rows| rows.tags(part))
    }

    fn count(&self, kind: &'static EntityKind) -> Result<u64, Unavailable> {
        self.read(|rows| rows.count(kind))
    }

    fn audit(&self, part: &AuditPart) -> Result<Vec<Audited>, Unavailable> {
        self.read(|rows| rows.audit(part))
    }
}

/// A change under way. What it has written it sees, and nobody else does.
pub struct Change<'a>(Tables<'a>);

impl Change<'_> {
    pub fn rows(&self) -> &dyn Rows {
        &self.0
    }

    pub fn writes(&self) -> &dyn Writes {
        &self.0
    }

    /// As [`Store::changes`], with those of this change.
    pub fn changes(&self, after: u64) -> Result<Feed, Unavailable> {
        changes(self.0.sql, after)
    }
}

impl Engine {
    fn connect(&self) -> Result<Box<dyn Sql>, Unavailable> {
        match self {
            Engine::Sqlite(path) => sqlite::connect(path),
            Engine::Postgres(server) => server.connect(),
        }
    }
}

fn changes(sql: &dyn Sql, after: u64) -> Result<Feed, Unavailable> {
    let last = last_change(sql)?;
    if last == after {
        return Ok(Feed::Since(Vec::new(), last));
    }
    let next = sql.ask_one("SELECT number FROM changes WHERE number = $1", &[Cell::from(after + 1)])?;
    if last < after || next.is_none() {
        return Ok(Feed::Lost);
    }
    let given = [Cell::from(after), Cell::from(last)];
    let found = sql.ask(
        "SELECT kind, id, max(number) FROM changes WHERE number > $1 AND number <= $2 \
         GROUP BY kind, id ORDER BY max(number)",
        &given,
    )?;
    let changed = |cells: &Vec<Cell>| match cells.as_slice() {
        [kind, id, _] => Some(Changed { kind: kind.text().and_then(entity::kind)?, id: id.id()? }),
        _ => None,
    };
    // Kinds that only a newer version knows say nothing to this one.
    Ok(Feed::Since(found.iter().filter_map(changed).collect(), last))
}

fn last_change(sql: &dyn Sql) -> Result<u64, Unavailable> {
    let row = sql.ask_one("SELECT number FROM last_change", &[])?;
    row.as_deref().and_then(|row| row.first()).and_then(Cell::number).ok_or_else(odd)
}

const HASH_KEY: &str = "hash key";
/// That a backup was finished.
const WHOLE: &str = "whole backup";

/// What is known of the database itself.
fn fact(sql: &dyn Sql, name: &str) -> Result<Option<Vec<u8>>, Unavailable> {
    let row = sql.ask_one("SELECT value FROM facts WHERE name = $1", &[name.into()])?;
    Ok(row.as_deref().and_then(|row| row.first()).and_then(Cell::bytes).map(<[u8]>::to_vec))
}

/// The key of keyed hashes, made with the database and kept in it, sealed.
fn hash_key(sql: &dyn Sql, ring: &Ring) -> Result<KeyedHash, Unavailable> {
    let wrong = |error: jose::seal::SealError| {
        Unavailable(format!(
            "the database cannot be read with this encryption key ({error}); give the gate the key that it was made with"
        ))
    };
    sql.begin()?;
    let key = || {
        let key = match fact(sql, HASH_KEY)? {
            Some(sealed) => ring.open(HASH_KEY.as_bytes(), &sealed).map_err(wrong)?,
            None => {
                let mut key = vec![0; 32];
                getrandom::fill(&mut key).map_err(|error| Unavailable(error.to_string()))?;
                let sealed = ring.seal(HASH_KEY.as_bytes(), &key).map_err(wrong)?;
                sql.ask("INSERT INTO facts (name, value) VALUES ($1, $2)", &[HASH_KEY.into(), sealed.into()])?;
                key
            }
        };
        sql.run("COMMIT")?;
        Ok(KeyedHash::new(&key))
    };
    key().inspect_err(|_| drop(sql.run("ROLLBACK")))
}

fn keep_hash_key_current(sql: &dyn Sql, ring: &Ring) -> Result<(), Unavailable> {
    let sealed = fact(sql, HASH_KEY)?.ok_or_else(odd)?;
    let anew = ring.open(HASH_KEY.as_bytes(), &sealed).and_then(|key| ring.seal(HASH_KEY.as_bytes(), &key));
    let anew = anew.map_err(|error| Unavailable(error.to_string()))?;
    sql.ask("UPDATE facts SET value = $1 WHERE name = $2", &[anew.into(), HASH_KEY.into()]).map(drop)
}

impl Tables<'_> {
    fn seal_anew(&self, kind: &'static EntityKind, ids: &[Uuid]) -> Result<u64, Unavailable> {
        let mut count = 0;
        for id in ids {
            let given = [kind.name.into(), (*id).into()];
            let row = self.sql.ask_one("SELECT body FROM entities WHERE kind = $1 AND id = $2", &given)?;
            let Some(body) = row.as_deref().and_then(|row| row.first()).and_then(Cell::bytes) else { continue };
            if !self.sealer.is_current(body) {
                let entity = self.sealer.read(kind.name, *id, body)?;
                let anew = self.sealer.write(kind, *id, &entity)?;
                let [kind, id] = given;
                self.sql.ask("UPDATE entities SET body = $3 WHERE kind = $1 AND id = $2", &[kind, id, anew.into()])?;
                count += 1;
            }
        }
        Ok(count)
    }
}

impl<'a> Deref for Change<'a> {
    type Target = dyn Writes + 'a;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
