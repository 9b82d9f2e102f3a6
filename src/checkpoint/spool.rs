//! The spool: completed checkpoints as files in a local directory.
//!
//! ```text
//! <directory>/<job>/
//!   LOCK                                  one process at a time
//!   manifests/<id, 20 digits>.manifest    published last, by rename
//!   parts/<id>-<index>.part               one file an operator and subtask
//!   quarantine/                           manifests that name something damaged; never deleted by us, and their parts
//!                                         not before `retain` newer checkpoints are complete
//! ```
//!
//! One file holds all key groups of a subtask, not one a key group: each file costs an fsync, and a card does
//! some ten of those a second.
//!
//! Limits: the newest `retain` checkpoints are kept; a manifest is at most 16 MiB.
//!
//! What a crash leaves behind, by step of `write`:
//!   1. parts written, synced, their directory synced    → parts no manifest names: collected at the next write
//!   2. manifest written and synced under a `.tmp` name  → the same, and a `.tmp` file: collected
//!   3. renamed, directory synced                        → a completed checkpoint
//!   4. manifests beyond `retain` removed, synced        → parts no manifest names: collected
//!   5. parts no kept manifest names removed
//!
//! Callers: the coordinator, on a blocking thread.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{MANIFEST_BYTES_MAX, Manifest, ManifestError, PartEntry, is_part_name};
use super::{Capture, CheckpointError, CheckpointId, CheckpointStore, Contents};
use crate::disk::{Disk, DurableFile, read_whole};
use crate::mutants::Mutant;
use crate::runtime::Offset;

const MANIFEST_SUFFIX: &str = ".manifest";
const TEMPORARY_SUFFIX: &str = ".tmp";
const WRITE_BUFFER_BYTES: usize = 128 * 1024;

/// Checkpoints in a local directory.
#[derive(Debug)]
pub(crate) struct Spool {
    disk: Arc<dyn Disk>,
    job: String,
    manifests: PathBuf,
    parts: PathBuf,
    quarantine: PathBuf,
    retain: usize,
    last_id: CheckpointId,
    /// Checkpoints up to this one are not restored from.
    visible_after: CheckpointId,
    /// First checkpoint of the history this process continues or began.
    lineage: Option<CheckpointId>,
}

/// Why a checkpoint is not whole.
enum Damage {
    /// It can never be used: set it aside.
    Permanent(String),
    /// It could not be read this time, or only another release or job can: leave it where it is.
    Unreadable(String),
}

impl Spool {
    /// Opens the spool of `job` under `directory`, creating it where missing. `retain` is at least 1.
    ///
    /// # Errors
    /// [`CheckpointError::Directory`] when the directory cannot be made, written to or listed.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        job: &str,
        retain: usize,
    ) -> Result<Self, CheckpointError> {
        let mut spool = Self {
            disk,
            job: job.to_owned(),
            manifests: directory.join("manifests"),
            parts: directory.join("parts"),
            quarantine: directory.join("quarantine"),
            retain: retain.max(1),
            last_id: CheckpointId(0),
            visible_after: CheckpointId(0),
            lineage: None,
        };
        spool
            .prepare()
            .map_err(|source| CheckpointError::Directory { path: directory.to_owned(), source })?;
        Ok(spool)
    }

    fn prepare(&mut self) -> io::Result<()> {
        for directory in [&self.manifests, &self.parts, &self.quarantine] {
            self.disk.create_directory(directory)?;
        }
        // Ids of quarantined and half-written checkpoints are not given again.
        for directory in [&self.manifests, &self.parts, &self.quarantine] {
            for name in self.disk.list(directory)? {
                self.last_id = self.last_id.max(id_in(&name).unwrap_or(CheckpointId(0)));
            }
        }
        Ok(())
    }

    /// Manifest files, newest first. Names that are not ours are passed over.
    fn manifest_ids(&self) -> io::Result<Vec<CheckpointId>> {
        let mut ids: Vec<CheckpointId> = self
            .disk
            .list(&self.manifests)?
            .iter()
            .filter(|name| name.ends_with(MANIFEST_SUFFIX))
            .filter_map(|name| id_in(name).filter(|id| *name == manifest_name(*id)))
            .collect();
        ids.sort_unstable_by(|left, right| right.cmp(left));
        Ok(ids)
    }

    fn manifest_path(&self, id: CheckpointId) -> PathBuf {
        self.manifests.join(manifest_name(id))
    }

    fn read_manifest(&self, id: CheckpointId) -> Result<Manifest, Damage> {
        let bytes =
            read_whole(&*self.disk, &self.manifest_path(id), MANIFEST_BYTES_MAX).map_err(unreadable)?;
        let manifest = Manifest::decode(&bytes).map_err(|error| match error {
            ManifestError::Version(_) => Damage::Unreadable(error.to_string()),
            ManifestError::Foreign | ManifestError::Damaged => Damage::Permanent(error.to_string()),
        })?;
        if manifest.job != self.job {
            return Err(Damage::Unreadable(format!("it belongs to the job {:?}", manifest.job)));
        }
        if manifest.id != id {
            return Err(Damage::Permanent(format!("it is checkpoint {} under another name", manifest.id)));
        }
        Ok(manifest)
    }

    fn read_checkpoint(&self, id: CheckpointId) -> Result<Contents, Damage> {
        let manifest = self.read_manifest(id)?;
        let mut parts = Vec::with_capacity(manifest.parts.len());
        for entry in &manifest.parts {
            let bytes =
                read_whole(&*self.disk, &self.parts.join(&entry.name), entry.bytes).map_err(|error| {
                    match error.kind() {
                        io::ErrorKind::NotFound | io::ErrorKind::InvalidData => {
                            Damage::Permanent(format!("part {}: {error}", entry.name))
                        }
                        _ => Damage::Unreadable(format!("part {}: {error}", entry.name)),
                    }
                })?;
            if bytes.len() as u64 != entry.bytes {
                let length = bytes.len();
                let message = format!("part {} has {length} bytes instead of {}", entry.name, entry.bytes);
                return Err(Damage::Permanent(message));
            }
            if *blake3::hash(&bytes).as_bytes() != entry.hash {
                return Err(Damage::Permanent(format!("part {} does not match its hash", entry.name)));
            }
            parts.push(Arc::new(bytes));
        }
        Ok(Contents { manifest, parts })
    }

    fn set_aside(&self, id: CheckpointId) {
        let to = self.quarantine.join(manifest_name(id));
        if let Err(error) = self.disk.rename(&self.manifest_path(id), &to) {
            tracing::warn!(checkpoint = %id, %error, "cannot move the damaged checkpoint to quarantine");
        }
    }

    fn write_part(&self, path: &Path, snapshot: &dyn crate::state::StateSnapshot) -> io::Result<PartDigest> {
        let file = self.disk.create_new(path)?;
        let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, HashedFile::new(file));
        let keys = snapshot.write(&mut out)?;
        let mut hashed = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        hashed.file.sync()?;
        Ok(PartDigest { keys, bytes: hashed.bytes, hash: *hashed.hasher.finalize().as_bytes() })
    }

    fn publish(&self, manifest: &Manifest) -> Result<(), CheckpointError> {
        let path = self.manifest_path(manifest.id);
        let temporary = path.with_extension("manifest.tmp");
        let write = || -> io::Result<()> {
            let mut file = self.disk.create_new(&temporary)?;
            file.write_all(&manifest.encode())?;
            file.sync()?;
            self.disk.rename(&temporary, &path)?;
            if Mutant::NoDirectorySync.is_on() {
                return Ok(());
            }
            self.disk.sync_directory(&self.manifests)
        };
        write().map_err(|source| CheckpointError::Write { path: path.clone(), source })
    }

    /// Removes whole checkpoints beyond `retain`, then parts that nothing kept may name. What cannot be removed is
    /// tried again after the next checkpoint.
    fn collect_garbage(&self) -> io::Result<()> {
        let mut kept = Vec::new();
        let mut unreadable = BTreeSet::new();
        let mut removed = false;
        for id in self.manifest_ids()? {
            match self.read_manifest(id) {
                Ok(manifest) if kept.len() < self.retain => kept.push(manifest),
                Ok(_) => removed |= self.remove(&self.manifest_path(id)),
                // Left where it is it would keep the journal from being cut for ever.
                Err(Damage::Permanent(reason)) => {
                    tracing::warn!(checkpoint = %id, %reason, "an older checkpoint is damaged: moved to quarantine");
                    self.set_aside(id);
                }
                Err(Damage::Unreadable(_)) => drop(unreadable.insert(id)),
            }
        }
        if removed {
            self.disk.sync_directory(&self.manifests)?;
        }
        let Some(oldest) = kept.last().map(|manifest| manifest.id) else { return Ok(()) };
        let named: BTreeSet<&str> =
            kept.iter().flat_map(|manifest| &manifest.parts).map(|part| part.name.as_str()).collect();
        for name in self.disk.list(&self.parts)? {
            let Some(id) = id_in(&name).filter(|_| is_part_name(&name)) else { continue };
            // A checkpoint newer than the oldest kept that is in quarantine, or that only another release can read,
            // keeps its parts.
            let is_claimed = named.contains(name.as_str()) || unreadable.contains(&id);
            if !is_claimed && (id < oldest || !self.is_quarantined(id)) {
                self.remove(&self.parts.join(name));
            }
        }
        for name in self.disk.list(&self.manifests)? {
            if id_in(&name).is_some() && name.ends_with(TEMPORARY_SUFFIX) {
                self.remove(&self.manifests.join(name));
            }
        }
        Ok(())
    }

    fn is_quarantined(&self, id: CheckpointId) -> bool {
        self.disk.open(&self.quarantine.join(manifest_name(id))).is_ok()
    }

    /// Removes what a checkpoint that was not published has written.
    fn remove_unpublished(&self, id: CheckpointId) {
        for directory in [&self.manifests, &self.parts] {
            for name in self.disk.list(directory).unwrap_or_default() {
                if id_in(&name) == Some(id) && name != manifest_name(id) {
                    self.remove(&directory.join(name));
                }
            }
        }
    }

    /// True when it was removed.
    fn remove(&self, path: &Path) -> bool {
        let outcome = self.disk.remove(path);
        if let Err(error) = &outcome {
            tracing::warn!(path = %path.display(), %error, "cannot remove an old checkpoint file");
        }
        outcome.is_ok()
    }

    fn write_parts(&self, capture: Capture) -> Result<Manifest, CheckpointError> {
        let mut manifest =
            Manifest { lineage: self.lineage.unwrap_or(capture.manifest.id), ..capture.manifest };
        for (index, snapshot) in capture.snapshots.iter().enumerate() {
            let name = format!("{:020}-{index}.part", manifest.id.0);
            let path = self.parts.join(&name);
            let digest = self
                .write_part(&path, &**snapshot)
                .map_err(|source| CheckpointError::Write { path: path.clone(), source })?;
            manifest.parts.push(PartEntry {
                name,
                operator: snapshot.operator().to_owned(),
                keys: digest.keys,
                bytes: digest.bytes,
                hash: digest.hash,
            });
        }
        self.disk
            .sync_directory(&self.parts)
            .map_err(|source| CheckpointError::Write { path: self.parts.clone(), source })?;
        Ok(manifest)
    }
}

impl CheckpointStore for Spool {
    fn write(&mut self, capture: Capture) -> Result<Manifest, CheckpointError> {
        let id = capture.manifest.id;
        assert!(id > self.last_id, "checkpoint ids ascend");
        self.last_id = id;
        self.lineage.get_or_insert(id);
        if Mutant::DeleteBeforePublish.is_on() {
            for older in self.manifest_ids().unwrap_or_default() {
                self.remove(&self.manifest_path(older));
            }
        }
        let written = self.write_parts(capture).and_then(|manifest| {
            self.publish(&manifest)?;
            Ok(manifest)
        });
        match &written {
            Ok(_) => {
                if let Err(error) = self.collect_garbage() {
                    tracing::warn!(%error, "cannot look for old checkpoint files; the next checkpoint tries again");
                }
            }
            // On a full disk its half-written parts must not stay. When it was published after all, and only the last
            // sync failed, its parts do.
            Err(_) if self.disk.open(&self.manifest_path(id)).is_err() => self.remove_unpublished(id),
            Err(_) => {}
        }
        written
    }

    fn newest(&mut self) -> Result<Option<Contents>, CheckpointError> {
        let listed = self
            .manifest_ids()
            .map_err(|source| CheckpointError::Directory { path: self.manifests.clone(), source })?;
        let mut newest: Option<Contents> = None;
        // The start of the newest history there is: one abandoned by a fresh start is not fallen back to.
        let lineage = listed.iter().filter_map(|id| Some(self.read_manifest(*id).ok()?.lineage)).max();
        for id in listed.into_iter().filter(|id| *id > self.visible_after && Some(*id) >= lineage) {
            match self.read_checkpoint(id) {
                Ok(contents) => {
                    self.lineage = Some(contents.manifest.lineage);
                    newest = Some(contents);
                    break;
                }
                Err(Damage::Permanent(reason)) => {
                    tracing::warn!(checkpoint = %id, %reason, "checkpoint is damaged: moved to quarantine, trying the one before it");
                    self.set_aside(id);
                }
                Err(Damage::Unreadable(reason)) => {
                    tracing::warn!(checkpoint = %id, %reason, "checkpoint cannot be read: trying the one before it");
                }
            }
        }
        Ok(newest)
    }

    fn start_empty(&mut self) {
        self.visible_after = self.last_id;
        self.lineage = Some(self.next_id());
    }

    fn oldest_offset(&self) -> Option<Offset> {
        let ids = self.manifest_ids().ok()?;
        let mut oldest: Option<Offset> = None;
        for id in ids {
            match self.read_manifest(id) {
                Ok(manifest) if Some(manifest.lineage) == self.lineage => {
                    oldest = Some(oldest.map_or(manifest.offset, |oldest| oldest.min(manifest.offset)));
                }
                Ok(_) => {}
                // What it needs is unknown: nothing is given up.
                Err(_) => return None,
            }
        }
        oldest
    }

    fn next_id(&self) -> CheckpointId {
        CheckpointId(self.last_id.0 + 1)
    }
}

struct PartDigest {
    keys: u64,
    bytes: u64,
    hash: [u8; 32],
}

/// A file that hashes and counts what is written to it.
struct HashedFile {
    file: Box<dyn DurableFile>,
    hasher: Box<blake3::Hasher>,
    bytes: u64,
}

impl HashedFile {
    fn new(file: Box<dyn DurableFile>) -> Self {
        Self { file, hasher: Box::new(blake3::Hasher::new()), bytes: 0 }
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        let (done, _) = bytes.split_at(written);
        self.hasher.update(done);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn manifest_name(id: CheckpointId) -> String {
    format!("{:020}{MANIFEST_SUFFIX}", id.0)
}

/// Highest id a name of ours can hold: one checkpoint each millisecond for 30,000 years. Beyond it a name is foreign.
const ID_MAX: u64 = 1_000_000_000_000_000;

/// The id a file name of ours starts with: 20 digits.
fn id_in(name: &str) -> Option<CheckpointId> {
    let digits = name.get(..20).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|id| *id <= ID_MAX).map(CheckpointId)
}

fn unreadable(error: io::Error) -> Damage {
    match error.kind() {
        io::ErrorKind::InvalidData => Damage::Permanent(error.to_string()),
        _ => Damage::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
