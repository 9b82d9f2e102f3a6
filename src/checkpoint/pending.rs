//! A pending checkpoint: which parts and positions have arrived. Pure bookkeeping, no I/O.

use std::collections::BTreeSet;

use super::{Capture, CheckpointId, Manifest, SinkPosition};
use crate::mqtt::ReceivedIds;
use crate::mutants::Mutant;
use crate::runtime::BatchHeader;
use crate::state::StateSnapshot;

/// What a checkpoint waits for after something arrived.
pub(crate) enum Progress {
    /// More parts or positions must come.
    Waiting(PendingCheckpoint),
    /// All is there: write it.
    Ready(Capture),
}

/// A subtask, as (stage, index), and its snapshots.
type SubtaskSnapshots = ((usize, usize), Vec<Box<dyn StateSnapshot>>);

/// A checkpoint whose barrier travels through the job.
pub(crate) struct PendingCheckpoint {
    id: CheckpointId,
    job: String,
    parallelism: u32,
    subtasks_missing: BTreeSet<(usize, usize)>,
    sinks_missing: BTreeSet<usize>,
    snapshots: Vec<SubtaskSnapshots>,
    sinks: Vec<(usize, SinkPosition)>,
    barrier: Option<Barrier>,
}

/// What the sequencer knows of the barrier's batch.
struct Barrier {
    header: BatchHeader,
    readings: u64,
    clients: Vec<(String, u64)>,
    sessions: Vec<(String, ReceivedIds)>,
}

impl PendingCheckpoint {
    /// A checkpoint that needs the snapshot of every subtask `(stage, index)` and the position of every sink.
    pub(crate) fn new(
        id: CheckpointId,
        job: String,
        subtasks: impl IntoIterator<Item = (usize, usize)>,
        sink_count: usize,
    ) -> Self {
        let subtasks_missing: BTreeSet<(usize, usize)> = subtasks.into_iter().collect();
        let last = subtasks_missing.iter().map(|(_, index)| *index).max();
        Self {
            id,
            job,
            parallelism: last.map_or(1, |last| u32::try_from(last + 1).expect("a job has few subtasks")),
            subtasks_missing,
            sinks_missing: (0..sink_count).collect(),
            snapshots: Vec::new(),
            sinks: Vec::new(),
            barrier: None,
        }
    }

    pub(crate) fn id(&self) -> CheckpointId {
        self.id
    }

    /// The batch that carries the barrier, how many readings were sealed up to and with it, how many of each client that
    /// asked for acknowledgements, and what each message session may get again.
    pub(crate) fn barrier(
        mut self,
        header: BatchHeader,
        readings: u64,
        clients: Vec<(String, u64)>,
        sessions: Vec<(String, ReceivedIds)>,
    ) -> Progress {
        self.barrier = Some(Barrier { header, readings, clients, sessions });
        self.progress()
    }

    /// The snapshots of one subtask.
    pub(crate) fn snapshot(
        mut self,
        stage: usize,
        subtask: usize,
        snapshots: Vec<Box<dyn StateSnapshot>>,
    ) -> Progress {
        assert!(self.subtasks_missing.remove(&(stage, subtask)), "a subtask snapshots once for a barrier");
        self.snapshots.push(((stage, subtask), snapshots));
        self.progress()
    }

    /// The position of one sink.
    pub(crate) fn sink(mut self, sink: usize, position: SinkPosition) -> Progress {
        assert!(self.sinks_missing.remove(&sink), "a sink reports once for a barrier");
        self.sinks.push((sink, position));
        self.progress()
    }

    fn progress(mut self) -> Progress {
        if !self.subtasks_missing.is_empty() || !self.sinks_missing.is_empty() {
            return Progress::Waiting(self);
        }
        let Some(Barrier { header, readings, clients, sessions }) = self.barrier.take() else {
            return Progress::Waiting(self);
        };
        // Arrival order depends on threads; what is written must not.
        self.snapshots.sort_by_key(|(subtask, _)| *subtask);
        self.sinks.sort_by_key(|(sink, _)| *sink);
        Progress::Ready(Capture {
            manifest: Manifest {
                id: self.id,
                // The store knows where the history began.
                lineage: self.id,
                job: self.job,
                offset: if Mutant::OffsetSavedBeforeState.is_on() {
                    header.offset.next()
                } else {
                    header.offset
                },
                stamp: header.stamp,
                readings,
                parallelism: self.parallelism,
                parts: Vec::new(),
                sinks: self.sinks.into_iter().map(|(_, position)| position).collect(),
                clients,
                sessions,
            },
            snapshots: self.snapshots.into_iter().flat_map(|(_, snapshots)| snapshots).collect(),
        })
    }
}
