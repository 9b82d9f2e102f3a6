//! The checkpoint coordinator actor: one checkpoint at a time, from barrier to completed.
//!
//! Files are written on a blocking thread; the actor and the data path go on meanwhile. A checkpoint that fails
//! is counted, logged and tried again at the next interval; the job does not notice.
//!
//! A savepoint is one whose snapshots are written whole and elsewhere: what later checkpoints need not write again is
//! up to the store, which does not see it. The savepoint of a job that ends is written from the snapshots of the last
//! checkpoint.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::batch::{Attempt, Offset};
use super::error::is_caused_by_full_disk;
use super::job_handle::{AfterSavepoint, SavepointOrder};
use super::messages::{
    AbortPending, BarrierAnswer, BarrierScope, DeleteJournal, JournalPressure, Ping, RequestBarrier,
    ResumeCheckpoints, SinkReached, SnapshotTaken, TakeLastCheckpoint, TakeSavepoint,
};
use super::reserve::Reserve;
use super::sequencer::{Sequencer, notify};
use super::settings::Settings;
use super::shipper::{CheckpointOffered, Shipper};
use super::subtask::catch_panic;
use crate::checkpoint::{
    Capture, CheckpointError, CheckpointId, CheckpointStore, Contents, Manifest, PendingCheckpoint, Progress,
    SavepointError,
};
use crate::metrics::JobMetrics;

type SharedStore = Arc<Mutex<Box<dyn CheckpointStore>>>;

/// What the coordinator is doing.
enum Phase {
    Idle,
    /// The barrier travels.
    Pending {
        checkpoint: Box<PendingCheckpoint>,
        purpose: Purpose,
        since: Instant,
    },
    /// The store writes.
    Writing,
}

/// What a barrier is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Checkpoint,
    /// The savepoint that is due.
    Savepoint,
}

/// Who waits for the last checkpoint of an orderly stop.
type LastOutcome = oneshot::Sender<Result<(), CheckpointError>>;

/// Whether the job is ending.
enum Last {
    NotAsked,
    /// Another checkpoint was under way when it was asked for: it comes next.
    Due(LastOutcome),
    Taking(LastOutcome),
}

/// Takes checkpoints.
pub(crate) struct CheckpointCoordinator {
    job: String,
    settings: Settings,
    sequencer: Addr<Sequencer>,
    store: SharedStore,
    /// Every subtask, as (stage, index).
    subtasks: Vec<(usize, usize)>,
    sink_count: usize,
    metrics: Arc<JobMetrics>,
    phase: Phase,
    attempt: Attempt,
    next_id: CheckpointId,
    /// Offset of the newest completed checkpoint.
    completed: Option<Offset>,
    last: Last,
    /// A savepoint that was asked for and is not written yet.
    savepoint: Option<SavepointOrder>,
    /// The journal is near its limit: checkpoints follow one another until it is cut.
    is_under_pressure: bool,
    reserve: Option<Reserve>,
    shipper: Option<Addr<Shipper>>,
}

/// What a coordinator starts with.
pub(crate) struct CoordinatorStart {
    pub(crate) job: String,
    pub(crate) settings: Settings,
    pub(crate) sequencer: Addr<Sequencer>,
    pub(crate) store: Box<dyn CheckpointStore>,
    pub(crate) subtasks: Vec<(usize, usize)>,
    pub(crate) sink_count: usize,
    pub(crate) metrics: Arc<JobMetrics>,
    /// Offset of what the job begins with.
    pub(crate) completed: Offset,
    /// Disk for a last checkpoint on a full disk; a job without a journal has none.
    pub(crate) reserve: Option<Reserve>,
    /// Ships what is completed.
    pub(crate) shipper: Option<Addr<Shipper>>,
}

impl CheckpointCoordinator {
    pub(crate) fn new(start: CoordinatorStart) -> Self {
        Self {
            job: start.job,
            settings: start.settings,
            sequencer: start.sequencer,
            next_id: start.store.next_id(),
            store: Arc::new(Mutex::new(start.store)),
            subtasks: start.subtasks,
            sink_count: start.sink_count,
            metrics: start.metrics,
            phase: Phase::Idle,
            attempt: Attempt(0),
            completed: Some(start.completed),
            last: Last::NotAsked,
            savepoint: None,
            is_under_pressure: false,
            reserve: start.reserve,
            shipper: start.shipper,
        }
    }

    fn on_interval(&mut self) {
        if let Phase::Pending { since, checkpoint, .. } = &self.phase
            && since.elapsed() > self.settings.checkpoint_timeout
            // The last one waits until everything is processed, however long that takes.
            && !matches!(self.last, Last::Taking(_))
        {
            let error = CheckpointError::TimedOut { checkpoint: checkpoint.id() };
            return self.pending_failed(error);
        }
        self.begin_savepoint();
        if self.may_begin() {
            self.begin(Purpose::Checkpoint);
        }
    }

    /// True when a barrier can be asked for that is not the last one.
    fn may_begin(&self) -> bool {
        self.attempt != Attempt(0) && matches!((&self.phase, &self.last), (Phase::Idle, Last::NotAsked))
    }

    /// Begins a savepoint that is due, if it is not for the job's end.
    fn begin_savepoint(&mut self) {
        let is_due = self.savepoint.as_ref().is_some_and(|order| order.after == AfterSavepoint::GoOn);
        if is_due && self.may_begin() {
            self.begin(Purpose::Savepoint);
        }
    }

    fn begin(&mut self, purpose: Purpose) {
        let checkpoint = self.next_id;
        self.next_id = CheckpointId(checkpoint.0 + 1);
        let pending =
            PendingCheckpoint::new(checkpoint, self.job.clone(), self.subtasks.clone(), self.sink_count);
        self.phase = Phase::Pending { checkpoint: Box::new(pending), purpose, since: Instant::now() };
        let (scope, takes_savepoint) = match self.last {
            Last::Taking(_) => (BarrierScope::LastBatch, self.savepoint.is_some()),
            Last::NotAsked | Last::Due(_) => (BarrierScope::NextBatch, purpose == Purpose::Savepoint),
        };
        // Under pressure every checkpoint helps, also one with nothing new: it lets an older one go.
        let since = self.completed.filter(|_| !self.is_under_pressure && !takes_savepoint);
        notify(&self.sequencer, RequestBarrier { checkpoint, scope, since });
    }

    /// Lets the pending checkpoint take in something, if it is the one meant.
    fn advance(
        &mut self,
        id: Option<CheckpointId>,
        context: &mut Context<Self>,
        take_in: impl FnOnce(PendingCheckpoint) -> Progress,
    ) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Pending { checkpoint, purpose, since } if Some(checkpoint.id()) == id => {
                match take_in(*checkpoint) {
                    Progress::Waiting(checkpoint) => {
                        self.phase = Phase::Pending { checkpoint: Box::new(checkpoint), purpose, since };
                    }
                    Progress::Ready(capture) => self.write(purpose, capture, context),
                }
            }
            // Of a checkpoint given up meanwhile.
            phase => self.phase = phase,
        }
    }

    /// Gives the pending checkpoint up, if it is the one meant.
    fn give_up(&mut self, id: Option<CheckpointId>, error: CheckpointError) {
        if matches!(&self.phase, Phase::Pending { checkpoint, .. } if Some(checkpoint.id()) == id) {
            self.pending_failed(error);
        }
    }

    fn pending_failed(&mut self, error: CheckpointError) {
        let purpose = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Pending { purpose, .. } => purpose,
            Phase::Idle | Phase::Writing => Purpose::Checkpoint,
        };
        match (purpose, self.savepoint.take()) {
            (Purpose::Savepoint, Some(order)) => {
                answer(order, Err(SavepointError::Capture(error)));
                self.savepoint_ended();
            }
            (_, savepoint) => {
                self.savepoint = savepoint;
                self.ended(Err(error));
            }
        }
    }

    /// Writes a savepoint, a checkpoint, or, at the job's end, both.
    fn write(&mut self, purpose: Purpose, capture: Capture, context: &mut Context<Self>) {
        self.phase = Phase::Writing;
        let takes_savepoint = purpose == Purpose::Savepoint || matches!(self.last, Last::Taking(_));
        let order = if takes_savepoint { self.savepoint.take() } else { None };
        let store = (purpose == Purpose::Checkpoint).then(|| Arc::clone(&self.store));
        let started = Instant::now();
        let writing = tokio::task::spawn_blocking(move || {
            if let Some(order) = order {
                write_savepoint(order, &capture);
            }
            store.map(|store| write_checkpoint(&store, capture))
        });
        let written = async move { writing.await.unwrap_or(Some(Err(CheckpointError::Orphaned))) };
        context.spawn(written.into_actor(self).map(move |outcome, actor, _| {
            let Some(outcome) = outcome else { return actor.savepoint_ended() };
            let outcome = outcome.map(|(manifest, oldest)| {
                tracing::info!(
                    checkpoint = %manifest.id, offset = %manifest.offset, keys = manifest.key_count(),
                    bytes = manifest.state_bytes(), elapsed_ms = started.elapsed().as_millis(), "checkpoint completed"
                );
                actor.completed = Some(manifest.offset);
                if let Some(shipper) = &actor.shipper {
                    // When its mailbox is full it has been told.
                    drop(shipper.try_send(CheckpointOffered));
                }
                if let Some(through) = oldest {
                    notify(&actor.sequencer, DeleteJournal { through });
                }
            });
            actor.ended(outcome);
        }));
    }

    /// A savepoint is taken or failed; its order was answered.
    fn savepoint_ended(&mut self) {
        self.phase = Phase::Idle;
        self.after(Ok(()));
        self.hurry();
    }

    /// The checkpoint under way is completed, failed or given up.
    fn ended(&mut self, outcome: Result<(), CheckpointError>) {
        self.phase = Phase::Idle;
        match &outcome {
            Ok(()) => JobMetrics::add(&self.metrics.checkpoints_completed, 1),
            Err(error) => {
                tracing::error!(%error, "checkpoint failed: the job goes on, the next interval tries again");
                JobMetrics::add(&self.metrics.checkpoints_failed, 1);
            }
        }
        let is_completed = outcome.is_ok();
        self.after(outcome);
        self.begin_savepoint();
        // A failed one waits for the interval.
        if is_completed {
            self.hurry();
        }
    }

    /// Begins a checkpoint at once when the journal needs one.
    fn hurry(&mut self) {
        if self.is_under_pressure && self.may_begin() {
            self.begin(Purpose::Checkpoint);
        }
    }

    /// True when a checkpoint failed on a full disk and the reserve was given up for another.
    fn gives_space(&self, error: &CheckpointError) -> bool {
        is_caused_by_full_disk(error) && self.reserve.as_ref().is_some_and(Reserve::release_to_stop)
    }

    /// A checkpoint ended; the last one is owed to the supervisor.
    fn after(&mut self, outcome: Result<(), CheckpointError>) {
        match std::mem::replace(&mut self.last, Last::NotAsked) {
            Last::NotAsked => {}
            Last::Due(waiting) => {
                self.last = Last::Taking(waiting);
                self.begin(Purpose::Checkpoint);
            }
            // What it could not have, the reserve may have held.
            Last::Taking(waiting) if outcome.as_ref().is_err_and(|error| self.gives_space(error)) => {
                self.last = Last::Taking(waiting);
                self.begin(Purpose::Checkpoint);
            }
            // The supervisor may have given up on it.
            Last::Taking(waiting) => drop(waiting.send(outcome)),
        }
    }
}

/// Writes a savepoint and answers who asked for it.
fn write_savepoint(order: SavepointOrder, capture: &Capture) {
    let SavepointOrder { draft, answer, .. } = order;
    let started = Instant::now();
    let written = catch_panic(|| draft.write(&capture.manifest, &capture.snapshots))
        .unwrap_or_else(|message| Err(SavepointError::Capture(CheckpointError::Panicked { message })));
    match &written {
        Ok(savepoint) => tracing::info!(
            path = %savepoint.path.display(), offset = %savepoint.offset, keys = savepoint.keys, bytes = savepoint.bytes,
            elapsed_ms = started.elapsed().as_millis(), "savepoint taken"
        ),
        Err(error) => tracing::error!(%error, "savepoint failed"),
    }
    // Who asked may have gone; the savepoint stays.
    drop(answer.send(written));
}

/// Writes a checkpoint; also says up to where the journal can go.
fn write_checkpoint(
    store: &SharedStore,
    capture: Capture,
) -> Result<(Manifest, Option<Offset>), CheckpointError> {
    let mut store = store.lock().expect("a panic is caught while the store is locked");
    let written = catch_panic(|| store.write(capture))
        .unwrap_or_else(|message| Err(CheckpointError::Panicked { message }));
    written.map(|manifest| (manifest, store.oldest_offset()))
}

fn answer(order: SavepointOrder, outcome: Result<crate::checkpoint::Savepoint, SavepointError>) {
    if let Err(error) = &outcome {
        tracing::error!(%error, "savepoint failed");
    }
    // Who asked may have gone.
    drop(order.answer.send(outcome));
}

impl Actor for CheckpointCoordinator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context
            .set_mailbox_capacity(super::job::CONTROL_MAILBOX + 2 * (self.subtasks.len() + self.sink_count));
        context.run_interval(self.settings.checkpoint_interval, |actor, _| actor.on_interval());
    }
}

impl Handler<Ping> for CheckpointCoordinator {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<BarrierAnswer> for CheckpointCoordinator {
    type Result = ();

    fn handle(&mut self, message: BarrierAnswer, context: &mut Self::Context) {
        match message {
            BarrierAnswer::Set { checkpoint, header, readings, clients, sessions } => {
                if header.attempt == self.attempt {
                    let take_in =
                        |pending: PendingCheckpoint| pending.barrier(header, readings, clients, sessions);
                    self.advance(Some(checkpoint), context, take_in);
                }
            }
            BarrierAnswer::NothingNew { checkpoint } => {
                let ours = matches!(&self.phase, Phase::Pending { checkpoint: pending, .. } if pending.id() == checkpoint);
                if ours {
                    self.phase = Phase::Idle;
                    self.next_id = checkpoint;
                    self.after(Ok(()));
                    self.begin_savepoint();
                }
            }
        }
    }
}

impl Handler<JournalPressure> for CheckpointCoordinator {
    type Result = ();

    fn handle(&mut self, message: JournalPressure, _: &mut Self::Context) {
        self.is_under_pressure = message.is_under_pressure;
        self.hurry();
    }
}

impl Handler<SnapshotTaken> for CheckpointCoordinator {
    type Result = ();

    fn handle(&mut self, message: SnapshotTaken, context: &mut Self::Context) {
        if message.header.attempt == self.attempt {
            let SnapshotTaken { header, stage, subtask, snapshots } = message;
            let snapshots = match snapshots {
                Ok(snapshots) => snapshots,
                Err(reason) => return self.give_up(header.barrier, CheckpointError::State(reason)),
            };
            self.advance(header.barrier, context, |pending| pending.snapshot(stage, subtask, snapshots));
        }
    }
}

impl Handler<SinkReached> for CheckpointCoordinator {
    type Result = ();

    fn handle(&mut self, message: SinkReached, context: &mut Self::Context) {
        if message.header.attempt == self.attempt {
            let SinkReached { header, sink, position } = message;
            self.advance(header.barrier, context, |pending| pending.sink(sink, position));
        }
    }
}

impl Handler<AbortPending> for CheckpointCoordinator {
    type Result = ResponseFuture<Result<Option<Arc<Contents>>, CheckpointError>>;

    fn handle(&mut self, _: AbortPending, _: &mut Self::Context) -> Self::Result {
        if matches!(self.phase, Phase::Pending { .. }) {
            self.phase = Phase::Idle;
        }
        self.attempt = Attempt(0);
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            // Waits for a write under way: what it completes is a consistent cut before the failure.
            let newest = tokio::task::spawn_blocking(move || {
                store.lock().expect("a panic is caught while the store is locked").newest()
            });
            Ok(newest.await.unwrap_or(Err(CheckpointError::Orphaned))?.map(Arc::new))
        })
    }
}

impl Handler<ResumeCheckpoints> for CheckpointCoordinator {
    type Result = ();

    fn handle(&mut self, message: ResumeCheckpoints, _: &mut Self::Context) {
        self.attempt = message.attempt;
        // A rewind interrupted the last checkpoint, or a savepoint: take it again.
        self.begin_savepoint();
        if matches!(self.phase, Phase::Idle) {
            match std::mem::replace(&mut self.last, Last::NotAsked) {
                Last::NotAsked => {}
                Last::Due(waiting) | Last::Taking(waiting) => {
                    self.last = Last::Taking(waiting);
                    self.begin(Purpose::Checkpoint);
                }
            }
        }
    }
}

impl Handler<TakeLastCheckpoint> for CheckpointCoordinator {
    type Result = ResponseFuture<Result<(), CheckpointError>>;

    fn handle(&mut self, _: TakeLastCheckpoint, _: &mut Self::Context) -> Self::Result {
        let (sender, outcome) = oneshot::channel();
        if matches!(self.phase, Phase::Idle) {
            self.last = Last::Taking(sender);
            self.begin(Purpose::Checkpoint);
        } else {
            self.last = Last::Due(sender);
        }
        Box::pin(async move { outcome.await.unwrap_or(Err(CheckpointError::Orphaned)) })
    }
}

impl Handler<TakeSavepoint> for CheckpointCoordinator {
    type Result = ();

    fn handle(&mut self, message: TakeSavepoint, _: &mut Self::Context) {
        assert!(self.savepoint.is_none(), "savepoints are asked for one after the other");
        self.savepoint = Some(message.order);
        self.begin_savepoint();
    }
}
