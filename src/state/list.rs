//! List state: a list of elements for each key.

use std::fmt;

use super::cell::{Element, List};
use super::column::Cells;
use super::descriptor::StateValue;

/// A handle to a list state; works on the list of the key the operator is processing.
///
/// Declared through [`StateRegistry::list`](super::StateRegistry::list). The whole list is read and written as one
/// value by the backends that keep state outside the heap: meant for lists of some hundred elements.
pub struct ListState<V: StateValue> {
    cells: Cells<List<V>>,
}

impl<V: StateValue> ListState<V> {
    pub(crate) fn new(cells: Cells<List<V>>) -> Self {
        Self { cells }
    }

    /// The elements in the order they were added; empty when the key has none.
    pub fn get(&self) -> Vec<V> {
        let slot = self.cells.rows.slot();
        let mut column = self.cells.column.borrow_mut();
        let Some(ttl) = self.cells.ttl else {
            let list = column.get(slot);
            return list.map_or_else(Vec::new, |list| list.iter().map(|e| e.value.clone()).collect());
        };
        column.accessed();
        let now = self.cells.rows.now();
        let Some(list) = column.get(slot) else { return Vec::new() };
        let is_gone = |element: &Element<V>| ttl.is_expired(element.stamp, now);
        let shown = |element: &&Element<V>| ttl.returns_expired() || !is_gone(element);
        let elements = list.iter().filter(shown).map(|element| element.value.clone()).collect();
        if list.iter().any(is_gone) || ttl.updates_on_read() {
            let cell = column.cell(slot);
            let mut list = cell.take().unwrap_or_default();
            list.retain(|element| !is_gone(element));
            if ttl.updates_on_read() {
                list.iter_mut().for_each(|element| element.stamp = now);
            }
            if list.is_empty() {
                self.cells.rows.vanished();
            } else {
                *cell = Some(list);
                self.cells.rows.wrote();
            }
        }
        elements
    }

    /// Adds an element at the end.
    pub fn add(&self, value: V) {
        self.add_all([value]);
    }

    /// Adds elements at the end.
    pub fn add_all(&self, values: impl IntoIterator<Item = V>) {
        let stamp = self.stamp();
        let mut values = values.into_iter().map(|value| Element { stamp, value }).peekable();
        if values.peek().is_none() {
            return;
        }
        let mut column = self.cells.column.borrow_mut();
        column.accessed();
        let cell = column.cell(self.cells.rows.slot());
        if cell.is_none() {
            self.cells.rows.appeared();
        }
        cell.get_or_insert_default().extend(values);
        self.cells.rows.wrote();
    }

    /// Replaces the list.
    pub fn update(&self, values: impl IntoIterator<Item = V>) {
        self.clear();
        self.add_all(values);
    }

    /// Removes the list.
    pub fn clear(&self) {
        let slot = self.cells.rows.slot();
        let mut column = self.cells.column.borrow_mut();
        if column.get(slot).is_some() {
            *column.cell(slot) = None;
            self.cells.rows.vanished();
        }
    }

    fn stamp(&self) -> i64 {
        self.cells.ttl.map_or(0, |_| self.cells.rows.now())
    }
}

impl<V: StateValue> fmt::Debug for ListState<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListState").finish_non_exhaustive()
    }
}
