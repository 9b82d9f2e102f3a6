//! Waiting: whether some thread of a job waits for its state's disk, or for a reader, which is no sign that it hangs.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a full disk is waited for before what needs it fails.
const FULL_DISK_WAIT_MAX: Duration = Duration::from_secs(600);
/// Pause between two tries on a full disk.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(250);

/// Counts threads: those that write to a store, wait for room on its disk, or for a checkpoint that holds it still; and,
/// another count, those that wait for a reader.
#[derive(Debug, Default)]
pub(crate) struct Waiting(AtomicUsize);

impl Waiting {
    /// The calling thread waits until what is returned is dropped.
    pub(crate) fn begin(&self) -> WaitGuard<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        WaitGuard(self)
    }

    /// Tries until there is room on the disk: what the caller holds back meanwhile slows the sources.
    ///
    /// # Errors
    /// Those of `attempt` that are not `is_full`, and the last of those that are.
    pub(crate) fn for_room<T, E: Display>(
        &self,
        is_full: impl Fn(&E) -> bool,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        // A store may wait within the call too, until its own writes succeed again.
        let _waits = self.begin();
        let since = Instant::now();
        let mut is_reported = false;
        loop {
            let outcome = attempt();
            match &outcome {
                Err(error) if is_full(error) && since.elapsed() < FULL_DISK_WAIT_MAX => {
                    if !std::mem::replace(&mut is_reported, true) {
                        tracing::warn!(%error, "the disk is full: state waits for room");
                    }
                    std::thread::sleep(FULL_DISK_PAUSE);
                }
                _ => {
                    if is_reported && outcome.is_ok() {
                        tracing::info!(waited = ?since.elapsed(), "there is room for state again");
                    }
                    return outcome;
                }
            }
        }
    }

    /// Whether a thread waits.
    pub(crate) fn is_going_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// One thread that waits.
#[must_use = "the wait ends where it is dropped"]
pub(crate) struct WaitGuard<'w>(&'w Waiting);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thread_ends_the_wait() {
        let waiting = Waiting::default();
        assert!(!waiting.is_going_on());
        let first = waiting.begin();
        let second = waiting.begin();
        drop(first);
        assert!(waiting.is_going_on());
        drop(second);
        assert!(!waiting.is_going_on());
    }
}
