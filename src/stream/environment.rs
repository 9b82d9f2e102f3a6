//! The environment: where a job's streams begin and where it is run.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::text_stream::TextStream;
use super::topology::{Topology, TopologyBuilder};
use crate::runtime::{JobError, JobHandle, JobReport, Replay, ReplayReport, Settings, StopHandle};
use crate::source::{
    MqttSource, RecordedInput, SourceSpec, TcpConnect, TcpListen, UdpReceive, UnixListen, UnixReceive,
};

/// Builds and runs one job.
pub struct Environment {
    job: String,
    settings: Settings,
    builder: Rc<RefCell<TopologyBuilder>>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("job", &self.job).field("settings", &self.settings).finish()
    }
}

impl Environment {
    /// An environment for the job `job`, with default settings. The name also names its checkpoint folder: letters,
    /// digits, `-`, `_` and `.`.
    pub fn new(job: impl Into<String>) -> Self {
        Self::with_settings(job, Settings::default())
    }

    /// An environment with settings of its own.
    pub fn with_settings(job: impl Into<String>, settings: Settings) -> Self {
        Self { job: job.into(), settings, builder: Rc::new(RefCell::new(TopologyBuilder::new())) }
    }

    /// Lines from a server at `address` (`HOST:PORT`), connected to again whenever the connection ends.
    pub fn socket_text_stream(&self, address: impl Into<String>) -> TextStream {
        self.connect(TcpConnect::new(address))
    }

    /// Lines from a server, with settings.
    pub fn connect(&self, source: TcpConnect) -> TextStream {
        self.text_stream(SourceSpec::TcpConnect(source))
    }

    /// Lines from the clients of a server of ours.
    pub fn listen(&self, source: TcpListen) -> TextStream {
        self.text_stream(SourceSpec::TcpListen(source))
    }

    /// Lines from processes of this machine that connect to a Unix socket of ours.
    pub fn unix_stream(&self, source: UnixListen) -> TextStream {
        self.text_stream(SourceSpec::UnixListen(source))
    }

    /// Lines in UDP datagrams.
    pub fn udp_stream(&self, source: UdpReceive) -> TextStream {
        self.text_stream(SourceSpec::Udp(source))
    }

    /// Lines in datagrams that processes of this machine send to a Unix socket of ours.
    pub fn unix_datagram_stream(&self, source: UnixReceive) -> TextStream {
        self.text_stream(SourceSpec::UnixDatagram(source))
    }

    /// Lines of the messages from an MQTT broker.
    pub fn mqtt_stream(&self, source: MqttSource) -> TextStream {
        self.text_stream(SourceSpec::Mqtt(source))
    }

    /// Lines recorded earlier, in their batches.
    pub fn recorded(&self, input: RecordedInput) -> TextStream {
        self.text_stream(SourceSpec::Recorded(input))
    }

    /// What is built so far, for streams that are not of records.
    pub(crate) fn builder(&self) -> std::cell::RefMut<'_, TopologyBuilder> {
        self.builder.borrow_mut()
    }

    fn text_stream(&self, source: SourceSpec) -> TextStream {
        let source = self.builder.borrow_mut().add_source(source);
        TextStream::new(Rc::clone(&self.builder), source)
    }

    /// Runs the job until its input ends.
    ///
    /// # Errors
    /// See [`JobError`]. The process is never ended from here.
    pub fn execute(self) -> Result<JobReport, JobError> {
        self.execute_until(StopHandle::new())
    }

    /// Runs the job until its input ends or `stop` asks it to.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn execute_until(self, stop: StopHandle) -> Result<JobReport, JobError> {
        self.execute_with(&JobHandle::from(stop))
    }

    /// Runs the job until its input ends or `handle` asks it to; `handle` also takes savepoints of it.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn execute_with(self, handle: &JobHandle) -> Result<JobReport, JobError> {
        let (topology, settings) = self.build();
        crate::runtime::run(topology, settings, handle)
    }

    /// Runs the job again over what a directory holds of it, without opening its sources and sinks and without changing
    /// anything. `results` takes, batch by batch, the name of a sink and what the job has for it: lines, each with its end.
    ///
    /// # Errors
    /// See [`JobError`]; one that `results` returns ends the replay.
    pub fn replay(
        self,
        replay: Replay,
        mut results: impl FnMut(&str, &[u8]) -> io::Result<()>,
    ) -> Result<ReplayReport, JobError> {
        let (topology, settings) = self.build();
        crate::runtime::replay(&topology, &settings, replay, &mut results)
    }

    pub(crate) fn build(self) -> (Topology, Settings) {
        let builder = std::mem::replace(&mut *self.builder.borrow_mut(), TopologyBuilder::new());
        (builder.build(self.job), self.settings)
    }
}
