//! Launching a job: opens what must be had, starts the threads and the actors, waits for the end.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::batch::Offset;
use super::coordinator::{CheckpointCoordinator, CoordinatorStart};
use super::error::JobError;
use super::journal_actor::{JournalActor, JournalStart};
use super::messages::ConnectStages;
use super::opening::{self, OpenJournal, Opened};
use super::report::JobReport;
use super::reserve::Reserve;
use super::restart::RestartBudget;
use super::sequencer::{Sequencer, notify};
use super::sequencing::{JournalState, Sequencing};
use super::settings::Settings;
use super::sink_actor::{Gate, SinkActor, SinkWiring};
use super::source_actor::{SourceActor, SourceWiring};
use super::stop::StopHandle;
use super::subtask::{Receiver, Subtask, SubtaskWiring};
use super::supervisor::{JobActors, JobSupervisor, StartJob};
use crate::disk::Disk;
use crate::metrics::JobMetrics;
use crate::operator::SubtaskContext;
use crate::sink::OpenSink;
use crate::source::{OpenSource, frame::SourceIndex};
use crate::stream::{Target, Topology};

/// Room in a mailbox for messages that are not parts of batches.
pub(crate) const CONTROL_MAILBOX: usize = 256;

/// Runs a job to its end on this thread.
///
/// # Errors
/// See [`JobError`].
pub(crate) fn run(topology: Topology, settings: Settings, stop: StopHandle) -> Result<JobReport, JobError> {
    run_on(&opening::real_disk(), topology, settings, stop)
}

/// Runs a job with its files on `disk`.
///
/// # Errors
/// See [`JobError`].
pub(crate) fn run_on(
    disk: &Arc<dyn Disk>,
    topology: Topology,
    settings: Settings,
    stop: StopHandle,
) -> Result<JobReport, JobError> {
    settings.check().map_err(JobError::Configuration)?;
    topology.check().map_err(JobError::Configuration)?;
    let opened = opening::open(&topology, &settings, disk, &stop)?;
    // Two blocking threads: files, and a name that a connecting source looks up.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(JobError::Runtime)?;
    let system = System::with_tokio_rt(|| runtime);
    let outcome = system.block_on(launch(topology, settings, stop, opened));
    System::current().stop();
    outcome
}

async fn launch(
    topology: Topology,
    settings: Settings,
    stop: StopHandle,
    opened: Opened,
) -> Result<JobReport, JobError> {
    let (outcome, ended) = oneshot::channel();
    let metrics = Arc::new(JobMetrics::default());
    let source_stop = CancellationToken::new();
    let budget = RestartBudget::new(settings.restart);
    let supervisor = JobSupervisor::new(
        budget,
        settings.frame_attempts_max,
        stop,
        source_stop.clone(),
        Arc::clone(&metrics),
        outcome,
    )
    .start();
    let journal_state = if opened.journal.is_some() { JournalState::Ready } else { JournalState::Absent };
    let (durable_sender, durable) = watch::channel(opened.start.last);
    let reserve = opened.journal.as_ref().map(|journal| journal.reserve.clone());
    let sequencing = Sequencing::new(&settings, topology.sinks.len(), opened.start, journal_state);
    let sequencer = Sequencer::new(sequencing, Arc::clone(&metrics), durable_sender).start();
    let coordinator = CheckpointCoordinator::new(CoordinatorStart {
        job: topology.job.clone(),
        settings: settings.clone(),
        sequencer: sequencer.clone(),
        store: opened.store,
        subtasks: subtask_numbers(topology.stages.len(), settings.parallelism),
        sink_count: topology.sinks.len(),
        metrics: Arc::clone(&metrics),
        completed: opened
            .contents
            .as_ref()
            .map_or(opened.begins_at.offset, |contents| contents.manifest.offset),
        reserve: reserve.clone(),
    })
    .start();
    let launcher = Launcher {
        workers: (0..settings.threads).map(|_| Arbiter::new()).collect(),
        sink_thread: Arbiter::new(),
        journal_thread: opened.journal.is_some().then(Arbiter::new),
        mailbox_capacity: settings.batches_in_flight * settings.parallelism + CONTROL_MAILBOX,
        topology,
        settings,
        metrics: Arc::clone(&metrics),
        sequencer: sequencer.clone(),
        coordinator: coordinator.clone(),
        supervisor: supervisor.clone(),
    };
    let has_journal = opened.journal.is_some();
    let journal = opened.journal.and_then(|journal| launcher.start_journal(journal));
    let gate = if has_journal { Gate::Journal } else { Gate::Open };
    let sinks = launcher.start_sinks(opened.sinks, gate, reserve.as_ref());
    let stages = launcher.start_stages(&sinks);
    notify(
        &sequencer,
        ConnectStages {
            subtasks: launcher.source_subtasks(&stages),
            coordinator: coordinator.clone(),
            sinks: sinks.clone(),
            journal: journal.clone(),
            supervisor: supervisor.clone(),
        },
    );
    let subtasks = stages.into_iter().flatten().collect();
    let start_sources = launcher.source_starter(opened.sources, source_stop, &durable);
    let actors = JobActors { sequencer, coordinator, subtasks, sinks, journal, reserve };
    notify(
        &supervisor,
        StartJob {
            actors,
            contents: opened.contents,
            restored: opened.restored,
            begins_at: opened.begins_at,
            has_journal,
            start_sources,
        },
    );
    let outcome = ended.await.unwrap_or(Err(JobError::ActorLost("supervisor")));
    launcher.stop_threads();
    drop(opened.lock);
    outcome
}

fn subtask_numbers(stages: usize, parallelism: usize) -> Vec<(usize, usize)> {
    (0..stages).flat_map(|stage| (0..parallelism).map(move |index| (stage, index))).collect()
}

/// Starts actors on their threads.
struct Launcher {
    topology: Topology,
    settings: Settings,
    workers: Vec<Arbiter>,
    sink_thread: Arbiter,
    journal_thread: Option<Arbiter>,
    mailbox_capacity: usize,
    metrics: Arc<JobMetrics>,
    sequencer: Addr<Sequencer>,
    coordinator: Addr<CheckpointCoordinator>,
    supervisor: Addr<JobSupervisor>,
}

impl Launcher {
    /// Asks the threads to end. They are not waited for: an operator may never return.
    fn stop_threads(&self) {
        for thread in self.workers.iter().chain([&self.sink_thread]).chain(&self.journal_thread) {
            if !thread.stop() {
                tracing::debug!("a thread had ended before");
            }
        }
    }

    fn start_journal(&self, journal: OpenJournal) -> Option<Addr<JournalActor>> {
        let thread = self.journal_thread.as_ref()?;
        let start = JournalStart {
            disk: journal.disk,
            directory: journal.directory,
            writer: journal.writer,
            sync: journal.settings.sync,
            bytes_max: journal.settings.bytes_max,
            segment_bytes: journal.settings.segment_bytes,
            flight_bytes: (self.settings.batches_in_flight * self.settings.batch_bytes_max) as u64,
            reserve: journal.reserve,
            dead_letter: journal.dead_letter,
            skips: journal.recovered.skips,
            sequencer: self.sequencer.clone(),
            supervisor: self.supervisor.clone(),
        };
        Some(JournalActor::start_in_arbiter(&thread.handle(), move |_| JournalActor::new(start)))
    }

    fn start_sinks(
        &self,
        opened: Vec<OpenSink>,
        gate: Gate,
        reserve: Option<&Reserve>,
    ) -> Vec<Addr<SinkActor>> {
        let start = |(index, (sink, opened)): (usize, (&crate::stream::Sink, OpenSink))| {
            let wiring = SinkWiring {
                index,
                name: sink.spec.name(),
                input_count: self.settings.parallelism,
                pool: Arc::clone(&sink.pool),
                sequencer: self.sequencer.clone(),
                coordinator: self.coordinator.clone(),
                supervisor: self.supervisor.clone(),
                metrics: Arc::clone(&self.metrics),
                mailbox_capacity: self.mailbox_capacity,
                gate,
                reserve: reserve.cloned(),
            };
            SinkActor::start_in_arbiter(&self.sink_thread.handle(), move |_| SinkActor::new(wiring, opened))
        };
        self.topology.sinks.iter().zip(opened).enumerate().map(start).collect()
    }

    /// Starts the subtasks of each stage, last stage first: a stage only sends to later ones.
    fn start_stages(&self, sinks: &[Addr<SinkActor>]) -> Vec<Vec<Addr<Subtask>>> {
        let mut stages: Vec<Vec<Addr<Subtask>>> = vec![Vec::new(); self.topology.stages.len()];
        for stage in (0..stages.len()).rev() {
            stages[stage] = (0..self.settings.parallelism)
                .map(|index| self.start_subtask(stage, index, &stages, sinks))
                .collect();
        }
        stages
    }

    fn start_subtask(
        &self,
        stage: usize,
        index: usize,
        stages: &[Vec<Addr<Subtask>>],
        sinks: &[Addr<SinkActor>],
    ) -> Addr<Subtask> {
        let described = &self.topology.stages[stage];
        let receiver = |target: &Target| match *target {
            Target::Stage(later) => Receiver::Stage(stages[later].clone()),
            Target::Sink(sink) => Receiver::Sink(sinks[sink].clone()),
        };
        let wiring = SubtaskWiring {
            stage,
            context: SubtaskContext {
                index,
                parallelism: self.settings.parallelism,
                max_parallelism: self.settings.max_parallelism,
                metrics: Arc::clone(&self.metrics),
            },
            input_count: if described.reads_source { 1 } else { self.settings.parallelism },
            factory: Arc::clone(&described.factory),
            receivers: described.targets.iter().map(receiver).collect(),
            coordinator: self.coordinator.clone(),
            supervisor: self.supervisor.clone(),
            mailbox_capacity: self.mailbox_capacity,
        };
        let worker = &self.workers[(stage + index) % self.workers.len()];
        Supervisor::start_in_arbiter(&worker.handle(), move |_| Subtask::new(wiring))
    }

    fn source_subtasks(&self, stages: &[Vec<Addr<Subtask>>]) -> Vec<Addr<Subtask>> {
        let of_source = self.topology.stages.iter().zip(stages).filter(|(stage, _)| stage.reads_source);
        of_source.flat_map(|(_, subtasks)| subtasks.iter().cloned()).collect()
    }

    fn source_starter(
        &self,
        sources: Vec<OpenSource>,
        stop: CancellationToken,
        durable: &watch::Receiver<Offset>,
    ) -> Box<dyn FnOnce() -> Vec<Addr<SourceActor>> + Send> {
        let wirings: Vec<SourceWiring> = (0u16..)
            .zip(sources)
            .map(|(index, source)| SourceWiring {
                source,
                index: SourceIndex(index),
                sequencer: self.sequencer.clone(),
                supervisor: self.supervisor.clone(),
                metrics: Arc::clone(&self.metrics),
                stop: stop.clone(),
                durable: durable.clone(),
                chunk_bytes_max: self.settings.batch_bytes_max,
                chunk_frames_max: self.settings.batch_frames_max,
            })
            .collect();
        Box::new(move || wirings.into_iter().map(|wiring| SourceActor::new(wiring).start()).collect())
    }
}
