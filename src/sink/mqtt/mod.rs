//! The `mqtt` sink: results as MQTT messages, out of an outbox.
//!
//! - `settings`, `topic`, `message`: what is published where. - `place`: what is on disk.
//! - `delivery`, `turns`: what leaves when, and is done with. - `link`: a connection.
//!
//! The sink actor puts the results of a batch, once it is durable in the journal, into the outbox; that is a delivered batch
//! to the job. A thread of the sink's own takes them out and publishes them over a connection that nothing else uses. Each message
//! has the user property `tidegate-output-id`, `JOB/INCARNATION/OFFSET/INDEX`: the same output has the same id whenever
//! it is sent. MQTT 3.1.1 has no such properties. A summary has `tidegate-folded` with the number of outputs it stands for besides.
//!
//! What is promised:
//! - QoS 1: the broker gets each output at least once, without a gap but for what a policy dropped or folded, counted.
//! - QoS 2: exactly once while the broker keeps the session; after it forgot one, outputs that were in flight may come twice.
//! - QoS 0: an output is done with when it is written to the connection.
//! - That the broker has acknowledged a message does not say that it is on the broker's disk, or with a subscriber: for that
//!   outputs can be kept for a while (`retention`) and sent again from an id.
//!
//! A checkpoint reports the position only after the outbox is flushed, so what was delivered to it before the checkpoint
//! survives a power cut; what comes behind is made again by replay.
//!
//! A full disk under the outbox ends the job: its store cannot go on (see `outbox::sled_store`).
//!
//! When the job ends, what waits is sent for up to [`DRAIN_MAX`], if the broker is there; the rest waits for the next start.

mod delivery;
mod link;
mod message;
pub(crate) mod place;
mod settings;
mod topic;
mod turns;

pub use settings::MqttPublish;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::outbox::{Outbox, OutboxError};
use super::{AfterFullSync, OpenSink, OutboxReport, SinkEnd, SinkStart, SinkWriter};
use crate::runtime::{Offset, Timestamp};

/// How long a job that ends waits for what can still be delivered.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(5);

/// What the sink actor and the thread of the connection share.
struct SharedOutbox {
    outbox: Mutex<Outbox>,
    /// Something came in.
    has_more: Notify,
    stop: CancellationToken,
    /// Until when, from `stop` on, what waits is sent.
    ends_at: OnceLock<Instant>,
    /// The connection's thread cannot go on for its store.
    has_failed: AtomicBool,
}

impl SharedOutbox {
    fn lock(&self) -> MutexGuard<'_, Outbox> {
        // A panic in the middle of a change leaves it as a crash would, but in memory: what is on disk counts.
        self.outbox.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes durable what came in, beside what goes on meanwhile.
    fn flush(&self) -> Result<(), OutboxError> {
        let store = self.lock().store();
        Ok(store.flush()?)
    }

    /// Asks the thread to end, at the latest after `patience` if something waits.
    fn end(&self, patience: Duration) {
        self.ends_at.get_or_init(|| Instant::now() + patience);
        self.stop.cancel();
    }

    /// Until when what waits is sent; `None` while the job goes on.
    fn ends_at(&self) -> Option<Instant> {
        self.ends_at.get().copied()
    }

    /// Returns when the job ends and a connection would be of no use any more.
    async fn has_no_use_for_connection(&self) {
        self.stop.cancelled().await;
        if let Some(ends_at) = self.ends_at()
            && self.lock().waiting() > 0
        {
            tokio::time::sleep_until(ends_at.into()).await;
        }
    }

    /// Whether the store can be used.
    fn check(&self) -> io::Result<()> {
        if self.has_failed.load(Ordering::Relaxed) {
            return Err(io::Error::other("the outbox's store failed; see the log"));
        }
        Ok(())
    }
}

/// Opens the sink: the outbox, and the thread that empties it.
///
/// # Errors
/// The outbox's.
pub(super) fn open(publish: &MqttPublish, start: &SinkStart<'_>) -> io::Result<OpenSink> {
    let checked = publish.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let positions = start.positions.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "an outbox needs a data directory and a journal")
    })?;
    let folder = positions.join(place::folder_name(publish.topic()));
    let (outbox, delivered) = place::open_outbox(start, &folder, &checked)?;
    if outbox.waiting() > 0 {
        tracing::info!(outputs = outbox.waiting(), bytes = outbox.bytes(), "outputs wait in the outbox");
    }
    let shared = Arc::new(SharedOutbox {
        outbox: Mutex::new(outbox),
        has_more: Notify::new(),
        stop: CancellationToken::new(),
        ends_at: OnceLock::new(),
        has_failed: AtomicBool::new(false),
    });
    let client_id = checked.client_id.clone().unwrap_or_else(|| {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let hash = blake3::hash(format!("{host}\n{}", folder.display()).as_bytes()).to_hex();
        format!("tidegate-{}-{}-out", start.job, &hash[..8])
    });
    let delivery = delivery::Delivery::new(Arc::clone(&shared), checked, start.job.to_owned(), client_id);
    let thread = std::thread::Builder::new().name("mqtt-sink".to_owned()).spawn(move || delivery.run())?;
    let writer = MqttWriter { shared: Arc::clone(&shared) };
    let end = End { sink: format!("mqtt {}", publish.topic()), shared, thread: Some(thread) };
    Ok(OpenSink { writer: Box::new(writer), delivered, end: Some(Box::new(end)) })
}

/// Puts results into the outbox.
struct MqttWriter {
    shared: Arc<SharedOutbox>,
}

impl SinkWriter for MqttWriter {
    fn write(&mut self, offset: Offset, results: &[u8]) -> io::Result<()> {
        self.shared.check()?;
        let admitted = self.shared.lock().admit(offset, results, place::now());
        admitted?;
        if !results.is_empty() {
            self.shared.has_more.notify_one();
        }
        Ok(())
    }

    /// The number of outputs that wait.
    fn sync(&mut self) -> io::Result<u64> {
        self.shared.check()?;
        let mut outbox = self.shared.lock();
        outbox.record_admitted()?;
        let waiting = outbox.waiting();
        drop(outbox);
        self.shared.flush()?;
        Ok(waiting)
    }

    fn after_full_sync(&self) -> AfterFullSync {
        AfterFullSync::Again
    }
}

/// Ends the thread.
struct End {
    sink: String,
    shared: Arc<SharedOutbox>,
    thread: Option<JoinHandle<()>>,
}

impl SinkEnd for End {
    fn end(&mut self) -> Option<OutboxReport> {
        self.shared.end(DRAIN_MAX);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that publishes panicked: what it had not delivered waits");
        }
        let outcome = self.shared.flush();
        let report = report(&self.sink, &self.shared.lock());
        tracing::info!(
            waiting = report.waiting,
            bytes = report.bytes,
            oldest_seconds = report.oldest_age.map_or(0, |age| age.as_secs()),
            delivered = report.delivered,
            dropped = report.dropped,
            expired = report.expired,
            folded = report.folded,
            refused = report.refused,
            damaged_blocks = report.damaged_blocks,
            "left the outbox"
        );
        if let Err(error) = outcome {
            tracing::warn!(%error, "the outbox cannot be flushed: some outputs may be sent again");
        }
        Some(report)
    }
}

/// What an outbox holds now, and what became of the rest.
fn report(sink: &str, outbox: &Outbox) -> OutboxReport {
    let counts = outbox.counts();
    let oldest_age = match outbox.oldest() {
        Ok(oldest) => oldest.map(|oldest| age(oldest, place::now())),
        // Whatever is wrong with the store was said where it came up.
        Err(_) => None,
    };
    OutboxReport {
        sink: sink.to_owned(),
        waiting: outbox.waiting(),
        bytes: outbox.bytes(),
        oldest_age,
        delivered: outbox.delivered(),
        dropped: counts.dropped,
        expired: counts.expired,
        folded: counts.folded,
        refused: counts.refused,
        damaged_blocks: counts.damaged_blocks,
    }
}

fn age(since: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(now.0.saturating_sub(since.0)).unwrap_or(0))
}

/// Of a job that did not come to run: its store must be free when it is tried again.
impl Drop for End {
    fn drop(&mut self) {
        self.shared.end(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What a failed store means to the connection's thread.
fn store_failed(shared: &SharedOutbox, error: &OutboxError) {
    if !shared.has_failed.swap(true, Ordering::Relaxed) {
        tracing::error!(%error, "the outbox cannot be used any more");
    }
}
