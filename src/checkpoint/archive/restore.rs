//! Restoring: a checkpoint on a remote becomes a completed checkpoint of the local directory.
//!
//! Steps, and what a crash leaves behind:
//!   1. files are fetched to `remote/incoming/`, chunk by chunk, each checked   → the next restore goes on where it broke off
//!   2. every file is there and has the hash its checkpoint says; synced
//!   3. the journal that carries the checkpoint on is fetched there too (see `replica`), each time anew
//!   4. the caller looks whether the state fits the job
//!   5. they are moved to `parts/`, the directory synced                        → parts no manifest names
//!   6. the journal takes the place of what is left of one here                 → segments that no checkpoint needs yet
//!   7. the checkpoint's manifest is written, synced, renamed                   → a completed checkpoint
//!   8. the generation is remembered (see `mark`)
//!
//! Up to step 4 nothing of the local state is touched: a disk that is full, a link that breaks or state that does not fit
//! leaves it as it was. A file that is among the parts already and has the right hash is not fetched.
//!
//! A checkpoint that is damaged on the remote is passed over for the one before it, saying so.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::base::Unpacked;
use super::chunk::packed_bytes_max;
use super::error::Unusable;
use super::manifest::{PlainChunk, Shipped, ShippedChunk, ShippedFile, files_of};
use super::mark::MarkFile;
use super::paths::ManifestName;
use super::replica::Replica;
use super::{Archive, ArchiveError};
use crate::checkpoint::part_file::{check_file, read_parts};
use crate::checkpoint::{CheckpointId, Contents, Reached, Spool};
use crate::disk::{Disk, DurableFile};
use crate::remote::RemoteError;
use crate::runtime::Offset;

/// Times a call is tried that may succeed later.
const ATTEMPTS_MAX: u32 = 5;
/// Times manifests are listed when all that were listed are gone before they are read.
const LISTINGS_MAX: u32 = 5;

/// Which checkpoint is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// This one; without it the newest that is whole.
    pub(crate) id: Option<CheckpointId>,
    /// Also one older than what this device has seen.
    pub(crate) accept_rollback: bool,
    /// The newest on the remote must be of this generation at least: for a device that has seen nothing yet.
    pub(crate) min_generation: u64,
}

/// A checkpoint that is fetched whole and verified, and not installed yet.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) shipped: Shipped,
    /// The journal that carries it on.
    pub(crate) journal: Option<Replica>,
    /// How far the device that shipped had come, as far as the remote knows.
    pub(crate) reached: Reached,
    /// When that was, in milliseconds since 1970 by that device's clock.
    pub(crate) heard_ms: i64,
}

/// What the device that shipped had taken in behind what is restored, as far as the remote knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    /// First and last batch.
    pub(crate) batches: (Offset, Offset),
    pub(crate) readings: u64,
    /// First and last line of each client that asked for acknowledgements.
    pub(crate) clients: Vec<(String, u64, u64)>,
}

impl Fetched {
    /// How far what is restored goes: the checkpoint, and the journal behind it.
    pub(crate) fn restored(&self) -> Reached {
        let mut restored = Reached::of(&self.shipped.checkpoint);
        if let Some(journal) = &self.journal {
            let Reached { offset, readings, clients } = &journal.reached;
            (restored.offset, restored.readings) = (*offset, *readings);
            restored.clients = latest(&restored.clients, clients);
        }
        restored
    }

    /// What is lost with what is restored, unless a journal here or the senders still have it.
    pub(crate) fn lost(&self) -> Option<Lost> {
        let restored = self.restored();
        if self.reached.offset <= restored.offset {
            return None;
        }
        let held = |client: &str| {
            restored.clients.iter().find(|(held, _)| held == client).map_or(0, |(_, lines)| *lines)
        };
        let clients =
            self.reached.clients.iter().map(|(client, lines)| (client.clone(), held(client) + 1, *lines));
        Some(Lost {
            batches: (restored.offset.next(), self.reached.offset),
            readings: self.reached.readings.saturating_sub(restored.readings),
            clients: clients.filter(|(_, from, through)| from <= through).collect(),
        })
    }
}

/// The last line of each client in either.
pub(super) fn latest(left: &[(String, u64)], right: &[(String, u64)]) -> Vec<(String, u64)> {
    let mut latest: std::collections::BTreeMap<String, u64> = left.iter().cloned().collect();
    for (client, lines) in right {
        let known = latest.entry(client.clone()).or_default();
        *known = (*known).max(*lines);
    }
    latest.into_iter().collect()
}

/// Where what is read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// To `remote/incoming/`.
    Files,
    /// It is only looked at.
    Nothing,
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

/// Of `entries`, newest first, those that a cut upload left: short, and never whole, for the one that came next was not
/// chained to it. Where nothing is whole only the first of all can be told from one that was damaged.
pub(crate) fn cut_uploads(entries: &[Entry]) -> BTreeSet<ManifestName> {
    let has_whole = entries.iter().any(|(_, read)| read.is_ok());
    let mut cut = BTreeSet::new();
    // Generation of the entry that came next, and the beginning of the seal that the next whole one is chained to.
    let mut next: Option<(u64, Option<[u8; 8]>)> = None;
    for (name, read) in entries {
        match read {
            Ok(shipped) => {
                let previous = shipped.manifest.previous.map(blake3::Hash::from_bytes);
                next = Some((name.generation, previous.map(|seal| ManifestName::new(0, 0, &seal).seal)));
            }
            Err(ArchiveError::Unusable { reason: Unusable::Torn, .. }) => {
                let was_never_whole = match next {
                    None => has_whole || name.generation == 1,
                    Some((generation, previous)) => {
                        generation == name.generation + 1 && previous != Some(name.seal)
                    }
                };
                if was_never_whole {
                    cut.insert(*name);
                }
                next = next.map(|(_, previous)| (name.generation, previous));
            }
            Err(_) => {}
        }
    }
    cut
}

/// Restores from one archive.
pub(crate) struct Restorer<'a> {
    pub(super) archive: &'a Archive,
    pub(super) disk: Arc<dyn Disk>,
    /// The job's folder.
    pub(super) directory: PathBuf,
    /// Whether the journal that carries a checkpoint on is fetched.
    takes_journal: bool,
    backoff: Backoff,
    /// Bases of the chunks fetched last.
    unpacked: Unpacked,
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
            takes_journal: true,
            backoff: Backoff::new(seed),
            unpacked: Unpacked::default(),
            pause: std::thread::sleep,
        }
    }

    /// For a job that keeps no journal.
    pub(crate) fn without_journal(self) -> Self {
        Self { takes_journal: false, ..self }
    }

    #[cfg(test)]
    pub(super) fn without_pauses(self) -> Self {
        Self { pause: |_| (), ..self }
    }

    /// Every manifest, newest first, with what is wrong with those that cannot be used. One that the device removes
    /// meanwhile is left out.
    ///
    /// # Errors
    /// The remote's.
    pub(crate) fn list(&mut self) -> Result<Vec<Entry>, ArchiveError> {
        let archive = self.archive;
        let mut listings = 0;
        loop {
            let names = self.retry(|| Ok(archive.manifests()?))?;
            let (listed, removed) = self.read_all(&names)?;
            listings += 1;
            match removed {
                Some(removed) if listed.is_empty() && listings == LISTINGS_MAX => return Err(removed),
                Some(_) if listed.is_empty() => {
                    let pause = self.backoff.failed();
                    (self.pause)(pause);
                }
                _ => {
                    self.backoff.succeeded();
                    return Ok(listed);
                }
            }
        }
    }

    /// The manifests that are still there, and what was said of one that is not.
    fn read_all(
        &mut self,
        names: &[ManifestName],
    ) -> Result<(Vec<Entry>, Option<ArchiveError>), ArchiveError> {
        let archive = self.archive;
        let current = self.retry(|| Ok(archive.incarnation()?))?;
        let mut listed = Vec::new();
        let mut removed = None;
        for name in names {
            let read = match self.retry(|| archive.manifest(name)) {
                // Two devices shipped under one number; only one of them counts.
                Ok(shipped)
                    if current.is_some_and(|current| {
                        current.number == name.incarnation && current.id != shipped.manifest.incarnation.id
                    }) =>
                {
                    let reason = Unusable::Contradiction("its incarnation does not count");
                    Err(ArchiveError::unusable(&archive.paths.manifest(name), reason))
                }
                Err(error @ ArchiveError::Remote(RemoteError::NotFound { .. })) => {
                    tracing::info!(%error, "a checkpoint was removed since it was listed");
                    removed = Some(error);
                    continue;
                }
                Err(error) if !matches!(error, ArchiveError::Unusable { .. }) => return Err(error),
                read => read,
            };
            listed.push((*name, read));
        }
        Ok((listed, removed))
    }

    /// Fetches and installs; `None` when there is nothing on the remote at all.
    ///
    /// # Errors
    /// As [`Restorer::fetch`] and [`Restorer::install`].
    pub(crate) fn restore(
        &mut self,
        wanted: Wanted,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Option<Fetched>, ArchiveError> {
        let Some(fetched) = self.fetch(wanted, progress)? else { return Ok(None) };
        self.install(&fetched)?;
        Ok(Some(fetched))
    }

    /// Fetches a whole checkpoint and verifies it; `None` when there is nothing on the remote at all.
    ///
    /// # Errors
    /// [`ArchiveError`]; what is in the local directory is as it was, but for files in `remote/incoming/`.
    pub(crate) fn fetch(
        &mut self,
        wanted: Wanted,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Option<Fetched>, ArchiveError> {
        self.choose(wanted, Keep::Files, &mut |restorer, shipped| restorer.fetch_files(shipped, progress))
    }

    /// Finds the checkpoint that would be restored, reading every byte of it; nothing is written.
    ///
    /// # Errors
    /// As [`Restorer::fetch`].
    pub(crate) fn try_out(
        &mut self,
        wanted: Wanted,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Option<Fetched>, ArchiveError> {
        self.choose(wanted, Keep::Nothing, &mut |restorer, shipped| {
            progress(Step::Chosen { id: shipped.checkpoint.id, bytes: shipped.checkpoint.state_bytes() });
            restorer.verify(shipped, &mut |bytes| progress(Step::Fetched { bytes }))
        })
    }

    /// The newest checkpoint that is wanted and that `attempt` finds whole.
    fn choose(
        &mut self,
        wanted: Wanted,
        keep: Keep,
        attempt: &mut dyn FnMut(&mut Self, &Shipped) -> Result<(), ArchiveError>,
    ) -> Result<Option<Fetched>, ArchiveError> {
        let mut last = None;
        let mut listed = self.list()?;
        let cut = cut_uploads(&listed);
        for (name, _) in listed.extract_if(.., |(name, _)| cut.contains(name)) {
            tracing::warn!(
                manifest = %self.archive.paths.manifest(&name),
                "an upload to the remote was cut before it was whole: it is passed over"
            );
        }
        let tried = listed.len();
        self.check_rollback(&listed, wanted)?;
        // Offsets only ascend, whoever ships.
        let readable =
            listed.iter().filter_map(|(_, read)| read.as_ref().ok()).map(|shipped| &shipped.manifest);
        let farthest = readable
            .max_by_key(|manifest| manifest.reached.offset)
            .map(|manifest| (manifest.reached.clone(), manifest.shipped_ms));
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
            match attempt(self, &shipped) {
                Ok(()) => {
                    let own = || (Reached::of(&shipped.checkpoint), shipped.manifest.shipped_ms);
                    let (mut reached, mut heard_ms) = farthest.unwrap_or_else(own);
                    let mut journal = None;
                    if self.takes_journal {
                        let carried = self.carry_on(&shipped, keep)?;
                        if let Some((farther, at_ms)) =
                            carried.heard.filter(|(heard, _)| heard.offset > reached.offset)
                        {
                            let clients = latest(&reached.clients, &farther.clients);
                            (reached, heard_ms) = (Reached { clients, ..farther }, at_ms);
                        }
                        journal = carried.replica;
                        heard_ms =
                            journal.as_ref().map_or(heard_ms, |journal| journal.heard_ms.max(heard_ms));
                    }
                    return Ok(Some(Fetched { shipped, journal, reached, heard_ms }));
                }
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
            (None, None) if wanted.min_generation > 0 => {
                Err(ArchiveError::RolledBack { address, found: (0, 0), seen: (0, wanted.min_generation) })
            }
            (None, None) => Ok(None),
        }
    }

    fn check_rollback(&self, listed: &[Entry], wanted: Wanted) -> Result<(), ArchiveError> {
        let newest = listed.iter().find_map(|(name, read)| read.is_ok().then_some(name));
        let Some(newest) = newest else { return Ok(()) };
        let found = (newest.incarnation, newest.generation);
        let address = self.archive.store.address();
        let rolled_back = |seen| Err(ArchiveError::RolledBack { address: address.to_owned(), found, seen });
        if wanted.accept_rollback {
            return Ok(());
        }
        if found.1 < wanted.min_generation {
            return rolled_back((0, wanted.min_generation));
        }
        match MarkFile::of(Arc::clone(&self.disk), &self.directory).read(&self.archive.identity()) {
            Some(mark) if found < (mark.incarnation, mark.generation) => {
                rolled_back((mark.incarnation, mark.generation))
            }
            None if wanted.min_generation == 0 => {
                tracing::warn!(
                    remote = address,
                    generation = found.1,
                    "this directory has not seen the remote before: whether its newest checkpoint is the newest there was \
                     cannot be told"
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads every byte of a checkpoint; nothing is kept.
    ///
    /// # Errors
    /// [`ArchiveError::Unusable`] when it is not whole, and the remote's.
    pub(crate) fn verify(
        &mut self,
        shipped: &Shipped,
        verified: &mut dyn FnMut(u64),
    ) -> Result<(), ArchiveError> {
        let hashes = files_of(&shipped.checkpoint);
        let mut verified_bytes = 0;
        for file in &shipped.manifest.files {
            let mut hasher = blake3::Hasher::new();
            for chunk in &file.chunks {
                hasher.update(&self.fetch_chunk(shipped, chunk)?);
                verified_bytes += u64::from(chunk.bytes);
                verified(verified_bytes);
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

    pub(super) fn incoming(&self) -> PathBuf {
        self.directory.join("remote").join("incoming")
    }

    fn parts(&self) -> PathBuf {
        self.directory.join("parts")
    }

    fn fetch_files(&mut self, shipped: &Shipped, progress: &mut dyn FnMut(Step)) -> Result<(), ArchiveError> {
        let id = shipped.checkpoint.id;
        progress(Step::Chosen { id, bytes: shipped.checkpoint.state_bytes() });
        let incoming = self.incoming();
        self.disk.create_directory(&incoming).map_err(local("create", &incoming))?;
        let mut fetched_bytes = 0;
        for file in &shipped.manifest.files {
            self.take_part(&incoming, file, shipped)?;
            self.fetch_file(&incoming.join(&file.name), file, shipped, &mut |bytes| {
                fetched_bytes += bytes;
                progress(Step::Fetched { bytes: fetched_bytes });
            })?;
        }
        Ok(())
    }

    /// Takes a file from the local parts where it is there and whole.
    fn take_part(&self, incoming: &Path, file: &ShippedFile, shipped: &Shipped) -> Result<(), ArchiveError> {
        let (from, to) = (self.parts().join(&file.name), incoming.join(&file.name));
        let Some(expected) = files_of(&shipped.checkpoint).get(file.name.as_str()).copied() else {
            return Ok(());
        };
        if self.disk.open(&to).is_ok() || check_file(&*self.disk, &from, &file.name, expected).is_err() {
            return Ok(());
        }
        self.disk.link(&from, &to).map_err(local("link", &to))
    }

    /// What was fetched, to be looked at before it is installed.
    ///
    /// # Errors
    /// [`ArchiveError::Local`] when it cannot be read again.
    pub(crate) fn contents(&self, fetched: &Fetched) -> Result<Contents, ArchiveError> {
        let (manifest, incoming) = (fetched.shipped.checkpoint.clone(), self.incoming());
        let parts = read_parts(&*self.disk, &incoming, &manifest)
            .map_err(|damage| io::Error::new(io::ErrorKind::InvalidData, damage.into_reason()))
            .map_err(local("read", &incoming))?;
        Ok(Contents { manifest, parts })
    }

    /// Makes what was fetched a completed checkpoint of the local directory.
    ///
    /// # Errors
    /// [`ArchiveError::Local`]; the next restore begins with what is there.
    pub(crate) fn install(&self, fetched: &Fetched) -> Result<(), ArchiveError> {
        let Fetched { shipped, journal, .. } = fetched;
        let (incoming, parts) = (self.incoming(), self.parts());
        self.disk.create_directory(&parts).map_err(local("create", &parts))?;
        for file in &shipped.manifest.files {
            let (from, to) = (incoming.join(&file.name), parts.join(&file.name));
            self.disk.rename(&from, &to).map_err(local("move to its place", &from))?;
        }
        self.disk.sync_directory(&parts).map_err(local("sync", &parts))?;
        if let Some(journal) = journal {
            self.install_journal(journal, &shipped.checkpoint)?;
        }
        Spool::adopt(&*self.disk, &self.directory, &shipped.checkpoint)
            .map_err(local("write the manifest in", &self.directory))?;
        // What an earlier attempt left of another checkpoint.
        self.disk.remove_directory(&incoming).map_err(local("clear", &incoming))?;
        let mark_file = MarkFile::of(Arc::clone(&self.disk), &self.directory);
        let archive = self.archive.identity();
        let mut mark =
            mark_file.read(&archive).unwrap_or_else(|| super::mark::Mark { archive, ..Default::default() });
        mark.see(shipped.manifest.incarnation.number, shipped.manifest.generation);
        mark_file.write(&mark)
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
            let bytes = self.fetch_chunk(shipped, chunk)?;
            hasher.update(&bytes);
            out.write_all(&bytes).map_err(local("write", path))?;
            fetched(bytes.len() as u64);
        }
        self.check_hash(file, &hasher, &files_of(&shipped.checkpoint))?;
        out.sync().map_err(local("sync", path))
    }

    fn fetch_chunk(&mut self, shipped: &Shipped, chunk: &ShippedChunk) -> Result<Vec<u8>, ArchiveError> {
        let bases = shipped.manifest.bases_of(chunk);
        let mut dictionary = Vec::new();
        for base in bases {
            let bytes = match self.unpacked.get(base) {
                Some(bytes) => bytes,
                None => {
                    let fetched = self.fetch_on(shipped, base, &[], &[])?;
                    self.unpacked.insert(*base, fetched)
                }
            };
            dictionary.extend_from_slice(&bytes);
        }
        self.fetch_on(shipped, &chunk.plain(), bases, &dictionary)
    }

    /// Fetches a chunk that is packed on `bases`, whose bytes are `dictionary`.
    fn fetch_on(
        &mut self,
        shipped: &Shipped,
        chunk: &PlainChunk,
        bases: &[PlainChunk],
        dictionary: &[u8],
    ) -> Result<Vec<u8>, ArchiveError> {
        let archive = self.archive;
        let hash = chunk.hash();
        let name = archive.paths.chunk(&shipped.packing.object(&hash, bases));
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
        let unpacked = shipped.packing.unpack(&packed, chunk.bytes, &hash, bases, dictionary);
        unpacked.ok_or_else(|| ArchiveError::unusable(&name, Unusable::Damaged))
    }

    pub(super) fn retry<T>(
        &mut self,
        mut call: impl FnMut() -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
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

pub(super) fn local(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
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
