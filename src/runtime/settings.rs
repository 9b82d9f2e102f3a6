//! Settings of a job, each with its default and limits.

use std::path::PathBuf;
use std::time::Duration;

use super::memory::{MEMORY_MIN, MemoryPlan};
use super::remote::RemoteSettings;
use super::restart::RestartStrategy;
use super::service::NotifySocket;
use crate::state::{KeyLimitPolicy, MaxParallelism};

/// Most batches that can be in flight, whatever the setting.
pub(crate) const BATCHES_IN_FLIGHT_LIMIT: usize = 64;
/// Most subtasks of a stage.
pub(crate) const PARALLELISM_LIMIT: usize = 64;
/// Most worker threads.
pub(crate) const THREADS_LIMIT: usize = 64;
/// Bounds of `batch_frames_max`.
pub(crate) const BATCH_FRAMES_LIMIT: usize = 1 << 20;
/// Least `batch_timeout`.
pub(crate) const BATCH_TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// Most disk that can be kept in reserve.
pub(crate) const RESERVE_BYTES_LIMIT: u64 = 1 << 30;
/// Least size of a journal's segment.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// Largest size of a journal's segment.
pub(crate) const SEGMENT_BYTES_LIMIT: u64 = 1 << 30;
/// Least time from one checkpoint to the next.
pub(crate) const CHECKPOINT_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Most completed checkpoints that can be kept.
pub(crate) const CHECKPOINTS_RETAINED_LIMIT: usize = 1000;
/// Least `batch_bytes_max`.
pub(crate) const BATCH_BYTES_MIN: usize = 1024;
/// Bounds of `batch_bytes_max`.
pub(crate) const BATCH_BYTES_LIMIT: usize = 16 << 20;

/// Where keyed state is held and where its checkpoints go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// State on the heap, the newest checkpoint on the heap: survives a failing operator, not the process.
    Memory,
    /// State on the heap, checkpoints as files under `directory`: survives the process.
    File {
        /// Checkpoint directory; the job uses a folder of its own name in it.
        directory: PathBuf,
    },
    /// State in a sled store behind a cache on the heap, checkpoints as with `File`: more keys than the heap holds,
    /// without C++ in the program.
    Sled {
        /// Checkpoint directory, as for `File`; the store lies there too.
        directory: PathBuf,
    },
    /// State in a RocksDB store behind a cache on the heap, checkpoints by hard links: more keys than the heap holds.
    RocksDb {
        /// Checkpoint directory, as for `File`; the store lies there too.
        directory: PathBuf,
    },
}

impl Backend {
    /// The checkpoint directory, where there is one.
    pub fn directory(&self) -> Option<&std::path::Path> {
        match self {
            Self::Memory => None,
            Self::File { directory } | Self::Sled { directory } | Self::RocksDb { directory } => {
                Some(directory)
            }
        }
    }
}

/// What state a job begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// That of the newest whole checkpoint, if there is one.
    NewestCheckpoint,
    /// None. Older checkpoints stay until newer ones have replaced them.
    Empty,
    /// That of the savepoint in this directory, of any backend and any parallelism. Older checkpoints and the journal are
    /// not gone back to; a file the `file` sink writes is cut to where the savepoint found it.
    Savepoint(PathBuf),
}

/// When journaled batches are made durable. Results and acknowledgements of a batch leave only after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalSync {
    /// As soon as the last sync has ended, all batches that wait together.
    Always,
    /// At this interval: fewer writes to a flash card, later results.
    Every(Duration),
    /// When the operating system likes. A power cut loses what came since the last checkpoint, and nothing is
    /// promised of acknowledgements.
    Off,
}

/// How a journal's batches are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4: about a fifth of the size for lines of text.
    Lz4,
}

/// Settings of the ingest journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalSettings {
    /// When batches are made durable. Default `Always`.
    pub sync: JournalSync,
    /// Most the journal may take on the disk, at least four segments; at the limit sources are slowed. Default 256 MiB.
    pub bytes_max: u64,
    /// Size of a segment file, 64 KiB to 1 GiB. Default 16 MiB.
    pub segment_bytes: u64,
    /// How batches are packed. Default `None`.
    pub compression: Compression,
    /// Disk kept in reserve for a start and a stop on a full disk, at most 1 GiB; 0 keeps none. Default 4 MiB.
    pub reserve_bytes: u64,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            sync: JournalSync::Always,
            bytes_max: 256 << 20,
            segment_bytes: 16 << 20,
            compression: Compression::None,
            reserve_bytes: 4 << 20,
        }
    }
}

/// Settings of a job. [`Settings::default`] fits a small gateway.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Subtasks of each stage, 1..=64. Default 1.
    pub parallelism: usize,
    /// Key groups; fixed for the job's life. Default 128.
    pub max_parallelism: MaxParallelism,
    /// Worker threads, 1..=64. Default: one for each core.
    pub threads: usize,
    /// A batch is sealed at this many frames, at most 1,048,576. Default 16,384.
    pub batch_frames_max: usize,
    /// A batch is sealed at this many bytes, at most 16 MiB. Default 128 KiB.
    pub batch_bytes_max: usize,
    /// Batches under way at once, 1..=64. Default 8.
    pub batches_in_flight: usize,
    /// State backend. Default `Memory`.
    pub backend: Backend,
    /// The ingest journal, kept beside the checkpoints of the `File` backend; `None` for a job that may lose what came
    /// since the last checkpoint. The `Memory` backend has none. Default on.
    pub journal: Option<JournalSettings>,
    /// Where completed checkpoints are shipped to; needs a backend with a directory. Default: nowhere.
    pub remote: Option<RemoteSettings>,
    /// What state the job begins with. Default: that of the newest whole checkpoint.
    pub start: Start,
    /// Queries whose saved state is left out at the start. Default: none.
    pub reset_queries: Vec<String>,
    /// Data directory in which the job listens on a control socket, `<directory>/<job>/control.sock`, for `tidegate
    /// savepoint`; the backend's own directory, or for `Memory` one that also takes its savepoints. Default: none.
    pub control: Option<PathBuf>,
    /// Time from one checkpoint to the next, at least 10 ms. Default 2 s.
    pub checkpoint_interval: Duration,
    /// Completed checkpoints that are kept, at least 1. Default 3.
    pub checkpoints_retained: usize,
    /// A checkpoint that has not completed after this long is given up. Default 10 minutes.
    pub checkpoint_timeout: Duration,
    /// What to do when an operator fails.
    pub restart: RestartStrategy,
    /// A frame that operators failed on this often is skipped and kept in the dead-letter file, at least 2. Needs the
    /// journal. Default 3.
    pub frame_attempts_max: u32,
    /// Memory of the whole process, in bytes, at least 32 MiB: caches, batches, queues and state on the heap are
    /// measured out from it. Default: none, and 64 MiB of cache for the stores.
    pub memory_max: Option<u64>,
    /// Keys that one operator may hold on the heap (`Memory`, `File`). Default: none.
    pub keys_max: Option<u64>,
    /// What happens to a new key when state on the heap is at a limit. Default `Stop`.
    pub key_limit_policy: KeyLimitPolicy,
    /// A subtask that takes longer for a batch, or for a frame of one that goes frame by frame, counts as failed, and its
    /// thread is abandoned; found at a quarter more at the latest. At least 10 ms; `None` waits for ever. Default 60 s.
    pub batch_timeout: Option<Duration>,
    /// The service manager that is told when the job runs, how it does, and that it lives. Default: none.
    pub notify: Option<NotifySocket>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            parallelism: 1,
            max_parallelism: MaxParallelism::default(),
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_LIMIT),
            batch_frames_max: 16 * 1024,
            batch_bytes_max: 128 * 1024,
            batches_in_flight: 8,
            backend: Backend::Memory,
            journal: Some(JournalSettings::default()),
            remote: None,
            start: Start::NewestCheckpoint,
            reset_queries: Vec::new(),
            control: None,
            checkpoint_interval: Duration::from_secs(2),
            checkpoints_retained: 3,
            checkpoint_timeout: Duration::from_secs(600),
            restart: RestartStrategy::default(),
            frame_attempts_max: 3,
            memory_max: None,
            keys_max: None,
            key_limit_policy: KeyLimitPolicy::default(),
            batch_timeout: Some(Duration::from_secs(60)),
            notify: None,
        }
    }
}

impl Settings {
    /// The directory in which the job has a folder, where it has one.
    pub(crate) fn data_directory(&self) -> Option<&std::path::Path> {
        self.backend.directory().or(self.control.as_deref())
    }

    /// Checks every limit.
    ///
    /// # Errors
    /// A sentence that names the setting, its value and what is allowed.
    pub(crate) fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("{name} is {value}; it must be {low} to {high}"))
            }
        };
        let groups = usize::from(self.max_parallelism.get());
        within("parallelism", self.parallelism, 1, PARALLELISM_LIMIT.min(groups))?;
        within("threads", self.threads, 1, THREADS_LIMIT)?;
        within("batch-frames-max", self.batch_frames_max, 1, BATCH_FRAMES_LIMIT)?;
        within("batch-bytes-max", self.batch_bytes_max, BATCH_BYTES_MIN, BATCH_BYTES_LIMIT)?;
        within("batches-in-flight", self.batches_in_flight, 1, BATCHES_IN_FLIGHT_LIMIT)?;
        within("checkpoints-retained", self.checkpoints_retained, 1, CHECKPOINTS_RETAINED_LIMIT)?;
        if let (Some(control), Some(directory)) = (&self.control, self.backend.directory())
            && control != directory
        {
            return Err(format!(
                "control is {}; it must be the backend's directory {}",
                control.display(),
                directory.display()
            ));
        }
        self.check_backend()?;
        if self.frame_attempts_max < 2 {
            return Err(format!("frame-attempts-max is {}; it must be at least 2", self.frame_attempts_max));
        }
        if let Some(timeout) = self.batch_timeout.filter(|timeout| *timeout < BATCH_TIMEOUT_MIN) {
            return Err(format!("batch-timeout is {timeout:?}; it must be at least {BATCH_TIMEOUT_MIN:?}"));
        }
        if let Some(journal) = &self.journal {
            if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_LIMIT).contains(&journal.segment_bytes) {
                return Err(format!(
                    "journal segment-bytes is {}; it must be 64 KiB to 1 GiB",
                    journal.segment_bytes
                ));
            }
            if journal.reserve_bytes > RESERVE_BYTES_LIMIT {
                return Err(format!(
                    "journal reserve-bytes is {}; it must be at most 1 GiB",
                    journal.reserve_bytes
                ));
            }
            if journal.bytes_max < 4 * journal.segment_bytes {
                return Err(format!(
                    "journal bytes-max is {}; it must be at least four segments of {} bytes",
                    journal.bytes_max, journal.segment_bytes
                ));
            }
        }
        if let Some(remote) = &self.remote {
            remote.check()?;
            if self.backend.directory().is_none() {
                let advice = "a remote needs the backend file, sled or rocksdb";
                return Err(format!("the memory backend keeps no files: {advice}"));
            }
            if remote.ship_journal.is_some() && self.journal.is_none() {
                return Err("ship-journal needs a journal: journal-sync must not be none".to_owned());
            }
        }
        if self.checkpoint_interval < CHECKPOINT_INTERVAL_MIN {
            return Err(format!(
                "checkpoint-interval is {:?}; it must be at least 10 ms",
                self.checkpoint_interval
            ));
        }
        Ok(())
    }
    fn check_backend(&self) -> Result<(), String> {
        let missing = match self.backend {
            Backend::Sled { .. } if !cfg!(feature = "sled") => "sled",
            Backend::RocksDb { .. } if !cfg!(feature = "rocksdb") => "rocksdb",
            _ => "",
        };
        if !missing.is_empty() {
            return Err(format!(
                "the backend is {missing}, which this program was built without; use file or memory, or build \
                 it with the cargo feature `{missing}`"
            ));
        }
        if self.keys_max == Some(0) {
            return Err("keys-max is 0; it must be at least 1".to_owned());
        }
        let Some(memory_max) = self.memory_max else { return Ok(()) };
        if memory_max < MEMORY_MIN {
            return Err(format!("memory-max is {memory_max} bytes; it must be at least 32 MiB"));
        }
        let batches = MemoryPlan::batch_bytes(self);
        if batches > memory_max / 4 {
            return Err(format!(
                "memory-max is {memory_max} bytes, but batches alone may take {batches}: give it at least four \
                 times that, or lower batch-bytes-max or batches-in-flight"
            ));
        }
        Ok(())
    }
}
