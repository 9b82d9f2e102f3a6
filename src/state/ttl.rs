//! Time to live: after how long without an update a value counts as gone, and when it is really removed.
//!
//! The options and their meaning are Flink's `StateTtlConfig`. Time is the batch's stamp, so a replay sees the same
//! values expire. A list or a map expires element by element.

use std::time::Duration;

/// When a value's time to live starts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TtlUpdate {
    /// When it is set. The default.
    #[default]
    OnCreateAndWrite,
    /// When it is set or read.
    OnReadAndWrite,
}

/// What a read of an expired value that is still there gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TtlVisibility {
    /// Nothing. The default.
    #[default]
    NeverReturnExpired,
    /// The value, once: the read removes it. How long it is still there depends on the clean-up and on the backend,
    /// so results that depend on it are not the same on every run.
    ReturnExpiredIfNotCleanedUp,
}

/// Incremental clean-up: looks at a few entries with each use of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncrementalCleanup {
    /// Entries looked at for each read or write of the state, at least 1. Done at the end of each batch.
    pub entries_per_access: u32,
    /// Whether a record that does not use the state counts as an access.
    pub per_record: bool,
}

/// How long a state's values live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateTtl {
    duration_ms: i64,
    pub(crate) update: TtlUpdate,
    pub(crate) visibility: TtlVisibility,
    pub(crate) incremental: Option<IncrementalCleanup>,
    pub(crate) in_compaction: bool,
}

impl StateTtl {
    /// Values expire `duration` after they were set, in whole milliseconds. The parts of checkpoints and savepoints do
    /// not contain what had expired when they were written; `rocksdb`, whose checkpoints are its files, drops it in
    /// compactions.
    pub fn new(duration: Duration) -> Self {
        Self {
            duration_ms: i64::try_from(duration.as_millis()).unwrap_or(i64::MAX),
            update: TtlUpdate::default(),
            visibility: TtlVisibility::default(),
            incremental: None,
            in_compaction: true,
        }
    }

    /// Sets what starts the time to live anew.
    #[must_use]
    pub fn update(mut self, update: TtlUpdate) -> Self {
        self.update = update;
        self
    }

    /// Sets what a read of an expired value gives.
    #[must_use]
    pub fn visibility(mut self, visibility: TtlVisibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// Removes expired entries a few at a time. Before a store it looks at the cached rows, and at no more than 1,024
    /// entries of the store a batch.
    #[must_use]
    pub fn cleanup_incrementally(mut self, entries_per_access: u32, per_record: bool) -> Self {
        self.incremental =
            Some(IncrementalCleanup { entries_per_access: entries_per_access.max(1), per_record });
        self
    }

    /// Keeps `rocksdb` from dropping expired entries in compactions.
    #[must_use]
    pub fn no_cleanup_in_compaction(mut self) -> Self {
        self.in_compaction = false;
        self
    }

    /// The time to live, in milliseconds.
    pub(crate) fn duration_ms(&self) -> i64 {
        self.duration_ms
    }

    /// True when a value last updated at `stamp` is gone at `now`, both in milliseconds.
    #[inline]
    pub(crate) fn is_expired(&self, stamp: i64, now: i64) -> bool {
        is_expired(self.duration_ms, stamp, now)
    }

    /// True when a read starts the time anew.
    #[inline]
    pub(crate) fn updates_on_read(&self) -> bool {
        self.update == TtlUpdate::OnReadAndWrite
    }

    #[inline]
    pub(crate) fn returns_expired(&self) -> bool {
        self.visibility == TtlVisibility::ReturnExpiredIfNotCleanedUp
    }
}

/// True when a value last updated at `stamp` that lives `duration_ms` is gone at `now`.
#[inline]
pub(crate) fn is_expired(duration_ms: i64, stamp: i64, now: i64) -> bool {
    stamp.saturating_add(duration_ms) <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_to_live_does_not_overflow() {
        let ttl = StateTtl::new(Duration::MAX);
        assert!(!ttl.is_expired(i64::MAX - 1, i64::MAX - 1));
        assert!(!ttl.is_expired(5, 1_000_000));
        assert!(!ttl.is_expired(-5, i64::MAX - 6));
    }

    #[test]
    fn a_value_is_gone_from_its_last_millisecond_on() {
        let ttl = StateTtl::new(Duration::from_millis(100));
        assert!(!ttl.is_expired(50, 149));
        assert!(ttl.is_expired(50, 150));
    }
}
