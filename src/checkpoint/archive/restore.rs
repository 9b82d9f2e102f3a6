//! Restoring: a checkpoint on a remote becomes a completed checkpoint of the local directory.
//!
//! Steps, and what a crash leaves behind:
//!   1. files are fetched to `remote/incoming/`, chunk by chunk, each checked   → the next restore goes on where it broke off
//!   2. every file is there and has the hash its checkpoint says; synced
//!   3. they are moved to `parts/`, the directory synced                        → parts no manifest names
//!   4. the checkpoint's manifest is written, synced, renamed                   → a completed checkpoint
//!
//! A checkpoint that is damaged on the remote is passed over for the one before it, saying so.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::chunk::{packed_bytes_max, unpack};
use super::error::Unusable;
use super::manifest::{Shipped, ShippedChunk, ShippedFile, files_of};
use super::mark::MarkFile;
use super::paths::ManifestName;
use super::{Archive, ArchiveError};
use crate::checkpoint::{CheckpointId, Spool};
use crate::disk::{Disk, DurableFile};
use crate::remote::RemoteError;

/// Times a call is tried that may succeed later.
const ATTEMPTS_MAX: u32 = 5;

/// Which checkpoint is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// This one; without it the newest that is whole.
    pub(crate) id: Option<CheckpointId>,
    /// Also one older than what this device has seen.
    pub(crate) accept_rollback: bool,
}

/// How far a restore has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// This checkpoint is fetched.
    Chosen { id: CheckpointId, bytes: u64 },
    /// So many bytes of it are there.
    Fetched { bytes: u64 },
}

/// A manifest, and what is wrong with it where it cannot be used.
pub(crate) type Entry = (ManifestName, Result<Shipped, ArchiveError>);

/// Restores from one archive.
pub(crate) struct Restorer<'a> {
    archive: &'a Archive,
    disk: Arc<dyn Disk>,
    /// The job's folder.
    directory: PathBuf,
    backoff: Backoff,
    /// Makes a pause; tests make none.
    pause: fn(Duration),
}

impl<'a> Restorer<'a> {
    pub(crate) fn new(archive: &'a Archive, disk: Arc<dyn Disk>, directory: &Path) -> Self {
        let seed = u64::from(std::process::id());
        Self {
            archive,
            disk,
            directory: directory.to_owned(),
            backoff: Backoff::new(seed),
            pause: std::thread::sleep,
        }
    }

    #[cfg(test)]
    pub(super) fn without_pauses(self) -> Self {
        Self { pause: |_| (), ..self }
    }

    /// Every manifest, newest first, with what is wrong with those that cannot be used.
    ///
    /// # Errors
    /// The remote's.
    pub(crate) fn list(&mut self) -> Result<Vec<Entry>, ArchiveError> {
        let archive = self.archive;
        let names = self.retry(|| Ok(archive.manifests()?))?;
        let current = self.retry(|| Ok(archive.incarnation()?))?;
        let mut listed = Vec::new();
        for name in names {
            let read = match self.retry(|| archive.manifest(&name)) {
                // Two devices shipped under one number; only one of them counts.
                Ok(shipped)
                    if current.is_some_and(|current| {
                        current.number == name.incarnation && current.id != shipped.manifest.incarnation.id
                    }) =>
                {
                    let reason = Unusable::Contradiction("its incarnation does not count");
                    Err(ArchiveError::unusable(&archive.paths.manifest(&name), reason))
                }
                Err(error) if !matches!(error, ArchiveError::Unusable { .. }) => return Err(error),
                read => read,
            };
            listed.push((name, read));
        }
        Ok(listed)
    }

    /// Restores; `None` when there is nothing on the remote at all.
    ///
    /// # Errors
    /// [`ArchiveError`]; what is in the local directory is as it was, but for files in `remote/incoming/`.
    pub(crate) fn restore(
        &mut self,
        wanted: Wanted,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Option<Shipped>, ArchiveError> {
        let mut last = None;
        let listed = self.list()?;
        let tried = listed.len();
        self.check_rollback(&listed, wanted)?;
        for (_, read) in listed {
            let shipped = match read {
                Ok(shipped) if wanted.id.is_some_and(|id| id != shipped.checkpoint.id) => continue,
                Ok(shipped) => shipped,
                Err(error) => {
                    tracing::warn!(%error, "a checkpoint on the remote is passed over");
                    last = Some(error);
                    continue;
                }
            };
            match self.install(&shipped, progress) {
                Ok(()) => return Ok(Some(shipped)),
                Err(error @ ArchiveError::Unusable { .. }) => {
                    tracing::warn!(
                        checkpoint = %shipped.checkpoint.id, %error,
                        "a checkpoint on the remote is damaged: the one before it is tried"
                    );
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let address = self.archive.store.address().to_owned();
        match (wanted.id, last) {
            (Some(checkpoint), None) => Err(ArchiveError::Absent { checkpoint, address }),
            (_, Some(last)) => Err(ArchiveError::NothingWhole { address, tried, last: Box::new(last) }),
            (None, None) => Ok(None),
        }
    }

    fn check_rollback(&self, listed: &[Entry], wanted: Wanted) -> Result<(), ArchiveError> {
        let newest = listed.iter().find_map(|(_, read)| read.as_ref().ok());
        let Some(newest) = newest else { return Ok(()) };
        let (found, address) = (newest.manifest.generation, self.archive.store.address());
        match MarkFile::of(Arc::clone(&self.disk), &self.directory).read(&self.archive.identity()) {
            Some(mark) if found < mark.generation && !wanted.accept_rollback => {
                Err(ArchiveError::RolledBack { address: address.to_owned(), found, seen: mark.generation })
            }
            Some(_) => Ok(()),
            None => {
                tracing::warn!(
                    remote = address,
                    generation = found,
                    "this directory has not seen the remote before: whether its newest checkpoint is the newest there was \
                     cannot be told"
                );
                Ok(())
            }
        }
    }

    /// Reads every byte of a checkpoint; nothing is kept.
    ///
    /// # Errors
    /// [`ArchiveError::Unusable`] when it is not whole, and the remote's.
    pub(crate) fn verify(&mut self, shipped: &Shipped) -> Result<(), ArchiveError> {
        let hashes = files_of(&shipped.checkpoint);
        for file in &shipped.manifest.files {
            let mut hasher = blake3::Hasher::new();
            for chunk in &file.chunks {
                hasher.update(&self.fetch(chunk)?);
            }
            self.check_hash(file, &hasher, &hashes)?;
        }
        Ok(())
    }

    fn check_hash(
        &self,
        file: &ShippedFile,
        hasher: &blake3::Hasher,
        hashes: &std::collections::BTreeMap<&str, (u64, [u8; 32])>,
    ) -> Result<(), ArchiveError> {
        let is_good = hashes.get(file.name.as_str()).is_some_and(|(_, hash)| hasher.finalize() == *hash);
        if is_good {
            return Ok(());
        }
        let reason = Unusable::Contradiction("its chunks do not make up its files");
        Err(ArchiveError::unusable(&self.archive.paths.manifests(), reason))
    }

    fn install(&mut self, shipped: &Shipped, progress: &mut dyn FnMut(Step)) -> Result<(), ArchiveError> {
        let id = shipped.checkpoint.id;
        progress(Step::Chosen { id, bytes: shipped.checkpoint.state_bytes() });
        let incoming = self.directory.join("remote").join("incoming");
        let parts = self.directory.join("parts");
        for directory in [&incoming, &parts] {
            self.disk.create_directory(directory).map_err(local("create", directory))?;
        }
        let mut fetched_bytes = 0;
        for file in &shipped.manifest.files {
            self.fetch_file(&incoming.join(&file.name), file, shipped, &mut |bytes| {
                fetched_bytes += bytes;
                progress(Step::Fetched { bytes: fetched_bytes });
            })?;
        }
        for file in &shipped.manifest.files {
            let (from, to) = (incoming.join(&file.name), parts.join(&file.name));
            self.disk.rename(&from, &to).map_err(local("move to its place", &from))?;
        }
        self.disk.sync_directory(&parts).map_err(local("sync", &parts))?;
        Spool::adopt(&*self.disk, &self.directory, &shipped.checkpoint)
            .map_err(local("write the manifest in", &self.directory))?;
        // What an earlier attempt left of another checkpoint.
        self.disk.remove_directory(&incoming).map_err(local("clear", &incoming))
    }

    /// Fetches a file. What is there of it already, from an attempt that was cut, is checked and kept.
    fn fetch_file(
        &mut self,
        path: &Path,
        file: &ShippedFile,
        shipped: &Shipped,
        fetched: &mut dyn FnMut(u64),
    ) -> Result<(), ArchiveError> {
        let mut hasher = blake3::Hasher::new();
        let kept = kept_chunks(&*self.disk, path, file, &mut hasher).map_err(local("read", path))?;
        let kept_bytes: u64 = file.chunks.iter().take(kept).map(|chunk| u64::from(chunk.bytes)).sum();
        fetched(kept_bytes);
        let mut out: Box<dyn DurableFile> = self.disk.append(path).map_err(local("write", path))?;
        self.disk.truncate(path, kept_bytes).map_err(local("cut", path))?;
        for chunk in file.chunks.iter().skip(kept) {
            let bytes = self.fetch(chunk)?;
            hasher.update(&bytes);
            out.write_all(&bytes).map_err(local("write", path))?;
            fetched(bytes.len() as u64);
        }
        self.check_hash(file, &hasher, &files_of(&shipped.checkpoint))?;
        out.sync().map_err(local("sync", path))
    }

    fn fetch(&mut self, chunk: &ShippedChunk) -> Result<Vec<u8>, ArchiveError> {
        let archive = self.archive;
        let hash = chunk.hash();
        let name = archive.paths.chunk(&hash);
        let packed = match self.retry(|| Ok(archive.store.get(&name, packed_bytes_max(chunk.bytes))?)) {
            Err(ArchiveError::Remote(RemoteError::NotFound { .. })) => {
                return Err(ArchiveError::unusable(
                    &name,
                    Unusable::Contradiction("a manifest names it and it is missing"),
                ));
            }
            Err(ArchiveError::Remote(RemoteError::TooLong { .. })) => {
                return Err(ArchiveError::unusable(&name, Unusable::Damaged));
            }
            packed => packed?,
        };
        unpack(&packed, chunk.bytes, &hash).ok_or_else(|| ArchiveError::unusable(&name, Unusable::Damaged))
    }

    fn retry<T>(&mut self, mut call: impl FnMut() -> Result<T, ArchiveError>) -> Result<T, ArchiveError> {
        loop {
            match call() {
                Err(error) if error.may_pass() && self.backoff.failures() + 1 < ATTEMPTS_MAX => {
                    let pause = self.backoff.failed();
                    tracing::warn!(%error, retry_in_ms = pause.as_millis(), "the remote fails: tried again");
                    (self.pause)(pause);
                }
                outcome => {
                    self.backoff.succeeded();
                    return outcome;
                }
            }
        }
    }
}

fn local(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
    let path = path.to_owned();
    move |source| ArchiveError::Local { operation, path, source }
}

/// Number of chunks at the beginning of a file that are right; they are hashed.
fn kept_chunks(
    disk: &dyn Disk,
    path: &Path,
    file: &ShippedFile,
    hasher: &mut blake3::Hasher,
) -> io::Result<usize> {
    let mut reader = match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?.0,
    };
    for (kept, chunk) in file.chunks.iter().enumerate() {
        let mut bytes = Vec::new();
        reader.by_ref().take(u64::from(chunk.bytes)).read_to_end(&mut bytes)?;
        if bytes.len() != chunk.bytes as usize || blake3::hash(&bytes) != chunk.hash() {
            return Ok(kept);
        }
        hasher.update(&bytes);
    }
    Ok(file.chunks.len())
}
