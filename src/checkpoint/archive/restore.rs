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

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::base::Unpacked;
use super::error::Unusable;
use super::listing::{Entry, cut_uploads};
use super::manifest::Shipped;
use super::mark::MarkFile;
use super::paths::ManifestName;
use super::restored::{Fetched, Step, Wanted, latest};
use super::{Archive, ArchiveError};
use crate::checkpoint::part_file::read_parts;
use crate::checkpoint::{Contents, Reached, Spool};
use crate::disk::Disk;
use crate::remote::RemoteError;

/// Times a call is tried that may succeed later.
const ATTEMPTS_MAX: u32 = 5;
/// Times manifests are listed when all that were listed are gone before they are read.
const LISTINGS_MAX: u32 = 5;

/// Where what is read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// To `remote/incoming/`.
    Files,
    /// It is only looked at.
    Nothing,
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
    pub(super) unpacked: Unpacked,
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

    pub(super) fn incoming(&self) -> PathBuf {
        self.directory.join("remote").join("incoming")
    }

    pub(super) fn parts(&self) -> PathBuf {
        self.directory.join("parts")
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
