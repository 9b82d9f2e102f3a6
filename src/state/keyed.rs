//! The keyed state of one operator in one subtask: key tables and state columns, group by group.
//!
//! Limits: a key encodes to at most 256 bytes (checked where it is hashed); a key group holds at most 2³² rows.
//!
//! Invariants: a live row is in its group's index exactly once; a row whose columns are all absent at the end
//! of a batch is removed and its number is used again. Slots stay valid for the whole of a batch.
//! Callers: one operator, on its subtask's thread; the snapshot may be read on any thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashTable;

use super::cow::CowVec;
use super::descriptor::{StateSchema, StateValue, ValueStateDescriptor};
use super::error::StateError;
use super::key::{Key, KeyEncoder, KeyHash};
use super::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
use super::part::{PartHeader, PartReader, PartWriter};
use super::value::{ColumnSnapshot, StateColumn, ValueColumn, ValueState};

/// Rows in a subtask above which a batch's columns are touched ahead of use: below it they lie in the cache.
const TOUCH_ROWS_MIN: usize = 16 * 1024;

/// Where a key's values lie: the key group (counted from the subtask's first) and the row in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Slot {
    pub(crate) group: u16,
    pub(crate) row: u32,
}

/// The current key of an operator, shared by all its state handles, and which rows hold anything.
#[derive(Debug)]
pub(crate) struct Cursor {
    slot: Cell<Slot>,
    presence: RefCell<Presence>,
}

#[derive(Debug, Default)]
struct Presence {
    /// Number of columns that hold a value, by group and row.
    counts: Vec<Vec<u16>>,
    /// Rows to look at when the batch ends: new ones, and ones whose last value went.
    candidates: Vec<Slot>,
}

impl Cursor {
    #[inline]
    pub(crate) fn slot(&self) -> Slot {
        self.slot.get()
    }

    #[inline]
    pub(crate) fn move_to(&self, slot: Slot) {
        self.slot.set(slot);
    }

    /// A column got a value at the current slot where it had none.
    pub(crate) fn appeared(&self) {
        *self.presence.borrow_mut().count_mut(self.slot.get()) += 1;
    }

    /// A column lost its value at the current slot.
    pub(crate) fn vanished(&self) {
        let slot = self.slot.get();
        let mut presence = self.presence.borrow_mut();
        let count = presence.count_mut(slot);
        *count -= 1;
        if *count == 0 {
            presence.candidates.push(slot);
        }
    }
}

impl Presence {
    fn count_mut(&mut self, slot: Slot) -> &mut u16 {
        let rows = &mut self.counts[usize::from(slot.group)];
        let row = slot.row as usize;
        if rows.len() <= row {
            rows.resize(row + 1, 0);
        }
        &mut rows[row]
    }
}

/// The keys of one key group.
struct KeyTable<K> {
    /// Rows by key hash; the keys themselves are in `keys`.
    index: HashTable<u32>,
    keys: CowVec<K>,
    free: Vec<u32>,
}

impl<K: Key> KeyTable<K> {
    fn new() -> Self {
        Self { index: HashTable::new(), keys: CowVec::new(), free: Vec::new() }
    }

    #[inline]
    fn find(&self, hash: KeyHash, key: &K) -> Option<u32> {
        let keys = self.keys.as_slice();
        self.index.find(hash.0, |row| keys[*row as usize] == *key).copied()
    }

    #[cold]
    fn insert(&mut self, hash: KeyHash, key: K, encoder: &mut KeyEncoder) -> u32 {
        let keys = self.keys.to_mut();
        let row = match self.free.pop() {
            Some(row) => {
                keys[row as usize] = key;
                row
            }
            None => {
                keys.push(key);
                u32::try_from(keys.len() - 1).expect("a key group holds at most 2^32 rows")
            }
        };
        let encoder = RefCell::new(encoder);
        self.index.insert_unique(hash.0, row, |row| rehash(&mut encoder.borrow_mut(), &keys[*row as usize]));
        row
    }

    /// Takes `row` out of the index; false when it was not in it.
    fn remove(&mut self, row: u32, encoder: &mut KeyEncoder) -> bool {
        let hash = rehash(encoder, &self.keys.as_slice()[row as usize]);
        match self.index.find_entry(hash, |candidate| *candidate == row) {
            Ok(entry) => {
                entry.remove();
                self.free.push(row);
                true
            }
            Err(_) => false,
        }
    }
}

fn rehash<K: Key>(encoder: &mut KeyEncoder, key: &K) -> u64 {
    encoder.hash(key).expect("a key in the table was hashed before").0
}

/// Declares an operator's named states while it opens.
pub struct StateRegistry {
    operator: String,
    group_count: usize,
    cursor: Rc<Cursor>,
    columns: Vec<Rc<RefCell<dyn StateColumn>>>,
    schemas: Vec<StateSchema>,
}

impl std::fmt::Debug for StateRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateRegistry")
            .field("operator", &self.operator)
            .field("states", &self.schemas)
            .finish()
    }
}

impl StateRegistry {
    /// A handle to the value state `descriptor` names, of the key at hand.
    ///
    /// # Errors
    /// [`StateError::DuplicateName`] when the operator declared the name before.
    pub fn value<V: StateValue>(
        &mut self,
        descriptor: &ValueStateDescriptor<V>,
    ) -> Result<ValueState<V>, StateError> {
        let schema = descriptor.schema();
        if self.schemas.iter().any(|declared| declared.name == schema.name) {
            return Err(StateError::DuplicateName { operator: self.operator.clone(), state: schema.name });
        }
        let column = Rc::new(RefCell::new(ValueColumn::<V>::new(self.group_count)));
        self.columns.push(Rc::clone(&column) as Rc<RefCell<dyn StateColumn>>);
        self.schemas.push(schema);
        Ok(ValueState::new(Rc::clone(&self.cursor), column))
    }
}

/// The state of one keyed operator in one subtask.
pub(crate) struct KeyedState<K> {
    range: KeyGroupRange,
    groups: MaxParallelism,
    tables: Vec<KeyTable<K>>,
    registry: StateRegistry,
    encoder: KeyEncoder,
    row_count: usize,
}

impl<K: Key> KeyedState<K> {
    pub(crate) fn new(operator: String, range: KeyGroupRange, groups: MaxParallelism) -> Self {
        let presence = Presence { counts: vec![Vec::new(); range.len()], candidates: Vec::new() };
        let cursor = Cursor { slot: Cell::new(Slot::default()), presence: RefCell::new(presence) };
        Self {
            range,
            groups,
            tables: range.groups().map(|_| KeyTable::new()).collect(),
            registry: StateRegistry {
                operator,
                group_count: range.len(),
                cursor: Rc::new(cursor),
                columns: Vec::new(),
                schemas: Vec::new(),
            },
            encoder: KeyEncoder::new(),
            row_count: 0,
        }
    }

    pub(crate) fn registry(&mut self) -> &mut StateRegistry {
        &mut self.registry
    }

    pub(crate) fn cursor(&self) -> Rc<Cursor> {
        Rc::clone(&self.registry.cursor)
    }

    /// Number of keys held, with those of the running batch that may turn out to hold nothing.
    pub(crate) fn key_count(&self) -> usize {
        self.row_count
    }

    /// Finds the slot of every key of a batch part, adding rows for new keys, and brings the columns' cache lines
    /// in while the lookups are independent of each other. `slots[i]` belongs to `keys[i]`.
    pub(crate) fn resolve(&mut self, hashes: &[KeyHash], keys: &[K], slots: &mut Vec<Slot>) {
        assert_eq!(hashes.len(), keys.len(), "one hash a key");
        slots.clear();
        slots.reserve(keys.len());
        for (hash, key) in hashes.iter().zip(keys) {
            let slot = self.slot(*hash, key);
            slots.push(slot);
        }
        if self.row_count >= TOUCH_ROWS_MIN {
            for column in &self.registry.columns {
                column.borrow().touch(slots);
            }
        }
    }

    #[inline]
    fn slot(&mut self, hash: KeyHash, key: &K) -> Slot {
        let group = KeyGroup::of(hash, self.groups);
        assert!(self.range.contains(group), "a record was routed to the owner of its key group");
        let group = group.0 - self.range.start;
        let table = &mut self.tables[usize::from(group)];
        if let Some(row) = table.find(hash, key) {
            return Slot { group, row };
        }
        let row = table.insert(hash, key.clone(), &mut self.encoder);
        let slot = Slot { group, row };
        self.row_count += 1;
        self.registry.cursor.presence.borrow_mut().candidates.push(slot);
        slot
    }

    /// Ends a batch: removes the keys that hold no value in any state.
    pub(crate) fn end_batch(&mut self) {
        let mut presence = self.registry.cursor.presence.borrow_mut();
        let mut candidates = std::mem::take(&mut presence.candidates);
        for slot in candidates.drain(..) {
            if *presence.count_mut(slot) == 0
                && self.tables[usize::from(slot.group)].remove(slot.row, &mut self.encoder)
            {
                self.row_count -= 1;
            }
        }
        presence.candidates = candidates;
    }

    /// Shares the state as it is now; later writes copy what they change. Constant time in the number of keys.
    pub(crate) fn snapshot(&mut self) -> Box<dyn StateSnapshot> {
        Box::new(KeyedSnapshot {
            header: self.header(),
            keys: self.tables.iter_mut().map(|table| table.keys.share()).collect(),
            columns: self.registry.columns.iter().map(|column| column.borrow_mut().snapshot()).collect(),
        })
    }

    fn header(&self) -> PartHeader {
        PartHeader {
            operator: self.registry.operator.clone(),
            key_type: std::any::type_name::<K>().to_owned(),
            max_parallelism: self.groups,
            range: self.range,
            states: self.registry.schemas.clone(),
        }
    }

    /// Loads from a verified part what lies in this subtask's key groups.
    ///
    /// # Errors
    /// Mismatches between what was saved and what the operator declares; a malformed part.
    pub(crate) fn load(&mut self, part: &[u8]) -> Result<(), StateError> {
        let mut reader = PartReader::new(part)?;
        self.header().check_restorable(reader.header())?;
        // States are matched by name: the saved order need not be the declared one.
        let saved_columns: Vec<usize> = reader
            .header()
            .states
            .iter()
            .map(|saved| {
                let same_name = |declared: &StateSchema| declared.name == saved.name;
                self.registry.schemas.iter().position(same_name).expect("check_restorable found it")
            })
            .collect();
        while let Some(group) = reader.next_group()? {
            if !self.range.contains(group) {
                reader.skip_group();
                continue;
            }
            while let Some(encoded_key) = reader.next_key()? {
                // A key has one encoding; another would be a second row for the same key.
                let key = postcard::from_bytes::<K>(encoded_key).ok();
                let key = key.filter(|key| self.encoder.encode(key) == Ok(encoded_key));
                let Some(key) = key else {
                    return Err(reader.malformed("a key of the declared type"));
                };
                let hash = super::key::hash_encoded(encoded_key);
                if KeyGroup::of(hash, self.groups) != group {
                    return Err(reader.malformed("a key of this key group"));
                }
                let slot = self.slot(hash, &key);
                self.registry.cursor.move_to(slot);
                for column in &saved_columns {
                    let Some(value) = reader.next_value()? else { continue };
                    let loaded = self.registry.columns[*column].borrow_mut().load(slot, value);
                    if loaded.is_err() {
                        return Err(reader.malformed("a value of the declared type"));
                    }
                    self.registry.cursor.appeared();
                }
            }
        }
        self.end_batch();
        Ok(())
    }
}

/// A snapshot of one operator's state in one subtask, shared with the running operator.
pub(crate) trait StateSnapshot: Send {
    /// Name of the operator.
    fn operator(&self) -> &str;

    /// Writes the snapshot as a part (see `part`) and returns the number of keys written.
    fn write(&self, out: &mut dyn std::io::Write) -> std::io::Result<u64>;
}

struct KeyedSnapshot<K> {
    header: PartHeader,
    keys: Vec<Arc<Vec<K>>>,
    columns: Vec<Box<dyn ColumnSnapshot>>,
}

impl<K: Key> StateSnapshot for KeyedSnapshot<K> {
    fn operator(&self) -> &str {
        &self.header.operator
    }

    fn write(&self, out: &mut dyn std::io::Write) -> std::io::Result<u64> {
        let mut encoder = KeyEncoder::new();
        let mut writer = PartWriter::new(out, &self.header)?;
        for (index, (group, keys)) in self.header.range.groups().zip(&self.keys).enumerate() {
            for (row, key) in keys.iter().enumerate() {
                if self.columns.iter().any(|column| column.holds(index, row)) {
                    let key = encoder.encode(key).expect("a key in the table was encoded before");
                    writer.key(key);
                    for column in &self.columns {
                        writer.value(|out| column.encode(index, row, out))?;
                    }
                }
            }
            writer.end_group(group)?;
        }
        writer.finish()
    }
}

#[cfg(test)]
#[path = "keyed_tests.rs"]
mod tests;
