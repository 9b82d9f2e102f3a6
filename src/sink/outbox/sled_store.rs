//! The outbox's store in sled.
//!
//! sled writes one log and recovers a prefix of it, which is what an outbox needs. Entries are written one by one, since
//! large batches take memory out of proportion; nothing is synced but by `flush`. A store that cannot be opened is put
//! aside, not repaired: sled may also panic on damaged files, which counts as that.
//!
//! A write of sled's that finds the disk full is the end of it: later calls, and the last one that drops it, can block for ever.
//! So a store that has failed is not touched again, and the job ends; the next start makes its outputs again. A flush that is
//! under way then is waited for no longer.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::store::{OutboxStore, Visitor};
use crate::disk::is_full;

/// Bytes of sled's cache, by its own count; a byte of it takes several on the heap.
const CACHE_BYTES: u64 = 512 << 10;
/// Longest time of a flush.
const FLUSH_MAX: Duration = Duration::from_secs(60);
/// Time between two looks whether the store has failed while it is flushed.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A sled database.
pub(crate) struct SledOutboxStore {
    /// Taken out only when this is dropped.
    database: Option<sled::Db>,
    /// sled failed to write.
    has_failed: AtomicBool,
}

impl SledOutboxStore {
    /// Opens the database in `directory`, or makes one.
    ///
    /// # Errors
    /// sled's. `InvalidData` when the files are damaged, `WouldBlock` when another process has them open.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let database = open_database(directory)?;
        Ok(Self { database: Some(database), has_failed: AtomicBool::new(false) })
    }

    fn usable(&self) -> io::Result<&sled::Db> {
        let database = self.database.as_ref().filter(|_| !self.has_failed.load(Ordering::Relaxed));
        database.ok_or_else(|| io::Error::other("the store has failed before"))
    }

    fn with<T>(&self, call: impl FnOnce(&sled::Db) -> io::Result<T>) -> io::Result<T> {
        let database = self.usable()?;
        self.judge(guarded(|| call(database)))
    }

    fn judge<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        if outcome.is_err() {
            self.has_failed.store(true, Ordering::Relaxed);
        }
        outcome.map_err(|error| {
            // It is not to be tried again, though there may be room then.
            io::Error::new(if is_full(&error) { io::ErrorKind::Other } else { error.kind() }, error)
        })
    }
}

impl Drop for SledOutboxStore {
    fn drop(&mut self) {
        if self.has_failed.load(Ordering::Relaxed) {
            std::mem::forget(self.database.take());
        }
    }
}

fn open_database(directory: &Path) -> io::Result<sled::Db> {
    guarded(|| {
        let database = sled::Config::new()
            .path(directory)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()
            .map_err(failed)?;
        // Damage that does not show at once shows when everything is read.
        for entry in database.iter() {
            entry.map_err(failed)?;
        }
        Ok(database)
    })
}

/// A panic of sled is damage.
fn guarded<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::InvalidData, "sled panicked over its files")))
}

fn failed(error: sled::Error) -> io::Error {
    match error {
        // sled waits for no lock: whoever has it is another process.
        sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
            io::Error::new(io::ErrorKind::WouldBlock, "another process has it open")
        }
        sled::Error::Io(error) => error,
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

impl OutboxStore for SledOutboxStore {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.with(|database| Ok(database.get(key).map_err(failed)?.map(|value| value.to_vec())))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.with(|database| database.insert(key, value).map(drop).map_err(failed))
    }

    fn remove(&self, key: &[u8]) -> io::Result<()> {
        self.with(|database| database.remove(key).map(drop).map_err(failed))
    }

    fn scan(&self, from: &[u8], visit: Visitor<'_>) -> io::Result<()> {
        self.with(|database| {
            for entry in database.range(from..) {
                let (key, value) = entry.map_err(failed)?;
                if visit(&key, &value).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn flush(&self) -> io::Result<()> {
        let database = self.usable()?.clone();
        let (sender, receiver) = mpsc::sync_channel(1);
        // sled waits for ever when another of its writes has failed: so it waits on a thread of its own.
        std::thread::Builder::new().name("outbox-flush".to_owned()).spawn(move || {
            let outcome = guarded(|| database.flush().map(drop).map_err(failed));
            drop(database);
            drop(sender.send(outcome));
        })?;
        let since = Instant::now();
        loop {
            match receiver.recv_timeout(LOOK_INTERVAL) {
                Ok(outcome) => return self.judge(outcome),
                Err(RecvTimeoutError::Timeout) if since.elapsed() < FLUSH_MAX => {
                    self.usable()?;
                }
                Err(_) => {
                    let error = io::Error::new(io::ErrorKind::TimedOut, "the store cannot be flushed");
                    return self.judge(Err(error));
                }
            }
        }
    }
}
