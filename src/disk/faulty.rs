//! A disk for tests that fails the n-th call and every one after it, as a full disk does.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{DirectoryLock, Disk, DurableFile, RealDisk};

/// The real disk, until a given number of changing calls have been made; `ENOSPC` from then on.
#[derive(Debug, Clone)]
pub(crate) struct FaultyDisk {
    calls_left: Arc<AtomicI64>,
}

impl FaultyDisk {
    pub(crate) fn healthy() -> Self {
        Self { calls_left: Arc::new(AtomicI64::new(i64::MAX)) }
    }

    /// Lets `calls` more calls through.
    pub(crate) fn fail_after(&self, calls: i64) {
        self.calls_left.store(calls, Ordering::Relaxed);
    }

    /// Lets every call through from now on.
    pub(crate) fn heal(&self) {
        self.fail_after(i64::MAX);
    }

    fn spend(&self) -> io::Result<()> {
        if self.calls_left.fetch_sub(1, Ordering::Relaxed) > 0 {
            Ok(())
        } else {
            Err(io::ErrorKind::StorageFull.into())
        }
    }
}

impl Disk for FaultyDisk {
    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.spend()?;
        RealDisk.create_directory(directory)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        self.spend()?;
        Ok(Box::new(FaultyFile { file: RealDisk.create_new(path)?, disk: self.clone() }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        self.spend()?;
        Ok(Box::new(FaultyFile { file: RealDisk.append(path)?, disk: self.clone() }))
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.spend()?;
        RealDisk.truncate(path, bytes)
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read + Send>, u64)> {
        RealDisk.open(path)
    }

    fn drop_cache(&self, path: &Path) -> io::Result<()> {
        RealDisk.drop_cache(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.spend()?;
        RealDisk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.spend()?;
        RealDisk.link(from, to)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        self.spend()?;
        RealDisk.remove_directory(directory)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.spend()?;
        RealDisk.remove(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(directory)
    }

    fn lock(&self, _path: &Path) -> io::Result<DirectoryLock> {
        Ok(DirectoryLock::unneeded())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.spend()?;
        RealDisk.sync_directory(directory)
    }
}

struct FaultyFile {
    file: Box<dyn DurableFile>,
    disk: FaultyDisk,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.spend()?;
        // Half of what was asked: a short write is legal and must be handled.
        self.file.write(&bytes[..bytes.len().div_ceil(2)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DurableFile for FaultyFile {
    fn preallocate(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.spend()?;
        self.file.preallocate(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.spend()?;
        self.file.sync()
    }
}
