//! Opening keyed state from what was saved: parts, and the files of a store.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;

use super::KeyedState;
use super::cache::Cache;
use crate::state::backend::{EntryBatch, Store, split_store_key, store_key};
use crate::state::column::StateColumn;
use crate::state::descriptor::StateSchema;
use crate::state::error::StateError;
use crate::state::flush::write_patiently;
use crate::state::key::{Key, hash_encoded};
use crate::state::key_group::KeyGroup;
use crate::state::list_state::SavedList;
use crate::state::part::{Migrations, PartHeader, PartReader, split_state};
use crate::state::registry::StateRegistry;
use crate::state::restore::SavedPart;
use crate::state::rows::{Rows, Slot};

/// Entries that are read before they are written to a store, in bytes.
const LOAD_BATCH_BYTES: usize = 1 << 20;

impl<K: Key> KeyedState<K> {
    /// Compares what parts say of themselves with what is declared, without loading anything.
    ///
    /// # Errors
    /// Mismatches between what was saved and what the operator declares; a malformed header.
    pub(crate) fn check(&self, parts: &[SavedPart], parallelism: usize) -> Result<(), StateError> {
        self.restore_lists(&self.readers(parts)?, 0, parallelism)
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
        let readers = self.readers(parts)?;
        self.restore_lists(&readers, index, parallelism)?;
        let is_linked = self.open_store(&readers)?;
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

    /// A reader of each part, whose header fits what is declared.
    fn readers<'p>(&self, parts: &'p [SavedPart]) -> Result<Vec<PartToLoad<'p>>, StateError> {
        let columns = self.registry.columns.iter();
        let migrations: Vec<Migrations> = columns.map(|column| column.borrow().migrates_from()).collect();
        let header = self.header(false)?;
        let reader = |part: &'p SavedPart| {
            let reader = PartReader::new(&part.bytes)?;
            header.check_restorable(reader.header(), &migrations)?;
            Ok((part, reader))
        };
        parts.iter().map(reader).collect()
    }

    fn restore_lists(
        &self,
        parts: &[PartToLoad<'_>],
        index: usize,
        parallelism: usize,
    ) -> Result<(), StateError> {
        let counting = parts.iter().filter(|(part, _)| part.has_lists);
        let lists: Vec<&[SavedList]> = counting.map(|(_, reader)| &*reader.header().lists).collect();
        self.registry.lists.restore(&self.registry.operator, &lists, index, parallelism)
    }

    /// Opens the store, if the backend has one; true when it is the saved one, linked.
    fn open_store(&mut self, parts: &[PartToLoad<'_>]) -> Result<bool, StateError> {
        let Some(factory) = self.setup.store.clone() else { return Ok(false) };
        let expiry = self.expiry(|ttl| ttl.in_compaction);
        let operator = &self.registry.operator;
        let same = |saved: &PartHeader| saved.range == self.range && saved.states == self.registry.schemas;
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
        self.cache = Some(Cache::new(store, stored_keys));
        Ok(is_linked)
    }

    /// Loads the blocks of a part.
    fn load(&mut self, part: &SavedPart, reader: &mut PartReader<'_>) -> Result<(), StateError> {
        let mut intake = self.intake(reader.header());
        while let Some(group) = reader.next_group()? {
            if !self.range.contains(group) || !part.groups.contains(group.0) {
                reader.skip_group();
                continue;
            }
            while let Some((key, entry)) = reader.next_entry()? {
                self.load_entry(&mut intake, group, key, entry, reader.position())?;
            }
            while let Some((domain, time, key)) = reader.next_timer()? {
                if KeyGroup::of(hash_encoded(key), self.groups) != group {
                    return Err(reader.malformed("a timer of this key group"));
                }
                if postcard::from_bytes::<K>(key).is_err() {
                    return Err(reader.malformed("a timer's key of the declared type"));
                }
                self.timers.set(domain, time, key);
            }
        }
        self.write_raw(&mut intake)
    }

    /// Loads the entries of a saved store.
    fn load_store(
        &mut self,
        source: &dyn Store,
        part: &SavedPart,
        header: &PartHeader,
    ) -> Result<(), StateError> {
        let mut intake = self.intake(header);
        let mut outcome = Ok(());
        let mut from = Vec::new();
        store_key(KeyGroup(self.range.start), &[], &mut from);
        source.scan(&from, &mut |store_key, entry| {
            let Some((group, key)) = split_store_key(store_key) else { return ControlFlow::Continue(()) };
            if !self.range.contains(group) {
                return ControlFlow::Break(());
            }
            if part.groups.contains(group.0) {
                outcome = self.load_entry(&mut intake, group, key, entry, 0);
            }
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome?;
        self.write_raw(&mut intake)
    }

    fn intake(&self, saved: &PartHeader) -> Intake {
        let schemas = &self.registry.schemas;
        let column = |state: &StateSchema| {
            let column = schemas.iter().position(|declared| declared.name == state.name);
            column.expect("the header was compared with what is declared")
        };
        let is_raw = self.cache.is_some() && saved.states == *schemas;
        Intake {
            columns: saved.states.iter().map(column).collect(),
            states: saved.states.clone(),
            raw: is_raw.then(EntryBatch::default),
        }
    }

    /// Loads one entry, found at byte `position`.
    fn load_entry(
        &mut self,
        intake: &mut Intake,
        group: KeyGroup,
        encoded_key: &[u8],
        entry: &[u8],
        position: usize,
    ) -> Result<(), StateError> {
        let operator = &self.registry.operator;
        let malformed = |detail| StateError::Malformed { operator: operator.clone(), position, detail };
        // A key has one encoding; another would be a second row for the same key.
        let key = postcard::from_bytes::<K>(encoded_key).ok();
        let key = key.filter(|key| self.encoder.encode(key) == Ok(encoded_key));
        let key = key.ok_or_else(|| malformed("a key of the declared type"))?;
        let hash = hash_encoded(encoded_key);
        if KeyGroup::of(hash, self.groups) != group {
            return Err(malformed("a key of this key group"));
        }
        if let Some(entries) = &mut intake.raw {
            entries.put(group, encoded_key, entry);
            let is_full = entries.byte_count() > LOAD_BATCH_BYTES;
            return if is_full { self.write_raw(intake) } else { Ok(()) };
        }
        let slot = self.slot(hash, &key);
        let StateRegistry { operator, rows, columns, .. } = &self.registry;
        let columns = intake.columns.iter().map(|column| &columns[*column]).zip(&intake.states);
        load_values(rows, columns, slot, entry).map_err(|detail| StateError::Malformed {
            operator: operator.clone(),
            position,
            detail,
        })?;
        rows.move_to(slot);
        rows.wrote();
        if self.cache.is_some() && self.memory_bytes() > self.bytes_max() {
            self.end_batch(0)?;
            self.make_room()?;
        }
        Ok(())
    }

    fn write_raw(&mut self, intake: &mut Intake) -> Result<(), StateError> {
        let Some(entries) = intake.raw.as_mut().filter(|entries| !entries.is_empty()) else { return Ok(()) };
        let mut entries = std::mem::take(entries);
        let cache = self.cache.as_mut().expect("raw entries go to a store");
        entries.sort();
        write_patiently(&*cache.store, &self.setup.waiting, &entries)?;
        cache.stored_keys += entries.len() as u64;
        Ok(())
    }
}

/// A part and its reader.
type PartToLoad<'p> = (&'p SavedPart, PartReader<'p>);

/// How the entries of one part are taken in.
struct Intake {
    /// The states of an entry, as they were saved.
    states: Vec<StateSchema>,
    /// The column of each of them. They are matched by name: the saved order need not be the declared one.
    columns: Vec<usize>,
    /// Entries that go to the store as they are; `None` when they must be decoded.
    raw: Option<EntryBatch>,
}

/// Sets what an entry holds at `slot`; `columns` are those of the entry's states, in its order, each with the schema it was
/// saved under.
///
/// # Errors
/// What was expected of the entry.
pub(super) fn load_values<'c>(
    rows: &Rows,
    columns: impl Iterator<Item = (&'c Rc<RefCell<dyn StateColumn>>, &'c StateSchema)>,
    slot: Slot,
    mut entry: &[u8],
) -> Result<(), &'static str> {
    for (column, schema) in columns {
        let Some(value) = split_state(&mut entry).ok_or("a value within the entry")? else { continue };
        match column.borrow_mut().load(slot, value, schema, rows.now()) {
            Ok(true) => rows.appeared_at(slot),
            Ok(false) => {}
            Err(_) => return Err("a value of the declared type"),
        }
    }
    Ok(())
}
