//! Inspection: one whole checkpoint or savepoint of a directory, on this machine or copied from another; only read.
//!
//! Every file is verified first, without keeping it in memory. A checkpoint that is not whole is passed over for the one
//! before it, and that is said.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::part_file::{Damage, check_file, read_manifest, read_store};
use super::savepoint::{SAVEPOINT_MANIFEST, read_savepoint_manifest};
use super::spool::Spool;
use super::{CheckpointError, Manifest, PartEntry, SavepointError};
use crate::disk::Disk;
use crate::state::SavedStore;

/// Readings of a directory that a job writes to meanwhile.
const READINGS_MAX: usize = 10;

/// Why a directory cannot be inspected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum InspectionError {
    #[error(transparent)]
    Directory(#[from] CheckpointError),
    #[error(transparent)]
    Savepoint(#[from] SavepointError),
    #[error("{path} holds neither checkpoints nor a savepoint; give the folder of a job, or a savepoint", path = path.display())]
    Nothing { path: PathBuf },
    #[error("{path} holds several jobs: give the folder of one: {jobs}", path = path.display())]
    Several { path: PathBuf, jobs: String },
    #[error("no checkpoint in {path} is whole", path = path.display())]
    NoneWhole { path: PathBuf },
}

/// A whole checkpoint or savepoint.
#[derive(Debug)]
pub(crate) struct Inspection {
    disk: Arc<dyn Disk>,
    parts: PathBuf,
    pub(crate) manifest: Manifest,
    pub(crate) is_savepoint: bool,
}

impl Inspection {
    /// Looks into `directory`: a savepoint, a job's folder, or a data directory with one job.
    ///
    /// # Errors
    /// See [`InspectionError`].
    pub(crate) fn open(disk: Arc<dyn Disk>, directory: &Path) -> Result<Self, InspectionError> {
        let names = disk
            .list(directory)
            .map_err(|source| CheckpointError::Directory { path: directory.to_owned(), source })?;
        let has = |name: &str| names.iter().any(|found| found == name);
        if has(SAVEPOINT_MANIFEST) {
            return Self::savepoint(disk, directory);
        }
        if has("manifests") {
            return Self::newest_checkpoint(disk, directory);
        }
        let is_job = |name: &&String| disk.list(&directory.join(name).join("manifests")).is_ok();
        let mut jobs: Vec<&str> = names.iter().filter(is_job).map(String::as_str).collect();
        jobs.sort_unstable();
        match *jobs {
            [] => Err(InspectionError::Nothing { path: directory.to_owned() }),
            [job] => Self::newest_checkpoint(Arc::clone(&disk), &directory.join(job)),
            _ => Err(InspectionError::Several { path: directory.to_owned(), jobs: jobs.join(", ") }),
        }
    }

    fn savepoint(disk: Arc<dyn Disk>, directory: &Path) -> Result<Self, InspectionError> {
        let manifest = read_savepoint_manifest(&*disk, directory)?;
        let found = Self { disk, parts: directory.to_owned(), manifest, is_savepoint: true };
        found.verify().map_err(|damage| SavepointError::Damaged {
            path: directory.to_owned(),
            reason: damage.into_reason(),
        })?;
        Ok(found)
    }

    /// The checkpoint a restart would use; looked for again when a running job has replaced what was there.
    fn newest_checkpoint(disk: Arc<dyn Disk>, directory: &Path) -> Result<Self, InspectionError> {
        let list = || Spool::look(Arc::clone(&disk), directory, "").manifest_ids().ok();
        let mut listed = list();
        for _ in 1..READINGS_MAX {
            let found = Self::look_for_newest(Arc::clone(&disk), directory);
            let again = list();
            if found.is_ok() || again == listed {
                return found;
            }
            listed = again;
        }
        Self::look_for_newest(disk, directory)
    }

    /// The newest whole checkpoint of the newest history. The folder may have another name than the job.
    fn look_for_newest(disk: Arc<dyn Disk>, directory: &Path) -> Result<Self, InspectionError> {
        let spool = Spool::look(Arc::clone(&disk), directory, "");
        let ids = spool
            .manifest_ids()
            .map_err(|source| CheckpointError::Directory { path: directory.to_owned(), source })?;
        if ids.is_empty() {
            return Err(InspectionError::Nothing { path: directory.to_owned() });
        }
        let read = ids.iter().map(|id| (*id, read_manifest(&*disk, &spool.manifest_path(*id))));
        let manifests: Vec<_> = read.collect();
        let lineage = manifests.iter().filter_map(|(_, read)| Some(read.as_ref().ok()?.lineage)).max();
        for (id, manifest) in manifests.into_iter().filter(|(id, _)| Some(*id) >= lineage) {
            let checked = manifest.and_then(|manifest| {
                let parts = directory.join("parts");
                let found = Self { disk: Arc::clone(&disk), parts, manifest, is_savepoint: false };
                found.verify().map(|()| found)
            });
            match checked {
                Ok(found) => return Ok(found),
                Err(damage) => {
                    let reason = damage.into_reason();
                    tracing::warn!(checkpoint = %id, %reason, "the checkpoint is not whole: looking at the one before it");
                }
            }
        }
        Err(InspectionError::NoneWhole { path: directory.to_owned() })
    }

    fn verify(&self) -> Result<(), Damage> {
        for entry in &self.manifest.parts {
            check_file(&*self.disk, &self.parts.join(&entry.name), &entry.name, (entry.bytes, entry.hash))?;
            self.store_of(entry)?;
        }
        Ok(())
    }

    fn store_of(&self, entry: &PartEntry) -> Result<Option<SavedStore>, Damage> {
        entry.store.as_ref().map(|store| read_store(&*self.disk, &self.parts, store)).transpose()
    }

    /// The files of the store beside a part, if there is one.
    ///
    /// # Errors
    /// When they changed since they were verified.
    pub(crate) fn store(&self, entry: &PartEntry) -> io::Result<Option<SavedStore>> {
        self.store_of(entry)
            .map_err(|damage| io::Error::new(io::ErrorKind::InvalidData, damage.into_reason()))
    }

    /// A part, from its beginning.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn part(&self, entry: &PartEntry) -> io::Result<impl Read + use<>> {
        let (file, _) = self.disk.open(&self.parts.join(&entry.name))?;
        Ok(BufReader::with_capacity(128 * 1024, file))
    }
}
