//! The `rocksdb` store: an LSM tree on the local disk, checkpointed by hard links.
//!
//! One database an operator and subtask, with one column family; the keys in it are key group and key, so there is no
//! family a state. All databases of a job share one block cache, and their write buffers are charged to it.
//!
//! | option | value | why |
//! |---|---|---|
//! | write-ahead log | off, `atomic_flush` on | the journal replays what was not flushed |
//! | block cache | a share of the job's memory, indexes and filters in it | one number bounds all reads |
//! | index and filter | partitioned, top level pinned | a flat one is evicted whole once it outgrows the cache, and every read loads it again |
//! | filter | bloom, 10 bits a key | a new key costs no read |
//! | write buffers | charged to the cache, no stall | the subtask flushes in batches and is slowed by them |
//! | write stalls | waited for here (`no_slowdown`), no gradual slowing | a write that waits inside keeps the recovery from a full disk from flushing: both wait for ever |
//! | compression | LZ4, Zstandard at level 1 in the last level | what is read often is cheap to unpack |
//! | table files | 8 MiB | a checkpoint ships what changed in small pieces |
//! | block size | 4 KiB | point reads of small entries |
//! | checksums | XXH3 on every block, BLAKE3 on every file of a checkpoint | flash decays |
//! | open files | 64 | few descriptors on a small device |
//! | background jobs | 2 | leaves a core for the data |
//! | compaction's buffers | 256 KiB a file | several files are open in a compaction |
//! | `bytes_per_sync` | 1 MiB | no burst of writes at the end of a table |
//! | log | warnings, one file of 1 MiB | does not fill a card |
//! | statistics | off | cost on every operation |
//!
//! Expired entries are dropped in compactions when nothing of them is left; a filter cannot shorten an entry through
//! the crate's interface. What has expired is never read, dropped or not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::compaction_filter::Decision;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, Direction,
    ErrorKind, IteratorMode, LogLevel, Options, ReadOptions, WriteBatch, WriteBufferManager, WriteOptions,
};

use super::{EntryBatch, EntryVisitor, PinnedFiles, Store, StoreBudget, StoreError, StoreFactory};
use crate::state::expiry::{ExpiryRules, has_expired};

const KIND: &str = "rocksdb";
const FAMILY: &str = "default";
const TABLE_SUFFIX: &str = ".sst";

const OPEN_FILES_MAX: i32 = 64;
const BACKGROUND_JOBS: i32 = 2;
const TABLE_FILE_BYTES: u64 = 8 << 20;
const LEVEL_BASE_BYTES: u64 = 32 << 20;
const BLOCK_BYTES: usize = 4 << 10;
const FILTER_BITS_PER_KEY: f64 = 10.0;
const BYTES_PER_SYNC: u64 = 1 << 20;
const COMPACTION_READAHEAD_BYTES: usize = 256 << 10;
const FILE_BUFFER_BYTES: u64 = 256 << 10;
const LOG_FILE_BYTES: usize = 1 << 20;
const MANIFEST_FILE_BYTES: usize = 1 << 20;
const ZSTD_LEVEL: i32 = 1;
/// Smallest write buffer of one database.
const WRITE_BUFFER_MIN: u64 = 1 << 20;
/// Bytes of entries in one write to the database.
const WRITE_BYTES: usize = 1 << 20;
const READAHEAD_BYTES: usize = 256 << 10;
/// Table files in the first level at which writes wait for compactions.
const LEVEL_0_FILES_MAX: i32 = 36;
/// Pause between two tries while the database takes no writes.
const STALL_PAUSE: Duration = Duration::from_millis(1);
/// How long the database may take no writes before that is an error.
const STALL_MAX: Duration = Duration::from_secs(600);

/// Opens databases that share a cache.
pub(crate) struct RocksDbFactory {
    budget: StoreBudget,
    cache: Cache,
    write_buffers: WriteBufferManager,
}

impl RocksDbFactory {
    pub(crate) fn new(budget: StoreBudget) -> Self {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let cache = Cache::new_lru_cache(bytes(budget.cache_bytes + budget.write_buffer_bytes));
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            bytes(budget.write_buffer_bytes),
            false,
            cache.clone(),
        );
        Self { budget, cache, write_buffers }
    }

    fn options(&self, is_new: bool, expiry: Option<(ExpiryRules, Arc<AtomicI64>)>) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(BLOCK_BYTES);
        table.set_bloom_filter(FILTER_BITS_PER_KEY, false);
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_partition_filters(true);
        table.set_metadata_block_size(BLOCK_BYTES);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_top_level_index_and_filter(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_optimize_filters_for_memory(true);
        let mut options = Options::default();
        options.create_if_missing(is_new);
        options.set_error_if_exists(is_new);
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_manager(&self.write_buffers);
        let write_buffer = (self.budget.write_buffer_bytes / 2).max(WRITE_BUFFER_MIN);
        options.set_write_buffer_size(usize::try_from(write_buffer).unwrap_or(usize::MAX));
        options.set_max_write_buffer_number(2);
        options.set_atomic_flush(true);
        options.set_allow_concurrent_memtable_write(false);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_target_file_size_base(TABLE_FILE_BYTES);
        options.set_max_bytes_for_level_base(LEVEL_BASE_BYTES);
        options.set_level_zero_slowdown_writes_trigger(LEVEL_0_FILES_MAX);
        options.set_level_zero_stop_writes_trigger(LEVEL_0_FILES_MAX);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
        options.set_bottommost_compression_options(-14, ZSTD_LEVEL, 0, 0, true);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_max_background_jobs(BACKGROUND_JOBS);
        options.set_compaction_readahead_size(COMPACTION_READAHEAD_BYTES);
        options.set_writable_file_max_buffer_size(FILE_BUFFER_BYTES);
        options.set_bytes_per_sync(BYTES_PER_SYNC);
        options.set_keep_log_file_num(1);
        options.set_max_log_file_size(LOG_FILE_BYTES);
        options.set_log_level(LogLevel::Warn);
        options.set_max_manifest_file_size(MANIFEST_FILE_BYTES);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_skip_stats_update_on_db_open(true);
        if let Some((rules, now)) = expiry {
            options.set_compaction_filter("expired", move |_, _, entry| {
                if has_expired(&rules, entry, now.load(Ordering::Relaxed)) {
                    Decision::Remove
                } else {
                    Decision::Keep
                }
            });
        }
        options
    }

    fn open_database(
        &self,
        directory: &Path,
        is_new: bool,
        expiry: Option<ExpiryRules>,
        identity: u64,
    ) -> Result<Box<dyn Store>, StoreError> {
        // Nothing has expired before the first batch says what time it is.
        let now = Arc::new(AtomicI64::new(i64::MIN));
        let options = self.options(is_new, expiry.map(|rules| (rules, Arc::clone(&now))));
        let family = ColumnFamilyDescriptor::new(FAMILY, options.clone());
        let database = DB::open_cf_descriptors(&options, directory, [family])
            .map_err(|error| failed(directory, &error))?;
        Ok(Box::new(RocksDbStore {
            database,
            directory: directory.to_owned(),
            identity,
            opening: super::new_identity(),
            now,
            pins: AtomicU64::new(0),
        }))
    }
}

impl StoreFactory for RocksDbFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn set_cache_share(&self, share: u32) {
        // Clones are of the same cache. What write buffers take is charged to it and stays.
        let bytes = self.budget.cache_bytes / 256 * u64::from(share) + self.budget.write_buffer_bytes;
        self.cache.clone().set_capacity(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    fn create(&self, directory: &Path, expiry: Option<ExpiryRules>) -> Result<Box<dyn Store>, StoreError> {
        self.open_database(directory, true, expiry, super::new_identity())
    }

    fn open(
        &self,
        directory: &Path,
        expiry: Option<ExpiryRules>,
        identity: u64,
    ) -> Result<Box<dyn Store>, StoreError> {
        self.open_database(directory, false, expiry, identity)
    }
}

struct RocksDbStore {
    database: DB,
    directory: PathBuf,
    identity: u64,
    opening: u64,
    now: Arc<AtomicI64>,
    pins: AtomicU64,
}

impl RocksDbStore {
    fn failed(&self, error: &rocksdb::Error) -> StoreError {
        failed(&self.directory, error)
    }

    /// Writes once the database takes writes: while its buffers are full it is asked again and again.
    fn write_unstalled(&self, batch: &WriteBatch) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        options.set_no_slowdown(true);
        let since = Instant::now();
        loop {
            // The crate takes what it writes.
            match self.database.write_opt(WriteBatch::from_data(batch.data()), &options) {
                Err(error) if error.kind() == ErrorKind::Incomplete && since.elapsed() < STALL_MAX => {
                    std::thread::sleep(STALL_PAUSE);
                }
                outcome => return outcome.map_err(|error| self.failed(&error)),
            }
        }
    }
}

fn failed(path: &Path, error: &rocksdb::Error) -> StoreError {
    let reason = error.as_ref().to_owned();
    let is_full = reason.contains("No space left on device") || reason.contains("Disk quota exceeded");
    StoreError { store: KIND, path: path.to_owned(), reason, is_full }
}

impl Store for RocksDbStore {
    fn get_many(&self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<(), StoreError> {
        let family = self.database.cf_handle(FAMILY).expect("opened with the database");
        for (index, entry) in self.database.batched_multi_get_cf(family, keys, true).into_iter().enumerate() {
            if let Some(entry) = entry.map_err(|error| self.failed(&error))? {
                found(index, &entry);
            }
        }
        Ok(())
    }

    fn write(&self, entries: &EntryBatch) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for (key, entry) in entries.iter() {
            match entry {
                Some(entry) => batch.put(key, entry),
                None => batch.delete(key),
            }
            if batch.size_in_bytes() >= WRITE_BYTES {
                self.write_unstalled(&batch)?;
                batch.clear();
            }
        }
        self.write_unstalled(&batch)
    }

    fn scan(&self, from: &[u8], visit: EntryVisitor<'_>) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_readahead_size(READAHEAD_BYTES);
        for entry in self.database.iterator_opt(IteratorMode::From(from, Direction::Forward), options) {
            let (key, entry) = entry.map_err(|error| self.failed(&error))?;
            if visit(&key, &entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn pin(&self) -> Result<Option<PinnedFiles>, StoreError> {
        let number = self.pins.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory.with_file_name(format!("pin-{number}"));
        let pinned = Checkpoint::new(&self.database)
            .and_then(|checkpoint| checkpoint.create_checkpoint(&directory))
            .map_err(|error| self.failed(&error));
        pinned?;
        let names = list(&directory).map_err(|error| StoreError {
            store: KIND,
            path: directory.clone(),
            reason: error.to_string(),
            is_full: false,
        })?;
        let (tables, others) = names.into_iter().partition(|name: &String| name.ends_with(TABLE_SUFFIX));
        Ok(Some(PinnedFiles {
            kind: KIND,
            directory,
            identity: self.identity,
            opening: self.opening,
            tables,
            others,
        }))
    }

    fn set_now(&self, now: i64) {
        self.now.store(now, Ordering::Relaxed);
    }
}

fn list(directory: &Path) -> std::io::Result<Vec<String>> {
    use crate::disk::Disk;
    let mut names = crate::disk::RealDisk.list(directory)?;
    names.sort_unstable();
    Ok(names)
}
