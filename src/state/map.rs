//! Map state: a map for each key, in the order of the map keys' encoded form on every backend.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

use super::cell::{Element, Map};
use super::column::Cells;
use super::descriptor::StateValue;
use super::key::{Key, KeyEncoder};

/// A handle to a map state; works on the map of the key the operator is processing.
///
/// Declared through [`StateRegistry::map`](super::StateRegistry::map). The whole map is read and written as one
/// value by the backends that keep state outside the heap: meant for maps of some hundred entries.
///
/// A map key's encoded form may take 256 bytes at most; a longer one makes the operator panic, which fails the batch.
pub struct MapState<M: Key, V: StateValue> {
    cells: Cells<Map<V>>,
    encoder: RefCell<KeyEncoder>,
    map_key: PhantomData<fn(M)>,
}

impl<M: Key, V: StateValue> MapState<M, V> {
    pub(crate) fn new(cells: Cells<Map<V>>) -> Self {
        Self { cells, encoder: RefCell::new(KeyEncoder::new()), map_key: PhantomData }
    }

    /// The value under `key`, or `None`.
    pub fn get(&self, key: &M) -> Option<V> {
        let mut encoder = self.encoder.borrow_mut();
        let key = encode(&mut encoder, key);
        let slot = self.cells.rows.slot();
        let mut column = self.cells.column.borrow_mut();
        column.accessed();
        let element = column.get(slot)?.get(key)?;
        let Some(ttl) = self.cells.ttl else { return Some(element.value.clone()) };
        let (value, stamp) = (element.value.clone(), element.stamp);
        let now = self.cells.rows.now();
        if ttl.is_expired(stamp, now) {
            drop(column);
            self.remove_encoded(key);
            return ttl.returns_expired().then_some(value);
        }
        if ttl.updates_on_read()
            && let Some(element) = column.cell(slot).as_mut().and_then(|map| map.get_mut(key))
        {
            element.stamp = now;
            self.cells.rows.wrote();
        }
        Some(value)
    }

    /// Whether there is a value under `key`.
    pub fn contains(&self, key: &M) -> bool {
        self.get(key).is_some()
    }

    /// Sets the value under `key`.
    pub fn put(&self, key: &M, value: V) {
        let stamp = self.cells.ttl.map_or(0, |_| self.cells.rows.now());
        let mut encoder = self.encoder.borrow_mut();
        let key = encode(&mut encoder, key);
        let mut column = self.cells.column.borrow_mut();
        column.accessed();
        let cell = column.cell(self.cells.rows.slot());
        if cell.is_none() {
            self.cells.rows.appeared();
        }
        let map = cell.get_or_insert_default();
        match map.get_mut(key) {
            Some(element) => *element = Element { stamp, value },
            None => drop(map.insert(key.into(), Element { stamp, value })),
        }
        self.cells.rows.wrote();
    }

    /// Removes the value under `key`.
    pub fn remove(&self, key: &M) {
        let mut encoder = self.encoder.borrow_mut();
        let key = encode(&mut encoder, key);
        self.remove_encoded(key);
    }

    fn remove_encoded(&self, key: &[u8]) {
        let slot = self.cells.rows.slot();
        let mut column = self.cells.column.borrow_mut();
        if !column.get(slot).is_some_and(|map| map.contains_key(key)) {
            return;
        }
        let cell = column.cell(slot);
        let is_empty = cell.as_mut().is_none_or(|map| {
            map.remove(key);
            map.is_empty()
        });
        if is_empty {
            *cell = None;
            self.cells.rows.vanished();
        } else {
            self.cells.rows.wrote();
        }
    }

    /// All entries, in the order of the map keys' encoded form.
    pub fn entries(&self) -> Vec<(M, V)> {
        let slot = self.cells.rows.slot();
        let now = self.cells.rows.now();
        let mut column = self.cells.column.borrow_mut();
        let decode = |key: &[u8]| postcard::from_bytes(key).expect("a map key was encoded from this type");
        let Some(ttl) = self.cells.ttl else {
            let entries = |map: &Map<V>| {
                map.iter().map(|(key, element)| (decode(key), element.value.clone())).collect()
            };
            return column.get(slot).map_or_else(Vec::new, entries);
        };
        column.accessed();
        let Some(map) = column.get(slot) else { return Vec::new() };
        let is_gone = |element: &Element<V>| ttl.is_expired(element.stamp, now);
        let shown = |element: &Element<V>| ttl.returns_expired() || !is_gone(element);
        let shown = map.iter().filter(|(_, element)| shown(element));
        let entries = shown.map(|(key, element)| (decode(key), element.value.clone())).collect();
        if map.values().any(is_gone) || ttl.updates_on_read() {
            let cell = column.cell(slot);
            let mut map = cell.take().unwrap_or_default();
            map.retain(|_, element| !is_gone(element));
            if ttl.updates_on_read() {
                map.values_mut().for_each(|element| element.stamp = now);
            }
            if map.is_empty() {
                self.cells.rows.vanished();
            } else {
                *cell = Some(map);
                self.cells.rows.wrote();
            }
        }
        entries
    }

    /// The map keys, in the order of their encoded form.
    pub fn keys(&self) -> Vec<M> {
        self.entries().into_iter().map(|(key, _)| key).collect()
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> Vec<V> {
        self.entries().into_iter().map(|(_, value)| value).collect()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        match self.cells.ttl {
            None => self.cells.column.borrow().get(self.cells.rows.slot()).is_none(),
            Some(_) => self.entries().is_empty(),
        }
    }

    /// Removes all entries.
    pub fn clear(&self) {
        let slot = self.cells.rows.slot();
        let mut column = self.cells.column.borrow_mut();
        if column.get(slot).is_some() {
            *column.cell(slot) = None;
            self.cells.rows.vanished();
        }
    }
}

fn encode<'a, M: Key>(encoder: &'a mut KeyEncoder, key: &M) -> &'a [u8] {
    match encoder.encode(key) {
        Ok(encoded) => encoded,
        Err(_) => panic!("a map key takes more than {} bytes", super::key::KEY_BYTES_MAX),
    }
}

impl<M: Key, V: StateValue> fmt::Debug for MapState<M, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapState").finish_non_exhaustive()
    }
}
