//! Shipping of the journal: what is durable and in no checkpoint on the remote yet, in pieces (see `piece`). Plain; time
//! is given to it.
//!
//! A piece is made when something is durable behind the last one, one each interval, and at once while more waits. Its
//! bytes stay the same however often it is tried. It is on the remote when it was read back.
//!
//! A run of pieces goes on behind the newest piece on the remote that the journal here holds too. Where there is none, or
//! the journal was cut before it was shipped, a new run begins with the segment that holds the batch behind the newest
//! checkpoint on the remote: nothing before that is of use to a restore.
//!
//! Lists the journal here once a piece and reads what is shipped, no more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::pace::Moment;
use super::paths::{Incarnation, PieceName};
use super::piece::ShippedPiece;
use super::{Archive, ArchiveError, Unusable};
use crate::checkpoint::CheckpointId;
use crate::journal::{ExcerptReader, JournalError};
use crate::remote::RemoteError;
use crate::runtime::Offset;

/// Newest pieces on the remote that are compared with the journal here.
const COMPARED_MAX: usize = 16;
/// Pause between two looks for a newer incarnation.
const FENCE_INTERVAL: Duration = Duration::from_secs(30);

/// A manifest on the remote that belongs to the history of the journal here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnManifest {
    pub(super) seal: [u8; 32],
    pub(super) offset: Offset,
    pub(super) readings: u64,
}

/// The last piece of the run.
#[derive(Debug, Clone, Copy)]
struct Tip {
    seal: [u8; 32],
    through: Offset,
    readings: u64,
    behind: [u8; 32],
}

/// A piece about to be shipped.
struct Pending {
    name: PieceName,
    object: Vec<u8>,
    tip: Tip,
}

/// Ships the journal.
pub(crate) struct JournalShipping {
    reader: ExcerptReader,
    /// How far the journal is durable.
    durable: watch::Receiver<Offset>,
    interval: Duration,
    /// Whether the remote was asked for a run to go on with.
    has_looked: bool,
    tip: Option<Tip>,
    pending: Option<Pending>,
    next_at: Duration,
    fence_checked_at: Option<Duration>,
    /// Bytes sent since the last [`JournalShipping::take_sent_bytes`].
    sent_bytes: u64,
    /// Pieces shipped by this process.
    shipped: u64,
    /// A local failure was said.
    has_warned: bool,
    is_hurried: bool,
}

impl std::fmt::Debug for JournalShipping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalShipping").field("tip", &self.tip).finish_non_exhaustive()
    }
}

impl JournalShipping {
    pub(crate) fn new(reader: ExcerptReader, durable: watch::Receiver<Offset>, interval: Duration) -> Self {
        Self {
            reader,
            durable,
            interval,
            has_looked: false,
            tip: None,
            pending: None,
            next_at: Duration::ZERO,
            fence_checked_at: None,
            sent_bytes: 0,
            shipped: 0,
            has_warned: false,
            is_hurried: false,
        }
    }

    /// The seal of the last piece.
    pub(super) fn tip_seal(&self) -> Option<[u8; 32]> {
        self.tip.map(|tip| tip.seal)
    }

    /// The last batch shipped, and readings up to it.
    pub(super) fn reached(&self) -> Option<(Offset, u64)> {
        self.tip.map(|tip| (tip.through, tip.readings))
    }

    pub(super) fn shipped(&self) -> u64 {
        self.shipped
    }

    pub(super) fn take_sent_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.sent_bytes)
    }

    /// Lets what waits begin at once: the job ends. Once, for what cannot be shipped now cannot be then.
    pub(super) fn hurry(&mut self) {
        if !std::mem::replace(&mut self.is_hurried, true) {
            self.next_at = Duration::ZERO;
        }
    }

    /// When there is something to do.
    pub(super) fn due_at(&self, now: Duration) -> Duration {
        let has_news =
            self.pending.is_some() || self.tip.is_none_or(|tip| tip.through < *self.durable.borrow());
        if has_news { self.next_at } else { self.next_at.max(now + self.interval) }
    }

    /// True when a newer incarnation is to be looked for first.
    pub(super) fn wants_fence(&self, now: Duration) -> bool {
        self.fence_checked_at.is_none_or(|at| now.saturating_sub(at) >= FENCE_INTERVAL)
    }

    /// There was no newer one.
    pub(super) fn fence_checked(&mut self, now: Duration) {
        self.fence_checked_at = Some(now);
    }

    /// Makes one step: looks for the run, or ships a piece.
    ///
    /// # Errors
    /// The remote's; the same piece is tried again by the next call.
    pub(super) fn step(
        &mut self,
        archive: &Archive,
        incarnation: Incarnation,
        (own, lineage): (Option<OwnManifest>, Option<CheckpointId>),
        now: Moment,
    ) -> Result<(), ArchiveError> {
        let Some(lineage) = lineage else {
            self.next_at = now.monotonic + self.interval;
            return Ok(());
        };
        if !self.has_looked {
            self.tip = self.find_tip(archive, lineage)?;
            self.has_looked = true;
            return Ok(());
        }
        if self.pending.is_none() {
            match self.make(archive, incarnation, (own, lineage), now) {
                Ok(pending) => {
                    self.has_warned = false;
                    self.pending = pending;
                }
                Err(error) => self.failed_here(&error),
            }
        }
        let Some(pending) = &self.pending else {
            self.next_at = now.monotonic + self.interval;
            return Ok(());
        };
        self.sent_bytes += pending.object.len() as u64;
        archive.put_verified(&archive.paths.piece(&pending.name), &pending.object)?;
        self.tip = Some(pending.tip);
        self.shipped += 1;
        let has_more = pending.tip.through < *self.durable.borrow();
        self.next_at = if has_more { now.monotonic } else { now.monotonic + self.interval };
        tracing::debug!(through = %pending.tip.through, bytes = pending.object.len(), "a piece of the journal shipped");
        self.pending = None;
        Ok(())
    }

    fn failed_here(&mut self, error: &JournalError) {
        // The segment may just have been removed: the next checkpoint on the remote lets a new run begin.
        let is_gone = matches!(error, JournalError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
        if !is_gone && !std::mem::replace(&mut self.has_warned, true) {
            tracing::warn!(%error, "the journal is not shipped for now; checkpoints are");
        }
    }

    /// The newest piece on the remote that the journal here holds.
    fn find_tip(&mut self, archive: &Archive, lineage: CheckpointId) -> Result<Option<Tip>, ArchiveError> {
        let mut names: Vec<PieceName> = match archive.pieces() {
            Err(error @ RemoteError::TooMany { .. }) => {
                tracing::warn!(%error, "the journal on the remote is not gone on with");
                return Ok(None);
            }
            pieces => pieces?.into_iter().map(|(name, _)| name).collect(),
        };
        names.sort_unstable_by(|left, right| right.cmp(left));
        for name in names.iter().take(COMPARED_MAX) {
            let piece = match archive.piece(name) {
                Ok(piece) => piece,
                Err(ArchiveError::Unusable { reason: Unusable::Torn, .. }) => continue,
                Err(error @ ArchiveError::Unusable { .. }) => {
                    tracing::warn!(%error, "a piece of the journal is passed over");
                    continue;
                }
                Err(ArchiveError::Remote(RemoteError::NotFound { .. })) => continue,
                Err(error) => return Err(error),
            };
            let (shipped, end) = (&piece.shipped, piece.end());
            let hash = blake3::Hash::from_bytes(shipped.hash);
            if shipped.lineage == lineage
                && self.reader.go_behind(shipped.segment, end, &hash).unwrap_or(false)
            {
                let ShippedPiece { through, readings, behind, .. } = piece.shipped;
                tracing::info!(%through, "the journal on the remote is gone on with");
                return Ok(Some(Tip { seal: piece.seal, through, readings, behind }));
            }
        }
        Ok(None)
    }

    /// The next piece, if there is one.
    fn make(
        &mut self,
        archive: &Archive,
        incarnation: Incarnation,
        (own, lineage): (Option<OwnManifest>, CheckpointId),
        now: Moment,
    ) -> Result<Option<Pending>, JournalError> {
        let durable = *self.durable.borrow();
        if let Some(own) = own.filter(|own| own.offset < durable) {
            let is_behind = self.tip.is_none_or(|tip| tip.through < own.offset);
            let is_lost = self.tip.is_none() || self.reader.segment().is_none();
            if is_lost || is_behind {
                let begin = self.reader.segment_of(own.offset.next())?;
                // In the segment that is being shipped the run goes on: its beginning is needed.
                if is_lost || begin != self.reader.segment() {
                    let Some(begin) = begin else { return Ok(None) };
                    self.tip = None;
                    self.reader.begin(begin);
                }
            }
        }
        let (counted, readings) = match (self.tip, own) {
            (Some(tip), Some(own)) if own.offset > tip.through => (own.offset, own.readings),
            (Some(tip), _) => (tip.through, tip.readings),
            (None, Some(own)) => (own.offset, own.readings),
            (None, None) => return Ok(None),
        };
        let Some(excerpt) = self.reader.next(durable, counted)? else { return Ok(None) };
        let behind = own.filter(|own| own.offset <= excerpt.through).map(|own| own.seal);
        let behind = behind.or(self.tip.map(|tip| tip.behind)).or(own.map(|own| own.seal));
        let Some(behind) = behind else { return Ok(None) };
        let (packed, bytes) = ShippedPiece::pack(&excerpt);
        let clients: BTreeMap<Arc<str>, u64> = excerpt.clients;
        let piece = ShippedPiece {
            device: archive.device.clone(),
            job: archive.job.clone(),
            incarnation,
            lineage,
            previous: self.tip_seal(),
            behind,
            shipped_ms: now.wall_ms,
            segment: excerpt.segment,
            position: excerpt.position,
            bytes,
            hash: *excerpt.hash.as_bytes(),
            through: excerpt.through,
            readings: readings + excerpt.readings,
            clients: clients.into_iter().map(|(client, lines)| (client.to_string(), lines)).collect(),
            packed,
        };
        let (name, object, seal) = piece.encode(&archive.trust);
        let tip = Tip { seal, through: piece.through, readings: piece.readings, behind };
        Ok(Some(Pending { name, object, tip }))
    }
}
