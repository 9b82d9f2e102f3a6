//! The messages between the actors.

use std::sync::Arc;

use actix::prelude::*;

use super::batch::{Attempt, BatchHeader, Offset, Timestamp};
use super::coordinator::CheckpointCoordinator;
use super::error::JobError;
use super::job_handle::{SavepointOrder, SavepointRequest};
use super::journal_actor::JournalActor;
use super::sequenced::{ReplayFrom, Replayed};
use super::sink_actor::SinkActor;
use super::subtask::Subtask;
use super::supervisor::JobSupervisor;
use crate::checkpoint::{CheckpointError, CheckpointId, Contents, SinkPosition};
use crate::journal::{Entry, JournalError};
use crate::mqtt::ReceivedIds;
use crate::operator::{AnyPart, OperatorError};
use crate::source::frame::FrameChunk;
use crate::state::{StateError, StateSnapshot};

/// The job has ended: nothing is taken in any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended;

/// Source → sequencer: frames to put in order. Answered with their batch's offset when they are sealed.
#[derive(Message)]
#[rtype(result = "Result<Offset, Ended>")]
pub(crate) struct AppendFrames {
    pub(crate) chunk: FrameChunk,
    /// The stamp of a recorded batch, which is sealed alone.
    pub(crate) recorded: Option<Timestamp>,
    /// The session of a client that asked for acknowledgements; frames of an earlier one are refused.
    pub(crate) session: Option<u64>,
}

/// Sequencer or subtask → subtask or sink: the part of a batch.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct DeliverPart {
    pub(crate) header: BatchHeader,
    /// Which of the receiver's inputs this is.
    pub(crate) input: usize,
    pub(crate) part: AnyPart,
}

/// Sink → sequencer: a batch is delivered, its credit is free.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct BatchDelivered {
    pub(crate) attempt: Attempt,
    pub(crate) offset: Offset,
    pub(crate) sink: usize,
}

/// Subtask → sequencer: its earliest processing-time timer behind a batch, when that changed; at most one a batch.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TimerSet {
    pub(crate) attempt: Attempt,
    pub(crate) stage: usize,
    pub(crate) subtask: usize,
    pub(crate) behind: Offset,
    pub(crate) earliest: Option<Timestamp>,
}

/// Supervisor → sequencer: the receivers of batches.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ConnectStages {
    pub(crate) subtasks: Vec<Addr<Subtask>>,
    pub(crate) coordinator: Addr<CheckpointCoordinator>,
    pub(crate) sinks: Vec<Addr<SinkActor>>,
    pub(crate) journal: Option<Addr<JournalActor>>,
    pub(crate) supervisor: Addr<JobSupervisor>,
}

/// Source → sequencer: a client that wants acknowledgements. Answered, once everything it sent before is durable, with
/// the number of its lines, and the session its frames must name.
#[derive(Message)]
#[rtype(result = "Result<(u64, u64), Ended>")]
pub(crate) struct ClientHello {
    pub(crate) client: Arc<str>,
}

/// Source → sequencer: what a message session, named by its origin, took in before; `None` for one there was not.
#[derive(Message)]
#[rtype(result = "Option<ReceivedIds>")]
pub(crate) struct AskReceived {
    pub(crate) session: Arc<str>,
}

/// Sequencer → journal: batches to make durable.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CommitBatches {
    pub(crate) entries: Vec<Entry>,
}

/// Journal → sequencer: how far it is.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct JournalProgress {
    pub(crate) written: Offset,
    pub(crate) durable: Offset,
    pub(crate) room: Room,
}

/// How much more the journal can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    /// It is near its limit: checkpoints are hurried, so that it can be cut.
    Little,
    /// The disk is full: nothing is taken in.
    None,
}

/// Sequencer → sinks: results up to this batch may leave.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct BatchesDurable {
    pub(crate) through: Offset,
}

/// Sequencer → journal: batches to replay, both ends included. Answered with the first ones.
#[derive(Message, Clone, Copy)]
#[rtype(result = "Result<Vec<Replayed>, JournalError>")]
pub(crate) struct ReadJournal {
    pub(crate) from: Offset,
    pub(crate) through: Offset,
}

/// Supervisor → journal: a frame that is never to be processed again.
#[derive(Message)]
#[rtype(result = "Result<(), JournalError>")]
pub(crate) struct SkipFrame {
    pub(crate) offset: Offset,
    pub(crate) frame: u64,
    pub(crate) cause: String,
}

/// Coordinator → sequencer → journal: batches up to this one are not needed any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct DeleteJournal {
    pub(crate) through: Offset,
}

/// Sequencer → coordinator: the journal is, or is no longer, near its limit.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct JournalPressure {
    pub(crate) is_under_pressure: bool,
}

/// What a barrier waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BarrierScope {
    /// The next batch, whatever it holds.
    NextBatch,
    /// The batch after which nothing is waiting: the job is ending.
    LastBatch,
}

/// Coordinator → sequencer: set a barrier, unless there was no batch since `since`.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RequestBarrier {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) scope: BarrierScope,
    pub(crate) since: Option<Offset>,
}

/// Sequencer → coordinator: what became of the request.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum BarrierAnswer {
    /// The barrier is on its way in this batch.
    Set {
        checkpoint: CheckpointId,
        header: BatchHeader,
        readings: u64,
        /// Lines of each client that asked for acknowledgements, up to and with this batch.
        clients: Vec<(String, u64)>,
        /// What each message session may get again.
        sessions: Vec<(String, ReceivedIds)>,
    },
    /// There is nothing to snapshot.
    NothingNew { checkpoint: CheckpointId },
}

/// Subtask → coordinator: its state after the barrier's batch.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SnapshotTaken {
    pub(crate) header: BatchHeader,
    pub(crate) stage: usize,
    pub(crate) subtask: usize,
    /// Prepared, or why that failed.
    pub(crate) snapshots: Result<Vec<Box<dyn StateSnapshot>>, StateError>,
}

/// Sink → coordinator: its position after the barrier's batch.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SinkReached {
    pub(crate) header: BatchHeader,
    pub(crate) sink: usize,
    pub(crate) position: SinkPosition,
}

/// Supervisor → coordinator: forget what is pending; what can be restored?
#[derive(Message)]
#[rtype(result = "Result<Option<Arc<Contents>>, CheckpointError>")]
pub(crate) struct AbortPending;

/// Supervisor → coordinator: a job runs (again) from this offset.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ResumeCheckpoints {
    pub(crate) attempt: Attempt,
}

/// Supervisor → coordinator: take the last checkpoint. Answered when all batches are through.
#[derive(Message)]
#[rtype(result = "Result<(), CheckpointError>")]
pub(crate) struct TakeLastCheckpoint;

/// Launcher → supervisor: somebody asks for a savepoint. One at a time: until `finished` is dropped.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct AskSavepoint {
    pub(crate) request: SavepointRequest,
    pub(crate) finished: tokio::sync::oneshot::Sender<()>,
}

/// Supervisor → coordinator: take a savepoint, at the job's end if it is to stop with it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TakeSavepoint {
    pub(crate) order: SavepointOrder,
}

/// Supervisor → subtask: build the operators anew and load their state. Answers the number of keys.
#[derive(Message)]
#[rtype(result = "Result<usize, OperatorError>")]
pub(crate) struct RestoreSubtask {
    pub(crate) attempt: Attempt,
    pub(crate) contents: Option<Arc<Contents>>,
}

/// Supervisor → sink: drop what waits for alignment; batches of this attempt follow.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ResetSink {
    pub(crate) attempt: Attempt,
}

/// Supervisor → sequencer: seal nothing until resumed. Answers how many readings have been sealed.
#[derive(Message)]
#[rtype(result = "u64")]
pub(crate) struct PauseSealing;

/// Supervisor → sequencer: seal again.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ResumeSealing {
    pub(crate) attempt: Attempt,
    pub(crate) from: ReplayFrom,
}

/// Subtask → supervisor: its operators failed on a batch.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SubtaskFailed {
    pub(crate) attempt: Attempt,
    pub(crate) place: String,
    pub(crate) offset: Offset,
    /// Number of the frame it failed on, when the batch went frame by frame.
    pub(crate) frame: Option<u64>,
    pub(crate) cause: OperatorError,
}

/// Any actor → supervisor: something that cannot be mended by a restart.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct JobFailed {
    pub(crate) error: JobError,
}

/// Liveness watch → any actor: answered when everything before it is done.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ping;

/// Liveness watch → sequencer: the number of the commit under way, if one is.
#[derive(Message)]
#[rtype(result = "Option<u64>")]
pub(crate) struct AskCommit;

/// Liveness watch → journal: whether it gets on.
#[derive(Message)]
#[rtype(result = "JournalStanding")]
pub(crate) struct AskJournal;

/// Whether the journal gets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JournalStanding {
    Works,
    /// The disk is full.
    WaitsForSpace,
}

/// Source → supervisor: the input ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SourceFinished;
