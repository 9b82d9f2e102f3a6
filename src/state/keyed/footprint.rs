//! How much memory keyed state takes, as far as it can be told without looking into every value.

use super::KeyedState;
use crate::state::backend::EntryBatch;
use crate::state::error::StateError;
use crate::state::key::Key;
use crate::state::rows::Slot;
use crate::state::table::KeyTable;

/// Tables double when they grow: a row costs one and a half times itself on average, in halves.
const GROWTH_HALVES: usize = 3;
/// A timer in a persistent tree, with its key, in bytes.
const TIMER_BYTES: usize = 150;
/// Slots of a batch whose heap use is sampled when it ends.
const HEAP_SAMPLES: usize = 8;
/// Weight of a sample against what was known before.
const SAMPLE_WEIGHT: f64 = 0.05;

impl<K: Key> KeyedState<K> {
    /// Bytes the state takes on the heap, and in a store's caches, as far as they can be told.
    pub(crate) fn memory_bytes(&self) -> usize {
        let row_bytes = self.row_bytes();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate"
        )]
        let pointed_to = (self.row_count as f64 * self.heap_bytes) as usize;
        let rows = self.row_count * row_bytes * GROWTH_HALVES / 2;
        rows + pointed_to + self.timers.len() * TIMER_BYTES + self.flush_bytes()
    }

    /// Bytes the rows that differ from the store take once more when they are encoded, and of those on their way.
    fn flush_bytes(&self) -> usize {
        let Some(cache) = &self.cache else { return 0 };
        let dirty = self.registry.rows.dirty_count()
            * (cache.entry_bytes + EntryBatch::SPAN_BYTES + size_of::<Slot>());
        let flush = cache.flush.as_ref().filter(|flush| !flush.is_done()).map_or(0, |_| cache.flush_bytes);
        dirty + flush
    }

    /// Timers are on the heap whatever the backend, and nothing can take their place.
    ///
    /// # Errors
    /// [`StateError::TooManyTimers`] when they take more than all of what the state may.
    pub(super) fn check_timers(&self) -> Result<(), StateError> {
        let (timers, limit) = (self.timers.len(), self.setup.bytes_max / TIMER_BYTES);
        if timers <= limit {
            return Ok(());
        }
        let operator = self.registry.operator.clone();
        Err(StateError::TooManyTimers { operator, timers, limit })
    }

    /// The most bytes on the heap for now: less while the process is short of memory.
    pub(super) fn bytes_max(&self) -> usize {
        self.setup.bytes_max_now()
    }

    /// Bytes a row takes, without what its key and values point to.
    fn row_bytes(&self) -> usize {
        let columns: usize = self.registry.columns.iter().map(|column| column.borrow().row_bytes()).sum();
        KeyTable::<K>::row_bytes() + columns + size_of::<u64>()
    }

    /// Guesses from a few rows of the batch what values and keys take besides their rows.
    pub(super) fn sample_heap(&mut self, slots: &[Slot]) {
        let sample = |slot: Slot| -> usize {
            let columns = &self.registry.columns;
            let values: usize = columns.iter().map(|column| column.borrow().sample_heap_bytes(slot)).sum();
            values + self.tables[usize::from(slot.group)].key_points_to(slot.row)
        };
        let step = slots.len().div_ceil(HEAP_SAMPLES).max(1);
        let current = self.registry.rows.slot();
        let mut taken =
            slots.iter().step_by(step).copied().collect::<heapless::Vec<Slot, { HEAP_SAMPLES + 1 }>>();
        if taken.is_empty() && current != Slot::REFUSED {
            // The vector has room for one at least.
            let pushed = taken.push(current);
            debug_assert!(pushed.is_ok());
        }
        for slot in taken {
            let bytes = sample(slot);
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let bytes = bytes as f64;
            self.heap_bytes += (bytes - self.heap_bytes) * SAMPLE_WEIGHT;
        }
    }
}
