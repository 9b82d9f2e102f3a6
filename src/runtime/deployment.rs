//! Deployments: the subtasks of a job on their worker threads, made as often as needed.
//!
//! A thread that is stuck in an operator cannot be ended. It is abandoned with the whole deployment it belongs to, and a
//! new deployment takes over, on threads of its own; sources, sequencer, journal, coordinator and sinks stay. Nothing an
//! abandoned subtask still sends does harm: it cannot end its work (see `progress`), its address is known to other
//! abandoned subtasks only, and every receiver refuses messages of another attempt than its own.

use std::io;
use std::sync::Arc;

use actix::prelude::*;

use super::coordinator::CheckpointCoordinator;
use super::error::JobError;
use super::progress::Progress;
use super::sequencer::Sequencer;
use super::sink_actor::SinkActor;
use super::subtask::{Receiver, Subtask, SubtaskWiring};
use super::supervisor::{ABANDONED_THREADS_MAX, JobSupervisor};
use crate::metrics::JobMetrics;
use crate::operator::SubtaskContext;
use crate::state::{MaxParallelism, StateSetup};
use crate::stream::{Stage, Target};

/// What deployments are made from.
pub(crate) struct Blueprint {
    pub(crate) stages: Vec<Stage>,
    pub(crate) parallelism: usize,
    pub(crate) max_parallelism: MaxParallelism,
    /// Worker threads.
    pub(crate) threads: usize,
    pub(crate) mailbox_capacity: usize,
    pub(crate) metrics: Arc<JobMetrics>,
    pub(crate) state: Arc<StateSetup>,
    pub(crate) sequencer: Addr<Sequencer>,
    pub(crate) coordinator: Addr<CheckpointCoordinator>,
    pub(crate) sinks: Vec<Addr<SinkActor>>,
}

/// One subtask of a deployment.
pub(crate) struct DeployedSubtask {
    pub(crate) address: Addr<Subtask>,
    pub(crate) progress: Arc<Progress>,
    /// Stage and subtask, for messages.
    pub(crate) place: String,
    reads_source: bool,
    /// Index of its thread.
    worker: usize,
}

/// Subtasks and their threads. Dropped, the threads are asked to end; they are not waited for.
pub(crate) struct Deployment {
    workers: Vec<Arbiter>,
    subtasks: Vec<DeployedSubtask>,
}

impl Blueprint {
    /// Starts threads and subtasks. The subtasks wait to be restored.
    ///
    /// # Errors
    /// The operating system's, when there is no thread.
    fn deploy(&self, supervisor: &Addr<JobSupervisor>) -> io::Result<Deployment> {
        let mut deployment = Deployment { workers: Vec::with_capacity(self.threads), subtasks: Vec::new() };
        for _ in 0..self.threads {
            deployment.workers.push(Arbiter::try_new()?);
        }
        let mut addresses: Vec<Vec<Addr<Subtask>>> = vec![Vec::new(); self.stages.len()];
        // Last stage first: a stage only sends to later ones.
        for stage in (0..self.stages.len()).rev() {
            for index in 0..self.parallelism {
                let subtask = self.start(stage, index, &addresses, &deployment.workers, supervisor);
                addresses[stage].push(subtask.address.clone());
                deployment.subtasks.push(subtask);
            }
        }
        Ok(deployment)
    }

    fn start(
        &self,
        stage: usize,
        index: usize,
        later: &[Vec<Addr<Subtask>>],
        workers: &[Arbiter],
        supervisor: &Addr<JobSupervisor>,
    ) -> DeployedSubtask {
        let described = &self.stages[stage];
        let streams = Stage::stream_counts(&self.stages)[stage];
        let receiver = |target: &Target| match *target {
            Target::Stage { stage, stream } => {
                Receiver::Stage { subtasks: later[stage].clone(), input: stream * self.parallelism + index }
            }
            Target::Sink(sink) => Receiver::Sink(self.sinks[sink].clone()),
        };
        let progress = Arc::new(Progress::default());
        let wiring = SubtaskWiring {
            stage,
            context: SubtaskContext {
                index,
                parallelism: self.parallelism,
                max_parallelism: self.max_parallelism,
                metrics: Arc::clone(&self.metrics),
                state: Arc::clone(&self.state),
            },
            input_count: if described.reads_source { 1 } else { streams * self.parallelism },
            factory: Arc::clone(&described.factory),
            receivers: described.targets.iter().map(receiver).collect(),
            sequencer: self.sequencer.clone(),
            coordinator: self.coordinator.clone(),
            supervisor: supervisor.clone(),
            mailbox_capacity: self.mailbox_capacity,
            progress: Arc::clone(&progress),
        };
        let (place, worker) = (wiring.place(), (stage + index) % workers.len());
        let thread = workers[worker].handle();
        let address = Supervisor::start_in_arbiter(&thread, move |_| Subtask::new(wiring));
        DeployedSubtask { address, progress, place, reads_source: described.reads_source, worker }
    }
}

impl Deployment {
    pub(crate) fn subtasks(&self) -> &[DeployedSubtask] {
        &self.subtasks
    }

    pub(crate) fn addresses(&self) -> Vec<Addr<Subtask>> {
        self.subtasks.iter().map(|subtask| subtask.address.clone()).collect()
    }

    /// The subtasks that take frames.
    pub(crate) fn source_subtasks(&self) -> Vec<Addr<Subtask>> {
        let of_source = self.subtasks.iter().filter(|subtask| subtask.reads_source);
        of_source.map(|subtask| subtask.address.clone()).collect()
    }

    /// True while every subtask takes messages.
    pub(crate) fn is_connected(&self) -> bool {
        self.subtasks.iter().all(|subtask| subtask.address.connected())
    }

    /// Closes every subtask until it is restored. Returns how many are still in the middle of a batch.
    pub(crate) fn close(&self) -> usize {
        self.subtasks.iter().filter_map(|subtask| subtask.progress.close()).count()
    }

    /// Abandons every subtask. Returns the threads that are in the middle of something, perhaps for ever.
    fn abandon(&self) -> Vec<ArbiterHandle> {
        let mut is_stuck = vec![false; self.workers.len()];
        for subtask in &self.subtasks {
            is_stuck[subtask.worker] |= subtask.progress.abandon().is_some();
        }
        let workers = self.workers.iter().zip(is_stuck);
        workers.filter(|(_, is_stuck)| *is_stuck).map(|(worker, _)| worker.handle()).collect()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for worker in &self.workers {
            if !worker.stop() {
                tracing::debug!("a worker thread had ended before");
            }
        }
    }
}

/// The deployment at work, and the threads of earlier ones that are stuck.
pub(crate) struct Deployments {
    blueprint: Blueprint,
    current: Deployment,
    abandoned: Vec<ArbiterHandle>,
}

impl Deployments {
    /// The first deployment.
    ///
    /// # Errors
    /// [`JobError::Runtime`] when a thread cannot be started.
    pub(crate) fn begin(blueprint: Blueprint, supervisor: &Addr<JobSupervisor>) -> Result<Self, JobError> {
        let current = blueprint.deploy(supervisor).map_err(JobError::Runtime)?;
        Ok(Self { blueprint, current, abandoned: Vec::new() })
    }

    /// Whether a subtask may be waiting for its state's disk, and so not hang though it does not return.
    pub(crate) fn waits_for_disk(&self) -> bool {
        self.blueprint.state.waiting.is_going_on()
    }

    pub(crate) fn current(&self) -> &Deployment {
        &self.current
    }

    /// Abandons the deployment for a new one. `place` is the subtask that is stuck.
    ///
    /// # Errors
    /// [`JobError::ThreadsStuck`] when more threads are stuck than a job bears; [`JobError::Runtime`] when a thread cannot
    /// be started.
    pub(crate) fn replace(&mut self, supervisor: &Addr<JobSupervisor>, place: &str) -> Result<(), JobError> {
        // A thread whose operator did return has ended since.
        self.abandoned.retain(ArbiterHandle::alive);
        self.abandoned.extend(self.current.abandon());
        let threads = self.abandoned.len();
        tracing::error!(%place, threads, "an operator does not return: its thread is abandoned, the subtasks go on elsewhere");
        if threads > ABANDONED_THREADS_MAX {
            return Err(JobError::ThreadsStuck { threads, place: place.to_owned() });
        }
        self.current = self.blueprint.deploy(supervisor).map_err(JobError::Runtime)?;
        Ok(())
    }
}
