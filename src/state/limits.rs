//! Limits of state on the heap: how many keys, how many bytes, and what happens to a new key over the limit.

use super::key::{Key, KeyEncoder};
use super::key_group::{KeyGroupRange, MaxParallelism};
use super::rows::Slot;
use super::setup::StateSetup;
use super::table::KeyTable;

/// Share of the keys that is dropped at once: one in this many.
const EVICTION_SHARE: usize = 16;

/// What happens to a new key when state on the heap is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyLimitPolicy {
    /// The job ends with an error. The default.
    #[default]
    Stop,
    /// The sixteenth of the keys that was not seen for longest goes. What was seen when is not kept in a checkpoint:
    /// after a restart all keys count as just seen.
    EvictOldest,
    /// The record is rejected with cause `keys-max` and kept in the dead-letter file.
    RejectToDeadLetter,
}

/// What is to be done with a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Admit,
    EvictFirst,
    Reject,
    Stop,
}

/// The limits of one operator in one subtask.
pub(crate) struct Limits {
    keys_max: usize,
    bytes_max: usize,
    policy: KeyLimitPolicy,
    /// When each key was last seen, by group and row.
    seen: Vec<Vec<i64>>,
    /// What state took when the process got short of memory, while it is.
    short_at: Option<usize>,
    /// Whether there are keys that the batch does not use.
    pub(crate) can_evict: bool,
    /// Keys dropped since this was last asked for.
    pub(crate) evicted: u64,
}

impl Limits {
    /// The subtask's share of the operator's limit of keys, by its key groups; bytes are a subtask's own.
    pub(crate) fn of(setup: &StateSetup, range: KeyGroupRange, groups: MaxParallelism) -> Self {
        let share = |keys: u64| {
            let share = u128::from(keys) * range.len() as u128 / u128::from(groups.get());
            usize::try_from(share).unwrap_or(usize::MAX).max(1)
        };
        let is_heap = setup.store.is_none();
        Self {
            keys_max: setup.keys_max.filter(|_| is_heap).map_or(usize::MAX, share),
            bytes_max: if is_heap { setup.bytes_max } else { usize::MAX },
            policy: setup.policy,
            seen: vec![Vec::new(); range.len()],
            short_at: None,
            can_evict: true,
            evicted: 0,
        }
    }

    /// Notes whether the process is short of memory: while it is, state must not take more than it does now.
    pub(crate) fn set_short(&mut self, is_short: bool, bytes: impl FnOnce() -> usize) {
        match (is_short, self.short_at) {
            (true, None) => self.short_at = Some(bytes()),
            (false, Some(_)) => self.short_at = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Whether a new key may come in beside `keys` keys that take `bytes` bytes.
    pub(crate) fn admission(&self, keys: usize, bytes: impl FnOnce() -> usize) -> Admission {
        let bytes_max = self.short_at.map_or(self.bytes_max, |at| at.min(self.bytes_max));
        let is_full = keys >= self.keys_max || (bytes_max != usize::MAX && bytes() >= bytes_max);
        match self.policy {
            _ if !is_full => Admission::Admit,
            KeyLimitPolicy::Stop => Admission::Stop,
            KeyLimitPolicy::EvictOldest => Admission::EvictFirst,
            KeyLimitPolicy::RejectToDeadLetter => Admission::Reject,
        }
    }

    /// The limits in words.
    pub(crate) fn describe(&self) -> String {
        match (self.keys_max, self.bytes_max) {
            (usize::MAX, bytes) => format!("{bytes} bytes of state"),
            (keys, usize::MAX) => format!("{keys} keys"),
            (keys, bytes) => format!("{keys} keys or {bytes} bytes of state"),
        }
    }

    /// Whether it matters when keys were seen.
    #[inline]
    pub(crate) fn evicts(&self) -> bool {
        self.policy == KeyLimitPolicy::EvictOldest
            && (self.keys_max != usize::MAX || self.bytes_max != usize::MAX)
    }

    /// Notes that the keys at `slots` were seen at `now`.
    pub(crate) fn seen(&mut self, slots: &[Slot], now: i64) {
        for slot in slots.iter().filter(|slot| **slot != Slot::REFUSED) {
            let rows = &mut self.seen[usize::from(slot.group)];
            let row = slot.row as usize;
            if rows.len() <= row {
                rows.resize(row + 1, now);
            }
            rows[row] = now;
        }
    }

    /// The keys that were not seen for longest, a share of all; among equals the order of their hashes decides, which
    /// is the same on every run.
    pub(crate) fn oldest<K: Key>(&self, tables: &[KeyTable<K>], encoder: &mut KeyEncoder) -> Vec<Slot> {
        let mut keys = Vec::new();
        for (group, table) in tables.iter().enumerate() {
            let group_number = u16::try_from(group).expect("groups are numbered in 16 bits");
            for row in table.rows() {
                let seen = self.seen[group].get(row as usize).copied().unwrap_or(i64::MIN);
                let hash = encoder.hash(table.key(row)).expect("a key in the table was hashed before").0;
                keys.push((seen, hash, Slot { group: group_number, row }));
            }
        }
        let share = keys.len().div_ceil(EVICTION_SHARE).min(keys.len());
        if share == 0 {
            return Vec::new();
        }
        keys.select_nth_unstable_by_key(share - 1, |(seen, hash, _)| (*seen, *hash));
        keys.truncate(share);
        keys.into_iter().map(|(_, _, slot)| slot).collect()
    }
}
