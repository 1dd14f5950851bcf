//! The commands of the command line, one file each; `start` is `run`.

pub mod check;
pub mod explain;
pub mod new;
pub mod tell;
pub mod version;
