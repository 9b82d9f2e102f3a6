//! The history of a job: its kept checkpoints, looked at without changing anything.
//!
//! Unlike a spool this creates no folder and moves nothing to quarantine, so it works on a copy, on a read-only mount
//! and beside the process that uses the directory. Only the newest history counts, as for a restart: checkpoints from
//! before the last empty start are passed over.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::part_file::Damage;
use super::spool::Spool;
use super::{CheckpointError, CheckpointId, Contents, Manifest};
use crate::disk::Disk;

/// The kept checkpoints of one job.
#[derive(Debug)]
pub(crate) struct History {
    spool: Spool,
    manifests: Vec<Manifest>,
}

impl History {
    /// Reads the manifests of `job` in `directory`, its folder. Those that cannot be read are reported and passed over.
    ///
    /// # Errors
    /// [`CheckpointError::Directory`] when the manifests cannot be listed; a folder without any is an empty history.
    pub(crate) fn read(disk: Arc<dyn Disk>, directory: &Path, job: &str) -> Result<Self, CheckpointError> {
        let spool = Spool::look(disk, directory, job);
        let ids = match spool.manifest_ids() {
            Ok(ids) => ids,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(CheckpointError::Directory { path: directory.to_owned(), source }),
        };
        let mut manifests: Vec<Manifest> =
            ids.into_iter().rev().filter_map(|id| reported(id, spool.read_manifest(id))).collect();
        let lineage = manifests.iter().map(|manifest| manifest.lineage).max();
        manifests.retain(|manifest| Some(manifest.lineage) == lineage);
        Ok(Self { spool, manifests })
    }

    /// The manifests, oldest first, offsets ascending.
    pub(crate) fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    /// A checkpoint with its parts, every byte verified; `None`, with a warning, when it is not whole.
    pub(crate) fn contents(&self, id: CheckpointId) -> Option<Contents> {
        reported(id, self.spool.read_checkpoint(id))
    }
}

fn reported<T>(id: CheckpointId, read: Result<T, Damage>) -> Option<T> {
    read.map_err(|damage| {
        let (Damage::Permanent(reason) | Damage::Unreadable(reason)) = damage;
        tracing::warn!(checkpoint = %id, %reason, "the checkpoint cannot be used: it is passed over");
    })
    .ok()
}
