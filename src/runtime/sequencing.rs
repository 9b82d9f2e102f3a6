//! The sequencer's decisions, without actors: total order, natural batching, credit, barriers.
//!
//! Natural batching: a batch is sealed as soon as there is credit and anything waits, so a lone reading goes at
//! once and a crowd shares a batch, up to `batch_frames_max` frames and `batch_bytes_max` bytes.
//!
//! Invariants: offsets ascend by one; at most `batches_in_flight` batches are sealed and not yet delivered by
//! every sink; a barrier is on exactly one batch. What waits here is bounded by its senders: a connection
//! hands over one chunk and waits for the answer.

use std::collections::VecDeque;
use std::sync::Arc;

use super::batch::{Attempt, BatchHeader, Offset, Timestamp};
use super::clock::Clock;
use super::messages::BarrierScope;
use super::settings::Settings;
use crate::checkpoint::CheckpointId;
use crate::source::frame::{FrameChunk, Frames};

/// Frames on their way into a batch, with a receipt that is handed back once they are in one.
pub(crate) struct Waiting<R> {
    pub(crate) chunk: FrameChunk,
    pub(crate) recorded: Option<Timestamp>,
    pub(crate) receipt: R,
}

/// A batch that leaves the sequencer.
pub(crate) struct SealedBatch<R> {
    pub(crate) header: BatchHeader,
    pub(crate) frames: Arc<Frames>,
    pub(crate) receipts: Vec<R>,
    /// Readings sealed up to and with this batch, over the job's whole life.
    pub(crate) readings: u64,
}

/// Whether batches may be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Running,
    Paused,
}

/// State of the sequencer.
pub(crate) struct Sequencing<R> {
    frames_max: usize,
    bytes_max: usize,
    in_flight_max: usize,
    mode: Mode,
    attempt: Attempt,
    clock: Clock,
    last: Offset,
    readings: u64,
    waiting: VecDeque<Waiting<R>>,
    barrier: Option<(CheckpointId, BarrierScope)>,
    /// Last offset each sink delivered.
    delivered: Vec<Offset>,
}

impl<R> Sequencing<R> {
    /// A paused sequencer that continues behind `last`.
    pub(crate) fn new(
        settings: &Settings,
        sink_count: usize,
        last: Offset,
        stamp: Timestamp,
        readings: u64,
    ) -> Self {
        Self {
            frames_max: settings.batch_frames_max,
            bytes_max: settings.batch_bytes_max,
            in_flight_max: settings.batches_in_flight,
            mode: Mode::Paused,
            attempt: Attempt(0),
            clock: Clock::resume(stamp),
            last,
            readings,
            waiting: VecDeque::new(),
            barrier: None,
            delivered: vec![last; sink_count],
        }
    }

    pub(crate) fn append(&mut self, waiting: Waiting<R>) {
        self.waiting.push_back(waiting);
    }

    /// Asks for a barrier. `false`: there was no batch since `since`, and none waits.
    #[must_use]
    pub(crate) fn request_barrier(
        &mut self,
        checkpoint: CheckpointId,
        scope: BarrierScope,
        since: Option<Offset>,
    ) -> bool {
        let nothing_new = since.unwrap_or_default() >= self.last && self.waiting.is_empty();
        if !nothing_new {
            self.barrier = Some((checkpoint, scope));
        }
        !nothing_new
    }

    /// A sink delivered the batch at `offset`.
    pub(crate) fn delivered(&mut self, attempt: Attempt, sink: usize, offset: Offset) {
        if attempt == self.attempt {
            self.delivered[sink] = offset;
        }
    }

    /// Stops sealing; what is in flight is lost. Returns the readings sealed so far.
    pub(crate) fn pause(&mut self) -> u64 {
        self.mode = Mode::Paused;
        self.barrier = None;
        self.readings
    }

    /// Seals again, for a new attempt.
    pub(crate) fn resume(&mut self, attempt: Attempt) {
        self.mode = Mode::Running;
        self.attempt = attempt;
        self.delivered.fill(self.last);
    }

    /// The next batch, if there is credit and a reason for one.
    pub(crate) fn seal(&mut self, wall: Timestamp) -> Option<SealedBatch<R>> {
        if self.mode == Mode::Paused || self.in_flight() >= self.in_flight_max {
            return None;
        }
        if self.waiting.is_empty() && self.barrier.is_none() {
            return None;
        }
        let mut frames = Frames::default();
        let mut receipts = Vec::new();
        let recorded = self.waiting.front().and_then(|waiting| waiting.recorded);
        let (mut frame_count, mut byte_count) = (0, 0);
        while let Some(next) = self.waiting.front() {
            frame_count += next.chunk.frame_count();
            byte_count += next.chunk.byte_count();
            let fits = frame_count <= self.frames_max && byte_count <= self.bytes_max;
            let joins = recorded.is_none() && next.recorded.is_none() && fits;
            if !frames.chunks.is_empty() && !joins {
                break;
            }
            let next = self.waiting.pop_front().expect("the front was looked at");
            frames.chunks.push(next.chunk);
            receipts.push(next.receipt);
        }
        self.last = self.last.next();
        self.readings += frames.count() as u64;
        let header = BatchHeader {
            attempt: self.attempt,
            offset: self.last,
            // A batch without readings does not move time: it is there for its barrier only.
            stamp: if frames.chunks.is_empty() {
                self.clock.now()
            } else {
                self.clock.stamp(recorded.unwrap_or(wall))
            },
            barrier: self.take_barrier(),
        };
        Some(SealedBatch { header, frames: Arc::new(frames), receipts, readings: self.readings })
    }

    fn take_barrier(&mut self) -> Option<CheckpointId> {
        let (checkpoint, scope) = self.barrier?;
        if scope == BarrierScope::LastBatch && !self.waiting.is_empty() {
            return None;
        }
        self.barrier = None;
        Some(checkpoint)
    }

    fn in_flight(&self) -> usize {
        let slowest = self.delivered.iter().min().copied().unwrap_or(self.last);
        usize::try_from(self.last.0 - slowest.0).expect("few batches are in flight")
    }
}

#[cfg(test)]
#[path = "sequencing_tests.rs"]
mod tests;
