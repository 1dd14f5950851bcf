//! `portcullis`: the gateway, and the commands around it.

mod cautions;
mod cli;
mod client;
mod commands;
mod conduct;
mod control;
mod data_dir;
mod gate;
mod kept;
mod listeners;
mod logging;
mod parts;
mod report;
mod run;
mod settings;
mod successor;
mod upgrade_passwords;
mod watch;
mod yaml;

use clap::Parser;
use cli::{Cli, Command, Import};
use std::io::{self, Write};
use std::process::ExitCode;

/// Measured: the least work per request, and the least memory per idle connection.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let mut out = io::stdout();
    let result = match Cli::parse().command {
        Command::Start(flags) => return run::run(&flags),
        Command::Check(flags) => return commands::check::run(&flags, &mut out),
        Command::Explain(flags) => return commands::explain::run(&flags, &mut out),
        Command::Reload(flags) => return commands::tell::run(&flags, control::Command::Reload, &mut out),
        Command::Upgrade(flags) => return commands::tell::run(&flags, control::Command::Upgrade, &mut out),
        Command::Sync(flags) => commands::sync::run(&flags, &mut out),
        Command::Diff(flags) => match commands::sync::diff(&flags, &mut out) {
            Ok(true) if flags.exit_code => return ExitCode::from(cli::EXIT_DIFFERS),
            other => other.map(drop),
        },
        Command::Dump(flags) => commands::sync::dump(&flags, &mut out),
        Command::Import(Import::Kong(flags)) => commands::import::run(&flags, &mut out),
        Command::Tokens(flags) => commands::tokens::run(&flags, &mut out),
        Command::Audit(flags) => commands::audit::run(&flags, &mut out),
        Command::Db(flags) => commands::db::run(&flags, &mut out),
        Command::Version => commands::version::run(&mut out).map_err(|error| error.to_string()),
        Command::New(flags) => commands::new::run(&flags, getrandom::fill, &mut out).map_err(|error| error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            // Nothing is left to do where even the error cannot be written.
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::from(cli::EXIT_FAILED)
        }
    }
}
