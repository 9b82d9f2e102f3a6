//! Sources: where readings come in. A source turns bytes into frames and hands them to the sequencer.
//!
//! The framing is a plain state machine (`line_framer`), the sockets are around it (`tcp`).

pub(crate) mod frame;
pub(crate) mod generator;
mod line_framer;
mod recorded;
mod tcp;

#[cfg(test)]
pub(crate) use recorded::Acknowledged;
pub(crate) use recorded::run_recorded;
pub use recorded::{RecordedBatch, RecordedInput};
pub use tcp::{Acknowledge, Retry, TcpConnect, TcpListen};
pub(crate) use tcp::{run_tcp_connect, run_tcp_listen};

use std::net::TcpListener;

use crate::runtime::JobError;

/// The input of a job.
#[derive(Debug, Clone)]
pub(crate) enum SourceSpec {
    /// Connects to a server that sends lines.
    TcpConnect(TcpConnect),
    /// Listens for clients that send lines.
    TcpListen(TcpListen),
    /// Batches recorded earlier, cut exactly as they were.
    Recorded(RecordedInput),
}

/// A source that has what it needs from the machine.
pub(crate) enum OpenSource {
    TcpConnect(TcpConnect),
    TcpListen(TcpListener, TcpListen),
    Recorded(RecordedInput),
}

impl SourceSpec {
    /// Takes what must be had before the job starts: a listening source its port.
    ///
    /// # Errors
    /// [`JobError::Source`] when the port cannot be had, [`JobError::Configuration`] when its limits allow too much memory.
    pub(crate) fn open(self) -> Result<OpenSource, JobError> {
        match self {
            Self::TcpConnect(settings) => {
                tcp::check_memory(settings.line_bytes_max, 1)?;
                Ok(OpenSource::TcpConnect(settings))
            }
            Self::TcpListen(settings) => {
                tcp::check_memory(settings.line_bytes_max, settings.connections_max)?;
                match tcp::bind(settings.address) {
                    Ok(listener) => Ok(OpenSource::TcpListen(listener, settings)),
                    Err(source) => Err(JobError::Source { origin: settings.address.to_string(), source }),
                }
            }
            Self::Recorded(input) => Ok(OpenSource::Recorded(input)),
        }
    }
}
