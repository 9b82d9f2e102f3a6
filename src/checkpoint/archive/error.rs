//! Errors of archives.

use std::io;
use std::path::PathBuf;

use crate::checkpoint::CheckpointId;
use crate::remote::{RemoteError, RemoteName};

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The key file cannot be used: refuse to start.
    #[error("cannot use the key file {path}: {reason}", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The remote did not do what it was asked for; trying again may help.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// An object is not what it should be; another one may do.
    #[error("{name} on the remote cannot be used: {reason}")]
    Unusable {
        /// The object.
        name: RemoteName,
        /// What is wrong.
        reason: Unusable,
    },
    /// There are checkpoints on the remote, and none of them is whole.
    #[error("none of the {tried} checkpoints at {address} can be used; the last: {last}")]
    NothingWhole {
        /// The remote.
        address: String,
        /// Number of manifests tried.
        tried: usize,
        /// Why the last one could not be used.
        last: Box<ArchiveError>,
    },
    /// The checkpoint asked for is not there.
    #[error("checkpoint {checkpoint} is not at {address}")]
    Absent {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The remote.
        address: String,
    },
    /// The remote has only what is older than what this device knows of.
    #[error(
        "the newest checkpoint at {address} is generation {} of incarnation {}, but this device knows of generation {} of \
         incarnation {}: somebody may have set the remote back; give --accept-rollback to use it", found.1, found.0, seen.1, seen.0
    )]
    RolledBack {
        /// The remote.
        address: String,
        /// Incarnation and generation on the remote.
        found: (u32, u64),
        /// Those this device has seen, or was told to expect.
        seen: (u32, u64),
    },
    /// The remote did not take a checkpoint, or did not let go of one.
    #[error("gave up on {address}: {reason}")]
    GaveUp {
        /// The remote.
        address: String,
        /// What it said last.
        reason: String,
    },
    /// Another device has taken over.
    #[error(
        "another device ships to {address} as {device:?}: nothing was changed; if it is the wrong one, stop it and give \
         --take-over"
    )]
    Fenced {
        /// The remote.
        address: String,
        /// The name of both.
        device: String,
    },
    /// A local file cannot be read or written.
    #[error("cannot {operation} {path}: {source}", path = path.display())]
    Local {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Why an object cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It is not one of ours.
    #[error("it is not a tidegate archive object")]
    Foreign,
    /// Another release wrote it.
    #[error("its format version {0} is unknown to this release")]
    Version(u16),
    /// It is shorter than it says it is.
    #[error("it is cut short, as by a write that did not end")]
    Torn,
    /// It is damaged, or sealed with another key.
    #[error("it is damaged or sealed with another key")]
    Damaged,
    /// It is not sealed with a key.
    #[error("it is not sealed with a key, and unsigned objects are refused")]
    Unsigned,
    /// It is sealed with a key, and none is given.
    #[error("it is sealed with a key, and no key file is given")]
    NoKey,
    /// It is encrypted, and no key is given to decrypt it.
    #[error("it is encrypted, and no encryption key is given")]
    NoCipher,
    /// It is encrypted with another key.
    #[error("it is encrypted with another key")]
    WrongCipher,
    /// It says something that cannot be.
    #[error("it contradicts itself: {0}")]
    Contradiction(&'static str),
    /// It is another device's or job's.
    #[error("it belongs to the device {device:?} and the job {job:?}")]
    Elsewhere {
        /// The device.
        device: String,
        /// The job.
        job: String,
    },
}

impl ArchiveError {
    /// True when trying again later may help.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Remote(RemoteError::Configuration(_) | RemoteError::NotFound { .. }) => false,
            Self::Remote(_) => true,
            _ => false,
        }
    }

    pub(super) fn unusable(name: &RemoteName, reason: Unusable) -> Self {
        Self::Unusable { name: name.clone(), reason }
    }
}
