//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// Longest wait for anything. Far above what a loaded machine needs: reaching it is a failure.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);

/// Time between two looks at a condition.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Returns when `condition` holds.
///
/// # Panics
/// With the text of `failure` when it does not hold within [`WAIT_MAX`].
pub(crate) fn wait_until(condition: impl FnMut() -> bool, failure: impl FnOnce() -> String) {
    wait_until_within(WAIT_MAX, condition, failure);
}

/// Returns when `condition` holds.
///
/// # Panics
/// With the text of `failure` when it does not hold within `limit`.
pub(crate) fn wait_until_within(
    limit: Duration,
    mut condition: impl FnMut() -> bool,
    failure: impl FnOnce() -> String,
) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "waited too long: {}", failure());
        std::thread::sleep(LOOK_INTERVAL);
    }
}
