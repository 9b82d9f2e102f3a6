//! The source actor: runs one source's loop and reports its end; and the outlet the loops hand frames to.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt::{Debug, Display};
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::batch::{Offset, Timestamp};
use super::error::JobError;
use super::messages::{AppendFrames, AskReceived, ClientHello, JobFailed, SourceFinished};
use super::sequencer::{Sequencer, notify};
use super::supervisor::JobSupervisor;
use crate::metrics::{JobMetrics, Rejections};
use crate::mqtt::ReceivedIds;
use crate::source::frame::{BufferPool, FrameBuffers, FrameChunk, SourceIndex};
use crate::source::{
    OpenSource, run_datagrams, run_file, run_mqtt, run_recorded, run_tcp_connect, run_tcp_listen,
    run_unix_listen,
};

/// The job takes no more frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutletClosed;

/// Where a source puts its frames: the sequencer, seen from a source.
#[derive(Clone)]
pub(crate) struct Outlet {
    sequencer: Addr<Sequencer>,
    source: SourceIndex,
    pool: Arc<BufferPool>,
    rejections: Rc<RefCell<Rejections>>,
    /// Connections closed for their faults.
    closed: Rc<Cell<u64>>,
    /// Clients whose TLS handshake failed.
    refused: Rc<Cell<u64>>,
    stop: CancellationToken,
    durable: watch::Receiver<Offset>,
    has_journal: bool,
}

impl Outlet {
    /// Spare buffers for a chunk.
    pub(crate) fn buffers(&self) -> FrameBuffers {
        self.pool.take()
    }

    /// A chunk of this source's frames.
    pub(crate) fn chunk(&self, origin: Arc<str>, first_line: u64, buffers: FrameBuffers) -> FrameChunk {
        FrameChunk::new(self.source, origin, first_line, buffers, Arc::clone(&self.pool))
    }

    /// Hands over a chunk; done when it is sealed into the batch that is returned. A source that waits for it before it sends the next
    /// is slowed to the job's pace.
    pub(crate) async fn append(
        &self,
        chunk: FrameChunk,
        recorded: Option<Timestamp>,
        session: Option<u64>,
    ) -> Result<Offset, OutletClosed> {
        match self.sequencer.send(AppendFrames { chunk, recorded, session }).await {
            Ok(Ok(offset)) => Ok(offset),
            Ok(Err(_)) | Err(_) => Err(OutletClosed),
        }
    }

    /// Greets for a client that wants acknowledgements: once everything it sent before is durable, says how many lines
    /// that is, and the session to append with. An earlier session of the client ends.
    pub(crate) async fn hello(&self, client: Arc<str>) -> Result<(u64, u64), OutletClosed> {
        match self.sequencer.send(ClientHello { client }).await {
            Ok(Ok(greeted)) => Ok(greeted),
            Ok(Err(_)) | Err(_) => Err(OutletClosed),
        }
    }

    /// What a message session took in before; `None` for one there was not.
    ///
    /// # Errors
    /// [`OutletClosed`].
    pub(crate) async fn received_by(&self, session: Arc<str>) -> Result<Option<ReceivedIds>, OutletClosed> {
        self.sequencer.send(AskReceived { session }).await.map_err(|_| OutletClosed)
    }

    /// False when what is sealed counts as durable: the job keeps no journal.
    pub(crate) fn has_journal(&self) -> bool {
        self.has_journal
    }

    /// How far the journal is.
    pub(crate) fn durable(&self) -> watch::Receiver<Offset> {
        self.durable.clone()
    }

    /// The counter for what the source itself rejects, one for all its connections.
    pub(crate) fn rejections(&self) -> RefMut<'_, Rejections> {
        self.rejections.borrow_mut()
    }

    /// Says that a connection was closed for its faults; ever more rarely when there are many.
    pub(crate) fn report_closed(&self, origin: &str, reason: &dyn Debug) {
        if let Some(count) = Self::sampled(&self.closed) {
            tracing::warn!(origin, ?reason, count, "connection closed by us");
        }
    }

    /// Says that a client's TLS handshake failed; ever more rarely when many do.
    pub(crate) fn report_refused(&self, origin: &str, reason: &dyn Display) {
        if let Some(count) = Self::sampled(&self.refused) {
            tracing::warn!(origin, %reason, count, "TLS handshake failed");
        }
    }

    /// Counts; the count when it is worth a line.
    fn sampled(counter: &Cell<u64>) -> Option<u64> {
        let count = counter.get() + 1;
        counter.set(count);
        (count <= 8 || count.is_power_of_two()).then_some(count)
    }

    /// Cancelled when the source must stop reading.
    pub(crate) fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }
}

/// What a source actor starts with.
pub(crate) struct SourceWiring {
    pub(crate) source: OpenSource,
    pub(crate) index: SourceIndex,
    pub(crate) sequencer: Addr<Sequencer>,
    pub(crate) supervisor: Addr<JobSupervisor>,
    pub(crate) metrics: Arc<JobMetrics>,
    pub(crate) stop: CancellationToken,
    pub(crate) durable: watch::Receiver<Offset>,
    pub(crate) has_journal: bool,
    pub(crate) chunk_bytes_max: usize,
    pub(crate) chunk_frames_max: usize,
}

/// Runs one source.
pub(crate) struct SourceActor {
    wiring: Option<SourceWiring>,
}

impl SourceActor {
    pub(crate) fn new(wiring: SourceWiring) -> Self {
        Self { wiring: Some(wiring) }
    }
}

async fn run(source: OpenSource, outlet: Outlet, limits: ChunkLimits) -> Result<(), JobError> {
    match source {
        OpenSource::TcpConnect(settings) => run_tcp_connect(settings, outlet, limits).await,
        OpenSource::TcpListen(source) => {
            run_tcp_listen(*source, outlet, limits).await;
            Ok(())
        }
        OpenSource::UnixListen(source) => {
            run_unix_listen(source, outlet, limits).await;
            Ok(())
        }
        OpenSource::Datagrams(source) => {
            run_datagrams(source, outlet, limits).await;
            Ok(())
        }
        OpenSource::File(source) => run_file(source, outlet, limits).await,
        OpenSource::Mqtt(source) => {
            run_mqtt(*source, outlet, limits).await;
            Ok(())
        }
        OpenSource::Recorded(input) => {
            run_recorded(input, outlet).await;
            Ok(())
        }
    }
}

/// How much a chunk may hold: no more than a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkLimits {
    pub(crate) bytes_max: usize,
    pub(crate) frames_max: usize,
}

impl Actor for SourceActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let wiring = self.wiring.take().expect("an actor starts once");
        let place = wiring.source.kind();
        let outlet = Outlet {
            sequencer: wiring.sequencer,
            source: wiring.index,
            pool: Arc::new(BufferPool::default()),
            rejections: Rc::new(RefCell::new(Rejections::new(place, wiring.metrics))),
            closed: Rc::default(),
            refused: Rc::default(),
            stop: wiring.stop,
            durable: wiring.durable,
            has_journal: wiring.has_journal,
        };
        let limits = ChunkLimits { bytes_max: wiring.chunk_bytes_max, frames_max: wiring.chunk_frames_max };
        let ended = run(wiring.source, outlet, limits);
        let supervisor = wiring.supervisor;
        context.spawn(ended.into_actor(self).map(move |outcome, _, _| match outcome {
            Ok(()) => notify(&supervisor, SourceFinished),
            Err(error) => notify(&supervisor, JobFailed { error }),
        }));
    }
}
