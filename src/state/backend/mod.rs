//! Where keyed state is held beyond the heap: an ordered key-value store behind a cache of decoded rows.
//!
//! One store holds the state of one operator in one subtask. An entry is one key with what it holds in every state of
//! the operator, in the form that parts use (`part`): key group (big-endian, so that a group is a contiguous range),
//! encoded key → entry. So a key costs one lookup however many states it has, a change of backend copies bytes, and
//! re-partitioning moves ranges.
//!
//! A store is a cache on the way to a checkpoint, never the anchor: what it held is rebuilt from the newest checkpoint
//! and the journal, and it is emptied at every start.

#[cfg(feature = "rocksdb")]
pub(crate) mod rocksdb;
#[cfg(feature = "sled")]
pub(crate) mod sled;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::expiry::ExpiryRules;
use super::key_group::KeyGroup;

/// Why a store could not do something.
#[derive(Debug, thiserror::Error)]
#[error("{store} store at {path}: {reason}")]
pub struct StoreError {
    /// Which kind of store.
    pub store: &'static str,
    /// Its directory.
    pub path: PathBuf,
    /// What it said.
    pub reason: String,
    /// Whether the disk was full.
    pub is_full: bool,
}

/// Gets entries in order, as store key and entry, until it breaks.
pub(crate) type EntryVisitor<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// An ordered store of encoded entries.
pub(crate) trait Store: Send + Sync {
    /// Looks up `keys`, which ascend; `found(index, entry)` is called for those that are there, in order.
    fn get_many(&self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<(), StoreError>;

    /// Applies `entries`, which ascend. Either all of them or an error, after which the same may be applied again.
    fn write(&self, entries: &EntryBatch) -> Result<(), StoreError>;

    /// Visits entries in order from `from` on, until `visit` breaks.
    fn scan(&self, from: &[u8], visit: EntryVisitor<'_>) -> Result<(), StoreError>;

    /// Fixes what the store holds now as immutable files in a new directory of its own, or `None` when its
    /// checkpoints are written as parts.
    fn pin(&self) -> Result<Option<PinnedFiles>, StoreError>;

    /// Whether it takes writes again by itself once a full disk has room; if not, it has to be built anew.
    fn outlives_full_disk(&self) -> bool {
        true
    }

    /// Tells the clean-up in compactions what time it is, in milliseconds.
    fn set_now(&self, _now: i64) {}
}

/// Opens stores of one kind. One value for a job: caches and write buffers are shared by all its stores.
pub(crate) trait StoreFactory: Send + Sync {
    /// Name of the kind, as in the configuration.
    fn kind(&self) -> &'static str;

    /// Sets how much of its budget the shared cache takes, in 1/256.
    fn set_cache_share(&self, _share: u32) {}

    /// Opens an empty store in `directory`, which must not exist or be empty.
    fn create(&self, directory: &Path, expiry: Option<ExpiryRules>) -> Result<Box<dyn Store>, StoreError>;

    /// Opens a store on files that `pin` fixed, which the caller has linked into `directory`; it goes on under the
    /// identity it had.
    fn open(
        &self,
        directory: &Path,
        expiry: Option<ExpiryRules>,
        identity: u64,
    ) -> Result<Box<dyn Store>, StoreError>;
}

/// An identity no other store has.
#[cfg(feature = "rocksdb")]
pub(crate) fn new_identity() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Memory that the stores of a job share, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreBudget {
    /// Blocks, indexes and filters.
    pub(crate) cache_bytes: u64,
    /// Writes not yet in files.
    pub(crate) write_buffer_bytes: u64,
}

/// What stores get that are only read once.
#[cfg(any(feature = "rocksdb", feature = "sled"))]
pub(crate) const READER_BUDGET: StoreBudget =
    StoreBudget { cache_bytes: 8 << 20, write_buffer_bytes: 4 << 20 };

/// A factory of each kind that is compiled in, with small budgets: for reading what was saved.
pub(crate) fn factories() -> Vec<std::sync::Arc<dyn StoreFactory>> {
    vec![
        #[cfg(feature = "rocksdb")]
        std::sync::Arc::new(rocksdb::RocksDbFactory::new(READER_BUDGET)),
        #[cfg(feature = "sled")]
        std::sync::Arc::new(sled::SledFactory::new(READER_BUDGET)),
    ]
}

/// Immutable files that together are a store, in a directory that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct PinnedFiles {
    /// Which kind of store.
    pub(crate) kind: &'static str,
    pub(crate) directory: PathBuf,
    /// Identity of the store: a table of one name has the same contents in all checkpoints of one opening, and in the
    /// one it was opened from.
    pub(crate) identity: u64,
    /// Differs each time a store is opened: two that went on from one checkpoint have one identity, and may have given
    /// one name to different tables since.
    pub(crate) opening: u64,
    /// Names in `directory` of files that never change once written.
    pub(crate) tables: Vec<String>,
    /// Names in `directory` of the other files.
    pub(crate) others: Vec<String>,
}

/// Bytes of a store key before the encoded key.
pub(crate) const GROUP_BYTES: usize = 2;

/// Appends the store key of `key` in `group`.
pub(crate) fn store_key(group: KeyGroup, key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[(group.0 >> 8) as u8, (group.0 & 0xFF) as u8]);
    out.extend_from_slice(key);
}

/// The key group and encoded key of a store key.
pub(crate) fn split_store_key(store_key: &[u8]) -> Option<(KeyGroup, &[u8])> {
    let (group, key) = store_key.split_first_chunk::<GROUP_BYTES>()?;
    Some((KeyGroup(u16::from(group[0]) << 8 | u16::from(group[1])), key))
}

/// Entries on their way to a store: puts and deletions, in one buffer.
#[derive(Debug, Default)]
pub(crate) struct EntryBatch {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    key_bytes: u16,
    /// Bytes of the entry; `None` deletes the key.
    #[cfg_attr(
        not(any(feature = "rocksdb", feature = "sled", test)),
        expect(dead_code, reason = "for stores")
    )]
    entry_bytes: Option<u32>,
}

impl EntryBatch {
    /// Bytes that are kept of an entry besides the entry.
    pub(crate) const SPAN_BYTES: usize = size_of::<Span>();

    /// With room for `entries` entries of `bytes` bytes in all.
    pub(crate) fn with_capacity(entries: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), spans: Vec::with_capacity(entries) }
    }

    /// Adds an entry; `encode` appends it and says whether there is one: if not, the key is deleted.
    pub(crate) fn push<E>(
        &mut self,
        group: KeyGroup,
        key: &[u8],
        encode: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let start = self.bytes.len();
        store_key(group, key, &mut self.bytes);
        let key_end = self.bytes.len();
        let is_there = encode(&mut self.bytes)?;
        if !is_there {
            self.bytes.truncate(key_end);
        }
        let entry_bytes = self.bytes.len() - key_end;
        self.spans.push(Span {
            start,
            key_bytes: u16::try_from(key_end - start).expect("a key is at most 256 bytes"),
            entry_bytes: is_there.then(|| u32::try_from(entry_bytes).expect("an entry is below 4 GiB")),
        });
        Ok(is_there)
    }

    /// Adds an entry as it is.
    pub(crate) fn put(&mut self, group: KeyGroup, key: &[u8], entry: &[u8]) {
        let pushed = self.push(group, key, |out| {
            out.extend_from_slice(entry);
            Ok::<bool, std::convert::Infallible>(true)
        });
        match pushed {
            Ok(is_there) => debug_assert!(is_there),
        }
    }

    /// Puts the entries in the order of their keys. A key occurs once.
    pub(crate) fn sort(&mut self) {
        let bytes = &self.bytes;
        let key = |span: &Span| &bytes[span.start..span.start + usize::from(span.key_bytes)];
        self.spans.sort_unstable_by(|left, right| key(left).cmp(key(right)));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(crate) fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// Each key with its entry, or `None` for a deletion.
    #[cfg(any(feature = "rocksdb", feature = "sled", test))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.spans.iter().map(|span| {
            let (key, rest) = self.bytes[span.start..].split_at(usize::from(span.key_bytes));
            (key, span.entry_bytes.map(|length| &rest[..length as usize]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_what_was_put_in_in_key_order() {
        let mut batch = EntryBatch::default();
        let put = |out: &mut Vec<u8>| {
            out.push(9);
            Ok::<bool, ()>(true)
        };
        batch.push(KeyGroup(300), &[1], put).unwrap();
        batch.push(KeyGroup(2), &[7, 7], |_| Ok::<bool, ()>(false)).unwrap();
        batch.push(KeyGroup(2), &[7], put).unwrap();
        batch.sort();
        let entries: Vec<_> = batch.iter().collect();
        assert_eq!(
            entries,
            [
                ([0, 2, 7].as_slice(), Some([9].as_slice())),
                ([0, 2, 7, 7].as_slice(), None),
                ([1, 44, 1].as_slice(), Some([9].as_slice())),
            ]
        );
        assert_eq!(split_store_key(&[1, 44, 1]), Some((KeyGroup(300), [1].as_slice())));
    }
}
