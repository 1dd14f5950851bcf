//! `portcullis reload` and `portcullis upgrade`: what a running gate is told to do.

use crate::cli::{EXIT_FAILED, EXIT_USAGE, RunningFlags};
use crate::control::{self, Command, Outcome, SOCKET};
use crate::settings::{Settings, environment};
use std::io::{self, Write};
use std::process::ExitCode;

/// Returns when it has happened, or says why it has not.
pub fn run(flags: &RunningFlags, command: Command, out: &mut impl Write) -> ExitCode {
    let mut err = io::stderr();
    // Nothing is left to do where even an error cannot be written.
    let mut say = |text: String| drop(writeln!(err, "{text}"));
    let settings = match Settings::load(&flags.as_start(), environment()) {
        Ok((settings, _)) => settings,
        Err(errors) => {
            say(errors.to_string());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let socket = settings.data.join(SOCKET);
    match control::ask(&socket, command) {
        Ok(Outcome::Loaded(summary)) => {
            let _ = writeln!(out, "in force: {summary}");
            ExitCode::SUCCESS
        }
        Ok(Outcome::Refused(violations)) => {
            violations.into_iter().for_each(&mut say);
            say("nothing was changed".to_owned());
            ExitCode::from(EXIT_FAILED)
        }
        Err(error) => {
            say(format!(
                "no gate answers at {}: {error}; is it running, and is its data directory this one (--data)?",
                socket.display()
            ));
            ExitCode::from(EXIT_FAILED)
        }
    }
}
