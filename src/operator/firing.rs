//! Firing: the timers of an operator that are due, one after the other, with their keys' slots found many at a time.
//!
//! The order is that of the queue at every instant: a timer may set another for an earlier time, or take one back that is
//! due too. What was found ahead is only used while it is the first in the queue.

use std::collections::VecDeque;

use crate::state::key::hash_encoded;
use crate::state::{Key, KeyedState, Slot, StateError, TimeDomain, Timer};

/// Timers that firing ones may set, in one operator and batch, for times that have come: then they are endless.
pub(crate) const DUE_TIMERS_SET_MAX: usize = 1 << 20;
/// Timers whose slots are found at once.
const CHUNK_MAX: usize = 1024;

/// A timer that fires.
pub(crate) struct DueTimer<K> {
    pub(crate) time: i64,
    pub(crate) key: K,
    pub(crate) slot: Slot,
}

/// Timers found ahead.
pub(crate) struct TimersAhead<K> {
    found: VecDeque<(Timer, K, Slot)>,
    /// How many to find next: more each time, few again when they were found in vain.
    chunk: usize,
    slots: Vec<Slot>,
}

impl<K> Default for TimersAhead<K> {
    fn default() -> Self {
        Self { found: VecDeque::new(), chunk: 1, slots: Vec::new() }
    }
}

impl<K: Key> TimersAhead<K> {
    /// Takes the first timer that is due at `now` from a queue of `domain`.
    ///
    /// # Errors
    /// Those of finding its slot.
    pub(crate) fn next(
        &mut self,
        state: &mut KeyedState<K>,
        (domain, queue): (TimeDomain, usize),
        now: i64,
    ) -> Result<Option<DueTimer<K>>, StateError> {
        let Some(first) = state.timers().due(domain, queue, now).next().cloned() else {
            self.found.clear();
            self.chunk = 1;
            return Ok(None);
        };
        // Those before it were taken back.
        while self.found.front().is_some_and(|(found, ..)| *found < first) {
            self.found.pop_front();
        }
        if self.found.front().is_none_or(|(found, ..)| *found != first) {
            // What is left was found in vain: another one was set before it.
            self.chunk = if self.found.is_empty() { self.chunk } else { 1 };
            self.find(state, (domain, queue), now)?;
            self.chunk = (2 * self.chunk).min(CHUNK_MAX);
        }
        let (timer, key, slot) = self.found.pop_front().expect("the first was found");
        state.timers().remove(domain, &timer);
        Ok(Some(DueTimer { time: timer.0, key, slot }))
    }

    fn find(
        &mut self,
        state: &mut KeyedState<K>,
        (domain, queue): (TimeDomain, usize),
        now: i64,
    ) -> Result<(), StateError> {
        let timers: Vec<Timer> = state.timers().due(domain, queue, now).take(self.chunk).cloned().collect();
        let hashes: Vec<_> = timers.iter().map(|(_, key)| hash_encoded(key)).collect();
        let decode =
            |(_, key): &Timer| postcard::from_bytes(key).expect("it was a key when the timer was set");
        let keys: Vec<K> = timers.iter().map(decode).collect();
        state.resolve(&hashes, &keys, &mut self.slots)?;
        self.found.clear();
        let found = timers.into_iter().zip(keys).zip(&self.slots);
        self.found.extend(found.map(|((timer, key), slot)| (timer, key, *slot)));
        Ok(())
    }
}
