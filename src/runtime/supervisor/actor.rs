//! The supervisor actor: carries out what `failures` and the watchdog decide.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::failures::{Failure, Failures};
use super::job_actors::JobActors;
use super::watchdog::Watchdog;
use crate::checkpoint::{Contents, SavepointDraft, SavepointError};
use crate::disk::Disk;
use crate::metrics::JobMetrics;
use crate::runtime::batch::Attempt;
use crate::runtime::deployment::{Blueprint, DeployedSubtask, Deployments};
use crate::runtime::error::JobError;
use crate::runtime::job::CONTROL_MAILBOX;
use crate::runtime::job_handle::{AfterSavepoint, SavepointOrder, SavepointRequest};
use crate::runtime::messages::{
    AskSavepoint, ConnectStages, JobFailed, SourceFinished, SubtaskFailed, TakeLastCheckpoint, TakeSavepoint,
};
use crate::runtime::progress::Work;
use crate::runtime::report::{JobReport, Restored};
use crate::runtime::sequenced::ReplayFrom;
use crate::runtime::sequencer::notify;
use crate::runtime::service::Reporter;
use crate::runtime::source_actor::SourceActor;
use crate::runtime::stop::StopHandle;

/// How often the supervisor looks whether every actor still lives.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(1);

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
    /// Tells the service manager, where there is one.
    pub(crate) reporter: Option<Reporter>,
}

type StartSources = Box<dyn FnOnce() -> Vec<Addr<SourceActor>> + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
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
    pub(crate) disk: Arc<dyn Disk>,
    /// Where savepoints without a path of their own go.
    pub(crate) savepoints: Option<PathBuf>,
    /// Asks the sources to end.
    pub(crate) source_stop: CancellationToken,
    pub(crate) metrics: Arc<JobMetrics>,
    /// Where to report the end.
    pub(crate) outcome: oneshot::Sender<Result<JobReport, JobError>>,
}

/// Watches over one job.
pub(crate) struct JobSupervisor {
    pub(super) phase: Phase,
    pub(super) actors: Option<JobActors>,
    pub(super) deployments: Option<Deployments>,
    pub(super) sources: Vec<Addr<SourceActor>>,
    pub(super) sources_running: usize,
    pub(super) failures: Failures,
    pub(super) batch_timeout: Option<Duration>,
    pub(super) watchdog: Watchdog,
    pub(super) attempt: Attempt,
    pub(super) stop: StopHandle,
    pub(super) source_stop: CancellationToken,
    pub(super) metrics: Arc<JobMetrics>,
    pub(super) restored: Option<Restored>,
    /// Readings, on the sequencer's count, that are in the restored state or were counted as lost.
    pub(super) readings_accounted: u64,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) savepoints: Option<PathBuf>,
    /// The directory of a savepoint is being made: the job does not end before it is known about.
    pub(super) is_drafting: bool,
    /// The last checkpoint was asked for.
    pub(super) draining: bool,
    pub(super) begins_at: ReplayFrom,
    pub(super) has_journal: bool,
    pub(super) start_sources: Option<StartSources>,
    pub(super) reporter: Option<Reporter>,
    /// A rewind that waits for its delay, and the readings sealed before it.
    pub(super) delayed: Option<(SpawnHandle, u64)>,
    pub(super) outcome: Option<oneshot::Sender<Result<JobReport, JobError>>>,
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
            disk: orders.disk,
            savepoints: orders.savepoints,
            is_drafting: false,
            draining: false,
            begins_at: ReplayFrom::default(),
            has_journal: false,
            start_sources: None,
            reporter: None,
            delayed: None,
            outcome: Some(orders.outcome),
        }
    }

    pub(super) fn actors(&self) -> &JobActors {
        self.actors.as_ref().expect("the job was started")
    }

    /// Tells the sequencer who takes its batches.
    pub(super) fn connect_stages(&self, context: &Context<Self>) {
        let Some(deployments) = &self.deployments else { return };
        let JobActors { sequencer, coordinator, sinks, journal, .. } = self.actors().clone();
        if let Some(reporter) = &self.reporter {
            let place = |subtask: &DeployedSubtask| (subtask.place.clone(), subtask.address.clone());
            reporter.subtasks(deployments.current().subtasks().iter().map(place).collect());
        }
        let subtasks = deployments.current().source_subtasks();
        let supervisor = context.address();
        notify(&sequencer, ConnectStages { subtasks, coordinator, sinks, journal, supervisor });
    }

    /// The job was asked to stop.
    fn stop_asked(&mut self, context: &mut Context<Self>) {
        tracing::info!("stopping: no more is read, what was read is processed");
        self.report_stopping("a stop was asked for");
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

    fn report_stopping(&mut self, why: &str) {
        if let Some(reporter) = &mut self.reporter {
            reporter.stopping(why);
        }
    }

    /// Lets the stop have the space that is kept for it.
    fn open_reserve(&self) {
        if let Some(reserve) = self.actors.as_ref().and_then(|actors| actors.reserve.as_ref()) {
            reserve.begin_stop();
        }
    }

    /// When every source has ended: takes the last checkpoint, then ends.
    pub(super) fn drain_if_ended(&mut self, context: &mut Context<Self>) {
        if self.sources_running > 0 || self.phase != Phase::Running || self.draining || self.is_drafting {
            return;
        }
        self.draining = true;
        self.report_stopping("the input has ended");
        self.open_reserve();
        let last = self.actors().coordinator.send(TakeLastCheckpoint);
        context.spawn(last.into_actor(self).map(|outcome, actor, _| match outcome {
            Ok(Ok(())) => actor.end(Ok(())),
            Ok(Err(error)) => actor.end(Err(JobError::LastCheckpoint(error))),
            Err(_) => actor.end(Err(JobError::ActorLost("checkpoint coordinator"))),
        }));
    }

    pub(super) fn end(&mut self, outcome: Result<(), JobError>) {
        self.phase = Phase::Ended;
        if let Some(reporter) = &self.reporter {
            reporter.ended();
        }
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
            shipping: metrics.shipping(),
            clock_jumps: JobMetrics::get(&metrics.clock_jumps),
            keys_evicted: JobMetrics::get(&metrics.keys_evicted),
            memory_shortages: JobMetrics::get(&metrics.memory_shortages),
            // Known once the sinks have ended.
            outboxes: Vec::new(),
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
        self.reporter = message.reporter;
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

impl Handler<AskSavepoint> for JobSupervisor {
    type Result = ();

    fn handle(&mut self, message: AskSavepoint, context: &mut Self::Context) {
        if self.phase == Phase::Ended || self.actors.is_none() {
            return;
        }
        let AskSavepoint { request: SavepointRequest { to, after, answer }, finished } = message;
        let (disk, savepoints) = (Arc::clone(&self.disk), self.savepoints.clone());
        // Its directory is made first: a job must not stop for a savepoint that has no place.
        let begun = tokio::task::spawn_blocking(move || {
            SavepointDraft::begin(disk, savepoints.as_deref(), to.as_deref())
        });
        let begun = async move { begun.await.unwrap_or(Err(SavepointError::JobEnded)) };
        self.is_drafting = true;
        context.spawn(begun.into_actor(self).map(move |begun, actor, context| {
            actor.is_drafting = false;
            match begun {
                Ok(draft) => {
                    let order = SavepointOrder { draft, after, answer, _finished: finished };
                    notify(&actor.actors().coordinator, TakeSavepoint { order });
                    if after == AfterSavepoint::Stop {
                        actor.stop_asked(context);
                    }
                }
                // Who asked may have gone.
                Err(error) => drop(answer.send(Err(error))),
            }
            actor.drain_if_ended(context);
        }));
    }
}
