//! The bench a case runs on: the subtasks of one operator on one backend, their checkpoints, and a clock.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::super::key::{KeyEncoder, hash_encoded};
use super::super::timers::Timer;
use super::super::{
    Key, KeyGroup, KeyGroupRange, KeyedState, MaxParallelism, SavedPart, Slot, StateError, StateRegistry,
    StateSetup, StateSnapshot, StoreFactory, TimeDomain,
};
use crate::checkpoint::{Capture, CheckpointStore, Contents, HeapStore, Manifest, Spool};
use crate::disk::RealDisk;
use crate::runtime::{Offset, Timestamp};

/// Key groups of the operator.
pub(super) const GROUPS: u16 = 10;

/// Memory of a store, in bytes.
#[cfg(any(feature = "rocksdb", feature = "sled"))]
const BUDGET: super::super::StoreBudget =
    super::super::StoreBudget { cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20 };

/// A state backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    Memory,
    File,
    #[cfg(feature = "sled")]
    Sled,
    #[cfg(feature = "rocksdb")]
    RocksDb,
}

/// Every backend that is compiled in.
pub(super) const BACKENDS: &[Backend] = &[
    Backend::Memory,
    Backend::File,
    #[cfg(feature = "sled")]
    Backend::Sled,
    #[cfg(feature = "rocksdb")]
    Backend::RocksDb,
];

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::File => "file",
            #[cfg(feature = "sled")]
            Self::Sled => "sled",
            #[cfg(feature = "rocksdb")]
            Self::RocksDb => "rocksdb",
        })
    }
}

impl Backend {
    /// What it has behind the heap.
    pub(super) fn factory(self) -> Option<Arc<dyn StoreFactory>> {
        match self {
            Self::Memory | Self::File => None,
            #[cfg(feature = "sled")]
            Self::Sled => Some(Arc::new(super::super::SledFactory::new(BUDGET))),
            #[cfg(feature = "rocksdb")]
            Self::RocksDb => Some(Arc::new(super::super::RocksDbFactory::new(BUDGET))),
        }
    }

    /// Whether state lies on the heap alone.
    pub(super) fn is_heap(self) -> bool {
        matches!(self, Self::Memory | Self::File)
    }
}

/// What happens between two steps of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Straight,
    Restoring,
    Rescaling,
}

/// Every mode.
pub(super) const MODES: [Mode; 3] = [Mode::Straight, Mode::Restoring, Mode::Rescaling];

/// Where a case runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) backend: Backend,
    pub(super) mode: Mode,
}

type Declare<H> = Rc<dyn Fn(&mut StateRegistry) -> H>;

/// One operator: its subtasks and its checkpoints. `H` are the operator's state handles.
pub(super) struct Bench<H, K: Key = i64> {
    pub(super) setting: Setting,
    declare: Declare<H>,
    pub(super) subtasks: Vec<Subtask<H, K>>,
    checkpoints: Checkpoints,
    setup: Arc<StateSetup>,
    now: i64,
    /// A snapshot is open: nothing may be restored.
    is_held: bool,
    directory: tempfile::TempDir,
}

/// One subtask.
pub(super) struct Subtask<H, K: Key> {
    range: KeyGroupRange,
    pub(super) state: KeyedState<K>,
    pub(super) handles: H,
}

/// Where checkpoints go; shared with the thread that writes one.
type Checkpoints = Arc<std::sync::Mutex<Box<dyn CheckpointStore>>>;

/// A directory for a bench, in memory where that can be.
pub(super) fn directory() -> tempfile::TempDir {
    let in_memory = tempfile::Builder::new().prefix("tidegate-state-").tempdir_in("/dev/shm");
    in_memory.unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

impl<H: 'static> Bench<H> {
    /// Empty state with `i64` keys, in one subtask.
    pub(super) fn new(setting: Setting, declare: impl Fn(&mut StateRegistry) -> H + 'static) -> Self {
        Self::keyed(setting, declare)
    }

    /// The same, with caches of a few rows before a store.
    pub(super) fn tiny(setting: Setting, declare: impl Fn(&mut StateRegistry) -> H + 'static) -> Self {
        Self::with_bytes(setting, if setting.backend.is_heap() { usize::MAX } else { 2_000 }, declare)
    }
}

impl<H: 'static, K: Key> Bench<H, K> {
    /// Empty state, in one subtask.
    pub(super) fn keyed(setting: Setting, declare: impl Fn(&mut StateRegistry) -> H + 'static) -> Self {
        Self::with_bytes(setting, usize::MAX, declare)
    }

    fn with_bytes(
        setting: Setting,
        bytes_max: usize,
        declare: impl Fn(&mut StateRegistry) -> H + 'static,
    ) -> Self {
        let directory = directory();
        let checkpoints: Box<dyn CheckpointStore> = match setting.backend {
            Backend::Memory => Box::new(HeapStore::default()),
            _ => Box::new(Spool::open(Arc::new(RealDisk), directory.path(), "job", 2).unwrap()),
        };
        let checkpoints = Arc::new(std::sync::Mutex::new(checkpoints));
        let setup = setup(setting.backend, &directory, bytes_max);
        let declare: Declare<H> = Rc::new(declare);
        let subtasks = open(&setup, &declare, 1, &[], 0).unwrap();
        Self { setting, declare, subtasks, checkpoints, setup, now: 0, is_held: false, directory }
    }

    /// Sets the clock, in milliseconds.
    pub(super) fn at(&mut self, now: i64) -> &mut Self {
        self.now = now;
        self
    }

    pub(super) fn now(&self) -> i64 {
        self.now
    }

    /// A batch of one record, and what the mode does after it.
    pub(super) fn with<R>(&mut self, key: K, act: impl FnOnce(&H) -> R) -> R {
        let (mut act, mut result) = (Some(act), None);
        self.batch(&[key], |_, handles| result = act.take().map(|act| act(handles)));
        result.unwrap()
    }

    /// A batch with a record a key, and what the mode does after it.
    pub(super) fn batch(&mut self, keys: &[K], mut act: impl FnMut(&K, &H)) {
        let now = self.now;
        for subtask in &mut self.subtasks {
            let mut encoder = KeyEncoder::new();
            let hashed = keys.iter().map(|key| (encoder.hash(key).unwrap(), key.clone()));
            let (hashes, keys): (Vec<_>, Vec<_>) =
                hashed.filter(|(hash, _)| subtask.range.contains(KeyGroup::of(*hash, groups()))).unzip();
            subtask.state.begin_batch(now);
            let mut slots = Vec::new();
            subtask.state.resolve(&hashes, &keys, &mut slots).unwrap();
            for (slot, key) in slots.into_iter().zip(&keys) {
                assert_ne!(slot, Slot::REFUSED);
                subtask.state.rows().move_to(slot);
                act(key, &subtask.handles);
            }
            subtask.state.end_batch(keys.len()).unwrap();
        }
        self.step();
    }

    /// What the mode does between two steps.
    pub(super) fn step(&mut self) {
        if self.is_held {
            return;
        }
        match self.setting.mode {
            Mode::Straight => {}
            Mode::Restoring => self.restart(self.subtasks.len()),
            Mode::Rescaling => self.restart(match self.subtasks.len() {
                1 => 2,
                2 => 3,
                _ => 1,
            }),
        }
    }

    /// Writes a checkpoint and starts from it with `parallelism` subtasks.
    pub(super) fn restart(&mut self, parallelism: usize) {
        self.checkpoint();
        self.restore(parallelism);
    }

    /// Writes a checkpoint.
    pub(super) fn checkpoint(&mut self) -> Manifest {
        self.hold().finish()
    }

    /// Starts from the newest checkpoint.
    pub(super) fn restore(&mut self, parallelism: usize) {
        let contents = self.newest();
        self.subtasks.clear();
        let stamp = contents.manifest.stamp.0;
        self.subtasks = open(&self.setup, &self.declare, parallelism, &contents.parts, stamp).unwrap();
        self.is_held = false;
    }

    /// The newest checkpoint.
    pub(super) fn newest(&self) -> Contents {
        self.checkpoints.lock().unwrap().newest().unwrap().unwrap()
    }

    /// Takes a snapshot; nothing is restored until `let_go`.
    pub(super) fn hold(&mut self) -> Held {
        let id = self.checkpoints.lock().unwrap().next_id();
        // As in a job, a checkpoint's stamp is that of the last batch, which never goes back.
        let stamp = self.subtasks.iter().map(|subtask| subtask.state.rows().now()).max();
        let manifest = Manifest {
            id,
            lineage: id,
            job: "job".into(),
            offset: Offset(id.0),
            stamp: Timestamp(stamp.unwrap_or_default().max(self.now)),
            readings: 0,
            parallelism: u32::try_from(self.subtasks.len()).unwrap(),
            parts: Vec::new(),
            sinks: Vec::new(),
            clients: Vec::new(),
            sessions: Vec::new(),
        };
        let snapshots = self.snapshots();
        Held { capture: Capture { manifest, snapshots }, checkpoints: Arc::clone(&self.checkpoints) }
    }

    /// The same, and keeps the mode from restoring while it is open.
    pub(super) fn hold_open(&mut self) -> Held {
        self.is_held = true;
        self.hold()
    }

    /// The snapshot is written or dropped.
    pub(super) fn let_go(&mut self) {
        self.is_held = false;
    }

    fn snapshots(&mut self) -> Vec<Box<dyn StateSnapshot>> {
        let now = self.now;
        let snapshots = self.subtasks.iter_mut().map(|subtask| {
            subtask.state.begin_batch(now);
            subtask.state.end_batch(0).unwrap();
            subtask.state.snapshot().unwrap()
        });
        snapshots.collect()
    }

    /// Everything in self-contained parts, one a subtask.
    pub(super) fn full_parts(&mut self) -> Vec<SavedPart> {
        let mut snapshots = self.snapshots();
        let parts = snapshots.iter_mut().map(|snapshot| {
            snapshot.prepare().unwrap();
            let mut bytes = Vec::new();
            snapshot.write_full(&mut bytes).unwrap();
            let groups = snapshot.range().into();
            SavedPart { bytes: Arc::new(bytes), groups, has_lists: true, store: None }
        });
        parts.collect()
    }

    /// The operator of a later release: checkpointed, then started with another declaration, perhaps on another backend.
    pub(super) fn redeclared<H2: 'static, K2: Key>(
        &mut self,
        backend: Backend,
        declare: impl Fn(&mut StateRegistry) -> H2 + 'static,
    ) -> Result<Bench<H2, K2>, StateError> {
        self.checkpoint();
        let contents = self.newest();
        self.opened_elsewhere(backend, declare, &contents.parts, self.subtasks.len())
    }

    /// Starts a bench of its own on `parts` at the same time.
    pub(super) fn opened_elsewhere<H2: 'static, K2: Key>(
        &self,
        backend: Backend,
        declare: impl Fn(&mut StateRegistry) -> H2 + 'static,
        parts: &[SavedPart],
        parallelism: usize,
    ) -> Result<Bench<H2, K2>, StateError> {
        let setting = Setting { backend, ..self.setting };
        let mut bench = Bench::keyed(setting, declare);
        bench.now = self.now;
        bench.subtasks = open(&bench.setup, &bench.declare, parallelism, parts, self.now)?;
        Ok(bench)
    }

    /// Where its checkpoints are.
    pub(super) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Starts one subtask empty.
    pub(super) fn restart_from_nothing(&mut self) {
        self.subtasks = open(&self.setup, &self.declare, 1, &[], 0).unwrap();
    }

    /// Subtasks that start from the newest checkpoint beside those that run.
    pub(super) fn second_attempt(&mut self) -> Vec<Subtask<H, K>> {
        let contents = self.newest();
        let stamp = contents.manifest.stamp.0;
        open(&self.setup, &self.declare, self.subtasks.len(), &contents.parts, stamp).unwrap()
    }

    /// A bench of its own that starts from the newest checkpoint, and writes its own on.
    pub(super) fn opened_from_newest(&mut self, parallelism: usize) -> Self {
        let declare = Rc::clone(&self.declare);
        let contents = self.newest();
        let declare = move |states: &mut StateRegistry| declare(states);
        self.opened_elsewhere(self.setting.backend, declare, &contents.parts, parallelism).unwrap()
    }

    /// Number of keys held.
    pub(super) fn key_count(&self) -> usize {
        self.subtasks.iter().map(|subtask| subtask.state.key_count()).sum()
    }

    pub(super) fn set_timer(&mut self, domain: TimeDomain, time: i64, key: &K) {
        let encoded = encoded(key);
        let group = KeyGroup::of(hash_encoded(&encoded), groups());
        let owner = self.subtasks.iter_mut().find(|subtask| subtask.range.contains(group)).unwrap();
        owner.state.timers().set(domain, time, &encoded);
        self.step();
    }

    /// Takes all timers due at `now`, in firing order.
    pub(super) fn take_due(&mut self, domain: TimeDomain, now: i64) -> Vec<(i64, K)> {
        let due = |subtask: &mut Subtask<H, K>| {
            let timers = subtask.state.timers();
            let due: Vec<Timer> = timers.due(domain, 0, now).cloned().collect();
            due.iter().for_each(|timer| timers.remove(domain, timer));
            due
        };
        let mut due: Vec<Timer> = self.subtasks.iter_mut().flat_map(due).collect();
        due.sort();
        self.step();
        due.iter().map(|(time, key)| (*time, postcard::from_bytes(key).unwrap())).collect()
    }
}

/// A snapshot that is not written yet.
pub(super) struct Held {
    capture: Capture,
    checkpoints: Checkpoints,
}

impl Held {
    /// Brings stores up to date, as is done right behind a barrier.
    pub(super) fn prepare(&mut self) {
        for snapshot in &mut self.capture.snapshots {
            snapshot.prepare().unwrap();
        }
    }

    /// Writes it as a checkpoint.
    pub(super) fn finish(mut self) -> Manifest {
        self.prepare();
        self.checkpoints.lock().unwrap().write(self.capture).unwrap()
    }
}

pub(super) fn groups() -> MaxParallelism {
    MaxParallelism::new(GROUPS).unwrap()
}

pub(super) fn encoded<K: Key>(key: &K) -> Vec<u8> {
    KeyEncoder::new().encode(key).unwrap().to_vec()
}

/// The first `count` keys that belong to `group`.
pub(super) fn keys_of(group: u16, count: usize) -> Vec<i64> {
    let is_in = |key: &i64| KeyGroup::of(hash_encoded(&encoded(key)), groups()) == KeyGroup(group);
    (0..).filter(is_in).take(count).collect()
}

fn setup(backend: Backend, directory: &tempfile::TempDir, bytes_max: usize) -> Arc<StateSetup> {
    let mut setup = StateSetup::new(Arc::new(RealDisk), backend.factory(), directory.path().join("work"));
    setup.bytes_max = bytes_max;
    Arc::new(setup)
}

fn open<H, K: Key>(
    setup: &Arc<StateSetup>,
    declare: &Declare<H>,
    parallelism: usize,
    parts: &[SavedPart],
    now: i64,
) -> Result<Vec<Subtask<H, K>>, StateError> {
    let open = |index| {
        let range = KeyGroupRange::of_subtask(index, parallelism, groups());
        let mut state = KeyedState::new("op".into(), range, groups(), Arc::clone(setup));
        let handles = declare(state.registry());
        state.open(parts, index, parallelism, now)?;
        Ok(Subtask { range, state, handles })
    };
    (0..parallelism).map(open).collect()
}
