//! A store in its directory, which goes when the last user of the store does.
//!
//! A store that stays broken after a full disk says so once there is room again: the job then rewinds, and it is built anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::backend::{EntryBatch, EntryVisitor, PinnedFiles, Store, StoreError};
use crate::disk::{Disk, is_full};

/// Room that a broken store waits for before it is built anew, in bytes.
const ROOM_BYTES: u64 = 4 << 20;

/// A directory that goes with its store.
pub(super) struct StorePlace {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    _open: Arc<()>,
}

impl StorePlace {
    /// `open` is let go of with the place.
    pub(super) fn new(disk: Arc<dyn Disk>, directory: PathBuf, open: Arc<()>) -> Self {
        Self { disk, directory, _open: open }
    }

    /// The directory of the store's files.
    pub(super) fn database(&self) -> PathBuf {
        self.directory.join("db")
    }

    /// Whether there is room on the disk.
    fn has_room(&self) -> bool {
        let path = self.directory.join("room");
        let tried = self.disk.create_new(&path).and_then(|mut file| file.preallocate(ROOM_BYTES));
        let removed = self.disk.remove(&path);
        tried.and(removed).map_or_else(|error| !is_full(&error), |()| true)
    }
}

impl Drop for StorePlace {
    fn drop(&mut self) {
        if let Err(error) = self.disk.remove_directory(&self.directory) {
            tracing::warn!(directory = %self.directory.display(), %error, "cannot remove a store; the next start does");
        }
    }
}

/// A store and its directory.
pub(super) struct PlacedStore {
    // Dropped, and so closed, before its directory.
    store: Box<dyn Store>,
    /// It met a full disk and takes nothing more.
    is_broken: AtomicBool,
    place: StorePlace,
}

impl PlacedStore {
    pub(super) fn shared(store: Box<dyn Store>, place: StorePlace) -> Arc<dyn Store> {
        Arc::new(Self { store, is_broken: AtomicBool::new(false), place })
    }
}

impl Store for PlacedStore {
    fn get_many(&self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<(), StoreError> {
        self.store.get_many(keys, found)
    }

    fn write(&self, entries: &EntryBatch) -> Result<(), StoreError> {
        let written = self.store.write(entries);
        let Err(mut error) = written else { return Ok(()) };
        if !self.store.outlives_full_disk() {
            let was_broken = self.is_broken.fetch_or(error.is_full, Ordering::Relaxed);
            error.is_full = (was_broken || error.is_full) && !self.place.has_room();
        }
        Err(error)
    }

    fn scan(&self, from: &[u8], visit: EntryVisitor<'_>) -> Result<(), StoreError> {
        self.store.scan(from, visit)
    }

    fn pin(&self) -> Result<Option<PinnedFiles>, StoreError> {
        self.store.pin()
    }

    fn set_now(&self, now: i64) {
        self.store.set_now(now);
    }
}
