//! Event time of key groups: each group of a subtask has a watermark of its own, so that a key whose clock is wrong closes and holds
//! back windows of its own group only.
//!
//! ```text
//! watermark of a group   highest time of its rows - bound - 1 ms, never less than before
//! of a silent group      the same and the time it was silent for, but not behind the last timer it has set
//! at the end of input    that of the stream
//! ```
//!
//! A group is silent when, with a time-out, no row came for so long while the job ran. A batch counts for half the time-out at most, or as
//! long as the group was silent before: so neither the time the job was down nor a jump of the clock makes groups silent before what they
//! sent meanwhile is in, and a window that is open for long needs few ticks. As its watermark stops at its last timer, a silent group
//! closes the windows it has open, and no row that comes later is late for others.
//!
//! A group's watermark follows from the rows of its keys and the stamps of the batches alone, whatever the parallelism; it moves at the
//! end of a batch. Memory: 32 bytes a group. Groups are saved with their numbers and find their new subtask by them.

use serde::{Deserialize, Serialize};

use super::event_time::{INPUT_ENDED, WatermarkStrategy};
use crate::state::{KeyGroup, KeyGroupRange};

/// The clocks of the key groups of one subtask.
#[derive(Debug)]
pub(crate) struct GroupClocks {
    strategy: WatermarkStrategy,
    range: KeyGroupRange,
    /// By group of the range.
    clocks: Vec<GroupClock>,
    /// Processing time of the batch before.
    stamp: Option<i64>,
}

/// What is known of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GroupClock {
    highest: i64,
    watermark: i64,
    /// How long no row came, as far as batches say so.
    silent_ms: i64,
    /// A row of the batch at hand was of the group.
    is_heard: bool,
}

/// The clocks of a subtask as they are saved: those of groups that had rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedGroupClocks {
    stamp: Option<i64>,
    /// Group, highest time, watermark, silence.
    clocks: Vec<(u16, i64, i64, i64)>,
}

impl GroupClock {
    const NEW: Self = Self { highest: i64::MIN, watermark: i64::MIN, silent_ms: 0, is_heard: false };

    /// What is above it is not late, as far as its rows say.
    fn of_rows(&self, bound_ms: i64) -> i64 {
        self.highest.saturating_sub(bound_ms).saturating_sub(1)
    }

    /// The most that the next batch adds to its silence.
    fn counted_ms_max(&self, timeout_ms: i64) -> i64 {
        (timeout_ms / 2).max(self.silent_ms).max(1)
    }
}

impl GroupClocks {
    pub(crate) fn new(strategy: WatermarkStrategy, range: KeyGroupRange) -> Self {
        Self { strategy, range, clocks: vec![GroupClock::NEW; range.len()], stamp: None }
    }

    /// Number of groups; they are counted from the first of the range.
    pub(crate) fn len(&self) -> usize {
        self.clocks.len()
    }

    /// The watermark of the group of this number.
    pub(crate) fn watermark(&self, index: usize) -> i64 {
        self.clocks[index].watermark
    }

    /// The watermark of a group of the range.
    pub(crate) fn watermark_of(&self, group: KeyGroup) -> i64 {
        self.watermark(self.index(group))
    }

    /// A row of a group of the range has this time.
    pub(crate) fn hear(&mut self, group: KeyGroup, time: i64) {
        let at = self.index(group);
        let clock = &mut self.clocks[at];
        clock.is_heard = true;
        clock.highest = clock.highest.max(time);
    }

    /// The batch of processing time `now` ends; `stream` is the watermark all groups would share, `last_timer` when the last timer of a
    /// group is set for.
    pub(crate) fn end_batch(
        &mut self,
        now: i64,
        stream: i64,
        mut last_timer: impl FnMut(usize) -> Option<i64>,
    ) {
        let (bound_ms, timeout_ms) = (self.strategy.bound_ms(), self.strategy.idleness_ms());
        let passed_ms = self.stamp.map_or(0, |stamp| now.saturating_sub(stamp));
        self.stamp = Some(now);
        for (index, clock) in self.clocks.iter_mut().enumerate() {
            if std::mem::take(&mut clock.is_heard) {
                clock.silent_ms = 0;
            } else if clock.highest > i64::MIN {
                let counted_ms = timeout_ms.map_or(0, |timeout| passed_ms.min(clock.counted_ms_max(timeout)));
                clock.silent_ms = clock.silent_ms.saturating_add(counted_ms);
            }
            let mut watermark = clock.of_rows(bound_ms);
            if timeout_ms.is_some_and(|timeout| clock.silent_ms >= timeout)
                && let Some(last) = last_timer(index)
            {
                watermark = watermark.max(watermark.saturating_add(clock.silent_ms).min(last));
            }
            if stream >= INPUT_ENDED {
                watermark = stream;
            }
            clock.watermark = clock.watermark.max(watermark);
        }
    }

    /// When, without another row, a group that has a timer set counts as silent or closes a window; `first_timer` is when the first of a
    /// group is set for.
    pub(crate) fn next_due(&self, mut first_timer: impl FnMut(usize) -> Option<i64>) -> Option<i64> {
        let (bound_ms, timeout_ms) = (self.strategy.bound_ms(), self.strategy.idleness_ms()?);
        let stamp = self.stamp?;
        let left = self.clocks.iter().enumerate().filter_map(|(index, clock)| {
            let until = first_timer(index)?.saturating_sub(clock.of_rows(bound_ms));
            let left = until.max(timeout_ms).saturating_sub(clock.silent_ms);
            Some(left.clamp(1, clock.counted_ms_max(timeout_ms)))
        });
        left.min().map(|left| stamp.saturating_add(left))
    }

    pub(crate) fn save(&self) -> SavedGroupClocks {
        let known = self.range.groups().zip(&self.clocks).filter(|(_, clock)| **clock != GroupClock::NEW);
        let clocks = known.map(|(group, clock)| (group.0, clock.highest, clock.watermark, clock.silent_ms));
        SavedGroupClocks { stamp: self.stamp, clocks: clocks.collect() }
    }

    /// Takes what is of the range from what the subtasks saved.
    pub(crate) fn restore(&mut self, saved: &[SavedGroupClocks]) {
        // All subtasks had the same batches.
        self.stamp = saved.iter().filter_map(|saved| saved.stamp).max();
        for (group, highest, watermark, silent_ms) in saved.iter().flat_map(|saved| &saved.clocks) {
            if self.range.contains(KeyGroup(*group)) {
                let at = self.index(KeyGroup(*group));
                self.clocks[at] = GroupClock {
                    highest: *highest,
                    watermark: *watermark,
                    silent_ms: *silent_ms,
                    is_heard: false,
                };
            }
        }
    }

    fn index(&self, group: KeyGroup) -> usize {
        usize::from(group.0 - self.range.start)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::state::MaxParallelism;

    const TIMEOUT_MS: i64 = 100;
    const NO_TIMER: fn(usize) -> Option<i64> = |_| None;

    fn clocks(parallelism: usize) -> Vec<GroupClocks> {
        let strategy = WatermarkStrategy::bounded_out_of_orderness(Duration::from_millis(10))
            .with_idleness(Duration::from_millis(TIMEOUT_MS.unsigned_abs()));
        let groups = MaxParallelism::new(8).unwrap();
        (0..parallelism)
            .map(|index| GroupClocks::new(strategy, KeyGroupRange::of_subtask(index, parallelism, groups)))
            .collect()
    }

    fn batch(clocks: &mut [GroupClocks], now: i64, rows: &[(u16, i64)]) -> Vec<i64> {
        for clocks in clocks.iter_mut() {
            let own = rows.iter().filter(|(group, _)| clocks.range.contains(KeyGroup(*group)));
            own.copied()
                .collect::<Vec<_>>()
                .iter()
                .for_each(|(group, time)| clocks.hear(KeyGroup(*group), *time));
            clocks.end_batch(now, i64::MIN, NO_TIMER);
        }
        clocks.iter().flat_map(|clocks| (0..clocks.len()).map(|index| clocks.watermark(index))).collect()
    }

    #[test]
    fn each_group_goes_by_its_own_rows() {
        for parallelism in [1, 3, 8] {
            let mut clocks = clocks(parallelism);
            let mut expected = vec![i64::MIN; 8];
            assert_eq!(batch(&mut clocks, 0, &[]), expected);
            (expected[2], expected[7]) = (89, 1_000_000 - 11);
            assert_eq!(batch(&mut clocks, 1, &[(2, 100), (7, 1_000_000), (2, 50)]), expected);
            expected[0] = -11;
            assert_eq!(batch(&mut clocks, 2, &[(2, 99), (0, 0)]), expected, "never back");
            let saved: Vec<SavedGroupClocks> = clocks.iter().map(GroupClocks::save).collect();
            for parallelism in [1, 2, 5] {
                let mut restored = super::tests::clocks(parallelism);
                restored.iter_mut().for_each(|clocks| clocks.restore(&saved));
                assert_eq!(batch(&mut restored, 3, &[]), expected);
            }
        }
    }

    #[test]
    fn the_end_of_the_input_is_that_of_all_groups() {
        let mut clocks = clocks(1).remove(0);
        clocks.hear(KeyGroup(3), 5);
        clocks.end_batch(0, INPUT_ENDED, NO_TIMER);
        assert!((0..8).all(|index| clocks.watermark(index) == INPUT_ENDED));
    }

    #[test]
    fn a_silent_group_closes_what_it_has_open() {
        let mut clocks = clocks(1).remove(0);
        let timer = |index: usize| (index == 1).then_some(160);
        clocks.hear(KeyGroup(1), 100);
        clocks.hear(KeyGroup(2), 100);
        clocks.end_batch(1_000, i64::MIN, timer);
        assert_eq!(clocks.next_due(NO_TIMER), None, "nothing is open");
        assert_eq!(clocks.next_due(timer), Some(1_050));
        // The job was down, or the clock jumped: that says nothing yet.
        clocks.end_batch(1_000_000, i64::MIN, timer);
        assert_eq!((clocks.watermark(1), clocks.next_due(timer)), (89, Some(1_000_050)));
        clocks.end_batch(1_000_049, i64::MIN, timer);
        assert_eq!((clocks.watermark(1), clocks.next_due(timer)), (89, Some(1_000_050)));
        clocks.end_batch(1_000_050, i64::MIN, timer);
        assert_eq!(clocks.watermark(1), 160, "not behind the timer");
        assert_eq!(clocks.watermark(2), 89, "nothing was open");
        clocks.hear(KeyGroup(1), 170);
        clocks.end_batch(1_000_051, i64::MIN, NO_TIMER);
        assert_eq!(clocks.watermark(1), 160, "not late, and never back");
    }

    #[test]
    fn a_window_stays_open_for_as_long_as_it_lasts() {
        let mut clocks = clocks(1).remove(0);
        let timer = |index: usize| (index == 1).then_some(999);
        clocks.hear(KeyGroup(1), 100);
        let (mut now, mut ticks) = (0, 0);
        clocks.end_batch(now, i64::MIN, timer);
        while clocks.watermark(1) < 999 {
            let due = clocks.next_due(timer).unwrap();
            assert!(due > now);
            (now, ticks) = (due, ticks + 1);
            clocks.end_batch(now, i64::MIN, timer);
        }
        assert_eq!(ticks, 6, "half the time-out twice, then twice as long each time");
        assert_eq!(now, 999 - 89, "event time goes on like the clock");
    }
}
