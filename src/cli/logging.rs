//! Logs on standard error.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;

/// Sends logs at `level` and above to standard error, coloured on a terminal.
pub(super) fn start(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(level)
        .with_target(false)
        // A log that cannot be written must not end the job.
        .log_internal_errors(false)
        .init();
}
