//! Launching a job: opens what must be had, starts the threads and the actors, waits for the end.

use std::path::Path;
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::batch::{Offset, Timestamp};
use super::coordinator::{CheckpointCoordinator, CoordinatorStart};
use super::error::JobError;
use super::messages::ConnectStages;
use super::restart::RestartBudget;
use super::sequencer::{Sequencer, notify};
use super::sequencing::Sequencing;
use super::settings::{Backend, Settings, Start};
use super::sink_actor::{SinkActor, SinkWiring};
use super::source_actor::{SourceActor, SourceWiring};
use super::stop::StopHandle;
use super::subtask::{Receiver, Subtask, SubtaskWiring};
use super::supervisor::{JobActors, JobReport, JobSupervisor, StartJob};
use crate::checkpoint::{CheckpointError, CheckpointStore, Contents, HeapStore, Spool};
use crate::disk::{DirectoryLock, Disk, RealDisk};
use crate::metrics::JobMetrics;
use crate::operator::SubtaskContext;
use crate::sink::SinkWriter;
use crate::source::{OpenSource, frame::SourceIndex};
use crate::stream::{Target, Topology};

/// Room in a mailbox for messages that are not parts of batches.
pub(crate) const CONTROL_MAILBOX: usize = 256;

/// Runs a job to its end on this thread.
///
/// # Errors
/// See [`JobError`].
pub(crate) fn run(topology: Topology, settings: Settings, stop: StopHandle) -> Result<JobReport, JobError> {
    settings.check().map_err(JobError::Configuration)?;
    topology.check().map_err(JobError::Configuration)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (mut store, _lock) = open_store(&disk, &topology.job, &settings)?;
    if settings.start == Start::Empty {
        store.start_empty();
    }
    let contents = store.newest()?.map(Arc::new);
    check_state_is_wanted(&topology, contents.as_deref())?;
    let sources = topology.sources.iter().cloned().map(|source| source.open()).collect::<Result<_, _>>()?;
    let sinks = topology
        .sinks
        .iter()
        .map(|sink| sink.spec.open(&disk).map_err(|source| JobError::Sink { sink: sink.spec.name(), source }))
        .collect::<Result<_, _>>()?;
    // Two blocking threads: files, and a name that a connecting source looks up.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(JobError::Runtime)?;
    let system = System::with_tokio_rt(|| runtime);
    let opened = Opened { store, contents, sources, sinks };
    let outcome = system.block_on(launch(topology, settings, stop, opened));
    System::current().stop();
    outcome
}

/// What a job holds before its actors start.
struct Opened {
    store: Box<dyn CheckpointStore>,
    contents: Option<Arc<Contents>>,
    sources: Vec<OpenSource>,
    sinks: Vec<Box<dyn SinkWriter>>,
}

fn open_store(
    disk: &Arc<dyn Disk>,
    job: &str,
    settings: &Settings,
) -> Result<(Box<dyn CheckpointStore>, Option<DirectoryLock>), CheckpointError> {
    match &settings.backend {
        Backend::Memory => Ok((Box::new(HeapStore::default()), None)),
        Backend::File { directory } => {
            let directory = directory.join(job);
            let lock = lock(&**disk, &directory)?;
            let spool = Spool::open(Arc::clone(disk), &directory, job, settings.checkpoints_retained)?;
            Ok((Box::new(spool), Some(lock)))
        }
    }
}

fn lock(disk: &dyn Disk, directory: &Path) -> Result<DirectoryLock, CheckpointError> {
    let lock = disk.create_directory(directory).and_then(|()| RealDisk::lock(&directory.join("LOCK")));
    lock.map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => CheckpointError::Locked { path: directory.to_owned() },
        _ => CheckpointError::Directory { path: directory.to_owned(), source },
    })
}

/// Refuses state that no operator would take.
fn check_state_is_wanted(topology: &Topology, contents: Option<&Contents>) -> Result<(), JobError> {
    let Some(Contents { manifest, .. }) = contents else { return Ok(()) };
    for part in &manifest.parts {
        if !topology.stages.iter().any(|stage| stage.name == part.operator && !stage.reads_source) {
            return Err(JobError::Configuration(format!(
                "checkpoint {} holds state of the operator {:?}, which the job {:?} does not have; \
                 run the job it belongs to, or start empty",
                manifest.id, part.operator, topology.job
            )));
        }
    }
    Ok(())
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
    let supervisor =
        JobSupervisor::new(budget, stop, source_stop.clone(), Arc::clone(&metrics), outcome).start();
    let manifest = opened.contents.as_ref().map(|contents| contents.manifest.clone());
    let (last, stamp, readings) =
        manifest.as_ref().map_or((Offset(0), Timestamp(0), 0), |m| (m.offset, m.stamp, m.readings));
    let sequencing = Sequencing::new(&settings, topology.sinks.len(), last, stamp, readings);
    let sequencer = Sequencer::new(sequencing, Arc::clone(&metrics)).start();
    let coordinator = CheckpointCoordinator::new(CoordinatorStart {
        job: topology.job.clone(),
        settings: settings.clone(),
        sequencer: sequencer.clone(),
        store: opened.store,
        subtasks: subtask_numbers(topology.stages.len(), settings.parallelism),
        sink_count: topology.sinks.len(),
        metrics: Arc::clone(&metrics),
        completed: manifest.as_ref().map(|manifest| manifest.offset),
    })
    .start();
    let launcher = Launcher {
        workers: (0..settings.threads).map(|_| Arbiter::new()).collect(),
        sink_thread: Arbiter::new(),
        mailbox_capacity: settings.batches_in_flight * settings.parallelism + CONTROL_MAILBOX,
        topology,
        settings,
        metrics: Arc::clone(&metrics),
        sequencer: sequencer.clone(),
        coordinator: coordinator.clone(),
        supervisor: supervisor.clone(),
    };
    let records = |name: &str| {
        let position = manifest.as_ref().and_then(|m| m.sinks.iter().find(|position| position.sink == name));
        position.map_or(0, |position| position.records)
    };
    let sinks = launcher.start_sinks(opened.sinks, records);
    let stages = launcher.start_stages(&sinks);
    notify(
        &sequencer,
        ConnectStages { subtasks: launcher.source_subtasks(&stages), coordinator: coordinator.clone() },
    );
    let subtasks = stages.into_iter().flatten().collect();
    let start_sources = launcher.source_starter(opened.sources, source_stop);
    let actors = JobActors { sequencer, coordinator, subtasks, sinks };
    notify(&supervisor, StartJob { actors, contents: opened.contents, start_sources });
    let outcome = ended.await.unwrap_or(Err(JobError::ActorLost("supervisor")));
    launcher.stop_threads();
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
    mailbox_capacity: usize,
    metrics: Arc<JobMetrics>,
    sequencer: Addr<Sequencer>,
    coordinator: Addr<CheckpointCoordinator>,
    supervisor: Addr<JobSupervisor>,
}

impl Launcher {
    /// Asks the threads to end. They are not waited for: an operator may never return.
    fn stop_threads(&self) {
        for thread in self.workers.iter().chain([&self.sink_thread]) {
            if !thread.stop() {
                tracing::debug!("a thread had ended before");
            }
        }
    }

    fn start_sinks(
        &self,
        writers: Vec<Box<dyn SinkWriter>>,
        records: impl Fn(&str) -> u64,
    ) -> Vec<Addr<SinkActor>> {
        let start = |(index, (sink, writer)): (usize, (&crate::stream::Sink, Box<dyn SinkWriter>))| {
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
            };
            let delivered = records(&sink.spec.name());
            SinkActor::start_in_arbiter(&self.sink_thread.handle(), move |_| {
                SinkActor::new(wiring, writer, delivered)
            })
        };
        self.topology.sinks.iter().zip(writers).enumerate().map(start).collect()
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
                chunk_bytes_max: self.settings.batch_bytes_max,
                chunk_frames_max: self.settings.batch_frames_max,
            })
            .collect();
        Box::new(move || wirings.into_iter().map(|wiring| SourceActor::new(wiring).start()).collect())
    }
}
