//! Pauses between attempts to reach a broker.

use std::time::Duration;

/// First pause; doubles with each.
const PAUSE_INITIAL: Duration = Duration::from_millis(100);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A connection that lasted this long was a good one: the next pause is the first again.
const GOOD_CONNECTION: Duration = Duration::from_secs(2);

/// Attempts since the last good connection.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The pause before the next attempt: exponential, less up to half at random, so that a fleet does not come back at one
    /// instant.
    pub(crate) fn pause(&mut self) -> Duration {
        let doubled = PAUSE_INITIAL.saturating_mul(2u32.saturating_pow(self.attempts)).min(PAUSE_MAX);
        self.attempts += 1;
        doubled - doubled.mul_f64(0.5 * random_share())
    }

    /// A connection ended that lasted for so long.
    pub(crate) fn connected_for(&mut self, lasted: Duration) {
        if lasted >= GOOD_CONNECTION {
            self.attempts = 0;
        }
    }
}

/// A number in 0..1. Spreads clients in time, nothing more; no result depends on it.
fn random_share() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(0u8);
    f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_begin_anew_behind_a_good_connection() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..100).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= PAUSE_INITIAL / 2 && pauses[0] <= PAUSE_INITIAL, "{:?}", pauses[0]);
        assert!(pauses.iter().all(|pause| *pause <= PAUSE_MAX));
        assert!(pauses[99] >= PAUSE_MAX / 2);
        backoff.connected_for(Duration::from_millis(10));
        assert!(backoff.pause() >= PAUSE_MAX / 2);
        backoff.connected_for(GOOD_CONNECTION);
        assert!(backoff.pause() <= PAUSE_INITIAL);
    }
}
