//! Sources: where readings come in. A source turns bytes into frames and hands them to the sequencer.
//!
//! The framing is a plain state machine (`line_framer`), the sockets are around it (`tcp`). For MQTT it is a
//! session (`crate::mqtt`), and the connection to the broker is around it (`mqtt`).

pub(crate) mod frame;
pub(crate) mod generator;
mod line_framer;
mod message;
mod mqtt;
mod recorded;
mod tcp;

pub use message::Frame;
pub(crate) use message::Messages;
pub use mqtt::{Exactness, MqttSource};
pub(crate) use mqtt::{OpenMqtt, run_mqtt};
#[cfg(test)]
pub(crate) use recorded::Acknowledged;
pub(crate) use recorded::run_recorded;
pub use recorded::{RecordedBatch, RecordedInput};
pub use tcp::{Acknowledge, Retry, TcpConnect, TcpListen};
pub(crate) use tcp::{run_tcp_connect, run_tcp_listen};

use std::net::TcpListener;
use std::path::Path;

use crate::runtime::JobError;

/// The line a source whose input ends sends last, and takes in from nowhere: by it event time comes to its end.
pub(crate) const END_OF_INPUT: &str = "\u{4}end-of-input\u{4}";

/// The input of a job.
#[derive(Debug, Clone)]
pub(crate) enum SourceSpec {
    /// Connects to a server that sends lines.
    TcpConnect(TcpConnect),
    /// Listens for clients that send lines.
    TcpListen(TcpListen),
    /// Subscribes at an MQTT broker.
    Mqtt(MqttSource),
    /// Batches recorded earlier, cut exactly as they were.
    Recorded(RecordedInput),
}

/// A source that has what it needs from the machine.
pub(crate) enum OpenSource {
    TcpConnect(TcpConnect),
    TcpListen(TcpListener, TcpListen),
    Mqtt(Box<OpenMqtt>),
    Recorded(RecordedInput),
}

impl OpenSource {
    /// Where what it rejects is counted.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::TcpConnect(_) | Self::TcpListen(..) => "tcp",
            Self::Mqtt(_) => "mqtt",
            Self::Recorded(_) => "recording",
        }
    }
}

/// Where a source belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) job: &'a str,
    /// The job's folder, where it has one.
    pub(crate) directory: Option<&'a Path>,
    /// Number of the source.
    pub(crate) source: usize,
}

impl SourceSpec {
    /// Takes what must be had before the job starts: a listening source its port.
    ///
    /// # Errors
    /// [`JobError::Source`] when the port cannot be had, [`JobError::Configuration`] when its
    /// settings cannot be used.
    pub(crate) fn open(self, place: Place<'_>) -> Result<OpenSource, JobError> {
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
            Self::Mqtt(settings) => settings
                .open(place)
                .map(|open| OpenSource::Mqtt(Box::new(open)))
                .map_err(JobError::Configuration),
            Self::Recorded(input) => Ok(OpenSource::Recorded(input)),
        }
    }
}
