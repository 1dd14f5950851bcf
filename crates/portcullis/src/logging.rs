//! What the gate tells of itself, on standard error.

use crate::settings::words::LogLevel;
use std::sync::OnceLock;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry, reload};

/// Changes the level of the running gate.
static SET: OnceLock<Box<dyn Fn(LevelFilter) + Send + Sync>> = OnceLock::new();

/// Starts telling. The lines of requests are another matter: the access log.
pub fn start(level: LogLevel) {
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let (level, handle) = reload::Layer::new(filter(level));
    let lines = fmt::layer().with_target(false).with_ansi(colours).with_writer(std::io::stderr);
    // A second start in one process, as tests do, keeps the first.
    if registry().with(level).with(lines).try_init().is_ok() {
        let _ = SET.set(Box::new(move |level| drop(handle.reload(level))));
    }
}

/// From now on tells as much as this level says.
pub fn set(level: LogLevel) {
    if let Some(set) = SET.get() {
        set(filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info | LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Crit => LevelFilter::ERROR,
    }
}
