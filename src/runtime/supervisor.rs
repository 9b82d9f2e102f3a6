//! The job supervisor: starts the job, rewinds it when an operator fails, ends it in order.
//!
//! ```text
//!            start                failure            budget left, after the delay
//!  Starting ───────▶ Running ───────────────▶ Rewinding ───────────────▶ Running
//!                      │ all sources ended       │ budget spent
//!                      ▼                         ▼
//!                   Draining ──last checkpoint──▶ Ended
//! ```
//!
//! A rewind restores every subtask from the newest completed checkpoint and replays what came since from the journal;
//! sources and sinks keep their connections. Without a journal readings since that checkpoint are lost: they are
//! counted and logged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::batch::{Attempt, Offset};
use super::coordinator::CheckpointCoordinator;
use super::error::JobError;
use super::journal_actor::JournalActor;
use super::messages::{
    AbortPending, JobFailed, PauseSealing, ResetSink, RestoreSubtask, ResumeCheckpoints, ResumeSealing,
    SkipFrame, SourceFinished, SubtaskFailed, TakeLastCheckpoint,
};
use super::report::{JobReport, Restored};
use super::reserve::Reserve;
use super::restart::{RestartBudget, RestartStrategy, Verdict};
use super::sequencer::Sequencer;
use super::sequencing::ReplayFrom;
use super::sink_actor::SinkActor;
use super::source_actor::SourceActor;
use super::stop::StopHandle;
use super::subtask::Subtask;
use crate::checkpoint::Contents;
use crate::metrics::{JobMetrics, RejectCause};
use crate::operator::OperatorError;

/// How often the supervisor looks whether every actor still lives.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(1);

/// The actors of a job.
pub(crate) struct JobActors {
    pub(crate) sequencer: Addr<Sequencer>,
    pub(crate) coordinator: Addr<CheckpointCoordinator>,
    pub(crate) subtasks: Vec<Addr<Subtask>>,
    pub(crate) sinks: Vec<Addr<SinkActor>>,
    pub(crate) journal: Option<Addr<JournalActor>>,
    pub(crate) reserve: Option<Reserve>,
}

impl JobActors {
    /// The kind of an actor that no longer takes messages.
    fn lost(&self, sources: &[Addr<SourceActor>]) -> Option<&'static str> {
        if sources.iter().any(|source| !source.connected()) {
            Some("source")
        } else if !self.sequencer.connected() {
            Some("sequencer")
        } else if !self.coordinator.connected() {
            Some("checkpoint coordinator")
        } else if self.subtasks.iter().any(|subtask| !subtask.connected()) {
            Some("subtask")
        } else if self.sinks.iter().any(|sink| !sink.connected()) {
            Some("sink")
        } else if self.journal.as_ref().is_some_and(|journal| !journal.connected()) {
            Some("journal")
        } else {
            None
        }
    }
}

/// Launcher → supervisor: the job's actors and where to begin.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StartJob {
    pub(crate) actors: JobActors,
    pub(crate) contents: Option<Arc<Contents>>,
    pub(crate) restored: Option<Restored>,
    /// Where a job without a checkpoint begins.
    pub(crate) begins_at: ReplayFrom,
    /// Whether a rewind replays what came since the checkpoint.
    pub(crate) has_journal: bool,
    /// Starts the sources once everything is restored.
    pub(crate) start_sources: StartSources,
}

type StartSources = Box<dyn FnOnce() -> Vec<Addr<SourceActor>> + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Rewinding,
    Ended,
}

/// Watches over one job.
pub(crate) struct JobSupervisor {
    phase: Phase,
    actors: Option<Arc<JobActors>>,
    sources: Vec<Addr<SourceActor>>,
    sources_running: usize,
    budget: RestartBudget,
    attempt: Attempt,
    failures: u64,
    stop: StopHandle,
    source_stop: CancellationToken,
    metrics: Arc<JobMetrics>,
    restored: Option<Restored>,
    /// Readings, on the sequencer's count, that are in the restored state or were counted as lost.
    readings_accounted: u64,
    /// The last checkpoint was asked for.
    draining: bool,
    begins_at: ReplayFrom,
    has_journal: bool,
    frame_attempts_max: u32,
    /// A batch that failed, and how often in a row.
    suspect: Option<(Offset, u32)>,
    start_sources: Option<StartSources>,
    /// A rewind that waits for its delay, and the readings sealed before it.
    delayed: Option<(SpawnHandle, u64)>,
    outcome: Option<oneshot::Sender<Result<JobReport, JobError>>>,
}

impl JobSupervisor {
    pub(crate) fn new(
        budget: RestartBudget,
        frame_attempts_max: u32,
        stop: StopHandle,
        source_stop: CancellationToken,
        metrics: Arc<JobMetrics>,
        outcome: oneshot::Sender<Result<JobReport, JobError>>,
    ) -> Self {
        Self {
            phase: Phase::Starting,
            actors: None,
            sources: Vec::new(),
            sources_running: 0,
            budget,
            attempt: Attempt(0),
            failures: 0,
            stop,
            source_stop,
            metrics,
            restored: None,
            readings_accounted: 0,
            draining: false,
            begins_at: ReplayFrom { offset: Offset(0), readings: 0, suspect: None },
            has_journal: false,
            frame_attempts_max,
            suspect: None,
            start_sources: None,
            delayed: None,
            outcome: Some(outcome),
        }
    }

    fn actors(&self) -> Arc<JobActors> {
        Arc::clone(self.actors.as_ref().expect("the job was started"))
    }

    /// Restores every subtask for a new attempt and lets the batches flow.
    fn begin_attempt(&mut self, contents: Option<Arc<Contents>>, context: &mut Context<Self>) {
        self.attempt = self.attempt.next();
        let from = contents.as_ref().map_or(self.begins_at, |contents| ReplayFrom {
            // The journal may begin behind the checkpoint after a loss.
            offset: contents.manifest.offset.max(self.begins_at.offset),
            readings: contents.manifest.readings,
            suspect: None,
        });
        let is_suspect = |(_, failures): &(Offset, u32)| failures + 1 >= self.frame_attempts_max;
        let from = ReplayFrom { suspect: self.suspect.filter(is_suspect).map(|(offset, _)| offset), ..from };
        let restored = restore_all(self.actors(), self.attempt, contents, from);
        context.wait(restored.into_actor(self).map(|outcome, actor, context| match outcome {
            Ok(()) => actor.attempt_began(context),
            Err(cause) => actor.failed("restore".to_owned(), cause, context),
        }));
    }

    fn attempt_began(&mut self, context: &mut Context<Self>) {
        if self.phase == Phase::Ended {
            return;
        }
        self.phase = Phase::Running;
        if let Some(start_sources) = self.start_sources.take() {
            self.report_start();
            self.sources = start_sources();
            self.sources_running = self.sources.len();
        }
        self.drain_if_ended(context);
    }

    fn report_start(&self) {
        match &self.restored {
            None => tracing::info!("no checkpoint: starting empty"),
            Some(restored) => tracing::info!(
                checkpoint = %restored.checkpoint, age = format_args!("{:.1}s", restored.age_seconds()),
                keys = restored.keys, readings = restored.readings, offset = %restored.offset, "restored"
            ),
        }
    }

    /// The job was asked to stop.
    fn stop_asked(&mut self, context: &mut Context<Self>) {
        tracing::info!("stopping: no more is read, what was read is processed");
        self.source_stop.cancel();
        self.open_reserve();
        if self.start_sources.is_some() {
            // It never ran: there is nothing to process.
            return self.end(Ok(()));
        }
        if let Some((delayed, readings_sealed)) = self.delayed.take() {
            context.cancel_future(delayed);
            self.rewind(readings_sealed, context);
        }
    }

    /// Lets the stop have the space that is kept for it.
    fn open_reserve(&self) {
        if let Some(reserve) = self.actors.as_ref().and_then(|actors| actors.reserve.as_ref()) {
            reserve.begin_stop();
        }
    }

    /// Counts failures on one batch: from the last but one attempt on it is replayed frame by frame, and a frame found
    /// then, on the last attempt, is poison.
    fn suspect(&mut self, offset: Offset, frame: Option<u64>) -> Option<(Offset, u64)> {
        if !self.has_journal {
            return None;
        }
        let failures = match self.suspect {
            Some((suspect, failures)) if suspect == offset => failures + 1,
            _ => 1,
        };
        self.suspect = Some((offset, failures));
        frame.filter(|_| failures >= self.frame_attempts_max).map(|frame| (offset, frame))
    }

    /// Gives up a frame, then rewinds.
    fn skip_poison(
        &mut self,
        (offset, frame): (Offset, u64),
        cause: &OperatorError,
        context: &mut Context<Self>,
    ) {
        let Some(journal) = self.actors().journal.clone() else { return };
        tracing::error!(%offset, frame, %cause, "a frame fails every time: it is skipped and kept in the dead-letter file");
        self.metrics.add_rejected("dead-letter", RejectCause::POISON, 1);
        self.suspect = None;
        self.budget.forgive();
        let skipped = journal.send(SkipFrame { offset, frame, cause: cause.to_string() });
        context.wait(skipped.into_actor(self).map(|outcome, actor, _| match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => actor.end(Err(error.into())),
            Err(_) => actor.end(Err(JobError::ActorLost("journal"))),
        }));
    }

    fn failed(&mut self, place: String, cause: OperatorError, context: &mut Context<Self>) {
        self.failures += 1;
        // State that does not fit will not fit the next time either.
        let verdict = match &cause {
            OperatorError::State(_) => Verdict::GiveUp,
            OperatorError::Failed(_) | OperatorError::Panicked(_) => self.budget.on_failure(Instant::now()),
        };
        match verdict {
            Verdict::GiveUp => {
                let error = match (cause, &self.restored) {
                    (OperatorError::State(source), Some(restored)) => {
                        JobError::Restore { checkpoint: restored.checkpoint, source: Box::new(source) }
                    }
                    (OperatorError::State(source), None) => JobError::Open(Box::new(source)),
                    (cause, _) => {
                        JobError::RestartsExhausted { failures: self.failures, place, cause: Box::new(cause) }
                    }
                };
                self.end(Err(error));
            }
            Verdict::RestartAfter(delay) => {
                tracing::error!(%place, %cause, ?delay, "operator failed: the job rewinds to its last checkpoint");
                self.phase = Phase::Rewinding;
                let paused = self.actors().sequencer.send(PauseSealing);
                context.wait(paused.into_actor(self).map(move |sealed, actor, context| {
                    let sealed = sealed.unwrap_or(0);
                    let delayed = context.run_later(delay, move |actor, context| {
                        actor.delayed = None;
                        actor.rewind(sealed, context);
                    });
                    actor.delayed = Some((delayed, sealed));
                }));
            }
        }
    }

    fn rewind(&mut self, readings_sealed: u64, context: &mut Context<Self>) {
        if self.phase != Phase::Rewinding {
            return;
        }
        JobMetrics::add(&self.metrics.restarts, 1);
        let newest = self.actors().coordinator.send(AbortPending);
        context.wait(newest.into_actor(self).map(move |newest, actor, context| match newest {
            Ok(Ok(contents)) => {
                actor.report_rewind(contents.as_deref(), readings_sealed);
                actor.begin_attempt(contents, context);
            }
            Ok(Err(error)) => actor.end(Err(error.into())),
            Err(_) => actor.end(Err(JobError::ActorLost("checkpoint coordinator"))),
        }));
    }

    fn report_rewind(&mut self, contents: Option<&Contents>, readings_sealed: u64) {
        if self.has_journal {
            let behind = contents.map_or(self.begins_at.offset, |contents| contents.manifest.offset);
            tracing::warn!(offset = %behind, "rewound: what came since is replayed from the journal");
            return;
        }
        let in_state = contents.map_or(0, |contents| contents.manifest.readings);
        let lost = readings_sealed.saturating_sub(self.readings_accounted.max(in_state));
        self.readings_accounted = readings_sealed;
        JobMetrics::add(&self.metrics.readings_lost, lost);
        match contents {
            Some(Contents { manifest, .. }) => tracing::warn!(
                checkpoint = %manifest.id, offset = %manifest.offset, keys = manifest.key_count(), readings_lost = lost,
                "rewound to the newest completed checkpoint"
            ),
            None => {
                tracing::warn!(readings_lost = lost, "rewound to empty state: no checkpoint was completed")
            }
        }
    }

    /// When every source has ended: takes the last checkpoint, then ends.
    fn drain_if_ended(&mut self, context: &mut Context<Self>) {
        if self.sources_running > 0 || self.phase != Phase::Running || self.draining {
            return;
        }
        self.draining = true;
        self.open_reserve();
        let last = self.actors().coordinator.send(TakeLastCheckpoint);
        context.spawn(last.into_actor(self).map(|outcome, actor, _| match outcome {
            Ok(Ok(())) => actor.end(Ok(())),
            Ok(Err(error)) => actor.end(Err(JobError::LastCheckpoint(error))),
            Err(_) => actor.end(Err(JobError::ActorLost("checkpoint coordinator"))),
        }));
    }

    fn end(&mut self, outcome: Result<(), JobError>) {
        self.phase = Phase::Ended;
        self.source_stop.cancel();
        if let Some(sender) = self.outcome.take() {
            // The caller that started the job may be gone; nobody else wants the outcome.
            drop(sender.send(outcome.map(|()| self.report())));
        }
    }

    fn report(&self) -> JobReport {
        let metrics = &self.metrics;
        JobReport {
            restored: self.restored,
            readings: JobMetrics::get(&metrics.readings),
            replayed: JobMetrics::get(&metrics.replayed),
            outputs: JobMetrics::get(&metrics.outputs),
            rejected: metrics.rejected(),
            readings_lost: JobMetrics::get(&metrics.readings_lost),
            restarts: JobMetrics::get(&metrics.restarts),
            checkpoints_completed: JobMetrics::get(&metrics.checkpoints_completed),
            checkpoints_failed: JobMetrics::get(&metrics.checkpoints_failed),
        }
    }

    fn check_liveness(&mut self) {
        if self.phase != Phase::Ended
            && let Some(lost) = self.actors.as_ref().and_then(|actors| actors.lost(&self.sources))
        {
            self.end(Err(JobError::ActorLost(lost)));
        }
    }
}

/// Restores subtasks, sinks and coordinator for `attempt`, then resumes the sequencer. In this order no part of the
/// attempt can reach an actor that does not expect it.
async fn restore_all(
    actors: Arc<JobActors>,
    attempt: Attempt,
    contents: Option<Arc<Contents>>,
    from: ReplayFrom,
) -> Result<(), OperatorError> {
    let gone = |_| OperatorError::failed("an actor is gone");
    // All at once: they are on several threads.
    let restoring: Vec<_> = actors
        .subtasks
        .iter()
        .map(|subtask| subtask.send(RestoreSubtask { attempt, contents: contents.clone() }))
        .map(actix::spawn)
        .collect();
    for restored in restoring {
        restored.await.map_err(|_| OperatorError::failed("restoring was cancelled"))?.map_err(gone)??;
    }
    for sink in &actors.sinks {
        sink.send(ResetSink { attempt }).await.map_err(gone)?;
    }
    actors.coordinator.send(ResumeCheckpoints { attempt }).await.map_err(gone)?;
    actors.sequencer.send(ResumeSealing { attempt, from }).await.map_err(gone)
}

impl Actor for JobSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(super::job::CONTROL_MAILBOX);
        context.run_interval(LIVENESS_INTERVAL, |actor, _| actor.check_liveness());
    }
}

impl Handler<StartJob> for JobSupervisor {
    type Result = ();

    fn handle(&mut self, message: StartJob, context: &mut Self::Context) {
        self.actors = Some(Arc::new(message.actors));
        self.restored = message.restored;
        self.begins_at = message.begins_at;
        self.has_journal = message.has_journal;
        self.readings_accounted = self.restored.map_or(0, |restored| restored.readings);
        self.start_sources = Some(message.start_sources);
        let stop = self.stop.clone();
        let stopped = async move { stop.stopped().await };
        context.spawn(stopped.into_actor(self).map(|(), actor, context| actor.stop_asked(context)));
        self.begin_attempt(message.contents, context);
    }
}

impl Handler<SubtaskFailed> for JobSupervisor {
    type Result = ();

    fn handle(&mut self, message: SubtaskFailed, context: &mut Self::Context) {
        if message.attempt == self.attempt && self.phase == Phase::Running {
            let place = format!("{} at batch {}", message.place, message.offset);
            let poison = self.suspect(message.offset, message.frame);
            let budgeted = !matches!(self.budget.strategy(), RestartStrategy::None);
            if let Some(poison) = poison.filter(|_| budgeted) {
                self.skip_poison(poison, &message.cause, context);
            }
            self.failed(place, message.cause, context);
        }
    }
}

impl Handler<JobFailed> for JobSupervisor {
    type Result = ();

    fn handle(&mut self, message: JobFailed, _: &mut Self::Context) {
        self.end(Err(message.error));
    }
}

impl Handler<SourceFinished> for JobSupervisor {
    type Result = ();

    fn handle(&mut self, _: SourceFinished, context: &mut Self::Context) {
        self.sources_running -= 1;
        self.drain_if_ended(context);
    }
}
