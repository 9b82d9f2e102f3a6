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
//!
//! Here is what a batch does with state; `load` opens it from what was saved, `cache` is what a store behind it takes,
//! `footprint` how much memory it is.

mod cache;
mod footprint;
mod load;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::cache::Cache;
use super::column::StateColumn;
use super::error::StateError;
use super::expiry::{ExpiryRule, ExpiryRules};
use super::key::{Key, KeyEncoder, KeyHash};
use super::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
use super::limits::{Admission, Limits};
use super::part::PartHeader;
use super::registry::StateRegistry;
use super::rows::{Rows, Slot};
use super::setup::StateSetup;
use super::snapshot::{HeapSnapshot, StateSnapshot};
use super::table::KeyTable;
use super::timers::Timers;
use super::ttl::StateTtl;

/// Rows in a subtask above which a batch's columns are touched ahead of use: below it they lie in the cache.
const TOUCH_ROWS_MIN: usize = 16 * 1024;

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

    /// Moves all state handles to the key at `slot`.
    #[inline]
    pub(crate) fn move_to(&self, slot: Slot) {
        self.registry.rows.move_to(slot);
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
        self.check_timers()
    }

    /// Shares the state as it is now; later writes copy what they change. Constant time in the number of keys on the
    /// heap; with a store, what changed since the last snapshot is encoded.
    ///
    /// # Errors
    /// A value that cannot be encoded; the store's.
    pub(crate) fn snapshot(&mut self) -> Result<Box<dyn StateSnapshot>, StateError> {
        let header = self.header(true)?;
        if self.cache.is_some() {
            return self.store_snapshot(header);
        }
        let now = self.registry.rows.now();
        for (index, version) in self.versions.iter_mut().enumerate() {
            let is_changed = |column: &Rc<RefCell<dyn StateColumn>>| column.borrow().is_changed(index);
            if self.timers.is_changed(index) || self.registry.columns.iter().any(is_changed) {
                *version = next_version();
            }
        }
        let columns = self.registry.columns.iter();
        Ok(Box::new(HeapSnapshot {
            header,
            versions: self.versions.clone(),
            keys: self.tables.iter_mut().map(KeyTable::share).collect(),
            columns: columns.map(|column| column.borrow_mut().snapshot(now)).collect(),
            timers: self.timers.share(),
        }))
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
}

#[cfg(test)]
mod tests;
