//! The `memory` backend's store: the newest checkpoint, encoded, in the coordinator's heap.
//!
//! Holds one checkpoint, replaced when the next is complete; while one is being encoded there are two. Survives a
//! failing operator, not the process.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Capture, CheckpointError, CheckpointId, CheckpointStore, Contents, Manifest, PartEntry};
use crate::runtime::Offset;

/// Checkpoints on the heap.
#[derive(Debug, Default)]
pub(crate) struct HeapStore {
    newest: Option<(Manifest, Vec<Arc<Vec<u8>>>)>,
}

impl CheckpointStore for HeapStore {
    fn write(&mut self, capture: Capture) -> Result<Manifest, CheckpointError> {
        let mut manifest = capture.manifest;
        let mut parts = Vec::with_capacity(capture.snapshots.len());
        for (index, snapshot) in capture.snapshots.into_iter().enumerate() {
            let mut bytes = Vec::new();
            let name = format!("{index}");
            let keys = snapshot
                .write(&mut bytes)
                .map_err(|source: io::Error| CheckpointError::Write { path: PathBuf::from(&name), source })?;
            manifest.parts.push(PartEntry {
                name,
                operator: snapshot.operator().to_owned(),
                keys,
                bytes: bytes.len() as u64,
                hash: *blake3::hash(&bytes).as_bytes(),
            });
            parts.push(Arc::new(bytes));
        }
        self.newest = Some((manifest.clone(), parts));
        Ok(manifest)
    }

    fn newest(&mut self) -> Result<Option<Contents>, CheckpointError> {
        Ok(self
            .newest
            .as_ref()
            .map(|(manifest, parts)| Contents { manifest: manifest.clone(), parts: parts.clone() }))
    }

    fn start_empty(&mut self) {
        self.newest = None;
    }

    fn oldest_offset(&self) -> Option<Offset> {
        self.newest.as_ref().map(|(manifest, _)| manifest.offset)
    }

    fn next_id(&self) -> CheckpointId {
        CheckpointId(self.newest.as_ref().map_or(1, |(manifest, _)| manifest.id.0 + 1))
    }
}
