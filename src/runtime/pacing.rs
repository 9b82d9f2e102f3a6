//! Pacing: when a small batch waits a moment for more readings to share it.
//!
//! In the journal a batch takes about 20 bytes beside its lines, and a commit writes at least a sector. Many readings a
//! second, each in a batch of its own, would multiply what is written. So a batch of less than [`PACED_BYTES_MAX`] bytes
//! is held until [`SEAL_INTERVAL`] after the last one. A lone reading is not: nothing was sealed shortly before it.
//!
//! A sender that waits for each result before it sends the next reading would only be slowed. Holding for it gathers
//! nothing: after [`FUTILE_HOLDS_MAX`] batches in a row that were held and stayed below [`GATHERED_FRAMES_MIN`] frames
//! the next [`REST_BATCHES`] are not held. A connection that waits for its seal gathers lines of its own, which come with
//! the batch after; hence more than one. A sender that waits for each result of several readings is slowed all the same,
//! to a batch each `SEAL_INTERVAL`. What an MQTT broker sends with QoS 1 or 2 is not held at all: it sends no more than its window before the
//! acknowledgements.

use std::time::Duration;

/// Time from one seal to the next small one.
pub(crate) const SEAL_INTERVAL: Duration = Duration::from_millis(2);
/// A batch of this many bytes is never held: what it takes beside its lines is below a twentieth.
pub(crate) const PACED_BYTES_MAX: usize = 512;
/// A batch that was held and has fewer frames was held in vain.
const GATHERED_FRAMES_MIN: usize = 4;
/// Batches held in vain, in a row, before holding rests.
const FUTILE_HOLDS_MAX: u32 = 2;
/// Batches that are then not held.
const REST_BATCHES: u32 = 64;

/// Decides for one sequencer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pacing {
    /// When the last batch with frames was sealed, in monotonic time.
    sealed: Option<Duration>,
    is_holding: bool,
    futile_holds: u32,
    rest: u32,
}

impl Pacing {
    /// Until when a small batch is held that could be sealed `now`.
    pub(crate) fn hold(&mut self, now: Duration) -> Option<Duration> {
        let due = self.sealed? + SEAL_INTERVAL;
        if self.rest > 0 || now >= due {
            return None;
        }
        self.is_holding = true;
        Some(due)
    }

    /// A batch with `frames` was sealed.
    pub(crate) fn sealed(&mut self, frames: usize, now: Duration) {
        let was_held = std::mem::take(&mut self.is_holding);
        self.rest = self.rest.saturating_sub(1);
        if frames >= GATHERED_FRAMES_MIN {
            self.futile_holds = 0;
        } else if was_held {
            self.futile_holds += 1;
        }
        if self.futile_holds >= FUTILE_HOLDS_MAX {
            (self.futile_holds, self.rest) = (0, REST_BATCHES);
        }
        self.sealed = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_micros(100);

    #[test]
    fn a_lone_batch_is_not_held_and_one_close_behind_is() {
        let mut pacing = Pacing::default();
        assert_eq!(pacing.hold(STEP), None);
        pacing.sealed(1, STEP);
        assert_eq!(pacing.hold(2 * STEP), Some(STEP + SEAL_INTERVAL));
        assert_eq!(pacing.hold(STEP + SEAL_INTERVAL), None);
    }

    #[test]
    fn who_waits_for_each_result_is_hardly_ever_held() {
        let mut pacing = Pacing::default();
        let mut now = Duration::ZERO;
        let mut held = 0;
        for _ in 0..1000 {
            now += STEP;
            if let Some(due) = pacing.hold(now) {
                held += 1;
                now = due;
            }
            pacing.sealed(1, now);
        }
        assert!((1..=40).contains(&held), "{held} of 1000 were held");
    }

    #[test]
    fn a_crowd_is_held_again_and_again() {
        let mut pacing = Pacing::default();
        let mut now = Duration::ZERO;
        let mut batches = 0;
        // A reading each step; those that come while a batch is held come with the next one.
        let (mut handed_over, mut gathering) = (1, 0);
        while now < 1000 * STEP {
            if pacing.hold(now).is_some() {
                gathering += 1;
                now += STEP;
                continue;
            }
            pacing.sealed(handed_over, now);
            batches += 1;
            (handed_over, gathering) = (gathering.max(1), 0);
            now += STEP;
        }
        assert!((40..=60).contains(&batches), "{batches} batches in 50 intervals");
    }
}
