//! The rows of a subtask's keys: which one is current, how many states hold something in each, and, where rows are a
//! cache of a store, which of them the store does not have yet.

use std::cell::{Cell, RefCell};

/// Where a key's values lie: the key group (counted from the subtask's first) and the row in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Slot {
    pub(crate) group: u16,
    pub(crate) row: u32,
}

impl Slot {
    /// Stands for a key that was refused.
    pub(crate) const REFUSED: Self = Self { group: u16::MAX, row: u32::MAX };
}

/// The current key of an operator, shared by all its state handles, and what is known of every row.
#[derive(Debug)]
pub(crate) struct Rows {
    slot: Cell<Slot>,
    /// Processing time of the batch, in milliseconds.
    now: Cell<i64>,
    /// Whether the rows are a cache of a store.
    is_cache: bool,
    book: RefCell<Book>,
}

#[derive(Debug)]
struct Book {
    /// By group and row.
    rows: Vec<Vec<RowState>>,
    /// Rows to look at when the batch ends: new ones, and ones whose last value went.
    candidates: Vec<Slot>,
    /// Rows that differ from the store, each once.
    dirty: Vec<Slot>,
}

/// What is known of a row.
#[derive(Debug, Clone, Copy, Default)]
struct RowState {
    /// Number of states that hold something.
    held: u16,
    is_dirty: bool,
    /// Whether the store has a version of it.
    is_stored: bool,
    /// When it was last used, in rounds of eviction.
    used: u8,
}

impl Rows {
    pub(crate) fn new(group_count: usize, is_cache: bool) -> Self {
        Self {
            slot: Cell::default(),
            now: Cell::default(),
            is_cache,
            book: RefCell::new(Book {
                rows: vec![Vec::new(); group_count],
                candidates: Vec::new(),
                dirty: Vec::new(),
            }),
        }
    }

    #[inline]
    pub(crate) fn slot(&self) -> Slot {
        self.slot.get()
    }

    #[inline]
    pub(crate) fn move_to(&self, slot: Slot) {
        self.slot.set(slot);
    }

    /// Processing time, in milliseconds.
    #[inline]
    pub(crate) fn now(&self) -> i64 {
        self.now.get()
    }

    pub(crate) fn set_now(&self, now: i64) {
        self.now.set(now);
    }

    /// A state was written to at the current slot.
    #[inline]
    pub(crate) fn wrote(&self) {
        if self.is_cache {
            self.book.borrow_mut().mark_dirty(self.slot.get());
        }
    }

    /// A state holds something at the current slot where it held nothing.
    pub(crate) fn appeared(&self) {
        self.appeared_at(self.slot.get());
    }

    pub(crate) fn appeared_at(&self, slot: Slot) {
        self.book.borrow_mut().state(slot).held += 1;
    }

    /// A state holds nothing any more at the current slot.
    pub(crate) fn vanished(&self) {
        self.vanished_at(self.slot.get());
    }

    /// As [`Self::vanished`], for any slot.
    pub(crate) fn vanished_at(&self, slot: Slot) {
        let mut book = self.book.borrow_mut();
        let state = book.state(slot);
        state.held -= 1;
        if state.held == 0 {
            book.candidates.push(slot);
        }
        if self.is_cache {
            book.mark_dirty(slot);
        }
    }

    /// Has a look at a row when the batch ends.
    pub(crate) fn look_at(&self, slot: Slot) {
        self.book.borrow_mut().candidates.push(slot);
    }

    /// Whether the rows are a cache of a store.
    #[inline]
    pub(crate) fn is_cache(&self) -> bool {
        self.is_cache
    }

    /// The rows to look at, now that the batch ends.
    pub(crate) fn take_candidates(&self) -> Vec<Slot> {
        std::mem::take(&mut self.book.borrow_mut().candidates)
    }

    /// Gives the vector back, so that its allocation is used again.
    pub(crate) fn return_candidates(&self, mut candidates: Vec<Slot>) {
        candidates.clear();
        let mut book = self.book.borrow_mut();
        if book.candidates.is_empty() {
            book.candidates = candidates;
        }
    }

    /// True when no state holds anything in the row.
    pub(crate) fn is_empty(&self, slot: Slot) -> bool {
        self.book.borrow_mut().state(slot).held == 0
    }

    /// Whether the store has another version of the row.
    pub(crate) fn is_dirty(&self, slot: Slot) -> bool {
        self.book.borrow_mut().state(slot).is_dirty
    }

    /// The rows that differ from the store, which is about to get them.
    pub(crate) fn take_dirty(&self) -> Vec<Slot> {
        let mut book = self.book.borrow_mut();
        let dirty = std::mem::take(&mut book.dirty);
        for slot in &dirty {
            book.state(*slot).is_dirty = false;
        }
        dirty
    }

    /// Whether the store has a version of the row.
    pub(crate) fn is_stored(&self, slot: Slot) -> bool {
        self.book.borrow_mut().state(slot).is_stored
    }

    pub(crate) fn set_stored(&self, slot: Slot, is_stored: bool) {
        self.book.borrow_mut().state(slot).is_stored = is_stored;
    }

    /// How many keys the store will get and lose by the rows that differ from it.
    pub(crate) fn unstored(&self) -> (u64, u64) {
        let mut book = self.book.borrow_mut();
        let (mut gets, mut loses) = (0, 0);
        for index in 0..book.dirty.len() {
            let slot = book.dirty[index];
            let state = book.state(slot);
            match (state.held > 0, state.is_stored) {
                (true, false) => gets += 1,
                (false, true) => loses += 1,
                (true, true) | (false, false) => {}
            }
        }
        (gets, loses)
    }

    /// The store's version of a row without values is to go.
    pub(crate) fn must_go(&self, slot: Slot) {
        let mut book = self.book.borrow_mut();
        book.state(slot).is_stored = true;
        book.mark_dirty(slot);
    }

    /// Number of rows that differ from the store.
    pub(crate) fn dirty_count(&self) -> usize {
        self.book.borrow().dirty.len()
    }

    /// Notes in which round the row was used.
    pub(crate) fn used(&self, slot: Slot, round: u8) {
        self.book.borrow_mut().state(slot).used = round;
    }

    /// The round in which the row was last used.
    pub(crate) fn last_used(&self, slot: Slot) -> u8 {
        self.book.borrow_mut().state(slot).used
    }

    /// Forgets a row.
    pub(crate) fn forget(&self, slot: Slot) {
        *self.book.borrow_mut().state(slot) = RowState::default();
    }
}

impl Book {
    fn state(&mut self, slot: Slot) -> &mut RowState {
        let rows = &mut self.rows[usize::from(slot.group)];
        let row = slot.row as usize;
        if rows.len() <= row {
            rows.resize(row + 1, RowState::default());
        }
        &mut rows[row]
    }

    fn mark_dirty(&mut self, slot: Slot) {
        let state = self.state(slot);
        if !std::mem::replace(&mut state.is_dirty, true) {
            self.dirty.push(slot);
        }
    }
}
