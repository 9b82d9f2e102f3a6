//! Shipping: the state machine that brings completed checkpoints to the remote. Plain; time is given to it, and each step
//! makes a bounded number of calls to the remote. The actor around it is `runtime::shipper`.
//!
//! ```text
//! closed ─ incarnation opened ─▶ open ─ chunks and newest generation known ─▶ idle
//!   idle ─ checkpoint offered ─▶ uploading ─ every chunk there ─▶ publishing ─ manifest read back ─▶ tidying ─▶ idle
//!   any  ─ a newer incarnation is there ─▶ fenced, for the process's life
//! ```
//!
//! With the journal, pieces of it go in between: after each of them one step of the above, where there is one, so that
//! neither starves the other.
//!
//! An error leaves the step to be tried again after a backoff. A checkpoint that is offered while another is uploaded
//! waits; of several that wait the newest wins.

mod opening;
mod publishing;
mod tidying;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::base::BaseFolder;
use super::chunk::ChunkSizes;
use super::journal_shipping::{JournalShipping, OwnManifest};
use super::manifest::ShippedManifest;
use super::mark::{Mark, MarkFile};
use super::pace::{Moment, Pace, Pause, UploadLimits};
use super::paths::{Incarnation, ManifestName, PieceName};
use super::retention::{Garbage, Known, Retention};
use super::upload::{ChunkIndex, Upload, Verification};
use super::{Archive, ArchiveError};
use crate::checkpoint::{CheckpointId, Pins};
use crate::disk::Disk;
use crate::runtime::Offset;

/// Incarnations of its own that a device remembers.
const INCARNATIONS_REMEMBERED: usize = 8;
/// Incarnation objects that are left on the remote behind the newest.
const INCARNATIONS_KEPT: u32 = 16;
/// Pause between two warnings of one outage.
const REMINDER_INTERVAL: Duration = Duration::from_secs(3600);
/// Bytes sent whose count a crash may forget, as a share of the limit a day.
const UNCOUNTED_SHARE: u64 = 64;
/// The least of that, in bytes: the mark is not written for less.
const UNCOUNTED_BYTES_MIN: u64 = 64 << 10;
/// Objects that are deleted in one step.
const DELETED_IN_STEP_MAX: usize = 16;

/// How checkpoints are shipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShippingPolicy {
    pub(crate) limits: UploadLimits,
    /// Least time from one published checkpoint to the next upload.
    pub(crate) interval: Duration,
    pub(crate) retention: Retention,
    /// How long a chunk stays that nothing names.
    pub(crate) grace: Duration,
    pub(crate) sizes: ChunkSizes,
    pub(crate) verification: Verification,
    /// Ship although another device has taken over.
    pub(crate) take_over: bool,
    /// Seed of the backoff's jitter, and of nothing else.
    pub(crate) seed: u64,
}

/// How it stands with the remote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Connectivity {
    /// Nothing was tried yet.
    #[default]
    Untried,
    /// The last call was answered.
    Connected,
    /// Nothing may be sent just now.
    Paused(&'static str),
    /// The last call failed, for this reason.
    Failing(String),
    /// Another device ships under this identity: this one has stopped.
    Fenced,
}

/// What is not on the remote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Readings in checkpoints that were completed here and are not on the remote: what a lost device would lose, besides
    /// what came in since its last checkpoint.
    pub readings: u64,
    /// How long the oldest checkpoint has waited whose readings these are.
    pub age: Duration,
}

/// What was shipped, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShippingStatus {
    /// How it stands with the remote.
    pub connectivity: Connectivity,
    /// Checkpoints published on the remote by this process.
    pub shipped: u64,
    /// Checkpoints that were passed over because newer ones came.
    pub skipped: u64,
    /// Bytes of chunks and manifests sent by this process.
    pub sent_bytes: u64,
    /// The newest checkpoint that is on the remote.
    pub newest: Option<CheckpointId>,
    /// Objects removed from the remote by this process.
    pub removed: u64,
    /// Pieces of the journal shipped by this process.
    pub journal_pieces: u64,
    /// The last batch of the journal that is on the remote.
    pub journal_through: Option<Offset>,
    /// What waits; `None` when everything completed is on the remote.
    pub backlog: Option<Backlog>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is a step to make.
    Step,
    /// Nothing before this time.
    WaitUntil(Duration),
    /// Nothing until a checkpoint is offered.
    Idle,
    /// Nothing any more.
    Stopped,
}

#[derive(Debug)]
enum Stage {
    Closed { opening: Option<Incarnation> },
    Open(Incarnation),
    Fenced,
}

/// The newest manifest on the remote, to which the next one is chained.
#[derive(Debug, Clone, Default)]
struct Chain {
    generation: u64,
    previous: Option<[u8; 32]>,
    /// The checkpoint it holds, encoded.
    checkpoint: Vec<u8>,
    /// Itself, where its chunks are packed as ours.
    manifest: Option<Box<ShippedManifest>>,
    /// Readings in it.
    readings: u64,
}

/// A manifest about to be published. Its bytes stay the same however often it is tried.
#[derive(Debug)]
struct Publication {
    name: ManifestName,
    bytes: Vec<u8>,
    seal: blake3::Hash,
    manifest: ShippedManifest,
    id: CheckpointId,
    offset: Offset,
    readings: u64,
}

#[derive(Debug)]
enum Work {
    Nothing,
    Uploading(Box<Upload>),
    Publishing(Box<Publication>),
    Tidying,
    Collecting(Litter),
}

/// Objects that are removed.
#[derive(Debug)]
struct Litter {
    pieces: Vec<PieceName>,
    /// Hashes in the names of chunks.
    chunks: Vec<[u8; 32]>,
}

impl Litter {
    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.chunks.is_empty()
    }
}

/// What a shipping begins with.
#[derive(Debug)]
pub(crate) struct ShippingStart {
    pub(crate) archive: Archive,
    pub(crate) disk: Arc<dyn Disk>,
    /// The job's folder.
    pub(crate) directory: PathBuf,
    pub(crate) pins: Pins,
    pub(crate) policy: ShippingPolicy,
}

/// Ships checkpoints.
#[derive(Debug)]
pub(crate) struct Shipping {
    archive: Archive,
    disk: Arc<dyn Disk>,
    parts: PathBuf,
    bases: BaseFolder,
    pins: Pins,
    policy: ShippingPolicy,
    mark_file: MarkFile,
    mark: Mark,
    stage: Stage,
    index: Option<ChunkIndex>,
    chain: Option<Chain>,
    work: Work,
    known: BTreeMap<ManifestName, Known>,
    garbage: Garbage,
    collected_at: Option<Duration>,
    pace: Pace,
    backoff: Backoff,
    retry_at: Option<Duration>,
    next_upload_at: Duration,
    /// Since when something completed is not on the remote.
    behind_since: Option<Duration>,
    /// Since when the remote fails, and when that was said last.
    failing: Option<(Duration, Duration)>,
    /// Bytes sent that the mark does not count yet.
    uncounted_bytes: u64,
    status: ShippingStatus,
    /// The journal, where that is shipped too.
    journal: Option<JournalShipping>,
    /// The newest manifest on the remote that belongs to the history here.
    own: Option<OwnManifest>,
    /// The last step was for the journal.
    was_for_journal: bool,
    /// Whether pieces of the journal are on the remote.
    has_pieces: bool,
}

impl Shipping {
    pub(crate) fn new(start: ShippingStart) -> Self {
        let ShippingStart { archive, disk, directory, pins, policy } = start;
        let mark_file = MarkFile::of(Arc::clone(&disk), &directory);
        let archive_name = archive.identity();
        let mark = mark_file
            .read(&archive_name)
            .unwrap_or_else(|| Mark { archive: archive_name, ..Mark::default() });
        Self {
            pace: Pace::new(policy.limits, mark.day, mark.sent_bytes),
            backoff: Backoff::new(policy.seed),
            bases: BaseFolder::of(Arc::clone(&disk), &directory, archive.packing()),
            archive,
            disk,
            parts: directory.join("parts"),
            pins,
            policy,
            mark_file,
            mark,
            stage: Stage::Closed { opening: None },
            index: None,
            chain: None,
            work: Work::Nothing,
            known: BTreeMap::new(),
            garbage: Garbage::default(),
            collected_at: None,
            retry_at: None,
            next_upload_at: Duration::ZERO,
            behind_since: None,
            failing: None,
            uncounted_bytes: 0,
            status: ShippingStatus::default(),
            journal: None,
            own: None,
            was_for_journal: false,
            // Until it was looked.
            has_pieces: true,
        }
    }

    /// Ships the journal too.
    pub(crate) fn ship_journal(&mut self, journal: JournalShipping) {
        self.journal = Some(journal);
    }

    pub(crate) fn status(&self, now: Moment) -> ShippingStatus {
        let shipped = self.chain.as_ref().map_or(0, |chain| chain.readings);
        let journaled = self.journal.as_ref().and_then(JournalShipping::reached);
        let shipped = shipped.max(journaled.map_or(0, |(_, readings)| readings));
        let reached = self.pins.reached().map_or(0, |reached| reached.readings);
        let backlog = self.behind_since.map(|since| Backlog {
            readings: reached.saturating_sub(shipped),
            age: now.monotonic.saturating_sub(since),
        });
        ShippingStatus {
            skipped: self.pins.skipped(),
            backlog,
            journal_pieces: self.journal.as_ref().map_or(0, JournalShipping::shipped),
            journal_through: journaled.map(|(through, _)| through),
            ..self.status.clone()
        }
    }

    /// Looks for what can go from the remote next, whether or not something was shipped.
    pub(crate) fn prune(&mut self) {
        self.work = Work::Tidying;
        self.collected_at = None;
    }

    /// Lets the next checkpoint begin without the interval's pause: the job ends.
    pub(crate) fn hurry(&mut self) {
        self.next_upload_at = Duration::ZERO;
        if let Some(journal) = &mut self.journal {
            journal.hurry();
        }
    }

    /// What comes next.
    pub(crate) fn turn(&mut self, now: Moment) -> Turn {
        if matches!(self.stage, Stage::Fenced) {
            return Turn::Stopped;
        }
        let has_work = !matches!(self.work, Work::Nothing);
        if !has_work && !self.pins.is_waiting() {
            self.behind_since = None;
        } else if !matches!(self.work, Work::Tidying | Work::Collecting(_)) || self.pins.is_waiting() {
            self.behind_since.get_or_insert(now.monotonic);
        }
        let journal_at = self.journal.as_ref().map(|journal| journal.due_at(now.monotonic));
        let Some(due_at) = self.work_at().into_iter().chain(journal_at).min() else { return Turn::Idle };
        if let Some(at) = self.retry_at.filter(|at| now.monotonic < *at) {
            return Turn::WaitUntil(at);
        }
        if now.monotonic < due_at {
            return Turn::WaitUntil(due_at);
        }
        if let Some((pause, why)) = self.pace.pause(now) {
            self.paused(why);
            return Turn::WaitUntil(now.monotonic + pause);
        }
        Turn::Step
    }

    /// When there is something to do for checkpoints, if there is.
    fn work_at(&self) -> Option<Duration> {
        match self.work {
            Work::Nothing => self.pins.is_waiting().then_some(self.next_upload_at),
            _ => Some(Duration::ZERO),
        }
    }

    fn paused(&mut self, why: Pause) {
        let why = match why {
            // A moment's wait between two chunks is no state of its own.
            Pause::Second => return,
            Pause::Day => "upload-bytes-per-day is used up",
            Pause::Window => "outside of the upload window",
        };
        if self.status.connectivity != Connectivity::Paused(why) {
            tracing::info!(remote = self.archive.store.address(), reason = why, "shipping pauses");
            self.status.connectivity = Connectivity::Paused(why);
        }
    }

    /// Makes one step. What fails is logged once and tried again later.
    pub(crate) fn step(&mut self, now: Moment) {
        let outcome = self.try_step(now);
        if let Work::Uploading(upload) = &mut self.work {
            let sent_bytes = upload.take_sent_bytes();
            self.count_sent(sent_bytes, now);
        }
        if let Some(journal) = &mut self.journal {
            let sent_bytes = journal.take_sent_bytes();
            self.count_sent(sent_bytes, now);
        }
        match outcome {
            Ok(()) => {
                self.retry_at = None;
                self.backoff.succeeded();
                if matches!(self.stage, Stage::Open(_)) && self.status.connectivity != Connectivity::Connected
                {
                    if let Some((since, _)) = self.failing.take() {
                        let outage_s = now.monotonic.saturating_sub(since).as_secs();
                        tracing::info!(
                            remote = self.archive.store.address(),
                            outage_s,
                            skipped = self.pins.skipped(),
                            "the remote answers again"
                        );
                    }
                    self.status.connectivity = Connectivity::Connected;
                }
            }
            Err(error) => self.failed(&error, now),
        }
    }

    fn failed(&mut self, error: &ArchiveError, now: Moment) {
        if let ArchiveError::Local { .. } = error {
            // The next checkpoint may fare better.
            tracing::error!(%error, "a checkpoint cannot be shipped; the next one is tried");
            self.work = Work::Nothing;
            self.pins.release();
        }
        let pause = self.backoff.failed();
        self.retry_at = Some(now.monotonic + pause);
        let Backlog { readings: unshipped, age } = self.status(now).backlog.unwrap_or_default();
        let address = self.archive.store.address();
        match &mut self.failing {
            None => {
                self.failing = Some((now.monotonic, now.monotonic));
                tracing::warn!(
                    remote = address, %error, retry_in_s = pause.as_secs(),
                    "checkpoints do not reach the remote: tried again with growing pauses, the job goes on"
                );
            }
            Some((_, said)) if now.monotonic.saturating_sub(*said) >= REMINDER_INTERVAL => {
                *said = now.monotonic;
                tracing::warn!(
                    remote = address, %error, unshipped_readings = unshipped, waiting_s = age.as_secs(),
                    skipped = self.pins.skipped(), "checkpoints still do not reach the remote"
                );
            }
            Some(_) => tracing::debug!(%error, failures = self.backoff.failures(), "the remote still fails"),
        }
        self.status.connectivity = Connectivity::Failing(error.to_string());
    }

    fn count_sent(&mut self, bytes: u64, now: Moment) {
        if bytes > 0 {
            self.pace.sent(bytes, now);
            self.status.sent_bytes += bytes;
            self.uncounted_bytes += bytes;
        }
        let Some(limit) = self.policy.limits.bytes_per_day else { return };
        if self.uncounted_bytes >= (limit / UNCOUNTED_SHARE).max(UNCOUNTED_BYTES_MIN)
            && let Err(error) = self.write_mark()
        {
            tracing::warn!(%error, "the bytes sent today are not remembered");
        }
    }

    fn write_mark(&mut self) -> Result<(), ArchiveError> {
        (self.mark.day, self.mark.sent_bytes) = (self.pace.day, self.pace.sent_today);
        self.mark_file.write(&self.mark)?;
        self.uncounted_bytes = 0;
        Ok(())
    }

    fn try_step(&mut self, now: Moment) -> Result<(), ArchiveError> {
        let incarnation = match self.stage {
            Stage::Fenced => return Ok(()),
            Stage::Closed { opening } => return self.open(opening),
            Stage::Open(incarnation) => incarnation,
        };
        if self.chain.is_none() {
            self.chain = Some(self.find_chain()?);
            return Ok(());
        }
        if self.index.is_none() {
            self.index = Some(ChunkIndex::load(&self.archive)?);
            return Ok(());
        }
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now.monotonic);
        let is_work_due = is_due(self.work_at());
        let is_journal_due = is_due(self.journal.as_ref().map(|journal| journal.due_at(now.monotonic)));
        self.was_for_journal = is_journal_due && !(is_work_due && self.was_for_journal);
        if self.was_for_journal {
            return self.ship_piece(incarnation, now);
        }
        if !is_work_due {
            return Ok(());
        }
        match &mut self.work {
            Work::Nothing => self.begin(),
            Work::Uploading(_) => self.upload(incarnation, now)?,
            Work::Publishing(_) => self.publish(incarnation, now)?,
            Work::Tidying => self.tidy(incarnation, now)?,
            Work::Collecting(_) => self.collect(incarnation)?,
        }
        Ok(())
    }

    /// Ships a piece of the journal, or finds that there is none.
    fn ship_piece(&mut self, incarnation: Incarnation, now: Moment) -> Result<(), ArchiveError> {
        let wants_fence = self.journal.as_ref().is_some_and(|journal| journal.wants_fence(now.monotonic));
        if wants_fence && !self.check_fence(incarnation)? {
            return Ok(());
        }
        let history = (self.own, self.pins.lineage());
        let Some(journal) = &mut self.journal else { return Ok(()) };
        if wants_fence {
            journal.fence_checked(now.monotonic);
        }
        journal.step(&self.archive, incarnation, history, now)?;
        self.has_pieces |= journal.shipped() > 0;
        Ok(())
    }
}
