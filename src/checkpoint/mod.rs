//! Checkpoints: consistent snapshots of a whole job, kept so that a restart carries on.
//!
//! The coordinator (an actor, in `runtime`) asks for a barrier, collects the parts of all subtasks and the
//! positions of all sinks, and hands them to a [`CheckpointStore`]: `heap` for the `memory` backend, `spool` for
//! the others. What a store returns from `newest` was verified byte by byte; a damaged checkpoint is set aside and the
//! one before it is used. A savepoint is a checkpoint that the user asks for and that is kept apart (`savepoint`).
//!
//! What is completed can be shipped to a remote: `archive`.
//!
//! Nothing here knows of actors.

mod archive;
mod error;
mod heap;
mod history;
mod increment;
mod inspection;
mod manifest;
mod part_file;
mod pending;
mod pins;
mod savepoint;
mod spool;

pub(crate) use archive::{
    Archive, ChunkSizes, Fetched, JournalShipping, MarkFile, Moment, PieceListing, Replica, Restorer,
    Shipping, ShippingPolicy, ShippingStart, Step, Turn, Wanted, cut_uploads, files_of,
};
pub use archive::{
    ArchiveCipher, ArchiveError, ArchiveKey, Backlog, Connectivity, Retention, ShippingStatus, Trust,
    Unusable, UploadLimits, UploadWindow, Verification,
};
pub use error::{CheckpointError, SavepointError};
pub(crate) use heap::HeapStore;
pub(crate) use history::History;
pub(crate) use inspection::{Inspection, InspectionError};
pub(crate) use manifest::{Manifest, PartEntry, SinkPosition};
pub(crate) use pending::{PendingCheckpoint, Progress};
pub(crate) use pins::{Pins, Reached};
pub use savepoint::Savepoint;
pub(crate) use savepoint::{SavepointDraft, read_savepoint, remove_unfinished};
pub(crate) use spool::Spool;

use crate::runtime::Offset;
use crate::state::{SavedPart, StateSnapshot};

/// Number of a checkpoint: 1, 2, 3, … within a job, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct CheckpointId(pub u64);

impl std::fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Everything a checkpoint consists of, before it is written.
pub(crate) struct Capture {
    /// The manifest, its `parts` still empty.
    pub(crate) manifest: Manifest,
    pub(crate) snapshots: Vec<Box<dyn StateSnapshot>>,
}

/// A whole, verified checkpoint read back from a store.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) manifest: Manifest,
    /// Each part, in the manifest's order.
    pub(crate) parts: Vec<SavedPart>,
}

/// Keeps completed checkpoints.
pub(crate) trait CheckpointStore: Send {
    /// Writes a checkpoint; it is completed (durable, restorable) when this returns `Ok`.
    ///
    /// # Errors
    /// The failed checkpoint is invisible to `newest`, or whole when only the last sync failed; the ones before it
    /// are untouched.
    fn write(&mut self, capture: Capture) -> Result<Manifest, CheckpointError>;

    /// The newest whole checkpoint, every byte verified.
    ///
    /// # Errors
    /// Only when the store itself cannot be read; a damaged checkpoint is reported and passed over.
    fn newest(&mut self) -> Result<Option<Contents>, CheckpointError>;

    /// Makes what is there invisible to `newest`; retention removes it once newer checkpoints have replaced it.
    fn start_empty(&mut self);

    /// Offset of the oldest checkpoint that may still be restored from: what lies up to it is not needed for a replay.
    fn oldest_offset(&self) -> Option<Offset>;

    /// A number no checkpoint has had.
    fn next_id(&self) -> CheckpointId;
}
