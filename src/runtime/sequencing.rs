//! The sequencer's decisions, without actors: total order, natural batching, credit, barriers, group commit, replay.
//!
//! Natural batching: a batch is sealed as soon as there is credit, the journal is ready for a commit and anything
//! waits. So a lone reading goes at once, and a crowd shares a batch, up to `batch_frames_max` frames and
//! `batch_bytes_max` bytes; a full batch does not wait for the commit under way. With a journal, small batches in quick
//! succession are held for a moment (see `pacing`); full ones, barriers and recorded batches are not. A batch without
//! readings is sealed when a timer is due (see `ticks`).
//!
//! Invariants: offsets ascend by one; at most `batches_in_flight` batches are sent and not yet delivered by every
//! sink; a barrier is on exactly one batch, and never on a replayed one; one commit is under way at a time. What
//! waits here is bounded by its senders: a connection hands over one chunk and waits for the answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Attempt, BatchHeader, Offset, Pace, Timestamp};
use super::clock::{Clock, Moment};
use super::messages::BarrierScope;
use super::pacing::{PACED_BYTES_MAX, Pacing};
use super::sequenced::{Input, ReplayFrom, Replayed, SealedBatch, SequencingStart, Waiting};
use super::settings::Settings;
use super::ticks::{Tick, Ticks};
use crate::checkpoint::CheckpointId;
use crate::journal::Entry;
use crate::mqtt::{ReceivedIds, events};
use crate::source::frame::{FrameChunk, Frames, client_of};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Paused,
    Replaying,
    Running,
}

/// What the journal is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JournalState {
    /// There is none: a batch counts as durable at once.
    Absent,
    /// It takes the next group of batches.
    Ready,
    /// A commit is under way.
    Committing,
}

/// State of the sequencer.
pub(crate) struct Sequencing<R> {
    frames_max: usize,
    bytes_max: usize,
    in_flight_max: usize,
    mode: Mode,
    attempt: Attempt,
    suspects: BTreeSet<Offset>,
    clock: Clock,
    pacing: Pacing,
    ticks: Ticks,
    /// When what waits for more readings, or for a timer, is looked at again, in monotonic time.
    held_until: Option<Duration>,
    /// Last batch sealed.
    last: Offset,
    /// Last batch sent in this attempt.
    sent: Offset,
    /// Readings in batches up to `sent`.
    readings: u64,
    clients: BTreeMap<Arc<str>, u64>,
    sessions: BTreeMap<Arc<str>, ReceivedIds>,
    waiting: VecDeque<Waiting<R>>,
    barrier: Option<(CheckpointId, BarrierScope)>,
    /// Last offset each sink delivered.
    delivered: Vec<Offset>,
    journal: JournalState,
    /// Commits begun so far.
    commits: u64,
    /// The journal is at its limit, or its disk is full.
    is_under_pressure: bool,
    /// Nothing is taken in for lack of memory.
    holds_sources: bool,
    unjournaled: Vec<Entry>,
    replayed: VecDeque<Replayed>,
}

impl<R> Sequencing<R> {
    /// A paused sequencer.
    pub(crate) fn new(
        settings: &Settings,
        sink_count: usize,
        start: SequencingStart,
        journal: JournalState,
    ) -> Self {
        Self {
            frames_max: settings.batch_frames_max,
            bytes_max: settings.batch_bytes_max,
            in_flight_max: settings.batches_in_flight,
            mode: Mode::Paused,
            attempt: Attempt(0),
            suspects: BTreeSet::new(),
            clock: Clock::resume(start.stamp),
            pacing: Pacing::default(),
            ticks: Ticks::new(!start.is_recorded),
            held_until: None,
            last: start.last,
            sent: start.last,
            readings: 0,
            clients: start.clients,
            sessions: start.sessions,
            waiting: VecDeque::new(),
            barrier: None,
            delivered: vec![start.last; sink_count],
            journal,
            commits: 0,
            is_under_pressure: false,
            holds_sources: false,
            unjournaled: Vec::new(),
            replayed: VecDeque::new(),
        }
    }

    pub(crate) fn append(&mut self, waiting: Waiting<R>) {
        self.waiting.push_back(waiting);
    }

    /// Last batch sealed.
    pub(crate) fn last(&self) -> Offset {
        self.last
    }

    /// Lines sealed of a client that asked for acknowledgements.
    pub(crate) fn lines_of(&self, client: &str) -> u64 {
        self.clients.get(client).copied().unwrap_or(0)
    }

    /// Lines sealed of every such client.
    pub(crate) fn clients(&self) -> Vec<(String, u64)> {
        self.clients.iter().map(|(client, lines)| (client.to_string(), *lines)).collect()
    }

    /// What each message session may get again of what is sealed.
    pub(crate) fn sessions(&self) -> Vec<(String, ReceivedIds)> {
        self.sessions.iter().map(|(session, ids)| (session.to_string(), ids.clone())).collect()
    }

    /// What a message session may get again of what is sealed; `None` for one there was not.
    pub(crate) fn received_by(&self, session: &str) -> Option<ReceivedIds> {
        self.sessions.get(session).cloned()
    }

    /// Asks for a barrier. `false`: there was no batch since `since`, and none waits.
    #[must_use]
    pub(crate) fn request_barrier(
        &mut self,
        checkpoint: CheckpointId,
        scope: BarrierScope,
        since: Option<Offset>,
    ) -> bool {
        if scope == BarrierScope::LastBatch {
            self.ticks.disable();
        }
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

    /// The earliest timer of a subtask behind a batch it processed.
    pub(crate) fn timer_set(
        &mut self,
        attempt: Attempt,
        subtask: (usize, usize),
        behind: Offset,
        earliest: Option<Timestamp>,
    ) {
        self.ticks.report(attempt, subtask, behind, earliest);
    }

    /// Stops sending. Returns the readings sent so far.
    pub(crate) fn pause(&mut self) -> u64 {
        self.mode = Mode::Paused;
        self.barrier = None;
        self.readings
    }

    /// Sends again, for a new attempt: from the journal what lies behind `from`, then what comes in. Without a journal
    /// the batches in between are lost, and the readings count goes on.
    pub(crate) fn resume(&mut self, attempt: Attempt, from: ReplayFrom) {
        self.attempt = attempt;
        self.suspects = from.suspects;
        self.replayed.clear();
        if self.journal == JournalState::Absent {
            self.mode = Mode::Running;
            self.sent = self.last;
            self.readings = self.readings.max(from.readings);
        } else {
            self.mode = if from.offset < self.last { Mode::Replaying } else { Mode::Running };
            self.sent = from.offset;
            self.readings = from.readings;
        }
        self.delivered.fill(self.sent);
        self.ticks.begin(attempt, (self.journal == JournalState::Absent).then_some(self.last));
    }

    /// The batches to read from the journal next, both ends included, if it is time for that: everything sealed is
    /// written, and what was read before is sent.
    pub(crate) fn wants_replay(&self) -> Option<(Offset, Offset)> {
        let is_written = self.journal == JournalState::Ready && self.unjournaled.is_empty();
        let wants = self.mode == Mode::Replaying && is_written && self.replayed.is_empty();
        wants.then(|| (self.sent.next(), self.last))
    }

    /// The batches this attempt replays, both ends included.
    pub(crate) fn replays(&self) -> Option<(Offset, Offset)> {
        (self.mode == Mode::Replaying).then(|| (self.sent.next(), self.last))
    }

    /// Takes in batches that were read.
    pub(crate) fn replay(&mut self, attempt: Attempt, batches: Vec<Replayed>) {
        if attempt == self.attempt && self.mode == Mode::Replaying {
            self.replayed.extend(batches);
        }
    }

    /// The group of batches to commit next, if the journal is ready for one. `committed` answers it.
    pub(crate) fn next_commit(&mut self) -> Option<Vec<Entry>> {
        if self.journal != JournalState::Ready || self.unjournaled.is_empty() {
            return None;
        }
        self.journal = JournalState::Committing;
        self.commits += 1;
        Some(std::mem::take(&mut self.unjournaled))
    }

    /// The journal has written through `written`.
    pub(crate) fn committed(&mut self, written: Offset) {
        let first_unwritten = self.unjournaled.first().map_or(self.last.next(), |entry| entry.offset);
        if self.journal == JournalState::Committing && written.next() >= first_unwritten {
            self.journal = JournalState::Ready;
        }
    }

    /// The number of the commit under way, if one is.
    pub(crate) fn committing(&self) -> Option<u64> {
        (self.journal == JournalState::Committing).then_some(self.commits)
    }

    /// The attempt batches belong to now.
    pub(crate) fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// Drops what waits of a client that greets anew: it was not acknowledged, so the client sends it again.
    pub(crate) fn drop_waiting_of(&mut self, client: &str) {
        self.waiting.retain(|waiting| client_of(&waiting.chunk.origin) != Some(client));
    }

    /// The journal is, or is no longer, at a limit.
    pub(crate) fn set_pressure(&mut self, is_under_pressure: bool) {
        self.is_under_pressure = is_under_pressure;
    }

    /// The process is, or is no longer, too short of memory to take anything in.
    pub(crate) fn hold_sources(&mut self, holds_sources: bool) {
        self.holds_sources = holds_sources;
    }

    /// The next batch to send, if there is credit and a reason for one.
    pub(crate) fn next_batch(&mut self, now: Moment) -> Option<SealedBatch<R>> {
        self.held_until = None;
        if self.in_flight() >= self.in_flight_max {
            return None;
        }
        match self.mode {
            Mode::Paused => None,
            Mode::Replaying => self.next_replayed(),
            Mode::Running => self.seal(now),
        }
    }

    /// When to ask for the next batch again, in monotonic time, though nothing else happens until then.
    pub(crate) fn held_until(&self) -> Option<Duration> {
        self.held_until
    }

    fn next_replayed(&mut self) -> Option<SealedBatch<R>> {
        let batch = self.replayed.pop_front()?;
        assert_eq!(batch.offset, self.sent.next(), "the journal is replayed without gaps");
        let readings = batch.frames.count() as u64 + batch.skipped;
        let header = BatchHeader {
            attempt: self.attempt,
            offset: batch.offset,
            stamp: batch.stamp,
            barrier: None,
            pace: if self.suspects.contains(&batch.offset) { Pace::FrameByFrame } else { Pace::Batch },
        };
        if batch.offset == self.last {
            self.mode = Mode::Running;
        }
        Some(self.sealed(header, batch.frames, Vec::new(), (Input::Journal, readings)))
    }

    fn seal(&mut self, now: Moment) -> Option<SealedBatch<R>> {
        let is_held_back = self.is_under_pressure
            || self.holds_sources
            || !(self.journal_is_ready() || self.has_full_batch());
        let takes_frames = !is_held_back && !self.waiting.is_empty();
        let barrier_is_due = self.barrier.is_some_and(|(_, scope)| match scope {
            BarrierScope::NextBatch => true,
            BarrierScope::LastBatch => self.waiting.is_empty(),
        });
        let tick = self.look_for_tick(now);
        if let Tick::NotBefore(look) = tick {
            self.held_until = Some(look);
        }
        let tick_is_due = tick == Tick::Now && !is_held_back;
        if !takes_frames && !barrier_is_due && !tick_is_due {
            return None;
        }
        if takes_frames
            && self.may_be_held()
            && let Some(hold) = self.pacing.hold(now.monotonic)
        {
            self.held_until = Some(self.held_until.map_or(hold, |look| look.min(hold)));
            return None;
        }
        let mut frames = Frames::default();
        let mut receipts = Vec::new();
        let recorded = self.waiting.front().filter(|_| takes_frames).and_then(|waiting| waiting.recorded);
        let (mut frame_count, mut byte_count) = (0, 0);
        while let Some(next) = self.waiting.front().filter(|_| takes_frames) {
            frame_count += next.chunk.frame_count();
            byte_count += next.chunk.byte_count();
            let fits = frame_count <= self.frames_max && byte_count <= self.bytes_max;
            let joins = recorded.is_none() && next.recorded.is_none() && fits;
            if !frames.chunks.is_empty() && !joins {
                break;
            }
            let next = self.waiting.pop_front().expect("the front was looked at");
            self.count_client_lines(&next.chunk);
            self.take_in_messages(&next.chunk);
            frames.chunks.push(next.chunk);
            receipts.push(next.receipt);
        }
        let header = BatchHeader {
            attempt: self.attempt,
            offset: self.last.next(),
            // A batch that is there for its barrier only does not move time.
            stamp: match recorded {
                _ if frames.chunks.is_empty() && !tick_is_due => self.clock.now(),
                Some(recorded) => self.clock.stamp_recorded(recorded),
                None => self.clock.stamp(now),
            },
            barrier: self.take_barrier(),
            pace: Pace::Batch,
        };
        self.last = header.offset;
        self.ticks.sealed(now.monotonic);
        let frames = Arc::new(frames);
        if self.journal != JournalState::Absent {
            let entry = Entry { offset: header.offset, stamp: header.stamp, frames: Arc::clone(&frames) };
            self.unjournaled.push(entry);
        }
        if !frames.chunks.is_empty() {
            self.pacing.sealed(frames.count(), now.monotonic);
        }
        let readings = frames.count() as u64;
        Some(self.sealed(header, frames, receipts, (Input::Sources, readings)))
    }

    fn sealed(
        &mut self,
        header: BatchHeader,
        frames: Arc<Frames>,
        receipts: Vec<R>,
        (input, readings): (Input, u64),
    ) -> SealedBatch<R> {
        self.sent = header.offset;
        self.readings += readings;
        let clock_jump = self.clock.take_jump();
        SealedBatch { header, frames, receipts, readings: self.readings, input, clock_jump }
    }

    fn look_for_tick(&self, now: Moment) -> Tick {
        // A copy: only what is sealed moves the clock.
        let next = { self.clock }.stamp(now);
        self.ticks.look((self.last, self.clock.now()), next, now.monotonic)
    }

    fn count_client_lines(&mut self, chunk: &FrameChunk) {
        if let Some(client) = client_of(&chunk.origin) {
            let lines = chunk.first_line + chunk.frame_count() as u64 - 1;
            match self.clients.get_mut(client) {
                Some(counted) => *counted = lines.max(*counted),
                None => drop(self.clients.insert(client.into(), lines)),
            }
        }
    }

    fn take_in_messages(&mut self, chunk: &FrameChunk) {
        if chunk.table().is_empty() {
            return;
        }
        let ids = match self.sessions.get_mut(&chunk.origin) {
            Some(ids) => ids,
            None => self.sessions.entry(Arc::clone(&chunk.origin)).or_default(),
        };
        for event in events(chunk.table()) {
            ids.apply(event);
        }
    }

    fn journal_is_ready(&self) -> bool {
        matches!(self.journal, JournalState::Absent | JournalState::Ready)
    }

    /// True when a batch of what waits would be a small one that more readings may join: there is a journal to spare,
    /// no barrier is wanted, the readings are not recorded ones, and nobody waits for them before more can come.
    fn may_be_held(&self) -> bool {
        let front_is_recorded = self.waiting.front().is_some_and(|waiting| waiting.recorded.is_some());
        let byte_counts = self.waiting.iter().map(|waiting| waiting.chunk.byte_count());
        self.journal != JournalState::Absent
            && self.barrier.is_none()
            && !front_is_recorded
            && !self.waiting.iter().any(|waiting| waiting.chunk.is_awaited)
            && !self.has_full_batch()
            && !sums_to(byte_counts, PACED_BYTES_MAX)
    }

    /// True when what waits fills a batch.
    fn has_full_batch(&self) -> bool {
        let (mut frame_count, mut byte_count) = (0, 0);
        self.waiting.iter().any(|waiting| {
            frame_count += waiting.chunk.frame_count();
            byte_count += waiting.chunk.byte_count();
            2 * frame_count > self.frames_max || 2 * byte_count > self.bytes_max
        })
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
        let slowest = self.delivered.iter().min().copied().unwrap_or(self.sent);
        usize::try_from(self.sent.0 - slowest.0).expect("few batches are in flight")
    }
}

/// True when the sum reaches `limit`; the rest is not looked at.
fn sums_to(counts: impl IntoIterator<Item = usize>, limit: usize) -> bool {
    let mut sum = 0;
    counts.into_iter().any(|count| {
        sum += count;
        sum >= limit
    })
}

#[cfg(test)]
#[path = "sequencing_tests.rs"]
mod tests;
