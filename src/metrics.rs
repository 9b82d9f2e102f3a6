//! Counters of a job, and the sampled log of what was rejected.
//!
//! Counters are added to once a batch, never once a record. Rejections are counted by place and cause; the log
//! shows at most [`SAMPLES_PER_WINDOW`] of them per place in [`SAMPLE_WINDOW`] and then says how many it left out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::checkpoint::ShippingStatus;

/// Rejections a place logs within a window.
pub(crate) const SAMPLES_PER_WINDOW: u32 = 5;
/// The window.
pub(crate) const SAMPLE_WINDOW: Duration = Duration::from_secs(10);
/// Bytes of a rejected reading that the log shows.
const SAMPLE_BYTES_MAX: usize = 64;
/// Causes a place counts apart within a batch; further ones count as `other`.
const CAUSES_MAX: usize = 16;

/// Why a reading was not processed: a short name in kebab case, used in logs and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RejectCause(&'static str);

impl RejectCause {
    /// The line is longer than the source's limit.
    pub const LINE_TOO_LONG: Self = Self("line-too-long");
    /// The line is empty or blank.
    pub const EMPTY: Self = Self("empty");
    /// The line is not UTF-8.
    pub const NOT_UTF8: Self = Self("not-utf8");
    /// The line holds a NUL byte.
    pub const NUL: Self = Self("nul");
    /// The message is longer than the source's limit.
    pub const MESSAGE_TOO_LONG: Self = Self("message-too-long");
    /// The kernel dropped the datagram, because the socket's receive buffer was full or its checksum was wrong.
    pub const KERNEL_DROP: Self = Self("kernel-drop");
    /// The message's topic is not UTF-8.
    pub const TOPIC_NOT_UTF8: Self = Self("topic-not-utf8");
    /// No topic filter of the source asks for the message.
    pub const FOREIGN_TOPIC: Self = Self("foreign-topic");
    /// A column is missing.
    pub const MISSING_COLUMN: Self = Self("missing-column");
    /// There are more columns than expected.
    pub const EXTRA_COLUMN: Self = Self("extra-column");
    /// A column is not a number.
    pub const NOT_A_NUMBER: Self = Self("not-a-number");
    /// A number does not fit its type, or an arithmetic result would not.
    pub const OVERFLOW: Self = Self("overflow");
    /// The key's encoded form is longer than 256 bytes.
    pub const KEY_TOO_LONG: Self = Self("key-too-long");
    /// A new key over the limit of keys.
    pub const KEYS_MAX: Self = Self("keys-max");
    /// Operators failed on the frame every time.
    pub const POISON: Self = Self("poison");
    /// More causes in one batch than are counted apart.
    const OTHER: Self = Self("other");

    /// A cause of the job's own. Use few: each is a counter.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The cause's name.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for RejectCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Counters of a running job.
#[derive(Debug, Default)]
pub(crate) struct JobMetrics {
    pub(crate) readings: AtomicU64,
    pub(crate) replayed: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) outputs: AtomicU64,
    pub(crate) readings_lost: AtomicU64,
    pub(crate) restarts: AtomicU64,
    pub(crate) hangs: AtomicU64,
    pub(crate) checkpoints_completed: AtomicU64,
    pub(crate) checkpoints_failed: AtomicU64,
    pub(crate) clock_jumps: AtomicU64,
    pub(crate) keys_evicted: AtomicU64,
    pub(crate) memory_shortages: AtomicU64,
    shipping: Mutex<ShippingStatus>,
    rejected: Mutex<BTreeMap<(String, RejectCause), u64>>,
}

impl JobMetrics {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    /// How it stands with the remote.
    pub(crate) fn set_shipping(&self, status: ShippingStatus) {
        *self.shipping.lock().expect("no code panics while it is set") = status;
    }

    /// How it stands with the remote.
    pub(crate) fn shipping(&self) -> ShippingStatus {
        self.shipping.lock().expect("no code panics while it is set").clone()
    }

    pub(crate) fn add_rejected(&self, place: &str, cause: RejectCause, count: u64) {
        let mut rejected = self.rejected.lock().expect("no code panics while it counts");
        *rejected.entry((place.to_owned(), cause)).or_default() += count;
    }

    /// Rejected readings by place and cause.
    pub(crate) fn rejected(&self) -> BTreeMap<(String, RejectCause), u64> {
        self.rejected.lock().expect("no code panics while it counts").clone()
    }
}

/// Where a rejected reading came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Provenance<'a> {
    pub(crate) origin: &'a str,
    pub(crate) line: u64,
}

/// Counts and samples the rejections of one place: an operator in one subtask, or one source connection.
#[derive(Debug)]
pub(crate) struct Rejections {
    place: String,
    metrics: Arc<JobMetrics>,
    counts: heapless::Vec<(RejectCause, u64), CAUSES_MAX>,
    samples_left: u32,
    window_start: Instant,
    left_out: u64,
}

impl Rejections {
    pub(crate) fn new(place: impl Into<String>, metrics: Arc<JobMetrics>) -> Self {
        Self {
            place: place.into(),
            metrics,
            counts: heapless::Vec::new(),
            samples_left: SAMPLES_PER_WINDOW,
            window_start: Instant::now(),
            left_out: 0,
        }
    }

    /// Counts one rejection and may log it: then `reading` is asked for, and shown escaped and cut.
    pub(crate) fn reject<'r>(
        &mut self,
        cause: RejectCause,
        provenance: Option<Provenance<'_>>,
        reading: impl FnOnce() -> Cow<'r, [u8]>,
    ) {
        self.count(cause);
        if self.samples_left == 0 {
            self.left_out += 1;
            return;
        }
        self.samples_left -= 1;
        let reading = reading();
        let shown = reading.get(..SAMPLE_BYTES_MAX).unwrap_or(&reading);
        let (origin, line) = provenance.map_or(("", 0), |from| (from.origin, from.line));
        tracing::warn!(
            place = %self.place, cause = %cause, origin, line, reading = %shown.escape_ascii(), "reading rejected"
        );
    }

    fn count(&mut self, cause: RejectCause) {
        if let Some((_, count)) = self.counts.iter_mut().find(|(counted, _)| *counted == cause) {
            *count += 1;
        } else if self.counts.push((cause, 1)).is_err() {
            self.metrics.add_rejected(&self.place, RejectCause::OTHER, 1);
        }
    }

    /// Counts what nobody saw.
    pub(crate) fn add(&self, cause: RejectCause, count: u64) {
        self.metrics.add_rejected(&self.place, cause, count);
    }

    /// Adds the batch's counts to the job's. Costs nothing when nothing was rejected.
    pub(crate) fn end_batch(&mut self) {
        if self.counts.is_empty() {
            return;
        }
        for (cause, count) in &self.counts {
            self.metrics.add_rejected(&self.place, *cause, *count);
        }
        self.counts.clear();
        if self.window_start.elapsed() >= SAMPLE_WINDOW {
            if self.left_out > 0 {
                tracing::warn!(place = %self.place, count = self.left_out, "further readings rejected, not shown");
            }
            self.window_start = Instant::now();
            self.samples_left = SAMPLES_PER_WINDOW;
            self.left_out = 0;
        }
    }
}
