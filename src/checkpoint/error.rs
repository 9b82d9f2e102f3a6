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
