//! The keys of one key group: which row each has.

use std::cell::RefCell;
use std::sync::Arc;

use hashbrown::HashTable;

use super::cow::CowVec;
use super::heap_size::pointed_to;
use super::key::{Key, KeyEncoder, KeyHash};

/// Bytes a row takes in the index: the row number and a control byte, at the load the table keeps on average.
const INDEX_BYTES: usize = 7;

/// The keys of one key group.
pub(crate) struct KeyTable<K> {
    /// Rows by key hash; the keys themselves are in `keys`.
    index: HashTable<u32>,
    keys: CowVec<K>,
    free: Vec<u32>,
}

impl<K: Key> KeyTable<K> {
    pub(crate) fn new() -> Self {
        Self { index: HashTable::new(), keys: CowVec::new(), free: Vec::new() }
    }

    #[inline]
    pub(crate) fn find(&self, hash: KeyHash, key: &K) -> Option<u32> {
        let keys = self.keys.as_slice();
        self.index.find(hash.0, |row| keys[*row as usize] == *key).copied()
    }

    #[cold]
    pub(crate) fn insert(&mut self, hash: KeyHash, key: K, encoder: &mut KeyEncoder) -> u32 {
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

    /// Bytes the key of `row` points to; 0 where there is none.
    pub(crate) fn key_points_to(&self, row: u32) -> usize {
        self.keys.as_slice().get(row as usize).map_or(0, pointed_to)
    }

    /// Takes `row` out of the index; false when it was not in it.
    pub(crate) fn remove(&mut self, row: u32, encoder: &mut KeyEncoder) -> bool {
        let hash = rehash(encoder, self.key(row));
        match self.index.find_entry(hash, |candidate| *candidate == row) {
            Ok(entry) => {
                entry.remove();
                self.free.push(row);
                true
            }
            Err(_) => false,
        }
    }

    /// Takes the rows out of the index for which `keep` is false.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) {
        let free = &mut self.free;
        self.index.retain(|row| {
            let is_kept = keep(*row);
            if !is_kept {
                free.push(*row);
            }
            is_kept
        });
    }

    pub(crate) fn key(&self, row: u32) -> &K {
        &self.keys.as_slice()[row as usize]
    }

    /// The rows in use, in no order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> {
        self.index.iter().copied()
    }

    /// The keys by row; those of rows not in use are stale.
    pub(crate) fn share(&mut self) -> Arc<Vec<K>> {
        self.keys.share()
    }

    /// Bytes a row takes, without what its key points to.
    pub(crate) const fn row_bytes() -> usize {
        size_of::<K>() + INDEX_BYTES
    }
}

fn rehash<K: Key>(encoder: &mut KeyEncoder, key: &K) -> u64 {
    encoder.hash(key).expect("a key in the table was hashed before").0
}
