//! Timers: what a keyed operator asked to be called for, by time. Timers are state.
//!
//! A timer is a (time, key) of one of two clocks; asking twice for the same is one timer. They fire in the order of
//! time, then of the encoded key. A clock has one queue, or, when it runs apart in each key group, one for each group of the
//! range. The queues are persistent trees, so a snapshot shares them in constant time; they are
//! on the heap on every backend, some 150 bytes a timer; more than fit into the memory of the state end the job.

use std::sync::Arc;

use rpds::RedBlackTreeSetSync;
use serde::{Deserialize, Serialize};

use super::key::hash_encoded;
use super::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};

/// Which clock a timer is set on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TimeDomain {
    /// The stamps of the batches.
    ProcessingTime,
    /// The watermark.
    EventTime,
}

/// A time in milliseconds and an encoded key.
pub(crate) type Timer = (i64, Arc<[u8]>);

/// The timers of one operator in one subtask.
#[derive(Debug, Clone)]
pub(crate) struct Timers {
    /// By clock: one queue, or one for each group of the range.
    queues: [Vec<RedBlackTreeSetSync<Timer>>; 2],
    range: KeyGroupRange,
    groups: MaxParallelism,
    /// By group of the range: set or fired since the last snapshot.
    changed: Vec<bool>,
    firing: Option<Firing>,
}

/// What is being fired.
#[derive(Debug, Clone, Copy)]
struct Firing {
    domain: TimeDomain,
    now: i64,
    set_due: usize,
}

impl Timers {
    pub(crate) fn new(range: KeyGroupRange, groups: MaxParallelism) -> Self {
        Self {
            queues: [vec![RedBlackTreeSetSync::new_sync()], vec![RedBlackTreeSetSync::new_sync()]],
            range,
            groups,
            changed: vec![false; range.len()],
            firing: None,
        }
    }

    /// Gives each group of the range a queue of its own for `domain`. No timer is set yet.
    pub(crate) fn split(&mut self, domain: TimeDomain) {
        assert_eq!(self.len(), 0, "queues are split before the first timer is set");
        self.queues[domain as usize] = vec![RedBlackTreeSetSync::new_sync(); self.range.len()];
    }

    /// Sets a timer; without effect when it is set already.
    pub(crate) fn set(&mut self, domain: TimeDomain, time: i64, key: &[u8]) {
        let timer = (time, Arc::from(key));
        let queue = self.queue_of(domain, key);
        if !self.queues[domain as usize][queue].contains(&timer) {
            self.touch(key);
            self.queues[domain as usize][queue].insert_mut(timer);
            if let Some(firing) = &mut self.firing {
                firing.set_due += usize::from(firing.domain == domain && time <= firing.now);
            }
        }
    }

    /// Takes a timer back; without effect when it is not set.
    pub(crate) fn delete(&mut self, domain: TimeDomain, time: i64, key: &[u8]) {
        let queue = self.queue_of(domain, key);
        if self.queues[domain as usize][queue].remove_mut(&(time, Arc::from(key))) {
            self.touch(key);
        }
    }

    /// The earliest time anything in a queue is set for.
    pub(crate) fn next_time(&self, domain: TimeDomain, queue: usize) -> Option<i64> {
        self.queues[domain as usize].get(queue)?.first().map(|(time, _)| *time)
    }

    /// The latest time anything in a queue is set for.
    pub(crate) fn last_time(&self, domain: TimeDomain, queue: usize) -> Option<i64> {
        self.queues[domain as usize].get(queue)?.last().map(|(time, _)| *time)
    }

    /// The timers of a queue that are due at `now`, in firing order.
    pub(crate) fn due(&self, domain: TimeDomain, queue: usize, now: i64) -> impl Iterator<Item = &Timer> {
        let queue = self.queues[domain as usize].get(queue).into_iter().flatten();
        queue.take_while(move |(time, _)| *time <= now)
    }

    /// Removes a timer that fires.
    pub(crate) fn remove(&mut self, domain: TimeDomain, timer: &Timer) {
        let queue = self.queue_of(domain, &timer.1);
        if self.queues[domain as usize][queue].remove_mut(timer) {
            self.touch(&timer.1);
        }
    }

    /// Timers are about to fire: those of `domain` that are set from here on and are due at `now` count.
    pub(crate) fn begin_firing(&mut self, domain: TimeDomain, now: i64) {
        self.firing = Some(Firing { domain, now, set_due: 0 });
    }

    /// No more timers fire.
    pub(crate) fn end_firing(&mut self) {
        self.firing = None;
    }

    /// Timers set since `begin_firing` that were due at once.
    pub(crate) fn set_due(&self) -> usize {
        self.firing.map_or(0, |firing| firing.set_due)
    }

    pub(crate) fn len(&self) -> usize {
        self.queues.iter().flatten().map(RedBlackTreeSetSync::size).sum()
    }

    /// Whether timers of the group, counted from the range's first, changed since the last call of `share`.
    pub(crate) fn is_changed(&self, index: usize) -> bool {
        self.changed[index]
    }

    /// The timers as they are now, and a new start for `is_changed`.
    pub(crate) fn share(&mut self) -> Self {
        let shared = self.clone();
        self.changed.fill(false);
        shared
    }

    /// All timers of each group of the range, in firing order.
    pub(crate) fn by_group(&self) -> Vec<Vec<(TimeDomain, Timer)>> {
        let mut by_group = vec![Vec::new(); self.range.len()];
        for domain in [TimeDomain::ProcessingTime, TimeDomain::EventTime] {
            for timer in self.queues[domain as usize].iter().flatten() {
                by_group[self.index_of(&timer.1)].push((domain, timer.clone()));
            }
        }
        by_group
    }

    /// The queue that timers of `key` are in.
    fn queue_of(&self, domain: TimeDomain, key: &[u8]) -> usize {
        if self.queues[domain as usize].len() == 1 { 0 } else { self.index_of(key) }
    }

    fn touch(&mut self, key: &[u8]) {
        let index = self.index_of(key);
        self.changed[index] = true;
    }

    fn index_of(&self, key: &[u8]) -> usize {
        let group = KeyGroup::of(hash_encoded(key), self.groups);
        assert!(self.range.contains(group), "a timer belongs to a key of the subtask");
        usize::from(group.0 - self.range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timers() -> Timers {
        let groups = MaxParallelism::default();
        Timers::new(KeyGroupRange::of_subtask(0, 1, groups), groups)
    }

    #[test]
    fn timers_fire_once_in_the_order_of_time_and_key() {
        let mut timers = timers();
        for (time, key) in [(7, 2u8), (5, 9), (7, 1), (5, 9), (8, 0)] {
            timers.set(TimeDomain::EventTime, time, &[key]);
        }
        timers.set(TimeDomain::ProcessingTime, 1, &[3]);
        timers.delete(TimeDomain::EventTime, 8, &[0]);
        assert_eq!(timers.next_time(TimeDomain::EventTime, 0), Some(5));
        let due: Vec<Timer> = timers.due(TimeDomain::EventTime, 0, 7).cloned().collect();
        let seen: Vec<(i64, u8)> = due.iter().map(|(time, key)| (*time, key[0])).collect();
        assert_eq!(seen, [(5, 9), (7, 1), (7, 2)]);
        due.iter().for_each(|timer| timers.remove(TimeDomain::EventTime, timer));
        assert_eq!(timers.len(), 1);
    }

    #[test]
    fn a_clock_that_is_split_has_a_queue_for_each_group() {
        let mut timers = timers();
        timers.split(TimeDomain::EventTime);
        let keys: Vec<[u8; 1]> = (0..20).map(|key| [key]).collect();
        for (key, time) in keys.iter().zip(100..) {
            timers.set(TimeDomain::EventTime, time, key);
            timers.set(TimeDomain::EventTime, 50, key);
            timers.delete(TimeDomain::EventTime, 50, key);
        }
        for (key, time) in keys.iter().zip(100..) {
            let group = usize::from(KeyGroup::of_encoded(key, MaxParallelism::default()).0);
            let of_key = |timers: &Timers| {
                timers
                    .due(TimeDomain::EventTime, group, 200)
                    .filter(|timer| *timer.1 == key[..])
                    .cloned()
                    .collect()
            };
            let due: Vec<Timer> = of_key(&timers);
            assert_eq!(due.iter().map(|timer| timer.0).collect::<Vec<_>>(), [time]);
            assert!(timers.last_time(TimeDomain::EventTime, group) >= Some(time));
            timers.remove(TimeDomain::EventTime, &due[0]);
            assert_eq!(of_key(&timers), []);
        }
        assert_eq!((timers.len(), timers.by_group().iter().flatten().count()), (0, 0));
    }

    #[test]
    fn what_is_set_while_timers_fire_counts_when_it_is_due() {
        let mut timers = timers();
        timers.begin_firing(TimeDomain::EventTime, 10);
        for (domain, time) in [
            (TimeDomain::EventTime, 10),
            (TimeDomain::EventTime, 10),
            (TimeDomain::EventTime, 11),
            (TimeDomain::ProcessingTime, 9),
        ] {
            timers.set(domain, time, &[1]);
        }
        assert_eq!(timers.set_due(), 1);
    }

    #[test]
    fn a_shared_copy_does_not_see_later_changes() {
        let mut timers = timers();
        timers.set(TimeDomain::ProcessingTime, 1, &[3]);
        let shared = timers.share();
        timers.set(TimeDomain::ProcessingTime, 2, &[3]);
        assert_eq!((shared.len(), timers.len()), (1, 2));
        assert_eq!((0..128).filter(|index| timers.is_changed(*index)).count(), 1);
    }
}
