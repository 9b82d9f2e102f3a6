//! The supervisor actor: carries out what `failures` and the watchdog decide.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::failures::{Decision, Failure, Failures, Poison};
use super::job_actors::JobActors;
use super::watchdog::Watchdog;
use crate::checkpoint::Contents;
use crate::metrics::{JobMetrics, RejectCause};
use crate::operator::OperatorError;
use crate::runtime::batch::Attempt;
use crate::runtime::deployment::{Blueprint, Deployments};
use crate::runtime::error::JobError;
use crate::runtime::job::CONTROL_MAILBOX;
use crate::runtime::messages::{
    AbortPending, ConnectStages, JobFailed, PauseSealing, SkipFrame, SourceFinished, SubtaskFailed,
    TakeLastCheckpoint,
};
use crate::runtime::progress::Work;
use crate::runtime::report::{JobReport, Restored};
use crate::runtime::sequencer::notify;
use crate::runtime::sequencing::ReplayFrom;
use crate::runtime::source_actor::SourceActor;
use crate::runtime::stop::StopHandle;

/// How often the supervisor looks whether every actor still lives.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(1);
/// How often a rewind looks whether the batches under way are through.
const QUIET_INTERVAL: Duration = Duration::from_millis(5);

/// Launcher → supervisor: the job's actors and where to begin.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StartJob {
    pub(crate) actors: JobActors,
    /// What the subtasks are made from.
    pub(crate) blueprint: Blueprint,
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

/// What a supervisor begins with.
pub(crate) struct Orders {
    pub(crate) failures: Failures,
    /// Longest time a subtask may take for a batch.
    pub(crate) batch_timeout: Option<Duration>,
    /// Asks the job to end.
    pub(crate) stop: StopHandle,
    /// Asks the sources to end.
    pub(crate) source_stop: CancellationToken,
    pub(crate) metrics: Arc<JobMetrics>,
    /// Where to report the end.
    pub(crate) outcome: oneshot::Sender<Result<JobReport, JobError>>,
}

/// Watches over one job.
pub(crate) struct JobSupervisor {
    phase: Phase,
    actors: Option<JobActors>,
    deployments: Option<Deployments>,
    sources: Vec<Addr<SourceActor>>,
    sources_running: usize,
    failures: Failures,
    batch_timeout: Option<Duration>,
    watchdog: Watchdog,
    attempt: Attempt,
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
    start_sources: Option<StartSources>,
    /// A rewind that waits for its delay, and the readings sealed before it.
    delayed: Option<(SpawnHandle, u64)>,
    outcome: Option<oneshot::Sender<Result<JobReport, JobError>>>,
}

impl JobSupervisor {
    pub(crate) fn new(orders: Orders) -> Self {
        Self {
            phase: Phase::Starting,
            actors: None,
            deployments: None,
            sources: Vec::new(),
            sources_running: 0,
            failures: orders.failures,
            batch_timeout: orders.batch_timeout,
            watchdog: Watchdog::default(),
            attempt: Attempt(0),
            stop: orders.stop,
            source_stop: orders.source_stop,
            metrics: orders.metrics,
            restored: None,
            readings_accounted: 0,
            draining: false,
            begins_at: ReplayFrom::default(),
            has_journal: false,
            start_sources: None,
            delayed: None,
            outcome: Some(orders.outcome),
        }
    }

    fn actors(&self) -> &JobActors {
        self.actors.as_ref().expect("the job was started")
    }

    /// Tells the sequencer who takes its batches.
    fn connect_stages(&self, context: &Context<Self>) {
        let Some(deployments) = &self.deployments else { return };
        let JobActors { sequencer, coordinator, sinks, journal } = self.actors().clone();
        let subtasks = deployments.current().source_subtasks();
        let supervisor = context.address();
        notify(&sequencer, ConnectStages { subtasks, coordinator, sinks, journal, supervisor });
    }

    /// Restores every subtask for a new attempt and lets the batches flow.
    fn begin_attempt(&mut self, contents: Option<Arc<Contents>>, context: &mut Context<Self>) {
        let Some(deployments) = &self.deployments else { return };
        let subtasks = deployments.current().addresses();
        self.attempt = self.attempt.next();
        let begins_at = match &contents {
            None => self.begins_at.clone(),
            Some(contents) => ReplayFrom {
                // The journal may begin behind the checkpoint after a loss.
                offset: contents.manifest.offset.max(self.begins_at.offset),
                readings: contents.manifest.readings,
                ..ReplayFrom::default()
            },
        };
        let from = ReplayFrom { suspects: self.failures.suspects(), ..begins_at };
        let restored = self.actors().clone().restore(subtasks, self.attempt, contents, from);
        context.wait(restored.into_actor(self).map(|outcome, actor, context| match outcome {
            Ok(()) => actor.attempt_began(context),
            Err(cause) => {
                let place = "restore".to_owned();
                actor.failed(Failure { place, work: None, cause }, context);
            }
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
        if self.start_sources.is_some() {
            // It never ran: there is nothing to process.
            return self.end(Ok(()));
        }
        if let Some((delayed, readings_sealed)) = self.delayed.take() {
            context.cancel_future(delayed);
            self.rewind(readings_sealed, context);
        }
    }

    /// An operator failed: rewinds or gives up.
    fn failed(&mut self, failure: Failure, context: &mut Context<Self>) {
        let decision = self.failures.judge(&failure, Instant::now());
        let Failure { place, cause, .. } = failure;
        let Decision::Rewind { delay, poison } = decision else { return self.give_up(place, cause) };
        if let Some(poison) = poison {
            self.skip_poison(poison, &cause, context);
        }
        tracing::error!(%place, %cause, ?delay, "operator failed: the job rewinds to its last checkpoint");
        if self.delayed.is_some() {
            // The rewind that is about to begin covers this failure too.
            return;
        }
        self.phase = Phase::Rewinding;
        let paused = self.actors().sequencer.send(PauseSealing);
        context.wait(paused.into_actor(self).map(move |sealed, actor, context| {
            actor.rewind_after(delay, sealed.unwrap_or(0), context);
        }));
    }

    fn give_up(&mut self, place: String, cause: OperatorError) {
        let error = match (cause, &self.restored) {
            (OperatorError::State(source), Some(restored)) => {
                JobError::Restore { checkpoint: restored.checkpoint, source: Box::new(source) }
            }
            (OperatorError::State(source), None) => JobError::Open(Box::new(source)),
            (cause, _) => {
                let failures = self.failures.count();
                JobError::RestartsExhausted { failures, place, cause: Box::new(cause) }
            }
        };
        self.end(Err(error));
    }

    /// Gives up a frame.
    fn skip_poison(&mut self, poison: Poison, cause: &OperatorError, context: &mut Context<Self>) {
        let Some(journal) = self.actors().journal.clone() else { return };
        let Poison { offset, frame } = poison;
        tracing::error!(%offset, frame, %cause, "a frame fails every time: it is skipped and kept in the dead-letter file");
        self.metrics.add_rejected("dead-letter", RejectCause::POISON, 1);
        let skipped = journal.send(SkipFrame { offset, frame, cause: cause.to_string() });
        context.wait(skipped.into_actor(self).map(|outcome, actor, _| match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => actor.end(Err(error.into())),
            Err(_) => actor.end(Err(JobError::ActorLost("journal"))),
        }));
    }

    /// Looks for a subtask that does not return; abandons the deployment it is in.
    fn look_for_hangs(&mut self, timeout: Duration, context: &mut Context<Self>) {
        if self.phase != Phase::Running && self.delayed.is_none() {
            return;
        }
        let Some(deployments) = &mut self.deployments else { return };
        let subtasks = deployments.current().subtasks();
        let Some(hung) = self.watchdog.look(subtasks.iter().map(|subtask| &*subtask.progress)) else {
            return;
        };
        let place = format!("{} at batch {}", subtasks[hung.subtask].place, hung.work.offset);
        JobMetrics::add(&self.metrics.hangs, 1);
        if let Err(error) = deployments.replace(&context.address(), &place) {
            return self.end(Err(error));
        }
        self.watchdog.forget();
        self.connect_stages(context);
        let cause = OperatorError::Hung { timeout };
        self.failed(Failure { place, work: Some(hung.work), cause }, context);
    }

    fn rewind_after(&mut self, delay: Duration, readings_sealed: u64, context: &mut Context<Self>) {
        let delayed = context.run_later(delay, move |actor, context| {
            actor.delayed = None;
            actor.rewind(readings_sealed, context);
        });
        self.delayed = Some((delayed, readings_sealed));
    }

    fn rewind(&mut self, readings_sealed: u64, context: &mut Context<Self>) {
        if self.phase != Phase::Rewinding {
            return;
        }
        let busy = self.deployments.as_ref().map_or(0, |deployments| deployments.current().close());
        if busy > 0 {
            // One that never ends its batch is for the watchdog, which cannot look while subtasks are restored.
            return self.rewind_after(QUIET_INTERVAL, readings_sealed, context);
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
            hangs: JobMetrics::get(&metrics.hangs),
            checkpoints_completed: JobMetrics::get(&metrics.checkpoints_completed),
            checkpoints_failed: JobMetrics::get(&metrics.checkpoints_failed),
        }
    }

    fn check_liveness(&mut self) {
        if self.phase == Phase::Ended {
            return;
        }
        let subtasks_live = self.deployments.as_ref().is_none_or(|all| all.current().is_connected());
        let lost = if self.sources.iter().any(|source| !source.connected()) {
            Some("source")
        } else if !subtasks_live {
            Some("subtask")
        } else {
            self.actors.as_ref().and_then(JobActors::lost)
        };
        if let Some(lost) = lost {
            self.end(Err(JobError::ActorLost(lost)));
        }
    }
}

impl Actor for JobSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(CONTROL_MAILBOX);
        context.run_interval(LIVENESS_INTERVAL, |actor, _| actor.check_liveness());
        if let Some(timeout) = self.batch_timeout {
            context.run_interval(Watchdog::interval(timeout), move |actor, context| {
                actor.look_for_hangs(timeout, context);
            });
        }
    }
}

impl Handler<StartJob> for JobSupervisor {
    type Result = ();

    fn handle(&mut self, message: StartJob, context: &mut Self::Context) {
        self.actors = Some(message.actors);
        self.restored = message.restored;
        self.begins_at = message.begins_at;
        self.has_journal = message.has_journal;
        self.readings_accounted = self.restored.map_or(0, |restored| restored.readings);
        self.start_sources = Some(message.start_sources);
        let stop = self.stop.clone();
        let stopped = async move { stop.stopped().await };
        context.spawn(stopped.into_actor(self).map(|(), actor, context| actor.stop_asked(context)));
        match Deployments::begin(message.blueprint, &context.address()) {
            Ok(deployments) => self.deployments = Some(deployments),
            Err(error) => return self.end(Err(error)),
        }
        self.connect_stages(context);
        self.begin_attempt(message.contents, context);
    }
}

impl Handler<SubtaskFailed> for JobSupervisor {
    type Result = ();

    fn handle(&mut self, message: SubtaskFailed, context: &mut Self::Context) {
        if message.attempt == self.attempt && self.phase == Phase::Running {
            let SubtaskFailed { place, offset, frame, cause, .. } = message;
            let place = format!("{place} at batch {offset}");
            self.failed(Failure { place, work: Some(Work { offset, frame }), cause }, context);
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
