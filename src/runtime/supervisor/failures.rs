//! What to do about failures: the restart budget, the batches under suspicion, the frames given up. Plain decisions; time
//! is passed in.
//!
//! Failures count for each batch. After the last but one of `frame_attempts_max` the batch is replayed frame by frame, and
//! a frame found then is poison.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::operator::OperatorError;
use crate::runtime::Offset;
use crate::runtime::progress::Work;
use crate::runtime::restart::{RestartBudget, RestartStrategy, Verdict};
use crate::runtime::settings::BATCHES_IN_FLIGHT_LIMIT;
use crate::state::StateError;

/// Batches under suspicion at once; the earliest is forgotten for one more.
const SUSPECTS_MAX: usize = BATCHES_IN_FLIGHT_LIMIT;

/// An operator failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Stage, subtask and batch, for messages.
    pub(crate) place: String,
    /// What it failed on; none while it was restored.
    pub(crate) work: Option<Work>,
    pub(crate) cause: OperatorError,
}

/// A frame that is not to be processed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Poison {
    pub(crate) offset: Offset,
    /// Its number among the frames of the batch that are not skipped.
    pub(crate) frame: u64,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    GiveUp,
    /// Rewind after `delay`, without the poisonous frame if there is one.
    Rewind {
        delay: Duration,
        poison: Option<Poison>,
    },
}

/// Counts failures and decides.
#[derive(Debug)]
pub(crate) struct Failures {
    budget: RestartBudget,
    /// None without a journal: no batch comes a second time.
    frame_attempts_max: Option<u32>,
    count: u64,
    /// Failures of each batch under suspicion.
    suspects: BTreeMap<Offset, u32>,
}

impl Failures {
    pub(crate) fn new(strategy: RestartStrategy, frame_attempts_max: Option<u32>) -> Self {
        let budget = RestartBudget::new(strategy);
        Self { budget, frame_attempts_max, count: 0, suspects: BTreeMap::new() }
    }

    /// Failures seen in this run.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The batches to replay frame by frame.
    pub(crate) fn suspects(&self) -> BTreeSet<Offset> {
        let Some(attempts_max) = self.frame_attempts_max else { return BTreeSet::new() };
        let ripe = self.suspects.iter().filter(|(_, failures)| **failures + 1 >= attempts_max);
        ripe.map(|(offset, _)| *offset).collect()
    }

    /// Judges a failure at `now`.
    pub(crate) fn judge(&mut self, failure: &Failure, now: Instant) -> Decision {
        self.count += 1;
        let is_store = matches!(failure.cause, OperatorError::State(StateError::Store(_)));
        // State that does not fit will not fit the next time either; a store is built anew.
        if matches!(failure.cause, OperatorError::State(_)) && !(is_store && failure.work.is_some()) {
            return Decision::GiveUp;
        }
        // No frame is to blame for a store that failed.
        let poison = failure.work.filter(|_| !is_store).and_then(|work| self.suspect(work));
        if poison.is_some() {
            self.budget.forgive();
        }
        match self.budget.on_failure(now) {
            Verdict::GiveUp => Decision::GiveUp,
            Verdict::RestartAfter(delay) => Decision::Rewind { delay, poison },
        }
    }

    /// Counts a failure of one batch; a frame found on the last attempt is poison, and its batch is no longer suspected.
    fn suspect(&mut self, work: Work) -> Option<Poison> {
        let attempts_max = self.frame_attempts_max?;
        let failures = self.suspects.entry(work.offset).or_default();
        *failures += 1;
        let poison = work.frame.filter(|_| *failures >= attempts_max);
        if poison.is_some() {
            self.suspects.remove(&work.offset);
        }
        if self.suspects.len() > SUSPECTS_MAX {
            self.suspects.pop_first();
        }
        poison.map(|frame| Poison { offset: work.offset, frame })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(1);

    fn failures(attempts_max: u32) -> Failures {
        Failures::new(RestartStrategy::FixedDelay { attempts_max, delay: DELAY }, Some(3))
    }

    fn failure(offset: u64, frame: Option<u64>) -> Failure {
        let work = Some(Work { offset: Offset(offset), frame });
        Failure { place: "here".to_owned(), work, cause: OperatorError::failed("on purpose") }
    }

    fn rewind(poison: Option<(u64, u64)>) -> Decision {
        let poison = poison.map(|(offset, frame)| Poison { offset: Offset(offset), frame });
        Decision::Rewind { delay: DELAY, poison }
    }

    #[test]
    fn the_third_failure_of_a_batch_gives_up_the_frame_and_forgives_the_budget() {
        let mut failures = failures(3);
        let now = Instant::now();
        for _ in 0..5 {
            assert_eq!(failures.judge(&failure(5, None), now), rewind(None));
            assert!(failures.suspects().is_empty());
            assert_eq!(failures.judge(&failure(5, None), now), rewind(None));
            assert_eq!(failures.suspects(), BTreeSet::from([Offset(5)]));
            assert_eq!(failures.judge(&failure(5, Some(9)), now), rewind(Some((5, 9))));
            assert!(failures.suspects().is_empty(), "another frame of the batch begins at one");
        }
        assert_eq!(failures.count(), 15);
    }

    #[test]
    fn a_store_that_fails_is_built_anew_and_no_frame_is_blamed() {
        let store = || crate::state::StoreError {
            store: "sled",
            path: "work".into(),
            reason: "no more".into(),
            is_full: false,
        };
        let mut failures = failures(100);
        for _ in 0..10 {
            let cause = OperatorError::State(store().into());
            let failure = Failure { cause, ..failure(5, None) };
            assert_eq!(failures.judge(&failure, Instant::now()), rewind(None));
            assert!(failures.suspects().is_empty());
        }
        let cause = OperatorError::State(store().into());
        let opening = Failure { cause, work: None, ..failure(5, None) };
        assert_eq!(failures.judge(&opening, Instant::now()), Decision::GiveUp, "nothing was built yet");
    }

    #[test]
    fn batches_that_fail_in_turn_are_counted_apart() {
        let mut failures = failures(100);
        let now = Instant::now();
        for _ in 0..2 {
            assert_eq!(failures.judge(&failure(6, None), now), rewind(None));
            assert_eq!(failures.judge(&failure(5, None), now), rewind(None));
        }
        assert_eq!(failures.suspects(), BTreeSet::from([Offset(5), Offset(6)]));
        assert_eq!(failures.judge(&failure(6, Some(0)), now), rewind(Some((6, 0))));
        assert_eq!(failures.suspects(), BTreeSet::from([Offset(5)]));
    }

    #[test]
    fn suspects_are_bounded() {
        let mut failures = failures(1000);
        for offset in 0..2 * SUSPECTS_MAX as u64 {
            for _ in 0..2 {
                failures.judge(&failure(offset, None), Instant::now());
            }
        }
        let suspects = failures.suspects();
        assert_eq!((suspects.len(), suspects.first()), (SUSPECTS_MAX, Some(&Offset(SUSPECTS_MAX as u64))));
    }

    #[test]
    fn without_a_journal_or_a_restart_nothing_is_poison() {
        let strategy = RestartStrategy::FixedDelay { attempts_max: 9, delay: DELAY };
        let mut unjournaled = Failures::new(strategy, None);
        let mut unforgiving = Failures::new(RestartStrategy::None, Some(2));
        for _ in 0..3 {
            let failure = failure(1, Some(0));
            assert_eq!(unjournaled.judge(&failure, Instant::now()), rewind(None));
            assert_eq!(unforgiving.judge(&failure, Instant::now()), Decision::GiveUp);
        }
        assert!(unjournaled.suspects().is_empty());
    }
}
