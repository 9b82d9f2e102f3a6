//! Measuring out memory: what of a process's budget goes to batches, to stores and to state.

use super::settings::{Backend, Settings};
use crate::checkpoint::ChunkSizes;
use crate::state::StoreBudget;

/// The smallest budget of a process, in bytes.
pub(crate) const MEMORY_MIN: u64 = 32 << 20;
/// Code, threads' stacks, sockets and the allocator's slack, in bytes.
const FIXED_BYTES: u64 = 12 << 20;
/// Copies of a batch's bytes that are alive at once on its way: frames, records, parts, results.
const BATCH_COPIES: u64 = 4;
/// Bytes on the heap for each byte of sled's cache setting, which counts pages as they are on disk: measured 12.
const SLED_CACHE_COST: u64 = 16;
/// What shipping takes at its peak: a chunk as it is cut, packed, on its way and read back, its bases, zstd's tables, and the
/// remote's threads and connections.
const REMOTE_BYTES: u64 = 16 * ChunkSizes::DEFAULT.max as u64 + (4 << 20);
/// sled's pages get one part in this many of the budget. Its page table, which cannot be bounded, takes some 60 bytes a
/// key and needs most of the rest.
const SLED_PAGES_SHARE: u64 = 8;
/// Cached rows and blocks of all stores where no budget is set, in bytes.
const STORE_BYTES_DEFAULT: u64 = 64 << 20;

/// What goes off a budget before stores and state have their part, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryOverhead {
    /// Code, stacks, allocator.
    pub(crate) fixed: u64,
    /// Batches on their way.
    pub(crate) batches: u64,
    /// Shipping.
    pub(crate) remote: u64,
}

impl MemoryOverhead {
    pub(crate) fn of(settings: &Settings, has_remote: bool) -> Self {
        Self {
            fixed: FIXED_BYTES,
            batches: MemoryPlan::batch_bytes(settings),
            remote: if has_remote { REMOTE_BYTES } else { 0 },
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.fixed + self.batches + self.remote
    }
}

/// How memory is measured out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryPlan {
    /// For all stores together.
    pub(crate) store: StoreBudget,
    /// On the heap, for each operator in each subtask: its state, or its cache; `usize::MAX` is no limit.
    pub(crate) state_bytes: usize,
}

impl MemoryPlan {
    /// The plan for a job whose state is held in `holders` places (operators times subtasks).
    pub(crate) fn of(settings: &Settings, holders: usize) -> Self {
        Self::beside(&MemoryOverhead::of(settings, settings.remote.is_some()), settings, holders)
    }

    /// The same beside an overhead that is known.
    pub(crate) fn beside(overhead: &MemoryOverhead, settings: &Settings, holders: usize) -> Self {
        let holders = holders.max(1) as u64;
        let has_store = matches!(settings.backend, Backend::Sled { .. } | Backend::RocksDb { .. });
        let left = settings.memory_max.map(|max| max.saturating_sub(overhead.total()).max(max / 8));
        let for_stores = left.unwrap_or(2 * STORE_BYTES_DEFAULT);
        let state = match (has_store, left) {
            // A snapshot copies what changes while it is written, a table doubles when it grows.
            (false, Some(left)) => left / 2 / holders,
            (false, None) => u64::MAX,
            // The rest for compactions, for what batches read and write, and for the allocator.
            (true, Some(_)) if matches!(settings.backend, Backend::Sled { .. }) => for_stores / 8 / holders,
            (true, Some(_)) => for_stores / 4 / holders,
            (true, None) => for_stores / holders,
        };
        let store = match settings.backend {
            Backend::Sled { .. } => {
                // One cache for each store.
                let pages = if left.is_some() { for_stores / SLED_PAGES_SHARE } else { for_stores };
                let each = pages / SLED_CACHE_COST / holders;
                StoreBudget { cache_bytes: each, write_buffer_bytes: 0 }
            }
            _ => StoreBudget { cache_bytes: for_stores / 4, write_buffer_bytes: for_stores / 8 },
        };
        Self { store, state_bytes: usize::try_from(state).unwrap_or(usize::MAX) }
    }

    /// What batches on their way may take, in bytes.
    pub(crate) fn batch_bytes(settings: &Settings) -> u64 {
        BATCH_COPIES * settings.batch_bytes_max as u64 * settings.batches_in_flight as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Trust;
    use crate::runtime::RemoteSettings;

    #[test]
    fn the_shares_stay_within_the_budget() {
        for max in [MEMORY_MIN, 64 << 20, 128 << 20, 1 << 30] {
            for backend in [
                Backend::Memory,
                Backend::RocksDb { directory: "/d".into() },
                Backend::Sled { directory: "/d".into() },
            ] {
                let settings = Settings { memory_max: Some(max), backend, ..Settings::default() };
                let plan = MemoryPlan::of(&settings, 3);
                let shares =
                    plan.store.cache_bytes + plan.store.write_buffer_bytes + 3 * plan.state_bytes as u64;
                assert!(shares < max, "{shares} of {max}");
                assert!(plan.state_bytes > 100_000, "{plan:?}");
            }
        }
    }

    #[test]
    fn a_remote_has_its_share() {
        let trust = Trust { key: None, allow_unsigned: true, cipher: None };
        let remote = RemoteSettings::new("file:///r", "device", trust).unwrap();
        let backend = Backend::File { directory: "/d".into() };
        let without = Settings { memory_max: Some(128 << 20), backend, ..Settings::default() };
        let with = Settings { remote: Some(remote), ..without.clone() };
        let [with, without] = [with, without].map(|settings| MemoryPlan::of(&settings, 1).state_bytes as u64);
        assert_eq!(without - with, REMOTE_BYTES / 2);
    }

    #[test]
    fn without_a_budget_state_on_the_heap_has_no_limit() {
        assert_eq!(MemoryPlan::of(&Settings::default(), 1).state_bytes, usize::MAX);
    }
}
