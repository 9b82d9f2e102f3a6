//! Errors of remotes. All but [`RemoteError::Configuration`] may pass: what is tried again is the caller's decision.

use super::RemoteName;

/// Why a call to a remote failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The address or what belongs to it is wrong: refuse to start.
    #[error("{0}")]
    Configuration(String),
    /// There is no object of that name.
    #[error("{name} is not on the remote")]
    NotFound {
        /// The object.
        name: RemoteName,
    },
    /// An object is longer than it can be: it is not what its name says.
    #[error("{name} on the remote is longer than the {limit} bytes it can have")]
    TooLong {
        /// The object.
        name: RemoteName,
        /// Most bytes it can have.
        limit: u64,
    },
    /// There are more objects than are looked at.
    #[error("{folder}/ on the remote holds more than {limit} objects")]
    TooMany {
        /// The folder.
        folder: RemoteName,
        /// Most objects that are listed.
        limit: usize,
    },
    /// The remote does not let us: wrong credentials, or rights that are missing.
    #[error("the remote refuses to {operation} {name}: {reason}; check credentials and rights")]
    Refused {
        /// What was asked for.
        operation: &'static str,
        /// Of which object or folder.
        name: RemoteName,
        /// The remote's words.
        reason: String,
    },
    /// It did not answer in time.
    #[error("the remote did not {operation} {name} within {seconds} s")]
    TimedOut {
        /// What was asked for.
        operation: &'static str,
        /// Of which object or folder.
        name: RemoteName,
        /// The time it had.
        seconds: u64,
    },
    /// Anything else: no connection, no space, a server that is ill.
    #[error("the remote cannot {operation} {name}: {reason}")]
    Unavailable {
        /// What was asked for.
        operation: &'static str,
        /// Of which object or folder.
        name: RemoteName,
        /// The remote's words.
        reason: String,
    },
}
