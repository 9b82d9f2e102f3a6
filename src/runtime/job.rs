//! Launching a job: opens what must be had, starts the threads and the actors, waits for the end.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::batch::Offset;
use super::coordinator::{CheckpointCoordinator, CoordinatorStart};
use super::deployment::Blueprint;
use super::error::JobError;
use super::job_handle::{JobHandle, SavepointRequest};
use super::journal_actor::{JournalActor, JournalStart};
use super::memory_watch::ProcessMemory;
use super::messages::AskSavepoint;
use super::open_journal::OpenJournal;
use super::opening::{self, Opened};
use super::report::JobReport;
use super::reserve::Reserve;
use super::sequencer::{Sequencer, notify};
use super::sequencing::{JournalState, Sequencing};
use super::service::{LivenessWatch, Reporter, WatchStart};
use super::settings::Settings;
use super::shipper::{FinishShipping, Shipper};
use super::sink_actor::{Gate, SinkActor, SinkWiring};
use super::source_actor::{SourceActor, SourceWiring};
use super::supervisor::{Failures, JobActors, JobSupervisor, Orders, StartJob};
use crate::disk::Disk;
use crate::metrics::JobMetrics;
use crate::sink::{OpenSink, OutboxReport, SinkEnd};
use crate::source::{OpenSource, frame::SourceIndex};
use crate::state::{StateSetup, Waiting};
use crate::stream::{Stage, Topology};

/// How long the end of a job waits for the last client of its control socket.
const CONTROL_END_MAX: Duration = Duration::from_secs(2);
/// Room in a mailbox for messages that are not parts of batches.
pub(crate) const CONTROL_MAILBOX: usize = 256;

/// Runs a job to its end on this thread.
///
/// # Errors
/// See [`JobError`].
pub(crate) fn run(topology: Topology, settings: Settings, handle: &JobHandle) -> Result<JobReport, JobError> {
    let notify = settings.notify.clone();
    run_on(&opening::real_disk(), topology, settings, handle).inspect_err(|error| {
        if let Some(socket) = notify {
            socket.status(&format!("failed: {error}"));
        }
    })
}

/// Runs a job with its files on `disk`.
///
/// # Errors
/// See [`JobError`].
pub(crate) fn run_on(
    disk: &Arc<dyn Disk>,
    topology: Topology,
    settings: Settings,
    handle: &JobHandle,
) -> Result<JobReport, JobError> {
    // Whatever ends the job, what is asked for is answered.
    let requests = handle.take_requests();
    settings.check().map_err(JobError::Configuration)?;
    topology.check().map_err(JobError::Configuration)?;
    let opened = opening::open(&topology, &settings, disk, &handle.stop_handle())?;
    // Two blocking threads: files, and a name that a connecting source looks up.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(JobError::Runtime)?;
    let system = System::with_tokio_rt(|| runtime);
    let state = Arc::clone(&opened.state);
    let outcome =
        system.block_on(launch(topology, settings, Asked { handle: handle.clone(), requests }, opened));
    System::current().stop();
    // With it goes the supervisor, and with that the subtasks' threads and their stores.
    drop(system);
    state.wait_until_closed();
    outcome
}

/// How a job is asked for things.
struct Asked {
    handle: JobHandle,
    requests: Option<mpsc::Receiver<SavepointRequest>>,
}

async fn launch(
    topology: Topology,
    settings: Settings,
    asked: Asked,
    mut opened: Opened,
) -> Result<JobReport, JobError> {
    let (outcome, ended) = oneshot::channel();
    let metrics = Arc::new(JobMetrics::default());
    let source_stop = CancellationToken::new();
    let has_journal = opened.journal.is_some();
    let supervisor = JobSupervisor::new(Orders {
        failures: Failures::new(settings.restart, has_journal.then_some(settings.frame_attempts_max)),
        batch_timeout: settings.batch_timeout,
        stop: asked.handle.stop_handle(),
        disk: opened.disk,
        savepoints: opened.savepoints,
        source_stop: source_stop.clone(),
        metrics: Arc::clone(&metrics),
        outcome,
    })
    .start();
    let journal_state = if has_journal { JournalState::Ready } else { JournalState::Absent };
    let (durable_sender, durable) = watch::channel(opened.start.last);
    let reserve = opened.journal.as_ref().map(|journal| journal.reserve.clone());
    let sequencing = Sequencing::new(&settings, topology.sinks.len(), opened.start, journal_state);
    let memory = ProcessMemory::new(settings.memory_max, &opened.state);
    let sequencer = Sequencer::new(sequencing, Arc::clone(&metrics), durable_sender, memory).start();
    if let Some(shipping) = &mut opened.shipping {
        shipping.follow(&durable);
    }
    let stop_timeout = opened.shipping.as_ref().map(|shipping| shipping.stop_timeout);
    let shipper = opened.shipping.map(|shipping| Shipper::new(shipping, Arc::clone(&metrics)).start());
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
        shipper: shipper.clone(),
    })
    .start();
    // What may be under way to one subtask.
    let streams = Stage::stream_counts(&topology.stages).into_iter().max().unwrap_or(0).max(1);
    let parts_max = settings.batches_in_flight * settings.parallelism * streams;
    let mut launcher = Launcher {
        sink_thread: Arbiter::new(),
        journal_thread: has_journal.then(Arbiter::new),
        mailbox_capacity: parts_max + CONTROL_MAILBOX,
        topology,
        settings,
        metrics: Arc::clone(&metrics),
        sequencer: sequencer.clone(),
        coordinator: coordinator.clone(),
        supervisor: supervisor.clone(),
        state: opened.state,
        readers: Arc::default(),
    };
    let journal = opened.journal.and_then(|journal| launcher.start_journal(journal));
    let sink_ends: Vec<_> = opened.sinks.iter_mut().filter_map(|sink| sink.end.take()).collect();
    let gate = if has_journal { Gate::Journal } else { Gate::Open };
    let sinks = launcher.start_sinks(opened.sinks, gate, reserve.as_ref());
    let start_sources = launcher.source_starter(opened.sources, source_stop, &durable);
    let blueprint = launcher.blueprint(&sinks);
    let actors = JobActors { sequencer, coordinator, sinks, journal, reserve };
    let reporter = launcher.start_reporter(&actors);
    notify(
        &supervisor,
        StartJob {
            actors,
            blueprint,
            contents: opened.contents,
            restored: opened.restored,
            begins_at: opened.begins_at,
            has_journal,
            start_sources,
            reporter,
        },
    );
    if let Some(requests) = asked.requests {
        actix::spawn(take_requests(requests, supervisor));
    }
    let has_ended = CancellationToken::new();
    let serving =
        opened.control.map(|control| actix::spawn(control.serve(asked.handle.requests(), has_ended.clone())));
    let mut outcome = ended.await.unwrap_or(Err(JobError::ActorLost("supervisor")));
    if let (Ok(report), Some(shipper), Some(stop_timeout)) = (&mut outcome, shipper, stop_timeout) {
        finish_shipping(&shipper, stop_timeout).await;
        report.shipping = metrics.shipping();
    }
    let outboxes = end_sinks(sink_ends).await;
    if let Ok(report) = &mut outcome {
        report.outboxes = outboxes;
    }
    launcher.stop_threads();
    has_ended.cancel();
    if let Some(serving) = serving
        && timeout(CONTROL_END_MAX, serving).await.is_err()
    {
        tracing::warn!("a client of the control socket does not take its answer");
    }
    drop(opened.lock);
    outcome
}

/// Lets sinks bring away what they can; also those of a job that failed.
async fn end_sinks(ends: Vec<Box<dyn SinkEnd>>) -> Vec<OutboxReport> {
    let mut reports = Vec::new();
    for mut end in ends {
        match tokio::task::spawn_blocking(move || end.end()).await {
            Ok(report) => reports.extend(report),
            Err(_) => tracing::error!("a sink panicked at its end"),
        }
    }
    reports
}

/// Gives the last checkpoint a little time to reach the remote.
async fn finish_shipping(shipper: &Addr<Shipper>, stop_timeout: Duration) {
    match timeout(stop_timeout, shipper.send(FinishShipping)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => tracing::debug!("the shipper had ended before"),
        Err(_) => tracing::warn!("the last checkpoint is not on the remote yet: the next start ships it"),
    }
}

/// Takes requests for savepoints one after the other.
async fn take_requests(mut requests: mpsc::Receiver<SavepointRequest>, supervisor: Addr<JobSupervisor>) {
    while let Some(request) = requests.recv().await {
        let (finished, is_finished) = oneshot::channel();
        notify(&supervisor, AskSavepoint { request, finished });
        // Dropped when the request is answered: that is what is waited for.
        drop(is_finished.await);
    }
}

fn subtask_numbers(stages: usize, parallelism: usize) -> Vec<(usize, usize)> {
    (0..stages).flat_map(|stage| (0..parallelism).map(move |index| (stage, index))).collect()
}

/// Starts actors on their threads.
struct Launcher {
    topology: Topology,
    settings: Settings,
    sink_thread: Arbiter,
    journal_thread: Option<Arbiter>,
    mailbox_capacity: usize,
    metrics: Arc<JobMetrics>,
    sequencer: Addr<Sequencer>,
    coordinator: Addr<CheckpointCoordinator>,
    supervisor: Addr<JobSupervisor>,
    state: Arc<StateSetup>,
    /// The sinks that wait for a reader.
    readers: Arc<Waiting>,
}

impl Launcher {
    /// Asks the threads to end. Those of the subtasks end with their deployment. None is waited for: an operator may never
    /// return.
    fn stop_threads(&self) {
        for thread in [&self.sink_thread].into_iter().chain(&self.journal_thread) {
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
                readers: Arc::clone(&self.readers),
            };
            SinkActor::start_in_arbiter(&self.sink_thread.handle(), move |_| SinkActor::new(wiring, opened))
        };
        self.topology.sinks.iter().zip(opened).enumerate().map(start).collect()
    }

    /// Where there is a service manager.
    fn start_reporter(&self, actors: &JobActors) -> Option<Reporter> {
        let socket = self.settings.notify.clone()?;
        let watch = LivenessWatch::new(WatchStart {
            socket: socket.clone(),
            actors: actors.clone(),
            metrics: Arc::clone(&self.metrics),
            batch_timeout: self.settings.batch_timeout,
            stores: Arc::clone(&self.state.waiting),
            readers: Arc::clone(&self.readers),
        });
        Some(Reporter::new(socket, watch.start()))
    }

    fn blueprint(&mut self, sinks: &[Addr<SinkActor>]) -> Blueprint {
        Blueprint {
            stages: std::mem::take(&mut self.topology.stages),
            parallelism: self.settings.parallelism,
            max_parallelism: self.settings.max_parallelism,
            threads: self.settings.threads,
            mailbox_capacity: self.mailbox_capacity,
            metrics: Arc::clone(&self.metrics),
            state: Arc::clone(&self.state),
            sequencer: self.sequencer.clone(),
            coordinator: self.coordinator.clone(),
            sinks: sinks.to_vec(),
        }
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
                has_journal: self.journal_thread.is_some(),
                chunk_bytes_max: self.settings.batch_bytes_max,
                chunk_frames_max: self.settings.batch_frames_max,
            })
            .collect();
        Box::new(move || wirings.into_iter().map(|wiring| SourceActor::new(wiring).start()).collect())
    }
}
