//! Errors of checkpoint stores.

use std::io;
use std::path::PathBuf;

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
    /// Writing failed: temporary, the next interval tries again.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}
