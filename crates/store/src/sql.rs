//! What the two engines have in common: SQL that both understand, and values.

use model::rows::Unavailable;
use uuid::Uuid;

/// A value that goes into a question or comes out of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Text(String),
    Integer(i64),
    Bytes(Vec<u8>),
}

/// One connection. Parameters are written `$1`, `$2`, in either engine.
pub(crate) trait Sql: Send {
    /// The rows of an answer.
    fn ask(&self, sql: &str, given: &[Cell]) -> Result<Vec<Vec<Cell>>, Unavailable>;

    /// Statements without parameters or answers.
    fn run(&self, script: &str) -> Result<(), Unavailable>;

    /// Begins a change that no other may overlap with.
    fn begin(&self) -> Result<(), Unavailable>;

    /// Whether the connection can still be used.
    fn is_usable(&self) -> bool;
}

impl dyn Sql + '_ {
    /// The only row of an answer, if there is one.
    pub(crate) fn ask_one(&self, sql: &str, given: &[Cell]) -> Result<Option<Vec<Cell>>, Unavailable> {
        Ok(self.ask(sql, given)?.into_iter().next())
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<Uuid> for Cell {
    fn from(id: Uuid) -> Cell {
        Cell::Bytes(id.as_bytes().to_vec())
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Cell {
        Cell::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<Vec<u8>> for Cell {
    fn from(bytes: Vec<u8>) -> Cell {
        Cell::Bytes(bytes)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Null, Into::into)
    }
}

impl Cell {
    pub(crate) fn text(&self) -> Option<&str> {
        if let Cell::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn number(&self) -> Option<u64> {
        if let Cell::Integer(number) = self { u64::try_from(*number).ok() } else { None }
    }

    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        if let Cell::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub(crate) fn id(&self) -> Option<Uuid> {
        Uuid::from_slice(self.bytes()?).ok()
    }
}

/// A value that is not of its column's type, as if somebody else had written into the database.
pub(crate) fn odd() -> Unavailable {
    Unavailable("the database holds what this version cannot read".to_owned())
}
