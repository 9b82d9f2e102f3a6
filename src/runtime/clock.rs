//! The sequencer's clock: processing time that never goes back.

use std::time::{SystemTime, UNIX_EPOCH};

use super::batch::Timestamp;

/// Processing time for batches.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    last: Timestamp,
}

impl Clock {
    /// A clock that continues behind `last`.
    pub(crate) fn resume(last: Timestamp) -> Self {
        Self { last }
    }

    /// The time of the last stamp.
    pub(crate) fn now(&self) -> Timestamp {
        self.last
    }

    /// The time to stamp a batch with, given the wall clock: the later of the two.
    pub(crate) fn stamp(&mut self, wall: Timestamp) -> Timestamp {
        self.last = self.last.max(wall);
        self.last
    }
}

/// The wall clock.
pub(crate) fn wall_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_goes_back() {
        let mut clock = Clock::resume(Timestamp(100));
        assert_eq!(clock.stamp(Timestamp(50)), Timestamp(100));
        assert_eq!(clock.stamp(Timestamp(150)), Timestamp(150));
        assert_eq!(clock.stamp(Timestamp(-1)), Timestamp(150));
    }
}
