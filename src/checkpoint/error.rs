//! Errors of checkpoint stores.

use std::io;
use std::path::PathBuf;

use super::CheckpointId;

/// Why a checkpoint could not be written or a store not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The directory cannot be created, listed or locked: refuse to start.
    #[error("cannot use the checkpoint directory {path}: {source}", path = path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Another process uses the directory: refuse to start.
    #[error("another process uses the checkpoint directory {path}; stop it or give this job another directory", path = path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It was not complete when its time was over: temporary, the next interval tries again.
    #[error("checkpoint {checkpoint} did not complete in time")]
    TimedOut {
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// Code of the job panicked while its state was written: its `Serialize`, most likely.
    #[error("a state could not be written, its code panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// State could not be encoded or a store not be fixed: temporary, the next interval tries again.
    #[error(transparent)]
    State(#[from] crate::state::StateError),
    /// The coordinator is gone: a defect of the runtime.
    #[error("the checkpoint coordinator is gone")]
    Orphaned,
    /// Writing failed: temporary, the next interval tries again.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Why a savepoint could not be taken or not be started from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SavepointError {
    /// Something is at its path already.
    #[error("{path} is there already; give a path that is not", path = path.display())]
    Exists {
        /// The path given.
        path: PathBuf,
    },
    /// The path given has no name that a directory can have.
    #[error("{path} does not name a directory", path = path.display())]
    NotAName {
        /// The path given.
        path: PathBuf,
    },
    /// The job has no directory for savepoints, and no path was given.
    #[error("the job keeps no files, so a path for the savepoint must be given")]
    NoPlace,
    /// It could not be written; nothing is left behind.
    #[error("cannot write the savepoint {path}: {source}", path = path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Its barrier or its state failed.
    #[error("no savepoint: {0}")]
    Capture(CheckpointError),
    /// The job ended, or was ending, before it was complete.
    #[error("no savepoint: the job has ended")]
    JobEnded,
    /// There is no savepoint at the path.
    #[error("no savepoint in {path}: {source}", path = path.display())]
    Missing {
        /// The path given.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It cannot be used. Nothing was touched.
    #[error("the savepoint {path} cannot be used: {reason}", path = path.display())]
    Damaged {
        /// The path given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Its state is not what the job declares. Nothing was touched.
    #[error("cannot start from the savepoint {path}: {source}", path = path.display())]
    DoesNotFit {
        /// The path given.
        path: PathBuf,
        /// What does not fit.
        source: Box<crate::state::StateError>,
    },
    /// It belongs to another job. Nothing was touched.
    #[error("the savepoint {path} belongs to the job {saved:?}, not to {job:?}", path = path.display())]
    OtherJob {
        /// The path given.
        path: PathBuf,
        /// The job that took it.
        saved: String,
        /// The job that was to start from it.
        job: String,
    },
}
