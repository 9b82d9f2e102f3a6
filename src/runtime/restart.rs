//! Restart strategies: whether and when a failed job is started again. Plain decisions; time is passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When an operator fails, the job is rewound to its last completed checkpoint after a delay, or gives up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RestartStrategy {
    /// The delay doubles with each failure up to a limit, and starts over after a quiet time.
    ExponentialDelay {
        /// First delay.
        initial: Duration,
        /// Longest delay.
        max: Duration,
        /// Time without a failure after which the count and the delay start over.
        reset_after: Duration,
        /// Failures in a row after which the job gives up.
        attempts_max: u32,
    },
    /// The same delay each time, a fixed number of times.
    FixedDelay {
        /// Restarts before the job gives up.
        attempts_max: u32,
        /// The delay.
        delay: Duration,
    },
    /// Gives up when failures come too often.
    FailureRate {
        /// Failures within `interval` that are borne.
        failures_max: u32,
        /// The interval looked at.
        interval: Duration,
        /// The delay before each restart.
        delay: Duration,
    },
    /// Gives up at the first failure.
    None,
}

impl Default for RestartStrategy {
    /// 100 ms doubling to 10 s, starting over after 60 s of quiet, giving up at the eleventh failure in a row.
    fn default() -> Self {
        Self::ExponentialDelay {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(10),
            reset_after: Duration::from_secs(60),
            attempts_max: 10,
        }
    }
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    RestartAfter(Duration),
    GiveUp,
}

/// Counts failures against a strategy's budget.
#[derive(Debug)]
pub(crate) struct RestartBudget {
    strategy: RestartStrategy,
    in_a_row: u32,
    last: Option<Instant>,
    recent: VecDeque<Instant>,
}

impl RestartBudget {
    pub(crate) fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, in_a_row: 0, last: None, recent: VecDeque::new() }
    }

    /// The cause of the failures is out of the way: they do not count any more.
    pub(crate) fn forgive(&mut self) {
        self.in_a_row = 0;
        self.recent.clear();
    }

    /// Judges a failure at `now`.
    pub(crate) fn on_failure(&mut self, now: Instant) -> Verdict {
        let quiet = self.last.map_or(Duration::MAX, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        match self.strategy {
            RestartStrategy::None => Verdict::GiveUp,
            RestartStrategy::FixedDelay { attempts_max, delay } => {
                self.in_a_row += 1;
                if self.in_a_row > attempts_max { Verdict::GiveUp } else { Verdict::RestartAfter(delay) }
            }
            RestartStrategy::ExponentialDelay { initial, max, reset_after, attempts_max } => {
                if quiet >= reset_after {
                    self.in_a_row = 0;
                }
                self.in_a_row += 1;
                if self.in_a_row > attempts_max {
                    return Verdict::GiveUp;
                }
                let doubled = initial.saturating_mul(2u32.saturating_pow(self.in_a_row - 1));
                Verdict::RestartAfter(doubled.min(max))
            }
            RestartStrategy::FailureRate { failures_max, interval, delay } => {
                while self
                    .recent
                    .front()
                    .is_some_and(|first| now.saturating_duration_since(*first) >= interval)
                {
                    self.recent.pop_front();
                }
                self.recent.push_back(now);
                if self.recent.len() > failures_max as usize {
                    Verdict::GiveUp
                } else {
                    Verdict::RestartAfter(delay)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn exponential_delay_doubles_to_its_limit_and_starts_over_after_quiet() {
        let mut budget = RestartBudget::new(RestartStrategy::ExponentialDelay {
            initial: SECOND,
            max: 3 * SECOND,
            reset_after: 60 * SECOND,
            attempts_max: 3,
        });
        let start = Instant::now();
        assert_eq!(budget.on_failure(start), Verdict::RestartAfter(SECOND));
        assert_eq!(budget.on_failure(start + SECOND), Verdict::RestartAfter(2 * SECOND));
        assert_eq!(budget.on_failure(start + 2 * SECOND), Verdict::RestartAfter(3 * SECOND));
        assert_eq!(budget.on_failure(start + 100 * SECOND), Verdict::RestartAfter(SECOND));
        for attempt in 0..2 {
            assert!(matches!(budget.on_failure(start + 101 * SECOND), Verdict::RestartAfter(_)), "{attempt}");
        }
        assert_eq!(budget.on_failure(start + 102 * SECOND), Verdict::GiveUp);
    }

    #[test]
    fn fixed_delay_gives_up_after_its_attempts() {
        let strategy = RestartStrategy::FixedDelay { attempts_max: 2, delay: SECOND };
        let mut budget = RestartBudget::new(strategy);
        let now = Instant::now();
        assert_eq!(budget.on_failure(now), Verdict::RestartAfter(SECOND));
        assert_eq!(budget.on_failure(now), Verdict::RestartAfter(SECOND));
        assert_eq!(budget.on_failure(now), Verdict::GiveUp);
    }

    #[test]
    fn failure_rate_forgets_failures_older_than_the_interval() {
        let strategy =
            RestartStrategy::FailureRate { failures_max: 1, interval: 10 * SECOND, delay: Duration::ZERO };
        let mut budget = RestartBudget::new(strategy);
        let start = Instant::now();
        assert_eq!(budget.on_failure(start), Verdict::RestartAfter(Duration::ZERO));
        assert_eq!(budget.on_failure(start + 10 * SECOND), Verdict::RestartAfter(Duration::ZERO));
        assert_eq!(budget.on_failure(start + 19 * SECOND), Verdict::GiveUp);
    }

    #[test]
    fn none_gives_up_at_once() {
        assert_eq!(RestartBudget::new(RestartStrategy::None).on_failure(Instant::now()), Verdict::GiveUp);
    }
}
