//! The keyed state of one operator in one subtask: key tables and state columns, group by group, and behind them a
//! store where the backend has one.
//!
//! Limits: a key encodes to at most 256 bytes (checked where it is hashed); a key group holds at most 2³² rows; the
//! number of keys on the heap is bounded by `Limits`, that of cached rows by the cache's budget plus one batch.
//!
//! Invariants: a live row is in its group's index exactly once; a row whose columns are all absent at the end
//! of a batch is removed and its number is used again, unless the store must still learn of it. Slots stay valid for
//! the whole of a batch.
//! Callers: one operator, on its subtask's thread; the snapshot may be read on any thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::backend::{EntryBatch, Store, split_store_key, store_key};
use super::column::StateColumn;
use super::error::StateError;
use super::expiry::{ExpiryRule, ExpiryRules, has_expired};
use super::flush::{Flush, write_patiently};
use super::key::{Key, KeyEncoder, KeyHash};
use super::key_group::{GroupSet, KeyGroup, KeyGroupRange, MaxParallelism};
use super::limits::{Admission, Limits};
use super::part::{PartHeader, PartReader, push_state, split_state};
use super::registry::StateRegistry;
use super::restore::SavedPart;
use super::rows::{Rows, Slot};
use super::setup::StateSetup;
use super::snapshot::{HeapSnapshot, StateSnapshot, StoreSnapshot, StoreState};
use super::table::KeyTable;
use super::timers::Timers;
use super::ttl::StateTtl;

/// Rows in a subtask above which a batch's columns are touched ahead of use: below it they lie in the cache.
const TOUCH_ROWS_MIN: usize = 16 * 1024;
/// Entries that are read from a part before they are written to a store, in bytes.
const LOAD_BATCH_BYTES: usize = 1 << 20;
/// Rows that are encoded before they are written to the store to make room.
const WRITE_BACK_ROWS: usize = 16 * 1024;
/// What an encoded row is taken for before any was seen, in bytes.
const ENTRY_BYTES_FIRST: usize = 32;
/// Tables double when they grow: a row costs one and a half times itself on average, in halves.
const GROWTH_HALVES: usize = 3;
/// Slots of a batch whose heap use is sampled when it ends.
const HEAP_SAMPLES: usize = 8;
/// Entries of a store one incremental clean-up looks at, whatever the batch.
const SWEPT_ENTRIES_MAX: u64 = 1024;

/// A number no version of a group in this process has had.
fn next_version() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// The state of one keyed operator in one subtask.
pub(crate) struct KeyedState<K> {
    range: KeyGroupRange,
    groups: MaxParallelism,
    tables: Vec<KeyTable<K>>,
    registry: StateRegistry,
    encoder: KeyEncoder,
    row_count: usize,
    timers: Timers,
    limits: Limits,
    setup: Arc<StateSetup>,
    cache: Option<Cache>,
    /// By group: differs from every other version of it.
    versions: Vec<u64>,
    /// Bytes a row's values and key point to, on average, as far as known.
    heap_bytes: f64,
    sample_buffer: Vec<u8>,
}

/// The rows as a cache of a store.
struct Cache {
    store: Arc<dyn Store>,
    /// Entries in the store once the flush under way is done.
    stored_keys: u64,
    /// Bytes of the entries of the flush under way.
    flush_bytes: usize,
    /// Bytes an encoded row takes, on average.
    entry_bytes: usize,
    round: u8,
    flush: Option<Arc<Flush>>,
    /// Groups that changed since the last snapshot but are clean by now.
    changed: GroupSet,
    /// Rows of the batch that are not loaded yet, with the index of their key.
    misses: Vec<(Slot, u32)>,
    /// Rows without values that stand for entries until the flush under way has removed those.
    leaving: Vec<Slot>,
    /// Where the incremental clean-up of the store goes on.
    swept: Vec<u8>,
}

impl<K: Key> KeyedState<K> {
    pub(crate) fn new(
        operator: String,
        range: KeyGroupRange,
        groups: MaxParallelism,
        setup: Arc<StateSetup>,
    ) -> Self {
        let is_cache = setup.store.is_some();
        Self {
            range,
            groups,
            tables: range.groups().map(|_| KeyTable::new()).collect(),
            registry: StateRegistry::new(operator, range.len(), is_cache),
            encoder: KeyEncoder::new(),
            row_count: 0,
            timers: Timers::new(range, groups),
            limits: Limits::of(&setup, range, groups),
            setup,
            cache: None,
            versions: vec![next_version(); range.len()],
            heap_bytes: 0.0,
            sample_buffer: Vec::new(),
        }
    }

    pub(crate) fn registry(&mut self) -> &mut StateRegistry {
        &mut self.registry
    }

    /// Gives the encoded form of a key of a batch to `take`.
    pub(crate) fn with_encoded(&mut self, key: &K, take: impl FnOnce(&[u8])) {
        take(self.encoder.encode(key).expect("a key of a batch was hashed before"));
    }

    pub(crate) fn rows(&self) -> Rc<Rows> {
        Rc::clone(&self.registry.rows)
    }

    pub(crate) fn timers(&mut self) -> &mut Timers {
        &mut self.timers
    }

    /// Number of keys held, with those of the running batch that may turn out to hold nothing. What a store has dropped
    /// in a compaction because it had expired still counts.
    pub(crate) fn key_count(&self) -> usize {
        match &self.cache {
            None => self.row_count,
            Some(cache) => {
                let (gets, loses) = self.registry.rows.unstored();
                usize::try_from(cache.stored_keys + gets - loses).unwrap_or(usize::MAX)
            }
        }
    }

    /// Bytes the state takes on the heap, and in a store's caches, as far as they can be told.
    pub(crate) fn memory_bytes(&self) -> usize {
        /// A timer in a persistent tree, with its key.
        const TIMER_BYTES: usize = 150;
        let row_bytes = self.row_bytes();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate"
        )]
        let pointed_to = (self.row_count as f64 * self.heap_bytes) as usize;
        let rows = self.row_count * row_bytes * GROWTH_HALVES / 2;
        rows + pointed_to + self.timers.len() * TIMER_BYTES + self.flush_bytes()
    }

    /// Bytes the rows that differ from the store take once more when they are encoded, and of those on their way.
    fn flush_bytes(&self) -> usize {
        let Some(cache) = &self.cache else { return 0 };
        let dirty = self.registry.rows.dirty_count()
            * (cache.entry_bytes + EntryBatch::SPAN_BYTES + size_of::<Slot>());
        let flush = cache.flush.as_ref().filter(|flush| !flush.is_done()).map_or(0, |_| cache.flush_bytes);
        dirty + flush
    }

    /// The most bytes on the heap for now: less while the process is short of memory.
    fn bytes_max(&self) -> usize {
        self.setup.bytes_max_now()
    }

    /// Bytes a row takes, without what its key and values point to.
    fn row_bytes(&self) -> usize {
        let columns: usize = self.registry.columns.iter().map(|column| column.borrow().row_bytes()).sum();
        KeyTable::<K>::row_bytes() + columns + size_of::<u64>()
    }

    /// Starts a batch of processing time `now`, in milliseconds. Time does not go back, also not behind the checkpoint
    /// the state was opened from: what has expired stays so.
    pub(crate) fn begin_batch(&mut self, now: i64) {
        let now = now.max(self.registry.rows.now());
        self.registry.rows.set_now(now);
        if let Some(cache) = &self.cache {
            cache.store.set_now(now);
        }
    }

    /// Finds the slot of every key of a batch part, adding rows for new keys, and brings the columns' cache lines
    /// in while the lookups are independent of each other. `slots[i]` belongs to `keys[i]`; it is
    /// [`Slot::REFUSED`] for a new key over the limit.
    ///
    /// # Errors
    /// The store's; [`StateError::TooManyKeys`] where the policy is to stop.
    pub(crate) fn resolve(
        &mut self,
        hashes: &[KeyHash],
        keys: &[K],
        slots: &mut Vec<Slot>,
    ) -> Result<(), StateError> {
        assert_eq!(hashes.len(), keys.len(), "one hash a key");
        slots.clear();
        slots.reserve(keys.len());
        if self.registry.rows.is_cache() {
            return self.resolve_cached(hashes, keys, slots);
        }
        let bytes = self.memory_bytes();
        self.limits.set_short(self.setup.is_short(), || bytes);
        self.limits.can_evict = true;
        for (hash, key) in hashes.iter().zip(keys) {
            let (group, found) = self.find(*hash, key);
            let slot = match found {
                Some(row) => Slot { group, row },
                None => self.admit(*hash, key, slots)?,
            };
            slots.push(slot);
        }
        if self.limits.evicts() {
            self.limits.seen(slots, self.registry.rows.now());
        }
        if self.row_count >= TOUCH_ROWS_MIN {
            for column in &self.registry.columns {
                column.borrow().touch(slots);
            }
        }
        Ok(())
    }

    #[inline]
    fn find(&self, hash: KeyHash, key: &K) -> (u16, Option<u32>) {
        let group = KeyGroup::of(hash, self.groups);
        assert!(self.range.contains(group), "a record was routed to the owner of its key group");
        let group = group.0 - self.range.start;
        (group, self.tables[usize::from(group)].find(hash, key))
    }

    /// Adds a row for a new key, if the limits allow. `in_use` are slots of the batch that must stay.
    #[cold]
    fn admit(&mut self, hash: KeyHash, key: &K, in_use: &[Slot]) -> Result<Slot, StateError> {
        match self.limits.admission(self.row_count, || self.memory_bytes()) {
            Admission::Admit => {}
            Admission::Reject => return Ok(Slot::REFUSED),
            Admission::Stop => {
                return Err(StateError::TooManyKeys {
                    operator: self.registry.operator.clone(),
                    keys: self.row_count,
                    limit: self.limits.describe(),
                });
            }
            Admission::EvictFirst if self.limits.can_evict => self.evict_oldest(in_use),
            // All keys are the batch's own: they go with the next one.
            Admission::EvictFirst => {}
        }
        Ok(self.insert(hash, key))
    }

    fn insert(&mut self, hash: KeyHash, key: &K) -> Slot {
        let group = KeyGroup::of(hash, self.groups).0 - self.range.start;
        let row = self.tables[usize::from(group)].insert(hash, key.clone(), &mut self.encoder);
        let slot = Slot { group, row };
        self.row_count += 1;
        self.registry.rows.look_at(slot);
        slot
    }

    /// The slot of a key, new or not, outside of any limit: for what is restored.
    fn slot(&mut self, hash: KeyHash, key: &K) -> Slot {
        let (group, found) = self.find(hash, key);
        found.map_or_else(|| self.insert(hash, key), |row| Slot { group, row })
    }

    /// Drops the keys that were not seen for longest, a share of all, so that this is rare.
    fn evict_oldest(&mut self, in_use: &[Slot]) {
        // What the batch uses is the newest there is, also where a row was another key's before.
        self.limits.seen(in_use, self.registry.rows.now());
        let mut oldest = self.limits.oldest(&self.tables, &mut self.encoder);
        let in_use: std::collections::BTreeSet<(u16, u32)> =
            in_use.iter().map(|slot| (slot.group, slot.row)).collect();
        oldest.retain(|slot| !in_use.contains(&(slot.group, slot.row)));
        self.limits.can_evict = !oldest.is_empty();
        for slot in oldest {
            self.drop_row(slot);
            self.limits.evicted += 1;
        }
    }

    fn drop_row(&mut self, slot: Slot) {
        for column in &self.registry.columns {
            column.borrow_mut().evict(slot);
        }
        self.registry.rows.forget(slot);
        if self.tables[usize::from(slot.group)].remove(slot.row, &mut self.encoder) {
            self.row_count -= 1;
        }
    }

    /// Keys dropped to admit newer ones.
    pub(crate) fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.limits.evicted)
    }

    /// Ends a batch of `records` records: removes the keys that hold no value in any state, and cleans up.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn end_batch(&mut self, records: usize) -> Result<(), StateError> {
        let rows = Rc::clone(&self.registry.rows);
        let mut owed = 0;
        for column in &self.registry.columns {
            let vanished = &mut |slot| rows.vanished_at(slot);
            owed = owed.max(column.borrow_mut().clean(records, rows.now(), vanished));
        }
        self.sweep(owed)?;
        let candidates = rows.take_candidates();
        self.sample_heap(&candidates);
        for slot in &candidates {
            if rows.is_empty(*slot)
                && !rows.is_dirty(*slot)
                && self.tables[usize::from(slot.group)].remove(slot.row, &mut self.encoder)
            {
                rows.forget(*slot);
                self.row_count -= 1;
            }
        }
        rows.return_candidates(candidates);
        Ok(())
    }

    /// Guesses from a few rows of the batch what values and keys take besides their rows.
    fn sample_heap(&mut self, slots: &[Slot]) {
        const WEIGHT: f64 = 0.05;
        let sample = |slot: Slot, buffer: &mut Vec<u8>| -> usize {
            let columns = &self.registry.columns;
            columns.iter().map(|column| column.borrow().sample_heap_bytes(slot, buffer)).sum()
        };
        let step = slots.len().div_ceil(HEAP_SAMPLES).max(1);
        let current = self.registry.rows.slot();
        let mut taken =
            slots.iter().step_by(step).copied().collect::<heapless::Vec<Slot, { HEAP_SAMPLES + 1 }>>();
        if taken.is_empty() && current != Slot::REFUSED {
            // The vector has room for one at least.
            let pushed = taken.push(current);
            debug_assert!(pushed.is_ok());
        }
        for slot in taken {
            let bytes = sample(slot, &mut self.sample_buffer);
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let bytes = bytes as f64;
            self.heap_bytes += (bytes - self.heap_bytes) * WEIGHT;
        }
    }

    /// Shares the state as it is now; later writes copy what they change. Constant time in the number of keys on the
    /// heap; with a store, what changed since the last snapshot is encoded.
    ///
    /// # Errors
    /// A value that cannot be encoded; the store's.
    pub(crate) fn snapshot(&mut self) -> Result<Box<dyn StateSnapshot>, StateError> {
        let header = self.header(true)?;
        let now = self.registry.rows.now();
        if self.cache.is_none() {
            for (index, version) in self.versions.iter_mut().enumerate() {
                let is_changed = |column: &Rc<RefCell<dyn StateColumn>>| column.borrow().is_changed(index);
                if self.timers.is_changed(index) || self.registry.columns.iter().any(is_changed) {
                    *version = next_version();
                }
            }
            return Ok(Box::new(HeapSnapshot {
                header,
                versions: self.versions.clone(),
                keys: self.tables.iter_mut().map(KeyTable::share).collect(),
                columns: self
                    .registry
                    .columns
                    .iter()
                    .map(|column| column.borrow_mut().snapshot(now))
                    .collect(),
                timers: self.timers.share(),
            }));
        }
        self.finish_flush()?;
        let dirty = self.registry.rows.take_dirty();
        let (entries, gone) = self.encode_rows(&dirty)?;
        let expiry = self.expiry(|_| true).map(|rules| (rules, now));
        let cache = self.cache.as_mut().expect("looked at above");
        // Until the flush is done the store would give back what these rows have lost.
        cache.leaving = gone;
        cache.flush_bytes = entries.byte_count() + entries.len() * EntryBatch::SPAN_BYTES;
        for (group, version) in self.range.groups().zip(&mut self.versions) {
            if cache.changed.contains(group.0)
                || self.timers.is_changed(usize::from(group.0 - self.range.start))
            {
                *version = next_version();
            }
        }
        cache.changed = GroupSet::default();
        let timers = self.timers.share();
        let flush = Arc::new(Flush::new(Arc::clone(&cache.store), entries));
        cache.flush = Some(Arc::clone(&flush));
        let state = StoreState {
            header,
            versions: self.versions.clone(),
            flush,
            store: Arc::clone(&cache.store),
            timers,
            keys: cache.stored_keys,
            expiry,
        };
        Ok(Box::new(StoreSnapshot::new(state, Arc::clone(&self.setup.disk))))
    }

    fn header(&self, with_lists: bool) -> Result<PartHeader, StateError> {
        let lists = if with_lists { self.registry.lists.save() } else { Ok(Vec::new()) };
        Ok(PartHeader {
            operator: self.registry.operator.clone(),
            key_type: std::any::type_name::<K>().to_owned(),
            max_parallelism: self.groups,
            range: self.range,
            states: self.registry.schemas.clone(),
            lists: lists.map_err(|error| self.cannot_encode(&error))?,
        })
    }

    fn cannot_encode(&self, error: &postcard::Error) -> StateError {
        StateError::Encode { operator: self.registry.operator.clone(), reason: error.to_string() }
    }

    /// Compares what parts say of themselves with what is declared, without loading anything.
    ///
    /// # Errors
    /// Mismatches between what was saved and what the operator declares; a malformed header.
    pub(crate) fn check(&self, parts: &[SavedPart], parallelism: usize) -> Result<(), StateError> {
        let migrations = self.migrations();
        let header = self.header(false)?;
        let mut lists = Vec::new();
        for part in parts {
            let reader = PartReader::new(&part.bytes)?;
            header.check_restorable(reader.header(), &migrations)?;
            if part.has_lists {
                lists.push(reader.header().lists.clone());
            }
        }
        let lists: Vec<&[_]> = lists.iter().map(Vec::as_slice).collect();
        self.registry.lists.restore(&self.registry.operator, &lists, 0, parallelism)
    }

    fn migrations(&self) -> Vec<super::part::Migrations> {
        self.registry.columns.iter().map(|column| column.borrow().migrates_from()).collect()
    }

    /// Opens the state, from verified parts of the operator when there are any: what lies in this subtask's key groups,
    /// and subtask `index`'s share of the lists. Called once, before the first batch. `now` is the time of the
    /// checkpoint, in milliseconds.
    ///
    /// # Errors
    /// Mismatches between what was saved and what the operator declares; a malformed part; the store's.
    pub(crate) fn open(
        &mut self,
        parts: &[SavedPart],
        index: usize,
        parallelism: usize,
        now: i64,
    ) -> Result<(), StateError> {
        self.registry.rows.set_now(now);
        let migrations = self.migrations();
        let header = self.header(false)?;
        let mut readers = Vec::with_capacity(parts.len());
        for part in parts {
            let reader = PartReader::new(&part.bytes)?;
            header.check_restorable(reader.header(), &migrations)?;
            readers.push((part, reader));
        }
        let lists: Vec<Vec<_>> = readers
            .iter()
            .filter(|(part, _)| part.has_lists)
            .map(|(_, reader)| reader.header().lists.clone())
            .collect();
        let lists: Vec<&[_]> = lists.iter().map(Vec::as_slice).collect();
        self.registry.lists.restore(&self.registry.operator, &lists, index, parallelism)?;
        let is_linked = self.open_store(&readers, &header)?;
        for (part, mut reader) in readers {
            self.load(part, &mut reader)?;
            if let (Some(saved), false) = (&part.store, is_linked) {
                let source = self.setup.open_saved(saved, &self.registry.operator)?;
                self.load_store(&*source, part, reader.header())?;
            }
        }
        self.end_batch(0)?;
        self.make_room()
    }

    /// Opens the store, if the backend has one; true when it is the saved one, linked.
    fn open_store(
        &mut self,
        parts: &[(&SavedPart, PartReader<'_>)],
        header: &PartHeader,
    ) -> Result<bool, StateError> {
        let Some(factory) = self.setup.store.clone() else { return Ok(false) };
        let expiry = self.expiry(|ttl| ttl.in_compaction);
        let operator = &self.registry.operator;
        let same = |saved: &PartHeader| saved.range == header.range && saved.states == header.states;
        let linked = match parts {
            [(part, reader)] if same(reader.header()) => match &part.store {
                Some(saved) if saved.kind == factory.kind() => {
                    Some((self.setup.link_store(saved, operator, &*factory, expiry.clone())?, saved.keys))
                }
                _ => None,
            },
            _ => None,
        };
        let is_linked = linked.is_some();
        let (store, stored_keys) = match linked {
            Some(linked) => linked,
            None => (self.setup.create_store(operator, &*factory, expiry)?, 0),
        };
        self.cache = Some(Cache {
            store,
            stored_keys,
            flush_bytes: 0,
            entry_bytes: ENTRY_BYTES_FIRST,
            round: 0,
            flush: None,
            changed: GroupSet::default(),
            misses: Vec::new(),
            leaving: Vec::new(),
            swept: Vec::new(),
        });
        Ok(is_linked)
    }

    /// How states expire, of those with a time to live that is `counted`; `None` when there is none.
    fn expiry(&self, counted: impl Fn(&StateTtl) -> bool) -> Option<ExpiryRules> {
        let rules: ExpiryRules = self
            .registry
            .schemas
            .iter()
            .zip(&self.registry.ttls)
            .map(|(schema, ttl)| ExpiryRule {
                kind: schema.kind,
                duration_ms: ttl.filter(&counted).map(|ttl| ttl.duration_ms()),
            })
            .collect();
        rules.iter().any(|rule| rule.duration_ms.is_some()).then_some(rules)
    }

    /// Loads the blocks of a part.
    fn load(&mut self, part: &SavedPart, reader: &mut PartReader<'_>) -> Result<(), StateError> {
        let mut raw = RawLoad::new(self.takes_raw(reader.header()));
        while let Some(group) = reader.next_group()? {
            if !self.range.contains(group) || !part.groups.contains(group.0) {
                reader.skip_group();
                continue;
            }
            while let Some((key, entry)) = reader.next_entry()? {
                let malformed = |reader: &PartReader<'_>, detail| Err(reader.malformed(detail));
                match self.load_entry(&mut raw, group, key, entry, &reader.header().states)? {
                    None => {}
                    Some(detail) => return malformed(reader, detail),
                }
            }
            while let Some((domain, time, key)) = reader.next_timer()? {
                if KeyGroup::of(super::key::hash_encoded(key), self.groups) != group {
                    return Err(reader.malformed("a timer of this key group"));
                }
                if postcard::from_bytes::<K>(key).is_err() {
                    return Err(reader.malformed("a timer's key of the declared type"));
                }
                self.timers.set(domain, time, key);
            }
        }
        self.write_raw(&mut raw)
    }

    /// Loads the entries of a saved store.
    fn load_store(
        &mut self,
        source: &dyn Store,
        part: &SavedPart,
        header: &PartHeader,
    ) -> Result<(), StateError> {
        let mut raw = RawLoad::new(self.takes_raw(header));
        let mut outcome = Ok(());
        let mut from = Vec::new();
        store_key(KeyGroup(self.range.start), &[], &mut from);
        source.scan(&from, &mut |store_key, entry| {
            let Some((group, key)) = split_store_key(store_key) else {
                return std::ops::ControlFlow::Continue(());
            };
            if !self.range.contains(group) {
                return std::ops::ControlFlow::Break(());
            }
            if !part.groups.contains(group.0) {
                return std::ops::ControlFlow::Continue(());
            }
            match self.load_entry(&mut raw, group, key, entry, &header.states) {
                Ok(None) => std::ops::ControlFlow::Continue(()),
                Ok(Some(detail)) => {
                    let operator = header.operator.clone();
                    outcome = Err(StateError::Malformed { operator, position: 0, detail });
                    std::ops::ControlFlow::Break(())
                }
                Err(error) => {
                    outcome = Err(error);
                    std::ops::ControlFlow::Break(())
                }
            }
        })?;
        outcome?;
        self.write_raw(&mut raw)
    }

    /// Whether saved entries can go to the store as they are.
    fn takes_raw(&self, saved: &PartHeader) -> bool {
        self.cache.is_some() && saved.states == self.registry.schemas
    }

    /// Loads one entry; `Some` says what it is not.
    fn load_entry(
        &mut self,
        raw: &mut RawLoad,
        group: KeyGroup,
        encoded_key: &[u8],
        mut entry: &[u8],
        saved: &[super::descriptor::StateSchema],
    ) -> Result<Option<&'static str>, StateError> {
        // A key has one encoding; another would be a second row for the same key.
        let key = postcard::from_bytes::<K>(encoded_key).ok();
        let key = key.filter(|key| self.encoder.encode(key) == Ok(encoded_key));
        let Some(key) = key else { return Ok(Some("a key of the declared type")) };
        let hash = super::key::hash_encoded(encoded_key);
        if KeyGroup::of(hash, self.groups) != group {
            return Ok(Some("a key of this key group"));
        }
        if raw.is_enabled {
            let added = raw.entries.push(group, encoded_key, |out| {
                out.extend_from_slice(entry);
                Ok::<bool, ()>(true)
            });
            debug_assert!(added.is_ok());
            return if raw.entries.byte_count() > LOAD_BATCH_BYTES {
                self.write_raw(raw).map(|()| None)
            } else {
                Ok(None)
            };
        }
        let slot = self.slot(hash, &key);
        self.registry.rows.move_to(slot);
        let now = self.registry.rows.now();
        for schema in saved {
            let Some(value) = split_state(&mut entry) else { return Ok(Some("a value within the entry")) };
            let Some(value) = value else { continue };
            // States are matched by name: the saved order need not be the declared one.
            let column = self.registry.schemas.iter().position(|declared| declared.name == schema.name);
            let column = &self.registry.columns[column.expect("check_restorable found it")];
            match column.borrow_mut().load(slot, value, schema, now) {
                Err(_) => return Ok(Some("a value of the declared type")),
                Ok(true) => self.registry.rows.appeared(),
                Ok(false) => {}
            }
            self.registry.rows.wrote();
        }
        if self.cache.is_some() && self.memory_bytes() > self.bytes_max() {
            self.end_batch(0)?;
            self.make_room()?;
        }
        Ok(None)
    }

    fn write_raw(&mut self, raw: &mut RawLoad) -> Result<(), StateError> {
        if raw.entries.is_empty() {
            return Ok(());
        }
        let cache = self.cache.as_mut().expect("raw entries go to a store");
        raw.entries.sort();
        write_patiently(&*cache.store, &raw.entries)?;
        cache.stored_keys += raw.entries.len() as u64;
        raw.entries = EntryBatch::default();
        Ok(())
    }
}

/// The part that a store is behind.
impl<K: Key> KeyedState<K> {
    fn resolve_cached(
        &mut self,
        hashes: &[KeyHash],
        keys: &[K],
        slots: &mut Vec<Slot>,
    ) -> Result<(), StateError> {
        if self.memory_bytes() > self.bytes_max() {
            self.make_room()?;
        }
        let rows = Rc::clone(&self.registry.rows);
        let round = self.cache.as_ref().expect("opened before the first batch").round;
        let mut misses = std::mem::take(&mut self.cache.as_mut().expect("looked at above").misses);
        for (index, (hash, key)) in hashes.iter().zip(keys).enumerate() {
            let (group, found) = self.find(*hash, key);
            let slot = match found {
                Some(row) => Slot { group, row },
                None => {
                    let slot = self.insert(*hash, key);
                    misses.push((slot, u32::try_from(index).expect("a batch has fewer records")));
                    slot
                }
            };
            rows.used(slot, round);
            slots.push(slot);
        }
        let loaded = if misses.is_empty() { Ok(()) } else { self.load_misses(keys, &misses) };
        misses.clear();
        self.cache.as_mut().expect("looked at above").misses = misses;
        if self.row_count >= TOUCH_ROWS_MIN {
            for column in &self.registry.columns {
                column.borrow().touch(slots);
            }
        }
        loaded
    }

    /// Reads the rows of a batch that are not cached from the store, all at once.
    fn load_misses(&mut self, keys: &[K], misses: &[(Slot, u32)]) -> Result<(), StateError> {
        let mut bytes = Vec::with_capacity(misses.len() * 16);
        let mut wanted = Vec::with_capacity(misses.len());
        for (slot, index) in misses {
            let start = bytes.len();
            let key =
                self.encoder.encode(&keys[*index as usize]).expect("a key of a batch was hashed before");
            store_key(KeyGroup(self.range.start + slot.group), key, &mut bytes);
            wanted.push((start..bytes.len(), *slot));
        }
        wanted.sort_unstable_by(|(left, _), (right, _)| bytes[left.clone()].cmp(&bytes[right.clone()]));
        let store_keys: Vec<&[u8]> = wanted.iter().map(|(span, _)| &bytes[span.clone()]).collect();
        let cache = self.cache.as_ref().expect("misses are of a store");
        let mut is_malformed = false;
        let rows = &self.registry.rows;
        let (columns, schemas) = (&self.registry.columns, &self.registry.schemas);
        cache.store.get_many(&store_keys, &mut |index, mut entry| {
            let slot = wanted[index].1;
            rows.set_stored(slot, true);
            for (column, schema) in columns.iter().zip(schemas) {
                match split_state(&mut entry) {
                    Some(None) => {}
                    Some(Some(value)) => match column.borrow_mut().load(slot, value, schema, rows.now()) {
                        Ok(true) => rows.appeared_at(slot),
                        Ok(false) => {}
                        Err(_) => is_malformed = true,
                    },
                    None => is_malformed = true,
                }
            }
        })?;
        if is_malformed {
            return Err(StateError::Malformed {
                operator: self.registry.operator.clone(),
                position: 0,
                detail: "an entry of the store in the declared types",
            });
        }
        Ok(())
    }

    /// Waits until the flush under way is done, if there is one.
    fn finish_flush(&mut self) -> Result<(), StateError> {
        let Some(cache) = &mut self.cache else { return Ok(()) };
        let Some(flush) = cache.flush.take() else { return Ok(()) };
        flush.finish()?;
        let leaving = std::mem::take(&mut cache.leaving);
        self.drop_gone(leaving);
        Ok(())
    }

    /// Drops rows of which the store has nothing any more, unless they hold something again.
    fn drop_gone(&mut self, gone: Vec<Slot>) {
        let rows = Rc::clone(&self.registry.rows);
        gone.into_iter()
            .filter(|slot| rows.is_empty(*slot) && !rows.is_dirty(*slot))
            .for_each(|slot| self.drop_row(slot));
    }

    /// Looks at the next `owed` entries of the store; those of which nothing is left become rows without values, and so
    /// go with the next flush.
    fn sweep(&mut self, owed: u64) -> Result<(), StateError> {
        let Some(cache) = self.cache.as_mut().filter(|_| owed > 0) else { return Ok(()) };
        let (store, from) = (Arc::clone(&cache.store), std::mem::take(&mut cache.swept));
        let Some(rules) = self.expiry(|ttl| ttl.incremental.is_some()) else { return Ok(()) };
        let now = self.registry.rows.now();
        let mut left = owed.min(SWEPT_ENTRIES_MAX);
        let mut expired = Vec::new();
        let mut swept = Vec::new();
        store.scan(&from, &mut |store_key, entry| {
            if left == 0 {
                swept.extend_from_slice(store_key);
                return std::ops::ControlFlow::Break(());
            }
            left -= 1;
            if has_expired(&rules, entry, now)
                && let Some((_, key)) = split_store_key(store_key)
            {
                expired.extend(postcard::from_bytes::<K>(key).ok());
            }
            std::ops::ControlFlow::Continue(())
        })?;
        self.cache.as_mut().expect("looked at above").swept = swept;
        for key in expired {
            let hash = self.encoder.hash(&key).expect("a key in the store was hashed before");
            // A row is newer than the store's entry.
            if self.find(hash, &key).1.is_none() {
                let slot = self.insert(hash, &key);
                self.registry.rows.must_go(slot);
            }
        }
        Ok(())
    }

    /// Encodes rows that differ from the store, which counts as having them from now on; and those of them that may be
    /// dropped once it has.
    fn encode_rows(&mut self, dirty: &[Slot]) -> Result<(EntryBatch, Vec<Slot>), StateError> {
        let rows = Rc::clone(&self.registry.rows);
        let now = rows.now();
        let cache = self.cache.as_ref().expect("dirty rows are of a store");
        // An eighth more than on average: growing would take as much again.
        let expected = dirty.len() * cache.entry_bytes;
        let mut entries = EntryBatch::with_capacity(dirty.len(), expected + expected / 8);
        let mut failed = None;
        let mut gone = Vec::new();
        for slot in dirty.iter().copied() {
            let group = KeyGroup(self.range.start + slot.group);
            let key = self.tables[usize::from(slot.group)].key(slot.row);
            let key = self.encoder.encode(key).expect("a key in the table was encoded before");
            let cache = self.cache.as_mut().expect("dirty rows are of a store");
            cache.changed.insert(group.0);
            if rows.is_empty(slot) && !rows.is_stored(slot) {
                gone.push(slot);
                continue;
            }
            let columns = &self.registry.columns;
            let pushed = entries.push(group, key, |out| {
                let mut is_there = false;
                for column in columns {
                    is_there |= push_state(out, |out| column.borrow().encode(slot, now, out))?;
                }
                Ok::<bool, postcard::Error>(is_there)
            });
            match pushed {
                Ok(is_there) => {
                    let was_stored = rows.is_stored(slot);
                    rows.set_stored(slot, is_there);
                    cache.stored_keys = cache.stored_keys + u64::from(is_there) - u64::from(was_stored);
                    if !is_there && rows.is_empty(slot) {
                        gone.push(slot);
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        if let (Some(cache), Some(average)) =
            (&mut self.cache, entries.byte_count().checked_div(entries.len()))
        {
            cache.entry_bytes = average + 1;
        }
        match failed {
            None => Ok((entries, gone)),
            Some(error) => Err(self.cannot_encode(&error)),
        }
    }

    /// Brings the cache below its budget: what changed goes to the store, what was not used lately is dropped.
    fn make_room(&mut self) -> Result<(), StateError> {
        if self.cache.is_none() || self.memory_bytes() <= self.bytes_max() {
            return Ok(());
        }
        self.write_back()?;
        let round = self.cache.as_ref().expect("looked at above").round;
        self.evict(|used| used == round);
        if self.memory_bytes() > self.bytes_max() / 4 * 3 {
            self.evict(|_| false);
        }
        let cache = self.cache.as_mut().expect("looked at above");
        cache.round = cache.round.wrapping_add(1);
        Ok(())
    }

    /// Brings the store up to date, some rows at a time.
    fn write_back(&mut self) -> Result<(), StateError> {
        self.finish_flush()?;
        let dirty = self.registry.rows.take_dirty();
        for some in dirty.chunks(WRITE_BACK_ROWS) {
            let (mut entries, gone) = self.encode_rows(some)?;
            if !entries.is_empty() {
                entries.sort();
                let cache = self.cache.as_ref().expect("dirty rows are of a store");
                write_patiently(&*cache.store, &entries)?;
            }
            self.drop_gone(gone);
        }
        Ok(())
    }

    fn evict(&mut self, keep: impl Fn(u8) -> bool) {
        let rows = &self.registry.rows;
        for (group, table) in self.tables.iter_mut().enumerate() {
            let group = u16::try_from(group).expect("groups are numbered in 16 bits");
            table.retain(|row| {
                let slot = Slot { group, row };
                if keep(rows.last_used(slot)) {
                    return true;
                }
                for column in &self.registry.columns {
                    column.borrow_mut().evict(slot);
                }
                rows.forget(slot);
                self.row_count -= 1;
                false
            });
        }
    }
}

/// Entries that are loaded into a store as they are.
struct RawLoad {
    is_enabled: bool,
    entries: EntryBatch,
}

impl RawLoad {
    fn new(is_enabled: bool) -> Self {
        Self { is_enabled, entries: EntryBatch::default() }
    }
}

#[cfg(test)]
#[path = "keyed_tests.rs"]
mod tests;
