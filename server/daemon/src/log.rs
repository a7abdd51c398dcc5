//! The log: structured, on standard error, without any CPF or name.

use std::panic;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use tracing_subscriber::filter::LevelFilter;

use crate::config::tracing_level::Level;
use crate::metrics::PANICS;

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts the log, for the whole process.
pub(crate) fn start(level: Option<Level>, format: Option<Format>) {
    let level = match level.unwrap_or(Level::Info) {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).with_target(false);
    // A second start, in a test, keeps the first.
    let _ = match format.unwrap_or_default() {
        Format::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        Format::Json => log.json().try_init(),
    };
    // Only the place: a panic's message may quote the text that it failed at, and a backtrace needs more stack than a coroutine has.
    panic::set_hook(Box::new(|info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%place, "code failed; this is a defect, please report the place");
    }));
}
