//! SQLite, inside the process: one file, one writer at a time, readers that wait for nobody.

use crate::sql::{Cell, Sql};
use model::rows::Unavailable;
use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// How long a writer waits for another process to finish.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Sqlite(Connection);

/// A connection to the file, which is made for its owner only.
pub(crate) fn connect(path: &Path) -> Result<Box<dyn Sql>, Unavailable> {
    let at = |error: String| Unavailable(format!("{}: {error}", path.display()));
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    made.map_err(|error| at(error.to_string()))?;
    let connection = Connection::open(path).map_err(|error| at(error.to_string()))?;
    let prepare = || {
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // What was acknowledged is on the disk.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(())
    };
    prepare().map_err(|error: rusqlite::Error| at(error.to_string()))?;
    Ok(Box::new(Sqlite(connection)))
}

impl Sql for Sqlite {
    fn ask(&self, sql: &str, given: &[Cell]) -> Result<Vec<Vec<Cell>>, Unavailable> {
        // SQLite writes a numbered parameter `?1`.
        let mut statement = self.0.prepare_cached(&sql.replace('$', "?")).map_err(trouble)?;
        let columns = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(given)).map_err(trouble)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(trouble)? {
            let cells = (0..columns).map(|column| row.get_ref(column).map_err(trouble).and_then(cell));
            found.push(cells.collect::<Result<_, _>>()?);
        }
        Ok(found)
    }

    fn run(&self, script: &str) -> Result<(), Unavailable> {
        self.0.execute_batch(script).map_err(trouble)
    }

    fn begin(&self) -> Result<(), Unavailable> {
        self.run("BEGIN IMMEDIATE")
    }

    fn is_usable(&self) -> bool {
        self.0.is_autocommit()
    }
}

impl rusqlite::ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Cell::Null => ToSqlOutput::Owned(Value::Null),
            Cell::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Cell::Integer(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Cell::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

fn cell(value: ValueRef) -> Result<Cell, Unavailable> {
    Ok(match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => return Err(crate::sql::odd()),
    })
}

fn trouble(error: rusqlite::Error) -> Unavailable {
    Unavailable(match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => "the disk is full".to_owned(),
        _ => error.to_string(),
    })
}
