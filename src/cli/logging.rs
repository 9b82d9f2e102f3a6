//! Logs on standard error.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Whether standard error shows colours: it is a terminal, and `NO_COLOR` is not set.
pub(super) fn has_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Sends logs at `level` and above to standard error, coloured on a terminal. What libraries say is for those who look for
/// details.
pub(super) fn start(level: LevelFilter) {
    let of_libraries = if level < LevelFilter::DEBUG { LevelFilter::ERROR } else { level };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(has_colours())
        .with_max_level(level)
        .with_target(false)
        // A log that cannot be written must not end the job.
        .log_internal_errors(false)
        .finish()
        .with(Targets::new().with_target("tidegate", level).with_default(of_libraries))
        .init();
}
