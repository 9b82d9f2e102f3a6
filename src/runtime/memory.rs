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
/// What a byte of sled's cache is counted as: the tree's own pages and page table come on top.
const SLED_CACHE_COST: u64 = 16;
/// What shipping takes at its peak: a chunk as it is cut, packed, on its way and read back, zstd's tables, and the remote's
/// threads and connections.
const REMOTE_BYTES: u64 = 8 * ChunkSizes::DEFAULT.max as u64 + (4 << 20);
/// Cached rows and blocks of all stores where no budget is set, in bytes.
const STORE_BYTES_DEFAULT: u64 = 64 << 20;

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
        let holders = holders.max(1) as u64;
        let has_store = matches!(settings.backend, Backend::Sled { .. } | Backend::RocksDb { .. });
        let batches = Self::batch_bytes(settings);
        let remote = if settings.remote.is_some() { REMOTE_BYTES } else { 0 };
        let left =
            settings.memory_max.map(|max| max.saturating_sub(FIXED_BYTES + batches + remote).max(max / 8));
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
                // One cache for each store, of which the tree takes several times as much.
                let each = for_stores / SLED_CACHE_COST / holders;
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
