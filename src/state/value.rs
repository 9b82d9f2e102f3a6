//! Value, reducing and aggregating state: one value for each key.

use std::fmt;

use super::cell::Single;
use super::column::Cells;
use super::descriptor::{AggregateFunction, Reduce, StateValue};
use super::ttl::StateTtl;

impl<V: StateValue> Cells<Single<V>> {
    #[inline]
    fn read(&self) -> Option<V> {
        match &self.ttl {
            None => self.column.borrow().get(self.rows.slot()).map(|cell| cell.0.clone()),
            Some(ttl) => self.read_unexpired(ttl),
        }
    }

    fn read_unexpired(&self, ttl: &StateTtl) -> Option<V> {
        let (slot, now) = (self.rows.slot(), self.rows.now());
        let mut column = self.column.borrow_mut();
        column.accessed();
        let value = column.get(slot)?.0.clone();
        if ttl.is_expired(column.stamp(slot), now) {
            *column.cell(slot) = None;
            self.rows.vanished();
            return ttl.returns_expired().then_some(value);
        }
        if ttl.updates_on_read() {
            column.set_stamp(slot, now);
            self.rows.wrote();
        }
        Some(value)
    }

    #[inline]
    fn write(&self, value: V) {
        let slot = self.rows.slot();
        let mut column = self.column.borrow_mut();
        let was_absent = column.cell(slot).replace(Single(value)).is_none();
        if self.ttl.is_some() {
            column.accessed();
            column.set_stamp(slot, self.rows.now());
        }
        if was_absent {
            self.rows.appeared();
        }
        self.rows.wrote();
    }

    fn clear(&self) {
        let slot = self.rows.slot();
        let mut column = self.column.borrow_mut();
        if column.get(slot).is_some() {
            *column.cell(slot) = None;
            self.rows.vanished();
        }
    }

    fn modify<R>(&self, change: impl FnOnce(&mut Option<V>) -> R) -> R {
        let (slot, now) = (self.rows.slot(), self.rows.now());
        let mut column = self.column.borrow_mut();
        let is_expired = match &self.ttl {
            None => false,
            Some(ttl) => {
                column.accessed();
                ttl.is_expired(column.stamp(slot), now) && !ttl.returns_expired()
            }
        };
        let cell = column.cell(slot);
        let before = cell.take();
        let was_there = before.is_some();
        let mut value = before.filter(|_| !is_expired).map(|Single(value)| value);
        let outcome = change(&mut value);
        let is_there = value.is_some();
        *cell = value.map(Single);
        if is_there && self.ttl.is_some() {
            column.set_stamp(slot, now);
        }
        match (was_there, is_there) {
            (false, true) => self.rows.appeared(),
            (true, false) => self.rows.vanished(),
            _ => {}
        }
        if is_there {
            self.rows.wrote();
        }
        outcome
    }
}

/// A handle to a value state; reads and writes the value of the key the operator is processing.
///
/// Declared through [`StateRegistry::value`](super::StateRegistry::value).
pub struct ValueState<V: StateValue> {
    cells: Cells<Single<V>>,
    default: Option<V>,
}

impl<V: StateValue> ValueState<V> {
    pub(crate) fn new(cells: Cells<Single<V>>, default: Option<V>) -> Self {
        Self { cells, default }
    }

    /// The value; when the key has none, a copy of the descriptor's default, or `None` where it has none.
    #[inline]
    pub fn value(&self) -> Option<V> {
        match self.cells.read() {
            None => self.default.clone(),
            value => value,
        }
    }

    /// Sets the value.
    #[inline]
    pub fn update(&self, value: V) {
        self.cells.write(value);
    }

    /// Removes the value.
    pub fn clear(&self) {
        self.cells.clear();
    }

    /// Changes the value where it lies, which spares a copy: `change` gets it, or `None`, and leaves what is to be kept. The
    /// descriptor's default plays no part. Must not use this state again meanwhile.
    #[inline]
    pub(crate) fn modify<R>(&self, change: impl FnOnce(&mut Option<V>) -> R) -> R {
        self.cells.modify(change)
    }
}

/// A handle to a reducing state: what was added, reduced to one value.
///
/// Declared through [`StateRegistry::reducing`](super::StateRegistry::reducing).
pub struct ReducingState<V: StateValue> {
    cells: Cells<Single<V>>,
    reduce: Reduce<V>,
}

impl<V: StateValue> ReducingState<V> {
    pub(crate) fn new(cells: Cells<Single<V>>, reduce: Reduce<V>) -> Self {
        Self { cells, reduce }
    }

    /// Adds a value.
    pub fn add(&self, value: V) {
        self.cells.write(match self.cells.read() {
            Some(kept) => (self.reduce)(kept, value),
            None => value,
        });
    }

    /// What all added values are reduced to, or `None` when there is none.
    pub fn get(&self) -> Option<V> {
        self.cells.read()
    }

    /// Removes it.
    pub fn clear(&self) {
        self.cells.clear();
    }
}

/// A handle to an aggregating state: what was added, folded into an accumulator.
///
/// Declared through [`StateRegistry::aggregating`](super::StateRegistry::aggregating).
pub struct AggregatingState<A: AggregateFunction> {
    cells: Cells<Single<A::Accumulator>>,
    function: A,
}

impl<A: AggregateFunction> AggregatingState<A> {
    pub(crate) fn new(cells: Cells<Single<A::Accumulator>>, function: A) -> Self {
        Self { cells, function }
    }

    /// Adds an input.
    pub fn add(&self, input: A::In) {
        let mut accumulator = self.cells.read().unwrap_or_else(|| self.function.create());
        self.function.add(&mut accumulator, input);
        self.cells.write(accumulator);
    }

    /// The result so far, or `None` when nothing was added.
    pub fn get(&self) -> Option<A::Out> {
        self.cells.read().map(|accumulator| self.function.result(&accumulator))
    }

    /// Removes the accumulator.
    pub fn clear(&self) {
        self.cells.clear();
    }
}

impl<V: StateValue> fmt::Debug for ValueState<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueState").finish_non_exhaustive()
    }
}

impl<V: StateValue> fmt::Debug for ReducingState<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReducingState").finish_non_exhaustive()
    }
}

impl<A: AggregateFunction> fmt::Debug for AggregatingState<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregatingState").finish_non_exhaustive()
    }
}
