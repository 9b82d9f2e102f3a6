//! The `sled` store: a pure-Rust tree on the local disk, for boards without a C++ toolchain.
//!
//! sled 0.34 is no durability anchor here: nothing is synced, the store is made anew at every start, and checkpoints are
//! written as parts, read from it group by group. What is known of it and minded: a batch above some hundred entries
//! takes memory out of proportion, so entries are written one by one; files take about three times the data. A page holds
//! at most 16 entries; what is kept of each page whether it is in the cache or not comes to some 60 bytes an entry, for
//! which there is no setting. A byte of the cache's setting, which counts pages as on disk, takes some 12 on the heap. After one failed
//! write to its log every later call fails, so a full disk means that the job rewinds and the store is built anew.

use std::path::{Path, PathBuf};

use super::{EntryBatch, EntryVisitor, PinnedFiles, Store, StoreBudget, StoreError, StoreFactory};
use crate::state::expiry::ExpiryRules;

const KIND: &str = "sled";

/// Opens sled databases, each with an equal cache.
pub(crate) struct SledFactory {
    budget: StoreBudget,
}

impl SledFactory {
    pub(crate) fn new(budget: StoreBudget) -> Self {
        Self { budget }
    }
}

impl StoreFactory for SledFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn create(&self, directory: &Path, _: Option<ExpiryRules>) -> Result<Box<dyn Store>, StoreError> {
        let database = sled::Config::new()
            .path(directory)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(self.budget.cache_bytes)
            .flush_every_ms(None)
            .open()
            .map_err(|error| failed(directory, &error))?;
        Ok(Box::new(SledStore { database, directory: directory.to_owned() }))
    }

    fn open(&self, directory: &Path, _: Option<ExpiryRules>, _: u64) -> Result<Box<dyn Store>, StoreError> {
        Err(StoreError {
            store: KIND,
            path: directory.to_owned(),
            reason: "its checkpoints are parts, not files".to_owned(),
            is_full: false,
        })
    }
}

struct SledStore {
    database: sled::Db,
    directory: PathBuf,
}

fn failed(path: &Path, error: &sled::Error) -> StoreError {
    let is_full = matches!(error, sled::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull);
    StoreError { store: KIND, path: path.to_owned(), reason: error.to_string(), is_full }
}

impl Store for SledStore {
    fn get_many(&self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<(), StoreError> {
        for (index, key) in keys.iter().enumerate() {
            if let Some(entry) = self.database.get(key).map_err(|error| failed(&self.directory, &error))? {
                found(index, &entry);
            }
        }
        Ok(())
    }

    fn write(&self, entries: &EntryBatch) -> Result<(), StoreError> {
        for (key, entry) in entries.iter() {
            let written = match entry {
                Some(entry) => self.database.insert(key, entry),
                None => self.database.remove(key),
            };
            written.map_err(|error| failed(&self.directory, &error))?;
        }
        Ok(())
    }

    fn scan(&self, from: &[u8], visit: EntryVisitor<'_>) -> Result<(), StoreError> {
        for entry in self.database.range(from..) {
            let (key, entry) = entry.map_err(|error| failed(&self.directory, &error))?;
            if visit(&key, &entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn pin(&self) -> Result<Option<PinnedFiles>, StoreError> {
        Ok(None)
    }

    fn outlives_full_disk(&self) -> bool {
        false
    }
}
