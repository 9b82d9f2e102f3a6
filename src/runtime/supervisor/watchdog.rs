//! The watchdog: tells a hanging subtask from a busy one. It counts its own looks instead of reading a clock, so a process
//! that was frozen for a while does not blame its operators.

use std::time::Duration;

use crate::runtime::progress::{Beat, Progress, Work};

/// Looks within the timeout. A subtask found at the same work this often after the first look hangs: it is found after
/// one timeout at the earliest and one and a quarter at the latest.
const LOOKS_MAX: u32 = 4;

/// A subtask that does not return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hung {
    /// Its index in the deployment.
    pub(crate) subtask: usize,
    pub(crate) work: Work,
}

/// What was seen at the last look: for each subtask its work, and how often that was seen again.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    seen: Vec<Option<(Beat, u32)>>,
    /// Looks in a row that were passed over.
    passed: u32,
}

impl Watchdog {
    /// How often to look.
    pub(crate) fn interval(timeout: Duration) -> Duration {
        timeout / LOOKS_MAX
    }

    /// Looks at every subtask. Of those that hang, abandons and returns the one at the earliest batch.
    pub(crate) fn look<'p>(&mut self, subtasks: impl IntoIterator<Item = &'p Progress>) -> Option<Hung> {
        self.passed = 0;
        let mut suspects = Vec::new();
        let before = std::mem::take(&mut self.seen);
        for (subtask, progress) in subtasks.into_iter().enumerate() {
            let current = progress.current();
            let seen = current.map(|(beat, work)| {
                let looks = match before.get(subtask) {
                    Some(Some((seen, looks))) if *seen == beat => looks + 1,
                    _ => 0,
                };
                if looks >= LOOKS_MAX {
                    suspects.push((work.offset, subtask, beat, progress));
                }
                (beat, looks)
            });
            self.seen.push(seen);
        }
        suspects.sort_by_key(|(offset, subtask, ..)| (*offset, *subtask));
        // One that ended its work just now does not hang.
        suspects.into_iter().find_map(|(_, subtask, beat, progress)| {
            progress.abandon_at(beat).map(|work| Hung { subtask, work })
        })
    }

    /// Passes a look over, since a subtask may be waiting for the disk: nobody is suspected any more. True once in a row, when
    /// the timeout has gone by so.
    pub(crate) fn pass_over(&mut self) -> bool {
        self.forget();
        self.passed = self.passed.saturating_add(1);
        self.passed == LOOKS_MAX
    }

    /// The subtasks are others from now on.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Offset;

    fn work(offset: u64, frame: Option<u64>) -> Work {
        Work { offset: Offset(offset), frame }
    }

    #[test]
    fn a_subtask_hangs_that_is_at_the_same_work_for_a_timeout() {
        let (idle, stuck) = (Progress::default(), Progress::default());
        stuck.begin(work(7, Some(2))).unwrap();
        let mut watchdog = Watchdog::default();
        for look in 0..LOOKS_MAX {
            assert_eq!(watchdog.look([&idle, &stuck]), None, "look {look}");
        }
        assert_eq!(watchdog.look([&idle, &stuck]), Some(Hung { subtask: 1, work: work(7, Some(2)) }));
        assert!(stuck.end().is_err(), "it was abandoned");
        assert_eq!(watchdog.look([&idle, &stuck]), None, "once");
    }

    #[test]
    fn a_busy_subtask_does_not_hang() {
        let progress = Progress::default();
        let mut watchdog = Watchdog::default();
        for frame in 0..100 {
            progress.begin(work(1, Some(frame / 2))).unwrap();
            assert_eq!(watchdog.look([&progress]), None);
            assert_eq!(watchdog.look([&progress]), None);
        }
    }

    #[test]
    fn a_look_that_is_passed_over_clears_everybody() {
        let stuck = Progress::default();
        stuck.begin(work(7, None)).unwrap();
        let mut watchdog = Watchdog::default();
        for _ in 0..LOOKS_MAX {
            assert_eq!(watchdog.look([&stuck]), None);
        }
        let told: Vec<bool> = (0..2 * LOOKS_MAX).map(|_| watchdog.pass_over()).collect();
        assert_eq!(told.iter().filter(|told| **told).count(), 1, "it is told once");
        for _ in 0..LOOKS_MAX {
            assert_eq!(watchdog.look([&stuck]), None);
        }
        assert!(watchdog.look([&stuck]).is_some());
    }

    #[test]
    fn of_several_the_earliest_batch_is_blamed() {
        let (later, earlier) = (Progress::default(), Progress::default());
        later.begin(work(9, None)).unwrap();
        earlier.begin(work(8, None)).unwrap();
        let mut watchdog = Watchdog::default();
        let hung = (0..=LOOKS_MAX).find_map(|_| watchdog.look([&later, &earlier]));
        assert_eq!(hung, Some(Hung { subtask: 1, work: work(8, None) }));
        watchdog.forget();
        assert_eq!(watchdog.look([&later, &earlier]), None);
        assert!(later.current().is_some(), "one at a time");
    }
}
