//! What the gate tells of itself, on standard error.

use crate::settings::words::LogLevel;
use tracing::Level;

/// Starts telling. The lines of requests are another matter: the access log.
pub fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info | LogLevel::Notice => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error | LogLevel::Crit => Level::ERROR,
    };
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(colours);
    // A second start in one process, as tests do, keeps the first.
    let _ = subscriber.with_writer(std::io::stderr).try_init();
}
