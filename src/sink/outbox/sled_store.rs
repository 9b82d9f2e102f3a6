//! The outbox's store in sled.
//!
//! sled writes one log and recovers a prefix of it, which is what an outbox needs. Entries are written one by one, since
//! large batches take memory out of proportion; nothing is synced but by `flush`. A store that cannot be opened is put
//! aside, not repaired: sled may also panic on damaged files, which counts as that.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::store::{OutboxStore, Visitor};

/// Bytes of sled's cache, by its own count; a byte of it takes several on the heap.
const CACHE_BYTES: u64 = 512 << 10;

/// A sled database.
pub(crate) struct SledOutboxStore {
    database: sled::Db,
}

impl SledOutboxStore {
    /// Opens the database in `directory`, or makes one.
    ///
    /// # Errors
    /// sled's. `InvalidData` when the files are damaged, `WouldBlock` when another process has them open.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let open = || {
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
            Ok(Self { database })
        };
        guarded(open)
    }
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
        guarded(|| Ok(self.database.get(key).map_err(failed)?.map(|value| value.to_vec())))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        guarded(|| self.database.insert(key, value).map(drop).map_err(failed))
    }

    fn remove(&self, key: &[u8]) -> io::Result<()> {
        guarded(|| self.database.remove(key).map(drop).map_err(failed))
    }

    fn scan(&self, from: &[u8], visit: Visitor<'_>) -> io::Result<()> {
        guarded(|| {
            for entry in self.database.range(from..) {
                let (key, value) = entry.map_err(failed)?;
                if visit(&key, &value).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn flush(&self) -> io::Result<()> {
        guarded(|| self.database.flush().map(drop).map_err(failed))
    }
}
