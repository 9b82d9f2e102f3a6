//! What a replay runs: legs, found by reading only. The decision table is in the module above.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Replay;
use super::report::Gap;
use crate::checkpoint::{CheckpointError, Contents, History, Manifest};
use crate::disk::Disk;
use crate::journal::{JournalError, Recovered, recover};
use crate::runtime::batch::Offset;
use crate::runtime::error::JobError;

/// Readings of a journal that is written to meanwhile, until two agree.
const READINGS_MAX: usize = 10;

/// One stretch of a replay: a state, and the batches to run over it.
#[derive(Debug)]
pub(super) struct Leg {
    /// The state to begin with; `None` for empty state.
    pub(super) contents: Option<Contents>,
    /// The state is as it was after this batch.
    pub(super) base: Offset,
    pub(super) parallelism: usize,
    /// First batch to run.
    pub(super) first: Offset,
    /// Last batch to run; before `first` when there is none.
    pub(super) last: Offset,
    /// Frames not to be processed, by batch.
    pub(super) skips: BTreeMap<Offset, BTreeSet<u64>>,
    /// Last batch the journal holds without a gap.
    held: Offset,
    /// The journal holds the batch behind `base`, or one further on.
    is_continued: bool,
    /// The journal is damaged behind `held`; the batches known to be lost.
    damage: Option<Option<(Offset, Offset)>>,
    /// It ends where the number of subtasks changes.
    is_cut: bool,
}

impl Leg {
    /// Batches between the state and the first batch.
    pub(super) fn gap_before(&self) -> Option<Gap> {
        gap(self.base.next(), Offset(self.first.0 - 1))
    }

    /// Batches between this leg and one that begins behind `base`.
    pub(super) fn gap_until(&self, base: Offset) -> Option<Gap> {
        gap(self.last.next(), base)
    }
}

fn gap(from: Offset, to: Offset) -> Option<Gap> {
    (from <= to).then_some(Gap { from, to: Some(to) })
}

/// Finds the legs of one replay.
#[derive(Debug)]
pub(super) struct Planner {
    disk: Arc<dyn Disk>,
    job: String,
    replay: Replay,
    history: History,
    /// Subtasks where nothing says how many there were.
    parallelism: usize,
}

impl Planner {
    /// # Errors
    /// When the directory cannot be read, or has nothing of a job.
    fn open(disk: Arc<dyn Disk>, job: &str, replay: Replay, parallelism: usize) -> Result<Self, JobError> {
        if let (Some(from), Some(until)) = (replay.from, replay.until)
            && from > until
        {
            let message =
                format!("from {from} until {until} holds no batch; give a from that is not behind the until");
            return Err(JobError::Configuration(message));
        }
        let directory = &replay.directory;
        disk.list(directory)
            .map_err(|source| CheckpointError::Directory { path: directory.clone(), source })?;
        let has_files =
            |folder: &str| disk.list(&directory.join(folder)).is_ok_and(|names| !names.is_empty());
        if !has_files("journal") && !has_files("manifests") {
            return Err(JobError::Configuration(format!(
                "{} holds neither checkpoints nor a journal; give the folder of the job {job:?}",
                directory.display()
            )));
        }
        let history = History::read(Arc::clone(&disk), directory, job)?;
        Ok(Self { disk, job: job.to_owned(), replay, history, parallelism })
    }

    /// The planner and its first leg. While the process that uses the directory replaces checkpoints they are looked for
    /// again.
    ///
    /// # Errors
    /// Those of `open` and `begin`.
    pub(super) fn begin_settled(
        disk: &Arc<dyn Disk>,
        job: &str,
        replay: &Replay,
        parallelism: usize,
    ) -> Result<(Self, Leg), JobError> {
        let open = || Self::open(Arc::clone(disk), job, replay.clone(), parallelism);
        let mut planner = open()?;
        let mut begun = planner.begin();
        for _ in 1..READINGS_MAX {
            let is_sound = matches!(&begun, Ok(leg) if leg.contents.is_some() && leg.is_continued && leg.damage.is_none());
            let again = open()?;
            if is_sound || again.history.manifests() == planner.history.manifests() {
                break;
            }
            planner = again;
            begun = planner.begin();
        }
        begun.map(|leg| (planner, leg))
    }

    /// The first leg.
    ///
    /// # Errors
    /// [`JobError::NotHeld`] when `from` or `until` lies outside what can be had.
    fn begin(&self) -> Result<Leg, JobError> {
        let is_candidate = |manifest: &&Manifest| {
            self.replay.until.is_none_or(|until| manifest.offset <= until)
                && self.replay.from.is_none_or(|from| manifest.offset < from)
        };
        let manifests = self.history.manifests();
        let mut candidates: Vec<&Manifest> = manifests.iter().filter(is_candidate).collect();
        if self.replay.from.is_some() {
            candidates.reverse();
        }
        let mut newest_whole: Option<Leg> = None;
        for manifest in &candidates {
            let Some(contents) = self.history.contents(manifest.id) else { continue };
            let leg = self.leg(Some(contents))?;
            // One whose batches were deleted is passed over: only a later one has all of its own.
            if leg.is_continued || leg.damage.is_some() {
                return self.within_range(leg);
            }
            if newest_whole.as_ref().is_none_or(|newest| newest.base <= leg.base) {
                newest_whole = Some(leg);
            }
        }
        match newest_whole {
            Some(leg) => self.within_range(leg),
            None if candidates.len() == manifests.len() => {
                self.leg(None).and_then(|leg| self.within_range(leg))
            }
            None => {
                let asked =
                    self.replay.until.min(self.replay.from).or(self.replay.until).or(self.replay.from);
                let first = manifests.iter().find(|manifest| !is_candidate(manifest));
                let first = first.map_or(Offset(1), |manifest| manifest.offset.next());
                Err(JobError::NotHeld { offset: asked.unwrap_or_default(), first, last: self.end(None)?.0 })
            }
        }
    }

    /// The leg behind `leg`, if there is one.
    ///
    /// # Errors
    /// [`JobError::Journal`] when the journal cannot be read.
    pub(super) fn next(&self, leg: &Leg) -> Result<Option<Leg>, JobError> {
        let is_next = |manifest: &&Manifest| {
            let is_behind = manifest.offset > leg.last || (leg.is_cut && manifest.offset == leg.last);
            is_behind && self.replay.until.is_none_or(|until| manifest.offset <= until)
        };
        let mut candidates = self.history.manifests().iter().filter(is_next);
        let contents = candidates.find_map(|manifest| self.history.contents(manifest.id));
        contents.map(|contents| self.leg(Some(contents))).transpose()
    }

    /// Batches that are missing behind the last leg.
    pub(super) fn gap_behind(&self, leg: &Leg) -> Option<Gap> {
        let lost = leg.damage?;
        let from = leg.held.next();
        let to = lost.map(|(_, to)| self.replay.until.map_or(to, |until| to.min(until)));
        let is_wanted = self.replay.until.is_none_or(|until| from <= until);
        (is_wanted && to.is_none_or(|to| from <= to)).then_some(Gap { from, to })
    }

    fn leg(&self, contents: Option<Contents>) -> Result<Leg, JobError> {
        let base = contents.as_ref().map_or(Offset(0), |contents| contents.manifest.offset);
        let recovered = self.recover(base.next())?;
        let first = recovered.first.map_or(base.next(), |first| first.max(base.next()));
        let held = recovered.last.max(base);
        let last = self.replay.until.map_or(held, |until| held.min(until)).max(base);
        let parallelism = self.parallelism_behind(base);
        let mut leg = Leg {
            contents,
            base,
            parallelism,
            first,
            last,
            held,
            is_continued: recovered.first.is_some_and(|first| first <= base.next()),
            damage: recovered.corruption.map(|corruption| corruption.lost),
            skips: recovered.skips,
            is_cut: false,
        };
        let is_change = |manifest: &&Manifest| {
            (leg.first..leg.last).contains(&manifest.offset)
                && self.parallelism_behind(manifest.offset) != parallelism
                && self.history.contents(manifest.id).is_some()
        };
        if let Some(manifest) = self.history.manifests().iter().find(is_change) {
            leg.last = manifest.offset;
            leg.is_cut = true;
        }
        Ok(leg)
    }

    /// Subtasks of the batches behind `base`: as many as the next checkpoint has, else the newest.
    fn parallelism_behind(&self, base: Offset) -> usize {
        if let Some(given) = self.replay.parallelism {
            return given;
        }
        let counted = || {
            self.history.manifests().iter().map(|manifest| (manifest.offset, manifest.parallelism as usize))
        };
        let next = counted().find(|(offset, subtasks)| *offset > base && *subtasks > 0);
        let newest = || counted().rev().find(|(_, subtasks)| *subtasks > 0);
        next.or_else(newest).map_or(self.parallelism, |(_, subtasks)| subtasks)
    }

    /// Checks that the journal goes as far as is asked for. One that is damaged may end earlier: that is a gap.
    fn within_range(&self, leg: Leg) -> Result<Leg, JobError> {
        let asked = self.replay.until.max(self.replay.from);
        if let Some(offset) = asked.filter(|offset| *offset > leg.held) {
            let (last, is_damaged) = self.end(Some(&leg))?;
            if offset > last && !is_damaged {
                let first = self.history.manifests().first().map_or(leg.first, |oldest| oldest.offset.next());
                return Err(JobError::NotHeld { offset, first, last });
            }
        }
        Ok(leg)
    }

    /// The last batch there is, and whether there may have been more.
    fn end(&self, leg: Option<&Leg>) -> Result<(Offset, bool), JobError> {
        let newest = self.history.manifests().last().map_or(Offset(0), |newest| newest.offset);
        let recovered = self.recover(newest.next())?;
        let held = leg.map_or(Offset(0), |leg| leg.held);
        let is_damaged = recovered.corruption.is_some() || leg.is_some_and(|leg| leg.damage.is_some());
        Ok((recovered.last.max(newest).max(held), is_damaged))
    }

    /// Reads the journal. A process that writes to it meanwhile can make it look damaged: it is read until two readings
    /// agree.
    fn recover(&self, needed: Offset) -> Result<Recovered, JournalError> {
        let directory = self.replay.directory.join("journal");
        let mut before = None;
        let mut reading = recover(&*self.disk, &directory, &self.job, needed);
        for _ in 1..READINGS_MAX {
            match &reading {
                Ok(recovered) if recovered.corruption.is_none() || recovered.corruption == before => break,
                Ok(recovered) => before.clone_from(&recovered.corruption),
                // A segment that was listed may have been deleted since.
                Err(_) => before = None,
            }
            reading = recover(&*self.disk, &directory, &self.job, needed);
        }
        let recovered = reading?;
        if let Some(corruption) = &recovered.corruption {
            tracing::error!(
                segment = %corruption.segment.display(), byte = corruption.byte, reason = corruption.reason,
                "the journal is damaged"
            );
        }
        Ok(recovered)
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
