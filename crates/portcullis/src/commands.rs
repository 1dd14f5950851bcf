//! The commands of the command line, one file each; `start` is `run`.

pub mod audit;
pub mod check;
pub mod db;
pub mod explain;
pub mod import;
pub mod new;
pub mod sync;
pub mod tell;
pub mod tokens;
pub mod version;
