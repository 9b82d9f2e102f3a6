//! Settings of the Unix stream source.

use std::path::PathBuf;
use std::time::Duration;

use crate::runtime::JobError;
use crate::source::connection::{
    Acknowledge, CONNECTIONS_MAX_DEFAULT, IDLE_TIMEOUT_DEFAULT, LINE_BYTES_MAX_DEFAULT,
};

/// Mode of a socket file unless told otherwise: its user and group may connect.
pub(crate) const MODE_DEFAULT: u32 = 0o660;

/// Refuses what is no mode of a socket file.
///
/// # Errors
/// [`JobError::Configuration`].
pub(crate) fn check_mode(mode: u32) -> Result<(), JobError> {
    match mode {
        0..=0o777 => Ok(()),
        _ => Err(JobError::Configuration(format!("{mode:o} is no mode of a socket file: give 0 to 777"))),
    }
}

/// A source that listens at a Unix stream socket for clients that send lines.
#[derive(Debug, Clone)]
pub struct UnixListen {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) line_bytes_max: usize,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) connections_max: usize,
    pub(crate) acknowledge: Acknowledge,
}

impl UnixListen {
    /// Listens at `path`, which its user and group may connect to; lines of at most 64 KiB, 60 s idle timeout, 256
    /// connections.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            mode: MODE_DEFAULT,
            line_bytes_max: LINE_BYTES_MAX_DEFAULT,
            idle_timeout: Some(IDLE_TIMEOUT_DEFAULT),
            connections_max: CONNECTIONS_MAX_DEFAULT,
            acknowledge: Acknowledge::Nothing,
        }
    }

    /// Sets the mode of the socket file, such as `0o660`: who may write to it may connect.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the longest line, in bytes without its end.
    #[must_use]
    pub fn line_bytes_max(mut self, bytes: usize) -> Self {
        self.line_bytes_max = bytes;
        self
    }

    /// Sets the idle timeout; `None` for never.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets whether clients greet and are told which of their lines are durable.
    #[must_use]
    pub fn acknowledge(mut self, acknowledge: Acknowledge) -> Self {
        self.acknowledge = acknowledge;
        self
    }

    /// Sets how many clients may be connected at once; more are turned away.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections.max(1);
        self
    }
}
