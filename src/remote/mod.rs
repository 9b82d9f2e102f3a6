//! Remotes: places away from the device where checkpoints are shipped to.
//!
//! A remote is given by its address:
//!
//! | address | what it is | built in |
//! |---|---|---|
//! | `file:///PATH` | a directory, most often a mount | always |
//! | `s3://BUCKET/PATH?region=R&endpoint=URL` | S3 or what speaks its protocol | feature `remote-s3` |
//! | `webdav://HOST:PORT/PATH`, `webdavs://` | WebDAV | feature `remote-webdav` |
//! | `sftp://USER@HOST:PORT/PATH` | SFTP, by the system's `ssh` | feature `remote-sftp` |
//! | `hdfs://HOST:PORT/PATH` | HDFS, its own protocol, no JVM | feature `remote-hdfs` |
//! | `webhdfs://HOST:PORT/PATH` | HDFS by HTTP (2.9 or newer) | feature `remote-webhdfs` |
//!
//! Credentials come from the environment or from files (see `uri`), never from the address, which is logged.
//!
//! Remotes differ in what they promise: most lack a rename, some say they create only what is absent and overwrite, and on
//! several a write that was cut leaves a short object under its final name. So [`RemoteStore`] has four calls, and what
//! stands on it trusts nothing but hashes.
//!
//! Limits: every call ends in time, see `timing`; a mount that hangs costs one of [`IO_THREADS_MAX`] threads a call and
//! nothing else.
//!
//! Nothing here knows of actors or checkpoints.

#[cfg(test)]
mod conformance;
mod error;
#[cfg(test)]
mod memory;
mod name;
mod opendal_store;
#[cfg(all(test, feature = "remotes"))]
mod real_servers;
#[cfg(feature = "remote-sftp")]
mod sftp_store;
mod uri;

pub use error::RemoteError;
#[cfg(test)]
pub(crate) use memory::{Fault, MemoryStore};
pub use name::RemoteName;
pub(crate) use name::is_segment;
pub(crate) use opendal_store::{IoRuntime, OpendalStore};
pub(crate) use uri::RemoteUri;

/// Threads that may be stuck in calls to a mount that hangs; further calls wait for one of them, and time out.
pub(crate) const IO_THREADS_MAX: usize = 8;

/// What became of an object that was to be new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It was written.
    Created,
    /// The name is taken. Only remotes that can tell say so; others overwrite.
    Exists,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listed {
    pub(crate) name: RemoteName,
    pub(crate) bytes: u64,
}

/// What is needed of a remote. Calls block, each for a bounded time.
pub(crate) trait RemoteStore: Send + Sync + std::fmt::Debug {
    /// Writes an object under a name that has none.
    ///
    /// # Errors
    /// After any, the object may be there whole, in part, or not at all.
    fn put_new(&self, name: &RemoteName, bytes: &[u8]) -> Result<Put, RemoteError>;

    /// An object of at most `limit` bytes.
    ///
    /// # Errors
    /// [`RemoteError::NotFound`], [`RemoteError::TooLong`], and what may pass.
    fn get(&self, name: &RemoteName, limit: u64) -> Result<Vec<u8>, RemoteError>;

    /// The objects below `folder`, at any depth, in no order; a folder that is not there is empty. Names we would not give
    /// are left out.
    ///
    /// # Errors
    /// [`RemoteError::TooMany`] when there are more than `limit`, and what may pass.
    fn list(&self, folder: &RemoteName, limit: usize) -> Result<Vec<Listed>, RemoteError>;

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// What may pass.
    fn delete(&self, name: &RemoteName) -> Result<(), RemoteError>;

    /// The remote's address, without secrets.
    fn address(&self) -> &str;
}
