//! The outbox's store in sled.
//!
//! sled writes one log and recovers a prefix of it, which is what an outbox needs. Entries are written one by one, since
//! large batches take memory out of proportion; nothing is synced but by `flush`. A store that cannot be opened is put
//! aside, not repaired: sled may also panic on damaged files, which counts as that.
//!
//! A write of sled's that finds the disk full is the end of it: later calls, and the last one that drops it, can block for ever.
//! So sled writes only where there is room: before every [`ROOM_STEP_BYTES`] of writes the holes of its file, which
//! it comes back to, and the next [`ROOM_BYTES`] behind it are allocated; where they cannot be, nothing is written. Pages of
//! more than 128 KiB are files of their own (`blobs`), for which no room is made. Should sled fail all the same it is not
//! touched again.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::store::{OutboxStore, Visitor};
use crate::disk::{AllocateAhead, is_full};

/// Bytes of sled's cache, by its own count; a byte of it takes several on the heap.
const CACHE_BYTES: u64 = 512 << 10;

/// Disk that is allocated behind sled's file: what is written in a step, many times over, since sled also moves what it holds.
const ROOM_BYTES: u64 = 4 << 20;
/// Bytes of writes after which room is made anew.
const ROOM_STEP_BYTES: u64 = 128 << 10;
/// What a write takes besides its key and value, about.
const WRITE_OVERHEAD_BYTES: u64 = 64;
/// The file that sled writes.
const FILE: &str = "db";

/// A sled database.
pub(crate) struct SledOutboxStore {
    /// Taken out only when this is dropped.
    database: Option<sled::Db>,
    room: Room,
    /// sled failed to write.
    has_failed: AtomicBool,
}

/// Room on the disk behind sled's file.
struct Room {
    file: AllocateAhead,
    /// Bytes written since it was made.
    written: AtomicU64,
}

impl Room {
    fn make(&self) -> io::Result<()> {
        self.file.allocate(ROOM_BYTES)?;
        self.written.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Says that so many bytes are about to be written.
    fn take(&self, bytes: u64) -> io::Result<()> {
        if self.written.fetch_add(bytes + WRITE_OVERHEAD_BYTES, Ordering::Relaxed) + bytes >= ROOM_STEP_BYTES
        {
            self.make()?;
        }
        Ok(())
    }
}

impl SledOutboxStore {
    /// Opens the database in `directory`, or makes one.
    ///
    /// # Errors
    /// sled's. `InvalidData` when the files are damaged, `WouldBlock` when another process has them open.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let database = open_database(directory)?;
        // Room is made before the first write.
        let room = Room {
            file: AllocateAhead::of(&directory.join(FILE))?,
            written: AtomicU64::new(ROOM_STEP_BYTES),
        };
        Ok(Self { database: Some(database), room, has_failed: AtomicBool::new(false) })
    }

    fn with<T>(&self, call: impl FnOnce(&sled::Db) -> io::Result<T>) -> io::Result<T> {
        let Some(database) = self.database.as_ref().filter(|_| !self.has_failed.load(Ordering::Relaxed))
        else {
            return Err(io::Error::other("the store has failed before"));
        };
        let outcome = guarded(|| call(database));
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
        self.room.take((key.len() + value.len()) as u64)?;
        self.with(|database| database.insert(key, value).map(drop).map_err(failed))
    }

    fn remove(&self, key: &[u8]) -> io::Result<()> {
        self.room.take(key.len() as u64)?;
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
        self.with(|database| database.flush().map(drop).map_err(failed))
    }

    fn make_room(&self) -> io::Result<()> {
        self.room.make()
    }
}
