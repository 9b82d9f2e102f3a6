//! The journal actor: writes groups of batches, syncs them, deletes what is no longer needed, reads for replays.
//!
//! It has a thread of its own, since every commit waits for the disk. The sequencer hands it one group at a time: while a
//! commit is under way the next group gathers, so the slower the disk, the larger the groups.
//!
//! A failed write or sync gives its segment up for good (see `journal::writer`). What was not durable is written to a new
//! segment; on a full disk that is tried again and again, and the job waits; any other failure there ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::batch::Offset;
use super::messages::{CommitBatches, DeleteJournal, JobFailed, JournalProgress, ReadJournal, SkipFrame};
use super::sequencer::{Sequencer, notify};
use super::sequencing::Replayed;
use super::settings::JournalSync;
use super::supervisor::JobSupervisor;
use crate::disk::Disk;
use crate::journal::{JournalError, JournalReader, JournalWriter, SkipRecord};
use crate::sink::dead_letter;
use crate::source::frame::Frames;

/// Pause before a full disk is tried again.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(200);
/// Batches read from the journal at a time.
const REPLAY_BATCHES_MAX: usize = 64;
/// Share of the limit at which checkpoints are hurried, so that the journal can be cut: seven eighths.
const PRESSURE_EIGHTHS: u64 = 7;

/// What the journal actor starts with.
pub(crate) struct JournalStart {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    pub(crate) writer: JournalWriter,
    pub(crate) sync: JournalSync,
    pub(crate) bytes_max: u64,
    /// Where poison frames are kept.
    pub(crate) dead_letter: PathBuf,
    pub(crate) skips: BTreeMap<Offset, BTreeSet<u64>>,
    pub(crate) sequencer: Addr<Sequencer>,
    pub(crate) supervisor: Addr<JobSupervisor>,
}

/// Keeps the journal.
pub(crate) struct JournalActor {
    start: JournalStart,
    reader: Option<JournalReader>,
    disk_is_full: bool,
}

impl JournalActor {
    pub(crate) fn new(start: JournalStart) -> Self {
        Self { start, reader: None, disk_is_full: false }
    }

    fn sync_now(&mut self) -> Result<(), JournalError> {
        match self.start.sync {
            JournalSync::Always => self.start.writer.sync(),
            JournalSync::Every(_) | JournalSync::Off => Ok(()),
        }
    }

    fn report(&self) {
        let writer = &self.start.writer;
        let durable = match self.start.sync {
            JournalSync::Off => writer.written(),
            JournalSync::Always | JournalSync::Every(_) => writer.durable(),
        };
        let is_under_pressure =
            self.disk_is_full || writer.bytes() > self.start.bytes_max / 8 * PRESSURE_EIGHTHS;
        let progress = JournalProgress { written: writer.written(), durable, is_under_pressure };
        notify(&self.start.sequencer, progress);
    }

    /// After `outcome`, reports, or begins to mend.
    fn settle(&mut self, outcome: Result<(), JournalError>, context: &mut Context<Self>) {
        match outcome {
            Ok(()) => self.report(),
            Err(error) => {
                tracing::error!(%error, "journal write failed: its segment is given up, a new one is tried");
                self.mend(context);
            }
        }
    }

    /// Writes what is not durable to a new segment.
    fn mend(&mut self, context: &mut Context<Self>) {
        match self.start.writer.recover_from_failure() {
            Ok(()) => {
                tracing::warn!("the journal goes on in a new segment; nothing acknowledged was lost");
                self.disk_is_full = false;
                self.report();
            }
            Err(error) if is_full(&error) => {
                if !self.disk_is_full {
                    tracing::error!(%error, "the disk is full: nothing is taken in until there is space");
                    self.disk_is_full = true;
                    // Without preallocation the last free blocks will do.
                    self.start.writer.set_segment_bytes(0);
                }
                context.run_later(FULL_DISK_PAUSE, Self::mend);
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&self, error: JournalError) {
        notify(&self.start.supervisor, JobFailed { error: error.into() });
    }

    /// Keeps a poison frame in the dead-letter file, then journals that it is not to be processed. In this order a crash
    /// between the two keeps it twice rather than not at all.
    fn skip(&mut self, message: SkipFrame) -> Result<(), JournalError> {
        let SkipFrame { offset, frame, cause } = message;
        let skipped = self.start.skips.entry(offset).or_default();
        let frame = number_with_skipped(frame, skipped);
        let (disk, directory) = (Arc::clone(&self.start.disk), &self.start.directory);
        let mut reader = JournalReader::open(Arc::clone(&disk), directory, offset, offset, BTreeMap::new())?;
        if let Some((batch, _)) = reader.next_batch()? {
            let path = &self.start.dead_letter;
            dead_letter::append(&*disk, path, &batch, frame, &cause)
                .map_err(|source| JournalError::Write { path: path.clone(), source })?;
        }
        self.start.writer.skip(SkipRecord { offset, frame, cause })?;
        self.start.writer.sync()?;
        skipped.insert(frame);
        self.reader = None;
        Ok(())
    }

    fn read(&mut self, message: &ReadJournal) -> Result<Vec<Replayed>, JournalError> {
        let ReadJournal { from, through } = *message;
        let mut reader = match self.reader.take().filter(|reader| reader.is_at(from, through)) {
            Some(reader) => reader,
            None => JournalReader::open(
                Arc::clone(&self.start.disk),
                &self.start.directory,
                from,
                through,
                self.start.skips.clone(),
            )?,
        };
        let mut batches = Vec::new();
        while batches.len() < REPLAY_BATCHES_MAX
            && let Some((batch, skipped)) = reader.next_batch()?
        {
            batches.push(Replayed {
                offset: batch.offset,
                stamp: batch.stamp,
                skipped: skipped.len() as u64,
                frames: Arc::new(Frames::from_journal(batch, &skipped)),
            });
        }
        self.reader = Some(reader);
        Ok(batches)
    }
}

/// The number a frame has in the journal, given its number among those that are not skipped.
fn number_with_skipped(frame: u64, skipped: &BTreeSet<u64>) -> u64 {
    // Ascending: each skipped frame before it moves it by one.
    skipped.iter().fold(frame, |number, skipped| if *skipped <= number { number + 1 } else { number })
}

fn is_full(error: &JournalError) -> bool {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    matches!(error, JournalError::Write { source, .. } if full.contains(&source.kind()))
}

impl Actor for JournalActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // One group at a time, and a few requests.
        context.set_mailbox_capacity(0);
        if let JournalSync::Every(interval) = self.start.sync {
            context.run_interval(interval, |actor, context| {
                if actor.start.writer.written() > actor.start.writer.durable() && !actor.disk_is_full {
                    let outcome = actor.start.writer.sync();
                    actor.settle(outcome, context);
                }
            });
        }
    }
}

impl Handler<CommitBatches> for JournalActor {
    type Result = ();

    fn handle(&mut self, message: CommitBatches, context: &mut Self::Context) {
        let outcome = self.start.writer.append(message.entries).and_then(|()| self.sync_now());
        self.settle(outcome, context);
    }
}

impl Handler<SkipFrame> for JournalActor {
    type Result = Result<(), JournalError>;

    fn handle(&mut self, message: SkipFrame, _: &mut Self::Context) -> Self::Result {
        self.skip(message)
    }
}

impl Handler<DeleteJournal> for JournalActor {
    type Result = ();

    fn handle(&mut self, message: DeleteJournal, _: &mut Self::Context) {
        match self.start.writer.delete_through(message.through) {
            Ok(_) => self.start.skips.retain(|offset, _| *offset > message.through),
            Err(error) => tracing::warn!(%error, "cannot delete an old journal segment; it is tried again"),
        }
        self.report();
    }
}

impl Handler<ReadJournal> for JournalActor {
    type Result = Result<Vec<Replayed>, JournalError>;

    fn handle(&mut self, message: ReadJournal, _: &mut Self::Context) -> Self::Result {
        self.read(&message)
    }
}
