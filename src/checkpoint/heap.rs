//! The `memory` backend's store: the newest checkpoint, encoded, in the coordinator's heap.
//!
//! Holds one checkpoint, replaced when the next is complete; what did not change is shared by the two. Survives a
//! failing operator, not the process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::increment::{Increments, Written};
use super::{Capture, CheckpointError, CheckpointId, CheckpointStore, Contents, Manifest, PartEntry};
use crate::runtime::Offset;
use crate::state::SavedPart;

/// Checkpoints on the heap.
#[derive(Debug, Default)]
pub(crate) struct HeapStore {
    newest: Option<Manifest>,
    parts: BTreeMap<String, Arc<Vec<u8>>>,
    increments: Increments,
}

impl HeapStore {
    fn write_parts(&mut self, capture: Capture) -> Result<Manifest, CheckpointError> {
        let mut manifest = capture.manifest;
        let mut written = Vec::new();
        let mut stands_for = Written::default();
        let operators: Vec<String> =
            capture.snapshots.iter().map(|snapshot| snapshot.operator().to_owned()).collect();
        for (index, snapshot) in capture.snapshots.into_iter().enumerate() {
            stands_for.add(&*snapshot);
            let Some(groups) = self.increments.groups_to_write(&*snapshot) else { continue };
            let mut bytes = Vec::new();
            let name = format!("{}-{index}", manifest.id);
            let groups = snapshot
                .write(&groups, &mut bytes)
                .map_err(|source| CheckpointError::Write { path: PathBuf::from(&name), source })?;
            written.push(PartEntry {
                name: name.clone(),
                operator: snapshot.operator().to_owned(),
                groups,
                has_lists: snapshot.has_lists(),
                bytes: bytes.len() as u64,
                hash: *blake3::hash(&bytes).as_bytes(),
                store: None,
            });
            self.parts.insert(name, Arc::new(bytes));
        }
        manifest.parts = self.increments.merge(&operators, written);
        self.increments.completed(manifest.parts.clone(), stands_for);
        Ok(manifest)
    }
}

impl CheckpointStore for HeapStore {
    fn write(&mut self, capture: Capture) -> Result<Manifest, CheckpointError> {
        let written = self.write_parts(capture);
        if let Ok(manifest) = &written {
            self.newest = Some(manifest.clone());
        }
        // Also after a failure, which leaves parts nobody names.
        let newest = &self.newest;
        self.parts.retain(|name, _| {
            newest.iter().flat_map(|manifest| &manifest.parts).any(|part| part.name == *name)
        });
        written
    }

    fn newest(&mut self) -> Result<Option<Contents>, CheckpointError> {
        Ok(self.newest.as_ref().map(|manifest| {
            let part = |entry: &PartEntry| SavedPart {
                bytes: Arc::clone(&self.parts[&entry.name]),
                groups: entry.groups.iter().map(|group| group.group).collect(),
                has_lists: entry.has_lists,
                store: None,
            };
            Contents { parts: manifest.parts.iter().map(part).collect(), manifest: manifest.clone() }
        }))
    }

    fn start_empty(&mut self) {
        self.newest = None;
        self.parts.clear();
        self.increments.clear();
    }

    fn oldest_offset(&self) -> Option<Offset> {
        self.newest.as_ref().map(|manifest| manifest.offset)
    }

    fn next_id(&self) -> CheckpointId {
        CheckpointId(self.newest.as_ref().map_or(1, |manifest| manifest.id.0 + 1))
    }
}
