//! Replay: a job run again over its checkpoints and its journal, changing nothing: the flight recorder.
//!
//! A directory on this machine or copied from another one is only read: nothing is locked, created, cut or moved, so it may
//! be a read-only mount, be damaged, or belong to a running process. The chains are run by `rerun` in this thread, one
//! after the other in subtask order, so the results are a function of the directory and the job's code alone, and equal
//! those that were delivered.
//!
//! `plan` decides what is run. A replay is one *leg* (state of a checkpoint, then the journal's batches behind it), or
//! several:
//!
//! | found | next |
//! |---|---|
//! | the oldest whole checkpoint whose journal is there, or the newest one before `from` | the first leg begins there |
//! | no checkpoint at all | empty state, from the journal's first batch on |
//! | batches are missing or damaged, and a later checkpoint is whole | a gap is reported; a leg begins at that checkpoint |
//! | batches are missing or damaged, and there is none | a gap is reported; the replay ends |
//! | from a checkpoint on the job had another number of subtasks | a leg begins at that checkpoint |
//! | the process that uses the directory wrote while it was read | read again until two readings agree |
//!
//! The number of subtasks, which decides the order of results within a batch, is that of the checkpoint that ends a stretch of
//! batches. Where a killed process went on with another number the stretch had both: its order is that of the later one.

mod plan;
mod report;
mod rerun;

pub use report::{Gap, ReplayReport, StateHash};

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use self::plan::{Leg, Planner};
use self::rerun::Rerun;
use super::batch::{Attempt, BatchHeader, Offset, Pace};
use super::error::JobError;
use super::opening;
use super::settings::Settings;
use crate::disk::Disk;
use crate::journal::JournalReader;
use crate::metrics::JobMetrics;
use crate::source::frame::Frames;
use crate::stream::Topology;

/// What is to be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    pub(crate) directory: PathBuf,
    pub(crate) from: Option<Offset>,
    pub(crate) until: Option<Offset>,
    pub(crate) parallelism: Option<usize>,
}

impl Replay {
    /// Everything that `directory` holds: the job's folder in its checkpoint directory, or a copy of it.
    pub fn of(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), from: None, until: None, parallelism: None }
    }

    /// Only results from this batch on. Default: from the first that can be had.
    #[must_use]
    pub fn from(self, offset: Offset) -> Self {
        Self { from: Some(offset), ..self }
    }

    /// Nothing behind this batch. Default: up to the last.
    #[must_use]
    pub fn until(self, offset: Offset) -> Self {
        Self { until: Some(offset), ..self }
    }

    /// With this many subtasks of each stage. Default: as many as the checkpoints say, else those of the settings.
    #[must_use]
    pub fn parallelism(self, subtasks: usize) -> Self {
        Self { parallelism: Some(subtasks), ..self }
    }
}

/// Takes results: the sink's name, and what a batch gave it.
pub(crate) type TakeResults<'a> = &'a mut dyn FnMut(&str, &[u8]) -> io::Result<()>;

/// Replays `topology`'s job.
///
/// # Errors
/// See [`JobError`]; results up to there were given out.
pub(crate) fn replay(
    topology: &Topology,
    settings: &Settings,
    replay: Replay,
    take: TakeResults<'_>,
) -> Result<ReplayReport, JobError> {
    let settings =
        Settings { parallelism: replay.parallelism.unwrap_or(settings.parallelism), ..settings.clone() };
    settings.check().map_err(JobError::Configuration)?;
    topology.check().map_err(JobError::Configuration)?;
    let disk = opening::real_disk();
    let (planner, mut leg) = Planner::begin_settled(&disk, &topology.job, &replay, settings.parallelism)?;
    let metrics = Arc::new(JobMetrics::default());
    let mut run = Run { disk, replay, take, report: ReplayReport::begin(&leg) };
    loop {
        run.report.gaps.extend(leg.gap_before());
        opening::check_state_is_wanted(topology, leg.contents.as_ref())?;
        let mut rerun = Rerun::restore(topology, &settings, leg.parallelism, &metrics, leg.contents.take())?;
        run.leg(&mut leg, &mut rerun)?;
        match planner.next(&leg)? {
            Some(next) => {
                run.report.gaps.extend(leg.gap_until(next.base));
                leg = next;
            }
            None => {
                let mut report = run.report;
                report.gaps.extend(planner.gap_behind(&leg));
                report.last = leg.last;
                report.rejected = metrics.rejected();
                report.state = rerun.state_hash()?;
                return Ok(report);
            }
        }
    }
}

/// A replay under way.
struct Run<'a> {
    disk: Arc<dyn Disk>,
    replay: Replay,
    take: TakeResults<'a>,
    report: ReplayReport,
}

impl Run<'_> {
    /// Runs the batches of one leg.
    fn leg(&mut self, leg: &mut Leg, rerun: &mut Rerun<'_>) -> Result<(), JobError> {
        let Self { disk, replay, take, report } = self;
        let (journal, skips) = (replay.directory.join("journal"), std::mem::take(&mut leg.skips));
        let mut reader = JournalReader::open(Arc::clone(disk), &journal, leg.first, leg.last, skips)?;
        while let Some((batch, skipped)) = reader.next_batch()? {
            let header = BatchHeader {
                attempt: Attempt(1),
                offset: batch.offset,
                stamp: batch.stamp,
                barrier: None,
                pace: Pace::Batch,
            };
            let frames = Arc::new(Frames::from_journal(batch, &skipped));
            report.batches += 1;
            report.readings += frames.count() as u64;
            report.skipped += skipped.len() as u64;
            let is_wanted = replay.from.is_none_or(|from| header.offset >= from);
            rerun.batch(header, &frames, &mut |sink, bytes, records| {
                if !is_wanted {
                    return Ok(());
                }
                report.results += records;
                take(sink, bytes)
                    .map_err(|source| JobError::Sink { sink: format!("{sink} of the replay"), source })
            })?;
        }
        Ok(())
    }
}
