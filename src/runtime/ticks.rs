//! Ticks: batches without readings, sealed when a timer of processing time is due and no reading comes.
//!
//! Each subtask says, behind a batch, for when its earliest timer is set. A batch that is sealed later, with a stamp that
//! is not before that time, fires it: then no tick is needed. After a restore every subtask says so anew.
//!
//! Limits: ticks are at least [`TICK_INTERVAL_MIN`] behind the batch before, so a timer fires that much late at most
//! when no reading comes. While any timer is set the clock is looked at each [`LOOK_INTERVAL_MAX`], for it may jump.
//! There are none while the job ends, and none over recorded input, whose times are part of the recording.

use std::collections::BTreeMap;
use std::time::Duration;

use super::batch::{Attempt, Offset, Timestamp};

/// Time from one batch to a tick: each tick is a commit of the journal.
pub(crate) const TICK_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Longest time between two looks at the clock.
pub(crate) const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// What a subtask said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    time: Timestamp,
    /// The last batch it had processed by then.
    behind: Offset,
}

/// Whether a tick is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tick {
    /// No.
    No,
    /// Not before this monotonic time.
    NotBefore(Duration),
    /// Now.
    Now,
}

/// Knows the earliest timers of all subtasks.
#[derive(Debug)]
pub(crate) struct Ticks {
    is_enabled: bool,
    attempt: Attempt,
    /// By stage and subtask.
    due: BTreeMap<(usize, usize), Due>,
    /// When the last batch was sealed, in monotonic time.
    sealed: Option<Duration>,
}

impl Ticks {
    pub(crate) fn new(is_enabled: bool) -> Self {
        Self { is_enabled, attempt: Attempt(0), due: BTreeMap::new(), sealed: None }
    }

    /// The earliest timer of a subtask, behind a batch it processed. The first of an attempt come before it begins.
    pub(crate) fn report(
        &mut self,
        attempt: Attempt,
        subtask: (usize, usize),
        behind: Offset,
        time: Option<Timestamp>,
    ) {
        if attempt > self.attempt {
            self.attempt = attempt;
            self.due.clear();
        }
        if attempt == self.attempt {
            match time {
                Some(time) => drop(self.due.insert(subtask, Due { time, behind })),
                None => drop(self.due.remove(&subtask)),
            }
        }
    }

    /// An attempt begins; batches up to `lost` do not come again.
    pub(crate) fn begin(&mut self, attempt: Attempt, lost: Option<Offset>) {
        if attempt > self.attempt {
            self.attempt = attempt;
            self.due.clear();
        }
        for due in self.due.values_mut() {
            due.behind = due.behind.max(lost.unwrap_or_default());
        }
    }

    /// The job ends: no more ticks.
    pub(crate) fn disable(&mut self) {
        self.is_enabled = false;
    }

    /// A batch was sealed.
    pub(crate) fn sealed(&mut self, monotonic: Duration) {
        self.sealed = Some(monotonic);
    }

    /// Whether a tick is wanted behind the batch `last` with stamp `stamp`, if a batch sealed now had the stamp `next`.
    pub(crate) fn look(
        &self,
        (last, stamp): (Offset, Timestamp),
        next: Timestamp,
        monotonic: Duration,
    ) -> Tick {
        let is_fired = |due: &&Due| last > due.behind && stamp >= due.time;
        let open = self.due.values().filter(|due| self.is_enabled && !is_fired(due));
        let Some(earliest) = open.map(|due| due.time).min() else { return Tick::No };
        let rest = self.sealed.map_or(monotonic, |sealed| sealed + TICK_INTERVAL_MIN);
        if next < earliest {
            let left = earliest.0.saturating_sub(next.0);
            let left = Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX));
            return Tick::NotBefore((monotonic + left.min(LOOK_INTERVAL_MAX)).max(rest));
        }
        if monotonic < rest { Tick::NotBefore(rest) } else { Tick::Now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: (usize, usize) = (1, 0);
    const B: (usize, usize) = (1, 1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn look(ticks: &Ticks, last: u64, stamp: i64, next: i64) -> Tick {
        ticks.look((Offset(last), Timestamp(stamp)), Timestamp(next), ms(5000))
    }

    #[test]
    fn the_earliest_timer_that_no_batch_fires_wants_a_tick() {
        let mut ticks = Ticks::new(true);
        assert_eq!(look(&ticks, 0, 0, 10), Tick::No);
        ticks.report(Attempt(1), A, Offset(5), Some(Timestamp(100)));
        ticks.report(Attempt(1), B, Offset(5), Some(Timestamp(70)));
        assert_eq!(look(&ticks, 5, 50, 60), Tick::NotBefore(ms(5010)));
        assert_eq!(look(&ticks, 5, 50, 70), Tick::Now);
        assert_eq!(look(&ticks, 6, 70, 80), Tick::NotBefore(ms(5020)), "batch 6 fires the timer for 70");
        ticks.report(Attempt(1), B, Offset(6), Some(Timestamp(70)));
        assert_eq!(look(&ticks, 6, 70, 70), Tick::Now, "it was set again, by batch 6");
        ticks.report(Attempt(1), B, Offset(7), None);
        assert_eq!(look(&ticks, 8, 100, 100), Tick::No);
    }

    #[test]
    fn ticks_keep_a_distance_and_far_timers_are_looked_at_again() {
        let mut ticks = Ticks::new(true);
        ticks.report(Attempt(1), A, Offset(1), Some(Timestamp(100)));
        ticks.sealed(ms(4995));
        assert_eq!(look(&ticks, 1, 0, 100), Tick::NotBefore(ms(5005)));
        assert_eq!(look(&ticks, 1, 0, i64::MIN), Tick::NotBefore(ms(6000)));
    }

    #[test]
    fn reports_of_an_earlier_attempt_are_stale_and_those_of_the_next_come_before_it_begins() {
        let mut ticks = Ticks::new(true);
        ticks.report(Attempt(1), A, Offset(5), Some(Timestamp(10)));
        ticks.report(Attempt(2), A, Offset(3), Some(Timestamp(20)));
        ticks.report(Attempt(1), A, Offset(6), Some(Timestamp(10)));
        ticks.begin(Attempt(2), None);
        assert_eq!(look(&ticks, 5, 20, 20), Tick::No, "batches 4 and 5 are replayed");
        ticks.begin(Attempt(2), Some(Offset(5)));
        assert_eq!(look(&ticks, 5, 20, 20), Tick::Now, "they are lost");
        ticks.begin(Attempt(3), None);
        assert_eq!(look(&ticks, 5, 20, 20), Tick::No);
    }

    #[test]
    fn there_are_none_over_recorded_input_or_while_the_job_ends() {
        let mut ticks = Ticks::new(true);
        ticks.report(Attempt(1), A, Offset(5), Some(Timestamp(10)));
        ticks.disable();
        assert_eq!(look(&ticks, 5, 0, 100), Tick::No);
    }
}
