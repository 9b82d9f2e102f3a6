//! Rows as a write-back cache of a store: a batch's misses are read at once, what changed goes back at a barrier or to make
//! room, what was not used lately is dropped.

use std::rc::Rc;
use std::sync::Arc;

use super::load::load_values;
use super::{KeyedState, TOUCH_ROWS_MIN, next_version};
use crate::state::backend::{EntryBatch, Store, split_store_key, store_key};
use crate::state::error::StateError;
use crate::state::expiry::has_expired;
use crate::state::flush::{Flush, write_patiently};
use crate::state::key::{Key, KeyHash};
use crate::state::key_group::{GroupSet, KeyGroup};
use crate::state::part::{PartHeader, push_state};
use crate::state::registry::StateRegistry;
use crate::state::rows::Slot;
use crate::state::snapshot::{StateSnapshot, StoreSnapshot, StoreState};

/// Rows that are encoded before they are written to the store to make room.
const WRITE_BACK_ROWS: usize = 16 * 1024;
/// What an encoded row is taken for before any was seen, in bytes.
const ENTRY_BYTES_FIRST: usize = 32;
/// Entries of a store one incremental clean-up looks at, whatever the batch.
const SWEPT_ENTRIES_MAX: u64 = 1024;

/// The rows as a cache of a store.
pub(super) struct Cache {
    pub(super) store: Arc<dyn Store>,
    /// Entries in the store once the flush under way is done.
    pub(super) stored_keys: u64,
    /// Bytes of the entries of the flush under way.
    pub(super) flush_bytes: usize,
    /// Bytes an encoded row takes, on average.
    pub(super) entry_bytes: usize,
    round: u8,
    pub(super) flush: Option<Arc<Flush>>,
    /// Groups that changed since the last snapshot but are clean by now.
    changed: GroupSet,
    /// Rows of the batch that are not loaded yet, with the index of their key.
    misses: Vec<(Slot, u32)>,
    /// Rows without values that stand for entries until the flush under way has removed those.
    leaving: Vec<Slot>,
    /// Where the incremental clean-up of the store goes on.
    swept: Vec<u8>,
}

impl Cache {
    /// An empty cache of a store that holds `stored_keys` entries.
    pub(super) fn new(store: Arc<dyn Store>, stored_keys: u64) -> Self {
        Self {
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
        }
    }
}

impl<K: Key> KeyedState<K> {
    pub(super) fn resolve_cached(
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
        let mut malformed = None;
        let StateRegistry { rows, columns, schemas, .. } = &self.registry;
        cache.store.get_many(&store_keys, &mut |index, entry| {
            let slot = wanted[index].1;
            rows.set_stored(slot, true);
            if let Err(detail) = load_values(rows, columns.iter().zip(schemas), slot, entry) {
                malformed = Some(detail);
            }
        })?;
        match malformed {
            None => Ok(()),
            Some(detail) => {
                let operator = self.registry.operator.clone();
                Err(StateError::Malformed { operator, position: 0, detail })
            }
        }
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
    pub(super) fn sweep(&mut self, owed: u64) -> Result<(), StateError> {
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

    /// A snapshot of the store, for which what changed is encoded.
    pub(super) fn store_snapshot(
        &mut self,
        header: PartHeader,
    ) -> Result<Box<dyn StateSnapshot>, StateError> {
        self.finish_flush()?;
        let dirty = self.registry.rows.take_dirty();
        let (entries, gone) = self.encode_rows(&dirty)?;
        let now = self.registry.rows.now();
        let expiry = self.expiry(|_| true).map(|rules| (rules, now));
        let cache = self.cache.as_mut().expect("asked for with a store only");
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
        let flush = Arc::new(Flush::new(Arc::clone(&cache.store), Arc::clone(&self.setup.waiting), entries));
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

    /// Brings the cache below its budget: what changed goes to the store, what was not used lately is dropped.
    pub(super) fn make_room(&mut self) -> Result<(), StateError> {
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
                write_patiently(&*cache.store, &self.setup.waiting, &entries)?;
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
