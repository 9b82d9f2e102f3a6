//! Bases: chunks of an earlier checkpoint that a changed chunk is packed against, so that few changed keys send few bytes
//! also where a part is written anew whole.
//!
//! A chunk of a part is changed almost always when some of its keys are; most of its bytes are not. zstd takes the chunks
//! that stood at its place in the checkpoint shipped before as a dictionary. Those are always chunks packed by themselves,
//! so what a restore fetches for a chunk does not grow; a chunk that gains little by its bases is packed by itself, and is
//! a base later.
//!
//! The device keeps the packed chunks of its newest shipped parts in `remote/bases/`: about as many bytes as the remote has
//! of them. They are written without a sync and checked by their hash when they are read: whatever is missing or damaged
//! there costs bytes on the link and nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chunk::{Packing, packed_bytes_max};
use super::manifest::{PlainChunk, ShippedManifest};
use crate::checkpoint::{Manifest, PartEntry};
use crate::disk::{Disk, read_whole};

/// Most bases of a chunk.
pub(super) const BASES_MAX: usize = 4;
/// How far from its place a key is looked for, in bytes.
const SLACK_BYTES: u64 = 16 << 10;
/// Bytes of a part that belong to no key group, at most; a part with more is not as it was written.
const LOOSE_BYTES_MAX: u64 = 16 << 10;
/// Chunks that are kept unpacked.
const UNPACKED_MAX: usize = BASES_MAX + 1;

/// Where the key groups of a part lie: group, and its first byte and the one behind it.
fn layout(entry: &PartEntry) -> Option<Vec<(u16, u64, u64)>> {
    let grouped = entry.groups.iter().fold(0_u64, |bytes, group| bytes.saturating_add(group.bytes));
    // A part of which another has taken over groups says less than it holds.
    let mut at = entry.bytes.checked_sub(grouped).filter(|loose| *loose <= LOOSE_BYTES_MAX)?;
    let groups = entry.groups.iter().map(|group| {
        let from = at;
        at += group.bytes;
        (group.group, from, at)
    });
    Some(groups.collect())
}

/// What stood where in the checkpoint shipped before.
#[derive(Debug, Default)]
pub(crate) struct Previous {
    /// By operator and group: the file, and where in it the group lies.
    groups: BTreeMap<(String, u16), (String, u64, u64)>,
    /// The base for each place of a file, by its first byte.
    files: BTreeMap<String, Vec<(u64, PlainChunk)>>,
}

impl Previous {
    pub(crate) fn of(manifest: &ShippedManifest, checkpoint: &Manifest) -> Self {
        let mut previous = Self::default();
        for entry in checkpoint.parts.iter().filter(|entry| entry.store.is_none()) {
            let Some(file) = manifest.files.iter().find(|file| file.name == entry.name) else { continue };
            let mut at = 0;
            let mut places = Vec::with_capacity(file.chunks.len());
            for chunk in &file.chunks {
                // Of several bases the first is the one at the chunk's own place.
                places.push((at, manifest.bases_of(chunk).first().copied().unwrap_or(chunk.plain())));
                at += u64::from(chunk.bytes);
            }
            previous.files.insert(entry.name.clone(), places);
            for (group, from, to) in layout(entry).unwrap_or_default() {
                let place = (entry.name.clone(), from, to);
                previous.groups.insert((entry.operator.clone(), group), place);
            }
        }
        previous
    }

    /// The bases for `bytes` bytes at `at` of a new part, the one for their middle first.
    pub(crate) fn bases(&self, entry: &PartEntry, at: u64, bytes: u64) -> Vec<PlainChunk> {
        let mut found: Vec<PlainChunk> = Vec::new();
        let middle = at + bytes / 2;
        let mut is_first_known = false;
        for (group, from, to) in layout(entry).unwrap_or_default() {
            if to <= at || from >= at + bytes {
                continue;
            }
            let Some((file, base_from, base_to)) = self.groups.get(&(entry.operator.clone(), group)) else {
                continue;
            };
            let Some(places) = self.files.get(file) else { continue };
            let moved = |position: u64| (base_from + position.clamp(from, to) - from).min(*base_to);
            let (low, high) = (moved(at).saturating_sub(SLACK_BYTES), moved(at + bytes) + SLACK_BYTES);
            let first = places.partition_point(|(start, _)| *start <= low).saturating_sub(1);
            let last = places.partition_point(|(start, _)| *start < high);
            for (_, base) in places.get(first..last).unwrap_or_default() {
                if !found.contains(base) {
                    found.push(*base);
                }
            }
            if !is_first_known && (from..to).contains(&middle) {
                let own = places.partition_point(|(start, _)| *start <= moved(middle)).saturating_sub(1);
                let own = places.get(own).and_then(|(_, base)| found.iter().position(|found| found == base));
                if let Some(own) = own {
                    found.swap(0, own);
                    is_first_known = true;
                }
            }
        }
        found.truncate(BASES_MAX);
        found
    }
}

/// Chunks that were unpacked last, newest first.
#[derive(Debug, Default)]
pub(crate) struct Unpacked(VecDeque<(PlainChunk, Arc<Vec<u8>>)>);

impl Unpacked {
    pub(crate) fn get(&self, chunk: &PlainChunk) -> Option<Arc<Vec<u8>>> {
        self.0.iter().find(|(known, _)| known == chunk).map(|(_, bytes)| Arc::clone(bytes))
    }

    pub(crate) fn insert(&mut self, chunk: PlainChunk, bytes: Vec<u8>) -> Arc<Vec<u8>> {
        let bytes = Arc::new(bytes);
        self.0.push_front((chunk, Arc::clone(&bytes)));
        self.0.truncate(UNPACKED_MAX);
        bytes
    }
}

/// The bases on this device.
#[derive(Debug, Clone)]
pub(crate) struct BaseFolder {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    packing: Packing,
}

impl BaseFolder {
    /// That of the job whose folder is `directory`.
    pub(crate) fn of(disk: Arc<dyn Disk>, directory: &Path, packing: Packing) -> Self {
        Self { disk, directory: directory.join("remote").join("bases"), packing }
    }

    fn path(&self, chunk: &PlainChunk) -> PathBuf {
        self.directory.join(self.packing.object(&chunk.hash(), &[]).to_hex().as_str())
    }

    /// The bytes of a chunk, if they are here and good.
    pub(crate) fn read(&self, chunk: &PlainChunk) -> Option<Vec<u8>> {
        let path = self.path(chunk);
        let packed = read_whole(&*self.disk, &path, packed_bytes_max(chunk.bytes)).ok()?;
        let bytes = self.packing.unpack(&packed, chunk.bytes, &chunk.hash(), &[], &[]);
        if bytes.is_none() {
            self.remove(&path);
        }
        bytes
    }

    /// Keeps a packed chunk. What cannot be kept is not there later.
    pub(crate) fn keep(&self, chunk: &PlainChunk, packed: &[u8]) {
        let path = self.path(chunk);
        let write = || -> std::io::Result<()> {
            self.disk.create_directory(&self.directory)?;
            self.disk.create_new(&path)?.write_all(packed)
        };
        match write() {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                tracing::debug!(%error, "a base for later checkpoints is not kept");
                self.remove(&path);
            }
            Ok(()) => {}
        }
    }

    /// Removes all but these chunks.
    pub(crate) fn retain(&self, chunks: &BTreeSet<PlainChunk>) {
        let kept: BTreeSet<PathBuf> = chunks.iter().map(|chunk| self.path(chunk)).collect();
        for name in self.disk.list(&self.directory).unwrap_or_default() {
            let path = self.directory.join(name);
            if !kept.contains(&path) {
                self.remove(&path);
            }
        }
    }

    fn remove(&self, path: &Path) {
        if let Err(error) = self.disk.remove(path) {
            tracing::debug!(path = %path.display(), %error, "a base is not removed");
        }
    }
}
