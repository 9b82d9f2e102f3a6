//! Sources: where readings come in. A source turns bytes into frames and hands them to the sequencer.
//!
//! The framing is a plain state machine (`line_framer`), the connections are around it (`connection`), and around those
//! the sockets (`tcp`, `unix`). Datagrams come framed (`datagram`). For MQTT there is a session (`crate::mqtt`), and the
//! connection to the broker is around it (`mqtt`).

mod connection;
mod datagram;
mod file;
pub(crate) mod frame;
pub(crate) mod generator;
mod line_framer;
mod message;
mod mqtt;
mod recorded;
mod tcp;
mod unix;

pub use connection::Acknowledge;
pub(crate) use connection::check_memory;
pub(crate) use datagram::{OpenDatagrams, run_datagrams};
pub use datagram::{UdpReceive, UnixReceive};
pub(crate) use file::{FileLines, run_file};
pub use message::Frame;
pub(crate) use message::Messages;
pub use mqtt::{Exactness, MqttSource};
pub(crate) use mqtt::{OpenMqtt, run_mqtt};
#[cfg(test)]
pub(crate) use recorded::Acknowledged;
pub(crate) use recorded::run_recorded;
pub use recorded::{RecordedBatch, RecordedInput};
pub use tcp::{ClientCertificate, Retry, TcpConnect, TcpListen, TlsListen};
pub(crate) use tcp::{OpenTcpListen, run_tcp_connect, run_tcp_listen};
pub use unix::UnixListen;
pub(crate) use unix::{OpenUnixListen, run_unix_listen};

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
    /// Listens for processes of this machine that send lines.
    UnixListen(UnixListen),
    /// Receives UDP datagrams.
    Udp(UdpReceive),
    /// Receives datagrams of processes of this machine.
    UnixDatagram(UnixReceive),
    /// Reads the lines of a file, once.
    File(FileLines),
    /// Subscribes at an MQTT broker.
    Mqtt(MqttSource),
    /// Batches recorded earlier, cut exactly as they were.
    Recorded(RecordedInput),
}

/// A source that has what it needs from the machine.
pub(crate) enum OpenSource {
    TcpConnect(TcpConnect),
    TcpListen(Box<OpenTcpListen>),
    UnixListen(OpenUnixListen),
    Datagrams(OpenDatagrams),
    File(FileLines),
    Mqtt(Box<OpenMqtt>),
    Recorded(RecordedInput),
}

impl OpenSource {
    /// Where what it rejects is counted.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::TcpConnect(_) | Self::TcpListen(_) => "tcp",
            Self::UnixListen(_) => "unix",
            Self::Datagrams(source) => source.kind(),
            Self::File(_) => "file",
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
    /// Takes what must be had before the job starts: a listening source its port or socket file.
    ///
    /// # Errors
    /// [`JobError::Source`] when the port cannot be had, [`JobError::Configuration`] when its
    /// settings cannot be used.
    pub(crate) fn open(self, place: Place<'_>) -> Result<OpenSource, JobError> {
        match self {
            Self::TcpConnect(settings) => {
                connection::check_memory(settings.line_bytes_max, 1)?;
                Ok(OpenSource::TcpConnect(settings))
            }
            Self::TcpListen(settings) => settings.open().map(|open| OpenSource::TcpListen(Box::new(open))),
            Self::UnixListen(settings) => settings.open().map(OpenSource::UnixListen),
            Self::Udp(settings) => settings.open().map(OpenSource::Datagrams),
            Self::UnixDatagram(settings) => settings.open().map(OpenSource::Datagrams),
            Self::File(settings) => settings.check().map(|()| OpenSource::File(settings)),
            Self::Mqtt(settings) => settings
                .open(place)
                .map(|open| OpenSource::Mqtt(Box::new(open)))
                .map_err(JobError::Configuration),
            Self::Recorded(input) => Ok(OpenSource::Recorded(input)),
        }
    }
}
