//! The tables, made and changed forward only: a version of the gate brings the steps that it needs.

use crate::sql::{Cell, Sql};
use model::rows::Unavailable;

/// Each step once, in this order. What stands here never changes; what must change is a new step.
const STEPS: &[&str] = &[include_str!("../migrations/1.sql"), include_str!("../migrations/2.sql")];

/// What version of the tables there is, and which this gate wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub found: usize,
    pub wanted: usize,
}

pub(crate) fn version(sql: &dyn Sql) -> Result<Version, Unavailable> {
    sql.run("CREATE TABLE IF NOT EXISTS migrations (step BIGINT PRIMARY KEY)")?;
    let row = sql.ask_one("SELECT count(*) FROM migrations", &[])?;
    let found = row.as_deref().and_then(|row| row.first()).and_then(Cell::number).unwrap_or_default();
    Ok(Version { found: usize::try_from(found).unwrap_or(usize::MAX), wanted: STEPS.len() })
}

/// Takes the steps that are missing, all or none. Gates that start at the same time wait for each other.
pub(crate) fn run(sql: &dyn Sql) -> Result<(), Unavailable> {
    sql.begin()?;
    let steps = || {
        let version = version(sql)?;
        if version.found > version.wanted {
            return Err(Unavailable(format!(
                "the database is of a newer version (step {}, this one knows {}); start the newer gate",
                version.found, version.wanted
            )));
        }
        for (index, step) in STEPS.iter().enumerate().skip(version.found) {
            sql.run(step)?;
            sql.ask("INSERT INTO migrations (step) VALUES ($1)", &[Cell::from(index as u64 + 1)])?;
        }
        sql.run("COMMIT")
    };
    steps().inspect_err(|_| drop(sql.run("ROLLBACK")))
}
