//! The batch's header: what every subtask and sink learns of a batch besides its records.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::checkpoint::CheckpointId;

/// Number of a batch in its job: 1, 2, 3, … without gaps; 0 stands for "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A time in milliseconds since 1970-01-01 UTC: processing time, which all records of a batch share, or event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Before every other: the watermark before there is one.
    pub const MIN: Self = Self(i64::MIN);
    /// Behind every other.
    pub const MAX: Self = Self(i64::MAX);
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// The time `duration` later, in whole milliseconds; [`Self::MAX`] at most.
    fn add(self, duration: Duration) -> Self {
        let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(milliseconds))
    }
}

/// How often the job has been started or rewound in this process. Messages of an earlier attempt are stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attempt(pub(crate) u32);

impl Attempt {
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What a batch carries besides its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) attempt: Attempt,
    pub(crate) offset: Offset,
    pub(crate) stamp: Timestamp,
    /// The checkpoint to take once this batch is processed.
    pub(crate) barrier: Option<CheckpointId>,
    pub(crate) pace: Pace,
}

/// How a batch is processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As a whole.
    Batch,
    /// Frame by frame, to find out which one an operator fails on. The results are the same.
    FrameByFrame,
}
