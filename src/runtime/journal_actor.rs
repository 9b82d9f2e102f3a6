//! The journal actor: writes groups of batches, syncs them, deletes what is no longer needed, reads for replays.
//!
//! It has a thread of its own, since every commit waits for the disk. The sequencer hands it one group at a time: while a
//! commit is under way the next group gathers, so the slower the disk, the larger the groups.
//!
//! A failed write or sync gives its segment up for good (see `journal::writer`). What was not durable is written to a new
//! segment; on a full disk that is tried again and again, and the job waits; any other failure there ends it. A job that
//! stops meanwhile takes the reserve for it, and after ten seconds more gives up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use actix::prelude::*;

use super::batch::Offset;
use super::error::is_caused_by_full_disk;
use super::messages::{
    AskJournal, CommitBatches, DeleteJournal, JobFailed, JournalProgress, JournalStanding, ReadJournal, Room,
    SkipFrame,
};
use super::reserve::{FULL_DISK_PAUSE, Reserve, STOP_TRIES_MAX};
use super::sequenced::Replayed;
use super::sequencer::{Sequencer, notify};
use super::settings::JournalSync;
use super::supervisor::JobSupervisor;
use crate::disk::Disk;
use crate::journal::{JournalError, JournalReader, JournalWriter, SkipRecord};
use crate::mutants::Mutant;
use crate::sink::dead_letter;
use crate::source::frame::Frames;

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
    pub(crate) segment_bytes: u64,
    /// Most the batches under way hold together.
    pub(crate) flight_bytes: u64,
    pub(crate) reserve: Reserve,
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
    /// A group could not be written for want of space; it is tried again.
    is_waiting_for_space: bool,
    /// How often that was tried while the job was stopping.
    stop_tries: u32,
}

impl JournalActor {
    pub(crate) fn new(mut start: JournalStart) -> Self {
        start.writer.set_bytes_max(start.bytes_max);
        // A batch has a record's prefix around it and may leave the end of a segment unused; with a small limit
        // batches rarely are of their full size, and half of it must do.
        start.flight_bytes = (start.flight_bytes / 8 * 9 + start.segment_bytes / 4).min(start.bytes_max / 2);
        Self { start, reader: None, is_waiting_for_space: false, stop_tries: 0 }
    }

    fn sync_now(&mut self) -> Result<(), JournalError> {
        if Mutant::AckBeforeSync.is_on() {
            return Ok(());
        }
        match self.start.sync {
            JournalSync::Always => self.start.writer.sync(),
            JournalSync::Every(_) => Ok(()),
            JournalSync::Off => {
                self.start.writer.let_go();
                Ok(())
            }
        }
    }

    fn report(&self) {
        let writer = &self.start.writer;
        let durable = match self.start.sync {
            JournalSync::Off => writer.written(),
            JournalSync::Always if Mutant::AckBeforeSync.is_on() => writer.written(),
            JournalSync::Always | JournalSync::Every(_) => writer.durable(),
        };
        let reserve = &self.start.reserve;
        let room = if reserve.is_missing() && !reserve.is_stopping() {
            Room::None
        } else if writer.bytes() > self.start.bytes_max / 8 * PRESSURE_EIGHTHS
            || writer.bytes_left() < self.start.flight_bytes
        {
            Room::Little
        } else {
            Room::Enough
        };
        notify(&self.start.sequencer, JournalProgress { written: writer.written(), durable, room });
    }

    /// Makes a missing reserve again as soon as there is space; until then nothing is taken in.
    fn regain_reserve(&mut self, context: &mut Context<Self>) {
        let reserve = &self.start.reserve;
        if !reserve.is_missing() {
            return;
        }
        if !reserve.is_stopping() && !self.is_waiting_for_space {
            match reserve.keep() {
                Ok(()) => tracing::warn!("there is space on the disk again: the job goes on"),
                Err(error) if is_caused_by_full_disk(&error) => {}
                Err(error) => tracing::warn!(%error, "cannot keep disk in reserve: going on without"),
            }
        }
        if !self.is_waiting_for_space {
            self.report();
        }
        context.run_later(FULL_DISK_PAUSE, Self::regain_reserve);
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
        match self.write_anew() {
            Ok(()) => {
                tracing::warn!("the journal goes on in a new segment; nothing acknowledged was lost");
                self.is_waiting_for_space = false;
                self.report();
            }
            Err(error) if is_caused_by_full_disk(&error) => {
                if !self.is_waiting_for_space {
                    tracing::error!(%error, "the disk is full: nothing is taken in until there is space");
                    self.is_waiting_for_space = true;
                }
                if self.start.reserve.is_stopping() {
                    self.stop_tries += 1;
                    if self.stop_tries > STOP_TRIES_MAX {
                        return self.fail(error);
                    }
                }
                context.run_later(FULL_DISK_PAUSE, Self::mend);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Tries to begin a whole segment; when there is no space for one, the last free blocks will do; then, when the job
    /// stops, those of the reserve.
    fn write_anew(&mut self) -> Result<(), JournalError> {
        let writer = &mut self.start.writer;
        let mut outcome = writer.recover_from_failure();
        if outcome.as_ref().is_err_and(|error| is_caused_by_full_disk(error)) {
            writer.set_segment_bytes(0);
            outcome = writer.recover_from_failure();
            if outcome.as_ref().is_err_and(|error| is_caused_by_full_disk(error))
                && self.start.reserve.release_to_stop()
            {
                outcome = writer.recover_from_failure();
            }
            writer.set_segment_bytes(self.start.segment_bytes);
        }
        outcome
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

impl Actor for JournalActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // One group at a time, and a few requests.
        context.set_mailbox_capacity(0);
        self.regain_reserve(context);
        if let JournalSync::Every(interval) = self.start.sync {
            context.run_interval(interval, |actor, context| {
                if actor.start.writer.written() > actor.start.writer.durable() && !actor.is_waiting_for_space
                {
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
        if !self.is_waiting_for_space {
            self.report();
        }
    }
}

impl Handler<AskJournal> for JournalActor {
    type Result = MessageResult<AskJournal>;

    fn handle(&mut self, _: AskJournal, _: &mut Self::Context) -> Self::Result {
        let waits = self.is_waiting_for_space || self.start.reserve.is_missing();
        MessageResult(if waits { JournalStanding::WaitsForSpace } else { JournalStanding::Works })
    }
}

impl Handler<ReadJournal> for JournalActor {
    type Result = Result<Vec<Replayed>, JournalError>;

    fn handle(&mut self, message: ReadJournal, _: &mut Self::Context) -> Self::Result {
        self.read(&message)
    }
}
