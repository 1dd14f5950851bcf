//! `portcullis check FILE`: every violation with its line, and choices worth a second look.

use crate::cli::{CheckFlags, EXIT_FAILED, EXIT_USAGE};
use crate::{cautions, gate, report};
use net::fetch::Fetcher;
use proxy::plan::{DefaultCertificate, Workshop};
use std::collections::HashMap;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

pub fn run(flags: &CheckFlags, out: &mut impl Write) -> ExitCode {
    let source = flags.file.display().to_string();
    let mut say = |text: &str| drop(writeln!(out, "{text}"));
    let text = match std::fs::read_to_string(&flags.file) {
        Ok(text) => text,
        Err(error) => {
            // Nothing is left to do where even an error cannot be written.
            let _ = writeln!(std::io::stderr(), "{source}: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let workshop = match workshop() {
        Ok(workshop) => workshop,
        Err(error) => {
            say(&error);
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let environment: HashMap<String, String> = crate::settings::environment().collect();
    match gate::compile(&workshop, &plugins::catalog(|_| true), &environment, &text) {
        Err((invalid, node)) => {
            let violations = report::violations(&source, &invalid, node.as_ref());
            violations.iter().for_each(|violation| say(violation));
            say(&format!("{} violation{} in {source}", violations.len(), if violations.len() == 1 { "" } else { "s" }));
            ExitCode::from(EXIT_FAILED)
        }
        Ok(plan) => {
            let node = model::document::parse(&text).ok();
            let mut cautions = cautions::of(&plan.configuration);
            let line = |path: &str| node.as_ref().map_or(1, |node| node.line_of(path));
            cautions.sort_by_key(|caution| line(&caution.path));
            for caution in &cautions {
                say(&format!("{source}:{}: warning: {}: {}", line(&caution.path), caution.path, caution.text));
            }
            say(&format!("{source} is right: {}", report::summary(&plan.configuration)));
            ExitCode::SUCCESS
        }
    }
}

/// What compiling needs; nothing of it is kept.
pub fn workshop() -> Result<Workshop, String> {
    let (certificate, key) = net::certificate::self_signed(&["localhost"]).map_err(|error| error.to_string())?;
    let certificate = net::certificate::parse(&certificate, &key).map_err(|error| error.to_string())?;
    Ok(Workshop {
        plugins: plugins::PLUGINS,
        default_certificate: DefaultCertificate(certificate),
        session_tickets: true,
        upstream_tls: Arc::default(),
        authorities: None,
        fetcher: Arc::new(Fetcher::nowhere()),
    })
}
