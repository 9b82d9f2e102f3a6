//! Pins: the files of completed checkpoints that must stay while they are shipped.
//!
//! The spool offers each checkpoint it completes and keeps the files of the newest one offered, and of the one that is
//! being shipped, beside what it keeps anyway. So shipping holds at most two checkpoints on the disk, however long the
//! link is gone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use super::{CheckpointId, Manifest, PartEntry};
use crate::runtime::Offset;

/// How far a job had come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reached {
    /// The last batch.
    pub(crate) offset: Offset,
    /// Readings up to and with it.
    pub(crate) readings: u64,
    /// Lines taken from each client that asked for acknowledgements.
    pub(crate) clients: Vec<(String, u64)>,
}

impl Reached {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let Manifest { offset, readings, clients, .. } = manifest;
        Self { offset: *offset, readings: *readings, clients: clients.clone() }
    }
}

/// Shared by the spool and the shipper.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins(Arc<Mutex<Pinned>>);

#[derive(Debug, Default)]
struct Pinned {
    offered: Option<Manifest>,
    shipping: Option<Manifest>,
    /// Checkpoints that were offered and replaced by newer ones before their turn came.
    skipped: u64,
    /// Where the newest checkpoint offered is.
    reached: Option<Reached>,
    /// The history it belongs to.
    lineage: Option<CheckpointId>,
}

impl Pins {
    fn pinned(&self) -> MutexGuard<'_, Pinned> {
        self.0.lock().expect("nothing panics while it is held")
    }

    /// Offers a completed checkpoint; one that was offered before and not taken is let go.
    pub(crate) fn offer(&self, manifest: &Manifest) {
        let mut pinned = self.pinned();
        pinned.reached = Some(Reached::of(manifest));
        pinned.lineage = Some(manifest.lineage);
        if pinned.offered.replace(manifest.clone()).is_some() {
            pinned.skipped += 1;
        }
    }

    /// Takes the offered checkpoint for shipping; the one taken before is let go.
    pub(crate) fn take(&self) -> Option<Manifest> {
        let mut pinned = self.pinned();
        let offered = pinned.offered.take()?;
        pinned.shipping = Some(offered.clone());
        Some(offered)
    }

    /// Lets go of the checkpoint that was shipped or given up.
    pub(crate) fn release(&self) {
        self.pinned().shipping = None;
    }

    /// True when a checkpoint waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pinned().offered.is_some()
    }

    /// Where the newest checkpoint offered is.
    pub(crate) fn reached(&self) -> Option<Reached> {
        self.pinned().reached.clone()
    }

    /// The history the newest checkpoint offered belongs to.
    pub(crate) fn lineage(&self) -> Option<CheckpointId> {
        self.pinned().lineage
    }

    /// Number of checkpoints that were never taken because newer ones came.
    pub(crate) fn skipped(&self) -> u64 {
        self.pinned().skipped
    }

    /// The names among the parts that must stay.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let pinned = self.pinned();
        let manifests = pinned.offered.iter().chain(&pinned.shipping);
        manifests.flat_map(|manifest| &manifest.parts).flat_map(PartEntry::names).map(str::to_owned).collect()
    }
}
