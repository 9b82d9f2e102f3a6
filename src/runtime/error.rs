//! Why a job ended badly.

use std::error::Error;
use std::io;

use super::batch::Offset;
use crate::checkpoint::{ArchiveError, CheckpointError, CheckpointId, SavepointError};
use crate::disk::is_full;
use crate::journal::JournalError;
use crate::operator::OperatorError;
use crate::remote::RemoteError;
use crate::state::StateError;

/// Why a job did not start or did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// A setting is outside its limits, or the topology is incomplete. Nothing was started.
    #[error("{0}")]
    Configuration(String),
    /// A source cannot be opened, for instance because its port is in use.
    #[error("cannot open the source {origin}: {source}")]
    Source {
        /// Address of the source.
        origin: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A connecting source never reached its server within the time it was given.
    #[error("cannot connect to {origin} within {seconds} s: {source}")]
    Unreachable {
        /// Address of the server.
        origin: String,
        /// How long it was tried.
        seconds: u64,
        /// The last attempt's reason.
        source: io::Error,
    },
    /// A sink cannot be opened or written to.
    #[error("cannot write to the sink {sink}: {source}")]
    Sink {
        /// Name of the sink.
        sink: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The checkpoint directory cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// There may be state on the remote, and it cannot be had: without `--fresh` nothing is started.
    #[error("{}", remote_message(.0))]
    Remote(#[source] ArchiveError),
    /// The savepoint to start from cannot be used. Nothing was touched.
    #[error(transparent)]
    Savepoint(#[from] SavepointError),
    /// The control socket cannot be made.
    #[error("cannot make the control socket in {directory}: {source}", directory = directory.display())]
    Control {
        /// The job's folder.
        directory: std::path::PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The newest checkpoint does not fit the job. Nothing was touched.
    #[error("cannot restore checkpoint {checkpoint}: {source}")]
    Restore {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// What does not fit.
        source: Box<StateError>,
    },
    /// An operator could not be opened.
    #[error("cannot open the operators: {0}")]
    Open(Box<StateError>),
    /// An operator's state failed in a way that another try would not mend: it is at its limit and the policy is to stop,
    /// or its store cannot be used.
    #[error("{place}: {source}")]
    State {
        /// Stage, subtask and batch.
        place: String,
        /// What failed.
        source: Box<StateError>,
    },
    /// An operator failed and the restart strategy gave up.
    #[error("gave up after {failures} failures; the last: {place} {cause}")]
    RestartsExhausted {
        /// Failures seen in this run.
        failures: u64,
        /// Stage and subtask.
        place: String,
        /// The last failure.
        cause: Box<OperatorError>,
    },
    /// Operators do not return, on more threads than a job bears: such a thread cannot be ended.
    #[error(
        "gave up: operators do not return on {threads} threads; the last: {place}; restart the process, and mend the operator"
    )]
    ThreadsStuck {
        /// Threads that are stuck.
        threads: usize,
        /// Stage, subtask and batch.
        place: String,
    },
    /// An operator failed while a journaled batch was replayed. The results of the batches before it were given out.
    #[error("the replay ends before batch {offset}: {place} {cause}")]
    OperatorFailed {
        /// The batch.
        offset: Offset,
        /// Stage and subtask.
        place: String,
        /// Its reason.
        cause: Box<OperatorError>,
    },
    /// A replay was asked for a batch that the directory no longer, or not yet, holds what is needed for.
    #[error("batch {offset} cannot be replayed: what is kept allows for batches {first} to {last}")]
    NotHeld {
        /// The batch asked for.
        offset: Offset,
        /// The first batch that can be replayed.
        first: Offset,
        /// The last one.
        last: Offset,
    },
    /// The last checkpoint of an orderly stop failed; all outputs were delivered.
    #[error("stopped, but the last checkpoint failed: {0}")]
    LastCheckpoint(CheckpointError),
    /// An actor ended without being asked to: a defect of the runtime.
    #[error("the {0} ended unexpectedly; please report this")]
    ActorLost(&'static str),
    /// The runtime's threads could not be started.
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
}

/// What to do about a remote that cannot be used, or a restore that failed, depends on why.
fn remote_message(error: &ArchiveError) -> String {
    match error {
        // These say what to do themselves.
        ArchiveError::Key { .. }
        | ArchiveError::RolledBack { .. }
        | ArchiveError::Remote(RemoteError::Configuration(_)) => error.to_string(),
        ArchiveError::Local { source, .. } if is_full(source) => format!(
            "cannot restore from the remote: {error}; what was fetched is kept: make space, and the next start goes on there"
        ),
        ArchiveError::Local { .. } => format!("cannot restore from the remote: {error}"),
        _ => format!("cannot restore from the remote: {error}; give --fresh to start empty"),
    }
}

/// True when a full disk is what is behind an error.
pub(crate) fn is_caused_by_full_disk(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    // Bounded: an error has few causes.
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(is_full) {
            return true;
        }
        cause = error.source();
    }
    false
}
