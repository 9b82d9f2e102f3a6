//! The spool: completed checkpoints as files in a local directory.
//!
//! ```text
//! <directory>/<job>/
//!   LOCK                                  one process at a time
//!   manifests/<id, 20 digits>.manifest    published last, by rename
//!   parts/<id>-<index>.part               one file an operator and subtask
//!   quarantine/                           manifests that name something damaged; never deleted by us
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

use super::manifest::{MANIFEST_BYTES_MAX, Manifest, PartEntry, is_part_name};
use super::{Capture, CheckpointError, CheckpointId, CheckpointStore, Contents};
use crate::disk::{Disk, DurableFile, read_whole};

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
}

/// Why a checkpoint is not whole.
enum Damage {
    /// It can never be used: set it aside.
    Permanent(String),
    /// It could not be read this time: leave it where it is.
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
        let manifest = Manifest::decode(&bytes).map_err(|error| Damage::Permanent(error.to_string()))?;
        if manifest.id != id || manifest.job != self.job {
            let theirs = format!("it belongs to checkpoint {} of job {:?}", manifest.id, manifest.job);
            return Err(Damage::Permanent(theirs));
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
            self.disk.sync_directory(&self.manifests)
        };
        write().map_err(|source| CheckpointError::Write { path: path.clone(), source })
    }

    /// Removes manifests beyond `retain`, then what no manifest names. A failure leaves garbage for the next time.
    fn collect_garbage(&self) -> io::Result<()> {
        let ids = self.manifest_ids()?;
        for id in ids.iter().skip(self.retain) {
            self.disk.remove(&self.manifest_path(*id))?;
        }
        if ids.len() > self.retain {
            self.disk.sync_directory(&self.manifests)?;
        }
        let mut named = BTreeSet::new();
        for id in ids.iter().take(self.retain) {
            match self.read_manifest(*id) {
                Ok(manifest) => named.extend(manifest.parts.into_iter().map(|part| part.name)),
                // What it names is unknown: delete nothing.
                Err(_) => return Ok(()),
            }
        }
        for name in self.disk.list(&self.parts)? {
            if is_part_name(&name) && id_in(&name).is_some() && !named.contains(&name) {
                self.disk.remove(&self.parts.join(name))?;
            }
        }
        for name in self.disk.list(&self.manifests)? {
            if id_in(&name).is_some() && name.ends_with(TEMPORARY_SUFFIX) {
                self.disk.remove(&self.manifests.join(name))?;
            }
        }
        Ok(())
    }

    fn write_parts(&self, capture: Capture) -> Result<Manifest, CheckpointError> {
        let mut manifest = capture.manifest;
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
        let written = self.write_parts(capture).and_then(|manifest| {
            self.publish(&manifest)?;
            Ok(manifest)
        });
        // Also after a failure: on a full disk its half-written parts must not stay.
        if let Err(error) = self.collect_garbage() {
            tracing::warn!(%error, "cannot remove old checkpoint files; they are tried again at the next one");
        }
        written
    }

    fn newest(&mut self) -> Result<Option<Contents>, CheckpointError> {
        let listed = self
            .manifest_ids()
            .map_err(|source| CheckpointError::Directory { path: self.manifests.clone(), source })?;
        let mut newest = None;
        for id in listed.into_iter().filter(|id| *id > self.visible_after) {
            match self.read_checkpoint(id) {
                Ok(contents) => {
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

/// The id a file name of ours starts with: 20 digits.
fn id_in(name: &str) -> Option<CheckpointId> {
    let digits = name.get(..20)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok().map(CheckpointId))?
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
