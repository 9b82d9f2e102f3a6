//! Exponential backoff with jitter. Plain arithmetic; the pause is for the caller to make.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// How long to wait after failures in a row.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    random: u64,
}

impl Backoff {
    /// Devices with different seeds do not come back at once.
    pub(crate) fn new(seed: u64) -> Self {
        Self { failures: 0, random: seed }
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The pause after one more failure: 1 s, 2 s, 4 s … 5 min, each between half and all of it.
    pub(crate) fn failed(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // splitmix64: https://prng.di.unimi.it/splitmix64.c
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let share = u32::try_from(mixed % 1000).expect("below 1000");
        whole / 2 + whole / 2000 * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_begin_again() {
        let mut backoff = Backoff::new(7);
        let pauses: Vec<Duration> = (0..30).map(|_| backoff.failed()).collect();
        for (index, pause) in pauses.iter().enumerate() {
            let whole = FIRST.saturating_mul(1 << index.min(9)).min(LONGEST);
            assert!(*pause >= whole / 2 && *pause <= whole, "{index}: {pause:?}");
        }
        backoff.succeeded();
        assert!(backoff.failed() <= FIRST);
    }
}
