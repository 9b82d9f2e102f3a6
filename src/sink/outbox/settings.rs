//! What an outbox may hold.

use std::time::Duration;

/// Least bytes of an outbox.
pub(crate) const BYTES_MIN: u64 = 1 << 20;
/// Bytes of an outbox by default.
const BYTES_MAX_DEFAULT: u64 = 64 << 20;
/// Time that outputs are summarised over at first, by default.
const BUCKET_DEFAULT: Duration = Duration::from_secs(60);

/// What happens to outputs when the outbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// New outputs wait, and with them the whole job and its sources.
    Block,
    /// The oldest outputs are dropped, and counted.
    #[default]
    DropOldest,
    /// The oldest outputs that are a key and a number are folded into count, least, mean and greatest for each key and
    /// minute, then for longer times. All others, such as alarms, are kept as they are until nothing can be folded any
    /// more; then the oldest are dropped, and counted.
    Summarise,
}

/// Limits of an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutboxSettings {
    /// Bytes that outputs take, with what is stored beside them. The files take up to about three times as much.
    pub(crate) bytes_max: u64,
    /// Outputs that have waited longer are dropped, and counted.
    pub(crate) age_max: Option<Duration>,
    pub(crate) when_full: WhenFull,
    /// How long outputs are kept after their delivery, for `tidegate outbox resend`.
    pub(crate) retention: Duration,
    /// Time over which outputs are summarised at first.
    pub(crate) bucket: Duration,
}

impl Default for OutboxSettings {
    fn default() -> Self {
        Self {
            bytes_max: BYTES_MAX_DEFAULT,
            age_max: None,
            when_full: WhenFull::default(),
            retention: Duration::ZERO,
            bucket: BUCKET_DEFAULT,
        }
    }
}
