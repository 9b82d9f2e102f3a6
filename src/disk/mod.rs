//! All durable file work goes through here: nothing else touches the data directory.
//!
//! [`Disk`] is what the rest of the crate needs of a file system, no more: create a new file, read one, rename,
//! remove, list, and make each of these durable. [`RealDisk`] is the operating system's; tests put in its place a
//! `FaultyDisk` that fails the n-th call, or a `SimulatedDisk` in memory whose power can be cut. (Clippy's `disallowed_methods` keeps `std::fs` out of
//! the other modules.)
//!
//! Rules its callers keep: a file becomes visible under its final name only complete, by `create_new` +
//! `sync` + `rename` + `sync_directory`; nothing is written in place; a failed `sync` is never tried again on the
//! same file.

#[cfg(feature = "sled")]
#[cfg(test)]
mod faulty;
mod real;
#[cfg(test)]
mod simulated;

use std::io::{self, Read, Write};
use std::path::Path;

#[cfg(feature = "sled")]
#[cfg(test)]
pub(crate) use faulty::FaultyDisk;
pub(crate) use real::{DirectoryLock, RealDisk, read_secret};
#[cfg(test)]
pub(crate) use simulated::{Call, Fault, Random, SimulatedDisk};

/// A file system as the runtime uses it.
pub(crate) trait Disk: Send + Sync + std::fmt::Debug {
    /// Creates `directory` and its parents, private to the user, where missing.
    fn create_directory(&self, directory: &Path) -> io::Result<()>;

    /// Creates a file that must not exist, private to the user.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DurableFile>>;

    /// Opens a file at its end for writing, creating it when missing.
    fn append(&self, path: &Path) -> io::Result<Box<dyn DurableFile>>;

    /// Cuts a file to its first `bytes` bytes.
    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()>;

    /// Opens a file for reading; also says its length in bytes.
    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read + Send>, u64)>;

    /// Opens a file for reading from byte `position` on.
    fn open_at(&self, path: &Path, position: u64) -> io::Result<Box<dyn Read + Send>> {
        let (mut file, _) = self.open(path)?;
        io::copy(&mut file.by_ref().take(position), &mut io::sink())?;
        Ok(file)
    }

    /// Lets go of what is kept of a file in memory and is not still to be written, so that the next read asks the disk.
    fn drop_cache(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name in the same file system, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file a second name in the same file system; where that cannot be, makes a copy.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a directory with everything in it; one that is not there is no error. Not made durable: for what the
    /// next start removes anyway.
    fn remove_directory(&self, directory: &Path) -> io::Result<()>;

    /// The names in a directory, in no order; a name that is not UTF-8 is left out: no file of ours has one.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Takes the lock file at `path`, for as long as the returned guard lives.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it.
    fn lock(&self, path: &Path) -> io::Result<DirectoryLock>;

    /// Makes the names in a directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// A file being written.
pub(crate) trait DurableFile: Write + Send {
    /// Takes `bytes` of disk for the file, which reads as zeros where nothing is written, so that later writes neither
    /// fail for want of space nor change the file's size. A file system that cannot do so is no error.
    fn preallocate(&mut self, bytes: u64) -> io::Result<()>;

    /// Returns once all bytes written are on stable storage.
    fn sync(&mut self) -> io::Result<()>;
}

/// Copies a file under a new name and makes the copy's contents durable.
///
/// # Errors
/// The file system's.
pub(crate) fn copy(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    let (mut source, _) = disk.open(from)?;
    let mut target = disk.create_new(to)?;
    io::copy(&mut source, &mut target)?;
    target.sync()
}

/// True when there is no space for what was asked: not on the disk, or not within the user's quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// The file system's; `InvalidData` when the file is longer than `limit`.
pub(crate) fn read_whole(disk: &dyn Disk, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let (file, length) = disk.open(path)?;
    let too_long = || io::Error::new(io::ErrorKind::InvalidData, format!("longer than {limit} bytes"));
    if length > limit {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    // The length may lie (a file that grows): never read more than the limit.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_long()) } else { Ok(bytes) }
}
