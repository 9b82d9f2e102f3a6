//! How the state of a job's operators is held: backend, directory for stores, budgets and limits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::backend::{Store, StoreFactory};
use super::error::StateError;
use super::expiry::ExpiryRules;
use super::limits::KeyLimitPolicy;
use super::placed_store::{PlacedStore, StorePlace};
use super::restore::SavedStore;
use super::waiting::Waiting;
use crate::disk::Disk;
use crate::sink::dead_letter::DeadLetters;

/// How long the end of a job waits for its stores to be closed.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(5);
/// Pause between two looks at that.
const CLOSE_PAUSE: Duration = Duration::from_millis(2);

/// All of what a cache may take.
pub(crate) const CACHE_SHARE_WHOLE: u32 = 256;

/// How operators hold their state; the same for all of a job.
pub(crate) struct StateSetup {
    pub(crate) disk: Arc<dyn Disk>,
    /// What is behind the heap, if anything.
    pub(crate) store: Option<Arc<dyn StoreFactory>>,
    /// What can read saved stores, by kind.
    pub(crate) readers: Vec<Arc<dyn StoreFactory>>,
    /// Directory for stores; emptied at every start.
    pub(crate) work: PathBuf,
    /// Bytes on the heap of one operator in one subtask: of its state, or of the cache before a store. `usize::MAX`:
    /// no limit.
    pub(crate) bytes_max: usize,
    /// Keys of one operator on the heap, over all its subtasks.
    pub(crate) keys_max: Option<u64>,
    pub(crate) policy: KeyLimitPolicy,
    /// Where records refused at a limit are kept.
    pub(crate) dead_letters: Option<DeadLetters>,
    /// The threads that wait for room for state.
    pub(crate) waiting: Arc<Waiting>,
    /// How much of what they may take caches should take for now, in 1/256.
    cache_share: AtomicU32,
    is_short: AtomicBool,
    /// Each open store has one.
    open: Arc<()>,
}

/// Stores opened by this process. Not by job: one that has just ended may still be removing its stores.
static OPENED: AtomicU64 = AtomicU64::new(0);

impl StateSetup {
    pub(crate) fn new(disk: Arc<dyn Disk>, store: Option<Arc<dyn StoreFactory>>, work: PathBuf) -> Self {
        Self {
            disk,
            readers: super::backend::factories(),
            store,
            work,
            bytes_max: usize::MAX,
            keys_max: None,
            policy: KeyLimitPolicy::default(),
            dead_letters: None,
            waiting: Arc::default(),
            cache_share: AtomicU32::new(CACHE_SHARE_WHOLE),
            is_short: AtomicBool::new(false),
            open: Arc::new(()),
        }
    }

    /// Sets how much of what they may take caches take from their next batch on, in 1/256, and whether state on the heap
    /// may grow.
    pub(crate) fn set_shortage(&self, share: u32, is_short: bool) {
        self.is_short.store(is_short, Ordering::Relaxed);
        self.cache_share.store(share.min(CACHE_SHARE_WHOLE), Ordering::Relaxed);
        if let Some(store) = &self.store {
            store.set_cache_share(share.min(CACHE_SHARE_WHOLE));
        }
    }

    /// Waits until every store is closed: a process that ends while a thread closes one may be aborted by the store's
    /// library. An operator that never returns keeps its store open, so the wait is bounded.
    pub(crate) fn wait_until_closed(&self) {
        let since = Instant::now();
        while Arc::strong_count(&self.open) > 1 && since.elapsed() < CLOSE_WAIT_MAX {
            std::thread::sleep(CLOSE_PAUSE);
        }
    }

    /// Whether the process is short of memory.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// Bytes of one cache for now.
    pub(crate) fn bytes_max_now(&self) -> usize {
        match self.cache_share.load(Ordering::Relaxed) {
            CACHE_SHARE_WHOLE => self.bytes_max,
            share => self.bytes_max / CACHE_SHARE_WHOLE as usize * share as usize,
        }
    }

    /// State on the heap without limits, for tools: saved stores are read in the system's temporary directory.
    pub(crate) fn heap() -> Self {
        Self::new(Arc::new(crate::disk::RealDisk), None, std::env::temp_dir())
    }

    /// Removes what an earlier process left in the directory for stores. What cannot be removed, since a job that ended in
    /// this process is still closing its stores, is left: a new store has a directory of its own.
    pub(crate) fn clear_work(&self) {
        if !self.work.as_os_str().is_empty()
            && let Err(error) = self.disk.remove_directory(&self.work)
        {
            tracing::warn!(directory = %self.work.display(), %error, "cannot remove earlier stores");
        }
    }

    fn place(&self, operator: &str) -> Result<StorePlace, StateError> {
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let directory = self.work.join(format!("tidegate-store-{}-{number}", std::process::id()));
        let made =
            self.disk.remove_directory(&directory).and_then(|()| self.disk.create_directory(&directory));
        made.map_err(|source| StateError::Directory {
            operator: operator.to_owned(),
            path: directory.clone(),
            source,
        })?;
        Ok(StorePlace::new(Arc::clone(&self.disk), directory, Arc::clone(&self.open)))
    }

    /// An empty store.
    pub(crate) fn create_store(
        &self,
        operator: &str,
        factory: &dyn StoreFactory,
        expiry: Option<ExpiryRules>,
    ) -> Result<Arc<dyn Store>, StateError> {
        self.waiting.for_room(StateError::is_full_disk, || {
            let place = self.place(operator)?;
            let store = factory.create(&place.database(), expiry.clone())?;
            Ok(PlacedStore::shared(store, place))
        })
    }

    /// A store on the files of a saved one, which stay as they are.
    pub(crate) fn link_store(
        &self,
        saved: &SavedStore,
        operator: &str,
        factory: &dyn StoreFactory,
        expiry: Option<ExpiryRules>,
    ) -> Result<Arc<dyn Store>, StateError> {
        self.waiting.for_room(StateError::is_full_disk, || {
            self.try_link_store(saved, operator, factory, expiry.clone())
        })
    }

    fn try_link_store(
        &self,
        saved: &SavedStore,
        operator: &str,
        factory: &dyn StoreFactory,
        expiry: Option<ExpiryRules>,
    ) -> Result<Arc<dyn Store>, StateError> {
        let place = self.place(operator)?;
        let directory = place.database();
        let failed = |path: &Path, source| StateError::Directory {
            operator: operator.to_owned(),
            path: path.to_owned(),
            source,
        };
        self.disk.create_directory(&directory).map_err(|source| failed(&directory, source))?;
        for file in &saved.files {
            let to = directory.join(&file.name);
            let linked = if file.is_table {
                self.disk.link(&file.path, &to)
            } else {
                crate::disk::copy(&*self.disk, &file.path, &to)
            };
            linked.map_err(|source| failed(&file.path, source))?;
        }
        let store = factory.open(&directory, expiry, saved.identity)?;
        Ok(PlacedStore::shared(store, place))
    }

    /// A saved store, for reading.
    pub(crate) fn open_saved(
        &self,
        saved: &SavedStore,
        operator: &str,
    ) -> Result<Arc<dyn Store>, StateError> {
        let Some(factory) = self.readers.iter().find(|factory| factory.kind() == saved.kind) else {
            return Err(StateError::BackendMissing {
                operator: operator.to_owned(),
                backend: saved.kind.clone(),
            });
        };
        self.link_store(saved, operator, &**factory, None)
    }
}
