//! The spool: completed checkpoints as files in a local directory.
//!
//! ```text
//! <directory>/<job>/
//!   LOCK                                  one process at a time
//!   manifests/<id, 20 digits>.manifest    published last, by rename
//!   parts/<id>-<index>.part               one file an operator and subtask
//!   parts/<id>-<index>-<n>.file           a file of a store
//!   quarantine/                           manifests that name something damaged; never deleted by us, and their parts
//!                                         not before `retain` newer checkpoints are complete
//! ```
//!
//! One file holds all key groups of a subtask that changed, not one a key group: each file costs an fsync, and a card
//! does some ten of those a second. A checkpoint goes on using parts, and tables of stores, that earlier ones wrote; a
//! file is removed when no kept checkpoint names it.
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
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::increment::{Increments, Written};
use super::manifest::{FileEntry, Manifest, PartEntry, StoreEntry, is_part_name};
use super::part_file::{Damage, digest, read_manifest, read_parts, write_part};
use super::{Capture, CheckpointError, CheckpointId, CheckpointStore, Contents, Pins};
use crate::disk::Disk;
use crate::mutants::Mutant;
use crate::runtime::Offset;
use crate::state::PinnedFiles;

const MANIFEST_SUFFIX: &str = ".manifest";
const TEMPORARY_SUFFIX: &str = ".tmp";

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
    increments: Increments,
    /// What must stay because it is shipped; `None` without a remote.
    pins: Option<Pins>,
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
        let mut spool = Self { retain: retain.max(1), ..Self::look(disk, directory, job) };
        spool
            .prepare()
            .map_err(|source| CheckpointError::Directory { path: directory.to_owned(), source })?;
        Ok(spool)
    }

    /// A spool to read from: nothing is created, and nothing may be written.
    pub(super) fn look(disk: Arc<dyn Disk>, directory: &Path, job: &str) -> Self {
        Self {
            disk,
            job: job.to_owned(),
            manifests: directory.join("manifests"),
            parts: directory.join("parts"),
            quarantine: directory.join("quarantine"),
            retain: 1,
            last_id: CheckpointId(0),
            visible_after: CheckpointId(0),
            lineage: None,
            increments: Increments::default(),
            pins: None,
        }
    }

    /// Offers completed checkpoints for shipping, from now on.
    pub(crate) fn offer_to(&mut self, pins: Pins) {
        self.pins = Some(pins);
    }

    /// Publishes the manifest of a checkpoint whose parts were fetched from elsewhere and are in place.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn adopt(disk: &dyn Disk, directory: &Path, manifest: &Manifest) -> io::Result<()> {
        let manifests = directory.join("manifests");
        disk.create_directory(&manifests)?;
        let path = manifests.join(manifest_name(manifest.id));
        let temporary = path.with_extension("manifest.tmp");
        match disk.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write_manifest(disk, manifest, &temporary, &path)?;
        disk.sync_directory(&manifests)
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
    pub(super) fn manifest_ids(&self) -> io::Result<Vec<CheckpointId>> {
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

    pub(super) fn manifest_path(&self, id: CheckpointId) -> PathBuf {
        self.manifests.join(manifest_name(id))
    }

    pub(super) fn read_manifest(&self, id: CheckpointId) -> Result<Manifest, Damage> {
        let manifest = read_manifest(&*self.disk, &self.manifest_path(id))?;
        if manifest.job != self.job {
            return Err(Damage::Unreadable(format!("it belongs to the job {:?}", manifest.job)));
        }
        if manifest.id != id {
            return Err(Damage::Permanent(format!("it is checkpoint {} under another name", manifest.id)));
        }
        Ok(manifest)
    }

    pub(super) fn read_checkpoint(&self, id: CheckpointId) -> Result<Contents, Damage> {
        let manifest = self.read_manifest(id)?;
        let parts = read_parts(&*self.disk, &self.parts, &manifest)?;
        Ok(Contents { manifest, parts })
    }

    fn set_aside(&self, id: CheckpointId) {
        let to = self.quarantine.join(manifest_name(id));
        if let Err(error) = self.disk.rename(&self.manifest_path(id), &to) {
            tracing::warn!(checkpoint = %id, %error, "cannot move the damaged checkpoint to quarantine");
        }
    }

    /// Takes a store's files in: tables that an earlier checkpoint has stay where they are, others are moved or copied.
    fn take_files(&self, prefix: &str, pinned: &PinnedFiles, keys: u64) -> io::Result<StoreEntry> {
        let mut files = Vec::new();
        for (number, (file, is_table)) in pinned
            .tables
            .iter()
            .map(|file| (file, true))
            .chain(pinned.others.iter().map(|file| (file, false)))
            .enumerate()
        {
            if let Some(known) = self.increments.table(pinned, file).filter(|_| is_table) {
                files.push(known.clone());
                continue;
            }
            let name = format!("{prefix}-{number}.file");
            let (from, to) = (pinned.directory.join(file), self.parts.join(&name));
            if is_table {
                self.disk.link(&from, &to)?;
                // The store has synced it when it wrote it; that is cheap to make sure of.
                self.disk.append(&to)?.sync()?;
            } else {
                crate::disk::copy(&*self.disk, &from, &to)?;
            }
            let (bytes, hash) = digest(&*self.disk, &to)?;
            files.push(FileEntry { file: file.clone(), name, is_table, bytes, hash: *hash.as_bytes() });
        }
        Ok(StoreEntry { kind: pinned.kind.to_owned(), identity: pinned.identity, keys, files })
    }

    fn publish(&self, manifest: &Manifest) -> Result<(), CheckpointError> {
        let path = self.manifest_path(manifest.id);
        let temporary = path.with_extension("manifest.tmp");
        let write = || -> io::Result<()> {
            write_manifest(&*self.disk, manifest, &temporary, &path)?;
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
            kept.iter().flat_map(|manifest| &manifest.parts).flat_map(PartEntry::names).collect();
        let pinned = self.pins.as_ref().map(Pins::names).unwrap_or_default();
        for name in self.disk.list(&self.parts)? {
            let Some(id) = id_in(&name).filter(|_| is_part_name(&name)) else { continue };
            // A checkpoint newer than the oldest kept that is in quarantine, or that only another release can read,
            // keeps its parts.
            let is_claimed =
                named.contains(name.as_str()) || pinned.contains(&name) || unreadable.contains(&id);
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

    /// Removes checkpoints beyond those that are kept, without a new one.
    ///
    /// # Errors
    /// [`CheckpointError::Directory`]; what could not be removed is tried again after the next checkpoint.
    pub(crate) fn prune(&self) -> Result<(), CheckpointError> {
        let failed = |source| CheckpointError::Directory { path: self.manifests.clone(), source };
        self.collect_garbage().map_err(failed)
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

    /// Writes what changed; returns the manifest, and what it stands for.
    fn write_parts(&self, capture: Capture) -> Result<(Manifest, Written), CheckpointError> {
        let mut manifest =
            Manifest { lineage: self.lineage.unwrap_or(capture.manifest.id), ..capture.manifest };
        let mut written = Vec::new();
        let mut stands_for = Written::default();
        let operators: Vec<String> =
            capture.snapshots.iter().map(|snapshot| snapshot.operator().to_owned()).collect();
        for (index, snapshot) in capture.snapshots.into_iter().enumerate() {
            stands_for.add(&*snapshot);
            let Some(groups) = self.increments.groups_to_write(&*snapshot) else { continue };
            let prefix = format!("{:020}-{index}", manifest.id.0);
            let name = format!("{prefix}.part");
            let path = self.parts.join(&name);
            let failed = |source| CheckpointError::Write { path: path.clone(), source };
            let write = |out: &mut dyn Write| snapshot.write(&groups, out);
            let digest = write_part(&*self.disk, &path, write).map_err(failed)?;
            let store = match snapshot.pinned() {
                Some((pinned, keys)) => Some(self.take_files(&prefix, pinned, keys).map_err(failed)?),
                None => None,
            };
            written.push(PartEntry {
                name,
                operator: snapshot.operator().to_owned(),
                groups: digest.groups,
                has_lists: snapshot.has_lists(),
                bytes: digest.bytes,
                hash: digest.hash,
                store,
            });
        }
        if !written.is_empty() {
            self.disk
                .sync_directory(&self.parts)
                .map_err(|source| CheckpointError::Write { path: self.parts.clone(), source })?;
        }
        manifest.parts = self.increments.merge(&operators, written);
        Ok((manifest, stands_for))
    }
}

/// Brings a manifest under its name; the directory is still to be synced.
fn write_manifest(disk: &dyn Disk, manifest: &Manifest, temporary: &Path, path: &Path) -> io::Result<()> {
    let mut file = disk.create_new(temporary)?;
    file.write_all(&manifest.encode())?;
    file.sync()?;
    disk.rename(temporary, path)
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
        let written = self.write_parts(capture).and_then(|(manifest, stands_for)| {
            self.publish(&manifest)?;
            self.increments.completed(manifest.parts.clone(), stands_for);
            Ok(manifest)
        });
        match &written {
            Ok(manifest) => {
                // Before anything of it could be removed.
                if let Some(pins) = &self.pins {
                    pins.offer(manifest);
                }
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
                    self.increments.restored(&contents.manifest.parts);
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
        self.increments.clear();
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

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
