//! What a job reports: where it continued from, and what it did.

use std::collections::BTreeMap;

use super::batch::{Offset, Timestamp};
use crate::checkpoint::{CheckpointId, Manifest, ShippingStatus};
use crate::metrics::RejectCause;
use crate::sink::OutboxReport;

/// What a job did, returned when it ends in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobReport {
    /// The checkpoint the job continued from, if any.
    pub restored: Option<Restored>,
    /// Readings taken in from the sources.
    pub readings: u64,
    /// Readings replayed from the journal.
    pub replayed: u64,
    /// Results delivered, summed over the sinks.
    pub outputs: u64,
    /// Readings rejected, by place and cause.
    pub rejected: BTreeMap<(String, RejectCause), u64>,
    /// Readings whose effect was lost with a rewind.
    pub readings_lost: u64,
    /// Rewinds.
    pub restarts: u64,
    /// Times an operator did not return and its thread was abandoned.
    pub hangs: u64,
    /// Checkpoints completed.
    pub checkpoints_completed: u64,
    /// Checkpoints that failed.
    pub checkpoints_failed: u64,
    /// What was shipped to the remote.
    pub shipping: ShippingStatus,
    /// Times the wall clock jumped, or was behind the last stamp at the start.
    pub clock_jumps: u64,
    /// Keys dropped with their state to admit newer ones; a batch that is processed again counts again.
    pub keys_evicted: u64,
    /// Times the process was short of memory, so that caches shrank and sources were slowed.
    pub memory_shortages: u64,
    /// What is left in the outboxes of its sinks.
    pub outboxes: Vec<OutboxReport>,
}

/// The checkpoint a job continued from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Its number.
    pub checkpoint: CheckpointId,
    /// The batch after which it was taken.
    pub offset: Offset,
    /// Keys it held.
    pub keys: u64,
    /// Readings it had seen, over the job's whole life.
    pub readings: u64,
    /// Time since it was taken, in milliseconds, by the wall clock; 0 for one before the first batch.
    pub age_ms: u64,
}

impl Restored {
    /// Time since it was taken, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    pub(crate) fn age_seconds(&self) -> f64 {
        self.age_ms as f64 / 1000.0
    }

    pub(crate) fn from_manifest(manifest: &Manifest, now: Timestamp) -> Self {
        Self {
            checkpoint: manifest.id,
            offset: manifest.offset,
            keys: manifest.key_count(),
            readings: manifest.readings,
            // One before the first batch has no stamp.
            age_ms: match manifest.stamp.0 {
                ..=0 => 0,
                stamp => u64::try_from(now.0.saturating_sub(stamp)).unwrap_or(0),
            },
        }
    }
}
