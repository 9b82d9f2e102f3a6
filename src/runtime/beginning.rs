//! What a job begins with when that is not simply its newest checkpoint: whether saved state fits the job, looked at
//! before anything is touched, and the history that begins with a savepoint.
//!
//! | found at a start from a savepoint | what happens |
//! |---|---|
//! | checkpoints and a journal in the data directory | they are not gone back to, as after an empty start; offsets go on behind them |
//! | a file sink's file, at least as long as at the savepoint | cut to that length: what was written after it is given up |
//! | a file sink's file that is not there, or empty | begun anew |
//! | a file sink's file that is shorter | refused: it is another file |
//! | lines counted of clients that ask for acknowledgements | those of the savepoint, so that a sender goes on from there |
//!
//! The savepoint becomes the history's first checkpoint, so it is not needed any more once the job runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::Offset;
use super::error::JobError;
use super::opening::check_state_is_wanted;
use super::settings::{Settings, Start};
use super::subtask::guard;
use crate::checkpoint::{
    Capture, CheckpointStore, Contents, Manifest, SavepointError, SinkPosition, read_savepoint,
};
use crate::disk::Disk;
use crate::operator::{OperatorError, SubtaskContext};
use crate::sink::SinkSpec;
use crate::state::{SavedSnapshot, StateError, StateSetup, StateSnapshot};
use crate::stream::Topology;

/// A savepoint to begin with: read, verified, and found to fit.
pub(super) struct SavepointStart {
    path: PathBuf,
    contents: Contents,
    /// Each sink's name and the length of what it writes to, once it is opened.
    sinks: Vec<(String, u64)>,
}

impl SavepointStart {
    /// Reads the savepoint that `settings` name, if they do. Changes nothing.
    ///
    /// # Errors
    /// [`JobError::Savepoint`], [`JobError::Configuration`], [`JobError::Sink`].
    pub(super) fn read(
        topology: &Topology,
        settings: &Settings,
        disk: &Arc<dyn Disk>,
    ) -> Result<Option<Self>, JobError> {
        let Start::Savepoint(path) = &settings.start else { return Ok(None) };
        let contents = read_savepoint(&**disk, path, &topology.job)?;
        check_state_is_wanted(topology, Some(&contents))?;
        state_fits(topology, settings, disk, &contents)
            .map_err(|source| SavepointError::DoesNotFit { path: path.clone(), source })?;
        let sinks = topology
            .sinks
            .iter()
            .map(|sink| sink_length(&**disk, &sink.spec, &contents.manifest))
            .collect::<Result<_, _>>()?;
        Ok(Some(Self { path: path.clone(), contents, sinks }))
    }

    /// The batch after which it was taken.
    pub(super) fn offset(&self) -> Offset {
        self.contents.manifest.offset
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.contents.manifest
    }

    /// Begins a history with it, behind batch `last`; returns its first checkpoint.
    ///
    /// # Errors
    /// The store's: a job must not run that could not go back to where it began.
    pub(super) fn begin_history(
        self,
        store: &mut dyn CheckpointStore,
        parallelism: usize,
        last: Offset,
    ) -> Result<Option<Contents>, JobError> {
        let Self { path, contents: Contents { mut manifest, parts }, sinks } = self;
        let snapshot = |(entry, part): (crate::checkpoint::PartEntry, crate::state::SavedPart)| {
            let snapshot = SavedSnapshot::new(part.bytes, entry.groups, part.has_lists);
            snapshot.map(|snapshot| Box::new(snapshot) as Box<dyn StateSnapshot>)
        };
        let entries = std::mem::take(&mut manifest.parts);
        let snapshots = entries.into_iter().zip(parts).map(snapshot).collect::<Result<_, _>>();
        let snapshots =
            snapshots.map_err(|source| SavepointError::DoesNotFit { path, source: Box::new(source) })?;
        manifest.id = store.next_id();
        manifest.lineage = manifest.id;
        manifest.offset = last;
        manifest.parallelism = u32::try_from(parallelism).expect("a job has few subtasks");
        let position = |(sink, bytes)| SinkPosition { sink, delivered: last, bytes };
        manifest.sinks = sinks.into_iter().map(position).collect();
        store.write(Capture { manifest, snapshots })?;
        Ok(store.newest()?)
    }
}

/// Compares what `contents` hold of each operator with what it declares: names, types, versions. Loads nothing.
pub(super) fn state_fits(
    topology: &Topology,
    settings: &Settings,
    disk: &Arc<dyn Disk>,
    contents: &Contents,
) -> Result<(), Box<StateError>> {
    let context = SubtaskContext {
        index: 0,
        parallelism: settings.parallelism,
        max_parallelism: settings.max_parallelism,
        metrics: Arc::default(),
        state: Arc::new(StateSetup::new(Arc::clone(disk), None, PathBuf::new())),
    };
    for stage in topology.stages.iter().filter(|stage| !stage.reads_source) {
        let parts = contents.manifest.parts.iter().zip(&contents.parts);
        let parts: Vec<_> =
            parts.filter(|(entry, _)| entry.operator == stage.name).map(|(_, part)| part.clone()).collect();
        if parts.is_empty() {
            continue;
        }
        let checked = guard(|| Ok(stage.factory.build(&context)?.head().check(&parts)?));
        // An operator that cannot be opened is reported where it is opened for good.
        if let Err(OperatorError::State(error)) = checked {
            return Err(Box::new(error));
        }
    }
    Ok(())
}

/// How long what a sink writes to will be when the job begins.
fn sink_length(disk: &dyn Disk, sink: &SinkSpec, manifest: &Manifest) -> Result<(String, u64), JobError> {
    let name = sink.name();
    let SinkSpec::File(path) = sink else { return Ok((name, 0)) };
    let found = file_length(disk, path).map_err(|source| JobError::Sink { sink: name.clone(), source })?;
    let length = match manifest.sinks.iter().find(|position| position.sink == name) {
        Some(position) if found >= position.bytes => {
            if found > position.bytes {
                tracing::warn!(
                    path = %path.display(), bytes = found - position.bytes,
                    "the file is cut to where the savepoint found it: what was written after it is given up"
                );
            }
            position.bytes
        }
        Some(position) if found > 0 => {
            let reason = format!(
                "it has {found} bytes and had {} at the savepoint: give the right file, or move it away to begin a new one",
                position.bytes
            );
            let source = io::Error::new(io::ErrorKind::InvalidInput, reason);
            return Err(JobError::Sink { sink: name, source });
        }
        Some(_) | None => found,
    };
    Ok((name, length))
}

fn file_length(disk: &dyn Disk, path: &Path) -> io::Result<u64> {
    match disk.open(path) {
        Ok((_, length)) => Ok(length),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
