//! What goes into the sequencer and what leaves it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::batch::{BatchHeader, Offset, Timestamp};
use super::clock::ClockJump;
use crate::mqtt::ReceivedIds;
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
    /// Readings in batches up to and with this one, over the job's whole life.
    pub(crate) readings: u64,
    /// Where its readings come from.
    pub(crate) input: Input,
    /// What the wall clock did since the batch before, when that is worth saying.
    pub(crate) clock_jump: Option<ClockJump>,
}

/// Where a batch comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Sources,
    Journal,
}

/// A batch read back from the journal.
pub(crate) struct Replayed {
    pub(crate) offset: Offset,
    pub(crate) stamp: Timestamp,
    pub(crate) frames: Arc<Frames>,
    /// Frames left out because they are poison.
    pub(crate) skipped: u64,
}

/// Where the sequencer begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct SequencingStart {
    /// Last batch there has been.
    pub(crate) last: Offset,
    /// Processing time of it.
    pub(crate) stamp: Timestamp,
    /// Lines taken from each client that asked for acknowledgements.
    pub(crate) clients: BTreeMap<Arc<str>, u64>,
    /// What each message session may get again.
    pub(crate) sessions: BTreeMap<Arc<str>, ReceivedIds>,
    /// Input is recorded: its times are the only ones.
    pub(crate) is_recorded: bool,
}

/// Where an attempt begins: behind the checkpoint it was restored from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReplayFrom {
    pub(crate) offset: Offset,
    pub(crate) readings: u64,
    /// Batches that failed before and are replayed frame by frame.
    pub(crate) suspects: BTreeSet<Offset>,
}
