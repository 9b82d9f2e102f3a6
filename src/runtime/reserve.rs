//! The reserve: a file that holds disk space for a start and a clean stop on a full disk.
//!
//! It lies beside the journal with its blocks taken. Whoever meets a full disk while the job starts or stops gives it up
//! and tries again: what it held is enough for the empty checkpoint a history begins with, for the batches in flight
//! (8 of 128 KiB by default), their results, and the last checkpoint of a modest state. In between it is not touched: the
//! job waits for space instead.
//!
//! As long as it is missing for want of space nothing is taken in: a disk on which it cannot be made again is full.
//!
//! Crash: a reserve that is shorter than it should be is made anew.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::disk::{Disk, is_full};

/// Pause before a full disk is tried again.
pub(crate) const FULL_DISK_PAUSE: Duration = Duration::from_millis(200);
/// How often a full disk is tried again while the job stops: ten seconds. Then the stop fails.
pub(crate) const STOP_TRIES_MAX: u32 = 50;

const NAME: &str = "reserve";
const WRITE_BYTES: usize = 64 * 1024;

/// Handle of a job's reserve; clones are the same reserve.
#[derive(Debug, Clone)]
pub(crate) struct Reserve {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    bytes: u64,
    /// There was no space for it.
    is_missing: AtomicBool,
    is_stopping: AtomicBool,
}

impl Reserve {
    /// The reserve in `directory`; 0 bytes are no reserve. Touches nothing yet.
    pub(crate) fn new(disk: Arc<dyn Disk>, directory: &Path, bytes: u64) -> Self {
        let directory = directory.to_owned();
        let (is_missing, is_stopping) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { shared: Arc::new(Shared { disk, directory, bytes, is_missing, is_stopping }) }
    }

    /// Takes the space, unless it is taken already.
    ///
    /// # Errors
    /// The operating system's. On a full disk the reserve is then missing; after any other failure there is none, and
    /// nothing waits for it.
    pub(crate) fn keep(&self) -> io::Result<()> {
        let outcome = self.make();
        self.set_missing(matches!(&outcome, Err(error) if is_full(error)));
        outcome
    }

    /// Gives the space up; `false` when there was none to give.
    pub(crate) fn release(&self) -> bool {
        let Shared { disk, directory, bytes, .. } = &*self.shared;
        if *bytes == 0 || disk.remove(&directory.join(NAME)).is_err() {
            return false;
        }
        self.set_missing(true);
        // A journaling file system hands the blocks out again after its next commit.
        if let Err(error) = disk.sync_directory(directory) {
            tracing::debug!(%error, "cannot sync the directory the reserve was in");
        }
        true
    }

    /// From now on whoever meets a full disk may have the space.
    pub(crate) fn begin_stop(&self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.is_stopping.load(Ordering::SeqCst)
    }

    /// Gives the space up for a stop; `false` when the job is not stopping or there was none to give.
    pub(crate) fn release_to_stop(&self) -> bool {
        let is_released = self.is_stopping() && self.release();
        if is_released {
            tracing::warn!("the disk is full: the reserve is given up, so that the job can stop in order");
        }
        is_released
    }

    /// True when there was no space for it the last time it was wanted.
    pub(crate) fn is_missing(&self) -> bool {
        self.shared.is_missing.load(Ordering::SeqCst)
    }

    fn set_missing(&self, is_missing: bool) {
        self.shared.is_missing.store(is_missing, Ordering::SeqCst);
    }

    fn make(&self) -> io::Result<()> {
        let Shared { disk, directory, bytes, .. } = &*self.shared;
        let path = directory.join(NAME);
        let length = || disk.open(&path).map_or(0, |(_, length)| length);
        if length() >= *bytes {
            return Ok(());
        }
        let write = || -> io::Result<()> {
            match disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = disk.create_new(&path)?;
            file.preallocate(*bytes)?;
            let mut left = bytes.saturating_sub(length());
            // Where the file system cannot preallocate.
            let zeros = [0; WRITE_BYTES];
            while left > 0 {
                let count = usize::try_from(left).unwrap_or(WRITE_BYTES).min(WRITE_BYTES);
                file.write_all(&zeros[..count])?;
                left -= count as u64;
            }
            file.sync()?;
            disk.sync_directory(directory)
        };
        write().inspect_err(|_| {
            if let Err(error) = disk.remove(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::debug!(%error, "cannot remove a reserve that is not whole");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::disk::{Call, Fault, SimulatedDisk};

    #[test]
    fn it_is_given_up_once_and_only_for_a_stop_or_by_force_and_comes_back_when_there_is_space() {
        let disk = SimulatedDisk::new();
        let directory = Path::new("/data/job");
        let path = directory.join(NAME);
        let reserve = Reserve::new(Arc::new(disk.clone()), directory, 100_000);
        reserve.keep().unwrap();
        assert_eq!(disk.content(&path).unwrap().len(), 100_000);
        assert!(!reserve.release_to_stop(), "nobody stops");
        reserve.begin_stop();
        assert!(reserve.release_to_stop());
        assert!(!reserve.release_to_stop(), "it was given");
        assert!(reserve.is_missing() && disk.content(&path).is_none());

        disk.fail(Fault { call: Call::Preallocate, after: 0, times: 2, errno: Errno::NOSPC });
        for _ in 0..2 {
            assert!(is_full(&reserve.keep().unwrap_err()));
            assert!(reserve.is_missing() && disk.content(&path).is_none(), "nothing half-made stays");
        }
        reserve.keep().unwrap();
        assert!(!reserve.is_missing());
    }
}
