//! A column: what all keys of a subtask hold in one state, by key group and row.

use std::cell::RefCell;
use std::sync::Arc;

use super::cell::{Cell, Encoding};
use super::cow::CowVec;
use super::descriptor::{Common, Migrations, StateSchema};
use super::heap_size::PointsTo;
use super::rows::{Rows, Slot};
use super::ttl::StateTtl;

/// What a table does with a state column without knowing its type: once a batch, or on the way from and to a store.
pub(crate) trait StateColumn {
    /// Reads one byte of each slot, so that the cache misses of a batch overlap.
    fn touch(&self, slots: &[Slot]);

    /// Shares the column as it is now; `now` decides what has expired.
    fn snapshot(&mut self, now: i64) -> Box<dyn ColumnSnapshot>;

    /// Sets what is held at `slot` from its encoded form. True when something was absent before and is there now.
    fn load(
        &mut self,
        slot: Slot,
        encoded: &[u8],
        saved: &StateSchema,
        now: i64,
    ) -> Result<bool, postcard::Error>;

    /// Appends the encoded form of what is held at `slot`; `false` when it is nothing.
    fn encode(&self, slot: Slot, now: i64, out: &mut Vec<u8>) -> Result<bool, postcard::Error>;

    /// Forgets what is held at `slot`; a store has it. True when there was something.
    fn evict(&mut self, slot: Slot) -> bool;

    /// Whether the group was written to since it was last shared.
    fn is_changed(&self, group: usize) -> bool;

    /// Removes expired entries of some rows; how many follows from the accesses since the last call. Each row that
    /// lost its value is given to `vanished`. Returns how many entries were to be looked at.
    fn clean(&mut self, records: usize, now: i64, vanished: &mut dyn FnMut(Slot)) -> u64;

    /// Bytes a row takes in the column, without what its value points to.
    fn row_bytes(&self) -> usize;

    /// Bytes the value at `slot` points to, as far as it can be told.
    fn sample_heap_bytes(&self, slot: Slot) -> usize;

    /// Versions that can be read besides the declared one, with the type each had.
    fn migrates_from(&self) -> Vec<(u16, String)>;
}

/// A shared column, read while a part is written.
pub(crate) trait ColumnSnapshot: Send {
    /// Appends the encoded form; `false` when there is nothing.
    fn encode(&self, group: usize, row: usize, out: &mut Vec<u8>) -> Result<bool, postcard::Error>;
}

/// Cells by key group and row, and the stamps of those that have one.
pub(crate) struct Column<C: Cell> {
    groups: Vec<CowVec<Option<C>>>,
    /// By group and row; empty for a state without a time to live, and for lists and maps, whose elements have stamps.
    stamps: Vec<CowVec<i64>>,
    ttl: Option<StateTtl>,
    version: u16,
    migrations: Migrations<C::Item>,
    cleaner: Cleaner,
}

/// Where the incremental clean-up is, and what it owes.
#[derive(Debug, Default)]
struct Cleaner {
    next: Slot,
    accesses: u64,
}

/// Rows one incremental clean-up looks at, whatever the batch.
const CLEANUP_ROWS_MAX: u64 = 1 << 20;

impl<C: Cell> Column<C> {
    pub(crate) fn new(common: &Common<C::Item>, group_count: usize) -> Self {
        let has_stamps = common.ttl.is_some() && !C::HAS_ELEMENTS;
        Self {
            groups: (0..group_count).map(|_| CowVec::new()).collect(),
            stamps: (0..if has_stamps { group_count } else { 0 }).map(|_| CowVec::new()).collect(),
            ttl: common.ttl,
            version: common.version,
            migrations: common.migrations.clone(),
            cleaner: Cleaner::default(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&C> {
        self.groups[usize::from(slot.group)].as_slice().get(slot.row as usize)?.as_ref()
    }

    #[inline]
    pub(crate) fn cell(&mut self, slot: Slot) -> &mut Option<C> {
        let rows = self.groups[usize::from(slot.group)].to_mut();
        let row = slot.row as usize;
        if rows.len() <= row {
            rows.resize(row + 1, None);
        }
        &mut rows[row]
    }

    /// The time of the last update of the cell at `slot`; 0 for a state without stamps beside its cells.
    pub(crate) fn stamp(&self, slot: Slot) -> i64 {
        let rows = self.stamps.get(usize::from(slot.group));
        rows.and_then(|rows| rows.as_slice().get(slot.row as usize)).copied().unwrap_or_default()
    }

    pub(crate) fn set_stamp(&mut self, slot: Slot, stamp: i64) {
        if let Some(rows) = self.stamps.get_mut(usize::from(slot.group)) {
            let rows = rows.to_mut();
            let row = slot.row as usize;
            if rows.len() <= row {
                rows.resize(row + 1, 0);
            }
            rows[row] = stamp;
        }
    }

    /// Counts a use of a state that expires.
    pub(crate) fn accessed(&mut self) {
        self.cleaner.accesses += 1;
    }

    fn encoding(&self, now: i64) -> Encoding {
        Encoding { ttl: self.ttl.map(|ttl| (ttl.duration_ms(), now)) }
    }

    /// Looks at one row; true when what it held has expired and is gone.
    fn clean_row(&mut self, slot: Slot, ttl: &StateTtl, now: i64) -> bool {
        let stamp = self.stamp(slot);
        let is_expired = self.get(slot).is_some_and(|cell| cell.has_expired(stamp, ttl.duration_ms(), now));
        if !is_expired {
            return false;
        }
        let cell = self.cell(slot);
        let is_empty = cell.as_mut().is_none_or(|cell| cell.purge(ttl.duration_ms(), now));
        if is_empty {
            *cell = None;
        }
        is_empty
    }

    /// The next row in the round over all rows, or `None` when there is none.
    fn next_row(&mut self) -> Option<Slot> {
        for _ in 0..=self.groups.len() {
            let group = usize::from(self.cleaner.next.group);
            if (self.cleaner.next.row as usize) < self.groups[group].as_slice().len() {
                let slot = self.cleaner.next;
                self.cleaner.next.row += 1;
                return Some(slot);
            }
            let next = (group + 1) % self.groups.len();
            self.cleaner.next =
                Slot { group: u16::try_from(next).expect("groups are numbered in 16 bits"), row: 0 };
        }
        None
    }
}

impl<C: Cell + PointsTo> StateColumn for Column<C> {
    fn touch(&self, slots: &[Slot]) {
        let is_there = |slot: &&Slot| **slot != Slot::REFUSED && self.get(**slot).is_some();
        let present = slots.iter().filter(is_there).count();
        std::hint::black_box(present);
    }

    fn snapshot(&mut self, now: i64) -> Box<dyn ColumnSnapshot> {
        Box::new(SharedColumn {
            groups: self.groups.iter_mut().map(CowVec::share).collect(),
            stamps: self.stamps.iter_mut().map(CowVec::share).collect(),
            encoding: self.encoding(now),
        })
    }

    fn load(
        &mut self,
        slot: Slot,
        encoded: &[u8],
        saved: &StateSchema,
        now: i64,
    ) -> Result<bool, postcard::Error> {
        let current = |bytes: &[u8]| postcard::from_bytes::<C::Item>(bytes);
        let migration = self.migrations.decoder(saved.version).filter(|_| saved.version != self.version);
        let (cell, stamp) = match migration {
            Some(decode) => C::decode(encoded, saved.has_ttl, now, &**decode)?,
            None => C::decode(encoded, saved.has_ttl, now, &current)?,
        };
        self.set_stamp(slot, stamp);
        Ok(self.cell(slot).replace(cell).is_none())
    }

    fn encode(&self, slot: Slot, now: i64, out: &mut Vec<u8>) -> Result<bool, postcard::Error> {
        match self.get(slot) {
            Some(cell) => cell.encode(self.stamp(slot), self.encoding(now), out),
            None => Ok(false),
        }
    }

    fn evict(&mut self, slot: Slot) -> bool {
        self.get(slot).is_some() && self.cell(slot).take().is_some()
    }

    fn is_changed(&self, group: usize) -> bool {
        self.groups[group].is_changed() || self.stamps.get(group).is_some_and(CowVec::is_changed)
    }

    fn clean(&mut self, records: usize, now: i64, vanished: &mut dyn FnMut(Slot)) -> u64 {
        let accesses = std::mem::take(&mut self.cleaner.accesses);
        let Some(ttl) = self.ttl else { return 0 };
        let Some(incremental) = ttl.incremental else { return 0 };
        let accesses = if incremental.per_record { accesses.max(records as u64) } else { accesses };
        let rows: usize = self.groups.iter().map(|group| group.as_slice().len()).sum();
        let owed = accesses.saturating_mul(u64::from(incremental.entries_per_access));
        for _ in 0..owed.min(rows as u64).min(CLEANUP_ROWS_MAX) {
            let Some(slot) = self.next_row() else { break };
            if self.clean_row(slot, &ttl, now) {
                vanished(slot);
            }
        }
        owed
    }

    fn row_bytes(&self) -> usize {
        size_of::<Option<C>>() + if self.stamps.is_empty() { 0 } else { size_of::<i64>() }
    }

    fn sample_heap_bytes(&self, slot: Slot) -> usize {
        let Some(cell) = self.get(slot) else { return 0 };
        if !std::mem::needs_drop::<C>() {
            return 0;
        }
        cell.heap_bytes() + cell.values_point_to()
    }

    fn migrates_from(&self) -> Vec<(u16, String)> {
        self.migrations.versions().map(|(version, type_name)| (version, type_name.to_owned())).collect()
    }
}

struct SharedColumn<C> {
    groups: Vec<Arc<Vec<Option<C>>>>,
    stamps: Vec<Arc<Vec<i64>>>,
    encoding: Encoding,
}

impl<C: Cell> ColumnSnapshot for SharedColumn<C> {
    fn encode(&self, group: usize, row: usize, out: &mut Vec<u8>) -> Result<bool, postcard::Error> {
        match self.groups[group].get(row) {
            Some(Some(cell)) => {
                let stamp = self.stamps.get(group).and_then(|rows| rows.get(row)).copied();
                cell.encode(stamp.unwrap_or_default(), self.encoding, out)
            }
            _ => Ok(false),
        }
    }
}

/// A column shared by a state handle and the table.
pub(crate) type SharedCells<C> = std::rc::Rc<RefCell<Column<C>>>;

/// What a state handle works on: the column, the rows' bookkeeping, and the time to live.
pub(crate) struct Cells<C: Cell> {
    pub(crate) rows: std::rc::Rc<Rows>,
    pub(crate) column: SharedCells<C>,
    pub(crate) ttl: Option<StateTtl>,
}
