//! Savepoints: full, self-contained checkpoints in a directory of their own, which nothing but the user removes.
//!
//! ```text
//! <directory>/
//!   savepoint.manifest    as a checkpoint's (see `manifest`); the parts it names lie beside it
//!   <n>.part              everything one subtask holds of one operator; never files of a store
//! ```
//!
//! So a savepoint does not depend on the backend that wrote it, and starts with any other and with any parallelism.
//! By default the directory is `<data directory>/<job>/savepoints/<number>/`.
//!
//! What a crash leaves behind, by step of `write`:
//!   1. parts and manifest written and synced in a directory under another name → that directory: under `savepoints/`
//!      removed at the next start, elsewhere when a savepoint of the same path is taken again
//!   2. the directory renamed, its parent synced                               → a savepoint
//!
//! Callers: the coordinator, on a blocking thread; a start that begins with one; inspection.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::PartEntry;
use super::part_file::{Damage, read_manifest, read_parts, write_part};
use super::{Contents, Manifest, SavepointError};
use crate::disk::Disk;
use crate::runtime::Offset;
use crate::state::StateSnapshot;

/// Name of the manifest in a savepoint's directory.
pub(crate) const SAVEPOINT_MANIFEST: &str = "savepoint.manifest";
/// Ends the name of a directory under `savepoints/` that is being written.
const UNFINISHED_SUFFIX: &str = ".tmp";
/// Digits of a savepoint's number in the name of its directory.
const NUMBER_DIGITS: usize = 6;

/// A savepoint that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Savepoint {
    /// Its directory.
    pub path: PathBuf,
    /// The state is as it was after this batch.
    pub offset: Offset,
    /// Readings it has seen, over the job's whole life.
    pub readings: u64,
    /// Keys it holds.
    pub keys: u64,
    /// Bytes of its parts.
    pub bytes: u64,
}

impl Savepoint {
    fn of(path: PathBuf, manifest: &Manifest) -> Self {
        Self {
            path,
            offset: manifest.offset,
            readings: manifest.readings,
            keys: manifest.key_count(),
            bytes: manifest.state_bytes(),
        }
    }

    /// As one line of a control socket's answer: figures, then the path.
    pub(crate) fn to_fields(&self) -> String {
        let Self { path, offset, readings, keys, bytes } = self;
        format!("{offset}\t{readings}\t{keys}\t{bytes}\t{}", path.display())
    }

    /// Reads what `to_fields` wrote.
    pub(crate) fn from_fields(fields: &str) -> Option<Self> {
        let mut fields = fields.splitn(5, '\t');
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (offset, readings, keys, bytes) = (Offset(number()?), number()?, number()?, number()?);
        Some(Self { path: PathBuf::from(fields.next()?), offset, readings, keys, bytes })
    }
}

/// A savepoint's directory before it has its name. Dropped unfinished, it is removed.
#[derive(Debug)]
pub(crate) struct SavepointDraft {
    disk: Arc<dyn Disk>,
    temporary: PathBuf,
    path: PathBuf,
}

impl SavepointDraft {
    /// Makes the directory, to become `to`, or else the next number under `savepoints`. One draft at a time.
    ///
    /// # Errors
    /// [`SavepointError::Exists`] when `to` is there; [`SavepointError::NoPlace`] when neither is given;
    /// [`SavepointError::Write`] when the directory cannot be made.
    pub(crate) fn begin(
        disk: Arc<dyn Disk>,
        savepoints: Option<&Path>,
        to: Option<&Path>,
    ) -> Result<Self, SavepointError> {
        let (path, temporary) = match (to, savepoints) {
            (Some(to), _) => {
                let name = to.file_name().and_then(|name| name.to_str());
                let name = name.ok_or_else(|| SavepointError::NotAName { path: to.to_owned() })?;
                (to.to_owned(), to.with_file_name(format!(".{name}.unfinished-savepoint")))
            }
            (None, Some(savepoints)) => {
                let number = next_number(&*disk, savepoints)
                    .map_err(|source| SavepointError::Write { path: savepoints.to_owned(), source })?;
                let name = format!("{number:0NUMBER_DIGITS$}");
                (savepoints.join(&name), savepoints.join(format!("{name}{UNFINISHED_SUFFIX}")))
            }
            (None, None) => return Err(SavepointError::NoPlace),
        };
        // Anything but "not found" is something that is there.
        if disk.list(&path).is_ok()
            || !matches!(disk.open(&path), Err(error) if error.kind() == io::ErrorKind::NotFound)
        {
            return Err(SavepointError::Exists { path });
        }
        let made = disk.remove_directory(&temporary).and_then(|()| disk.create_directory(&temporary));
        made.map_err(|source| SavepointError::Write { path: path.clone(), source })?;
        Ok(Self { disk, temporary, path })
    }

    /// Writes everything the snapshots hold; it is a savepoint when this returns `Ok`.
    ///
    /// # Errors
    /// [`SavepointError::Write`]; nothing is left behind, or a whole savepoint when only the last sync failed.
    pub(crate) fn write(
        self,
        manifest: &Manifest,
        snapshots: &[Box<dyn StateSnapshot>],
    ) -> Result<Savepoint, SavepointError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SavepointError::Write { path, source }
        };
        let mut manifest = Manifest { lineage: manifest.id, parts: Vec::new(), ..manifest.clone() };
        for (index, snapshot) in snapshots.iter().enumerate() {
            let name = format!("{index}.part");
            let path = self.temporary.join(&name);
            let written = write_part(&*self.disk, &path, |out| snapshot.write_full(out));
            let digest = written.map_err(failed(&self.path.join(&name)))?;
            manifest.parts.push(PartEntry {
                name,
                operator: snapshot.operator().to_owned(),
                groups: digest.groups,
                has_lists: snapshot.has_lists(),
                bytes: digest.bytes,
                hash: digest.hash,
                store: None,
            });
        }
        self.publish(&manifest).map_err(failed(&self.path))?;
        Ok(Savepoint::of(self.path.clone(), &manifest))
    }

    fn publish(&self, manifest: &Manifest) -> io::Result<()> {
        let mut file = self.disk.create_new(&self.temporary.join(SAVEPOINT_MANIFEST))?;
        file.write_all(&manifest.encode())?;
        file.sync()?;
        self.disk.sync_directory(&self.temporary)?;
        self.disk.rename(&self.temporary, &self.path)?;
        self.disk.sync_directory(match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        })
    }
}

impl Drop for SavepointDraft {
    fn drop(&mut self) {
        // Published, it has another name by now.
        if let Err(error) = self.disk.remove_directory(&self.temporary) {
            tracing::warn!(directory = %self.temporary.display(), %error, "cannot remove an unfinished savepoint");
        }
    }
}

/// The number behind the highest in use.
fn next_number(disk: &dyn Disk, savepoints: &Path) -> io::Result<u64> {
    let names = match disk.list(savepoints) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names?,
    };
    let number = |name: &String| name.trim_end_matches(UNFINISHED_SUFFIX).parse::<u64>().ok();
    Ok(names.iter().filter_map(number).max().unwrap_or(0).saturating_add(1))
}

/// Removes what an earlier process left unfinished under `savepoints`, which need not be there.
///
/// # Errors
/// The file system's.
pub(crate) fn remove_unfinished(disk: &dyn Disk, savepoints: &Path) -> io::Result<()> {
    let names = match disk.list(savepoints) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for name in names {
        if name.strip_suffix(UNFINISHED_SUFFIX).is_some_and(|number| number.parse::<u64>().is_ok()) {
            disk.remove_directory(&savepoints.join(name))?;
        }
    }
    Ok(())
}

/// Reads the savepoint of `job` at `path`, every byte verified.
///
/// # Errors
/// [`SavepointError::Missing`], [`SavepointError::Damaged`], [`SavepointError::OtherJob`]. Nothing is changed.
pub(crate) fn read_savepoint(disk: &dyn Disk, path: &Path, job: &str) -> Result<Contents, SavepointError> {
    let manifest = read_savepoint_manifest(disk, path)?;
    if manifest.job != job {
        return Err(SavepointError::OtherJob {
            path: path.to_owned(),
            saved: manifest.job,
            job: job.to_owned(),
        });
    }
    let parts = read_parts(disk, path, &manifest).map_err(|damage| damaged(path, damage))?;
    Ok(Contents { manifest, parts })
}

/// Reads the manifest of a savepoint of whatever job.
///
/// # Errors
/// [`SavepointError::Missing`], [`SavepointError::Damaged`].
pub(crate) fn read_savepoint_manifest(disk: &dyn Disk, path: &Path) -> Result<Manifest, SavepointError> {
    let manifest = path.join(SAVEPOINT_MANIFEST);
    if let Err(source) = disk.open(&manifest) {
        return Err(SavepointError::Missing { path: path.to_owned(), source });
    }
    read_manifest(disk, &manifest).map_err(|damage| damaged(path, damage))
}

fn damaged(path: &Path, damage: Damage) -> SavepointError {
    SavepointError::Damaged { path: path.to_owned(), reason: damage.into_reason() }
}

#[cfg(test)]
#[path = "savepoint_tests.rs"]
mod tests;
