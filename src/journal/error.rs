//! Errors of the journal.

use std::io;
use std::path::PathBuf;

use crate::runtime::Offset;

/// Why the journal could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A write or a sync failed: nothing is acknowledged through this segment any more.
    #[error("cannot write the journal segment {path}: {source}", path = path.display())]
    Write {
        /// The segment.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The directory or a segment cannot be read.
    #[error("cannot read the journal {path}: {source}", path = path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// What was on stable storage is not there any more, and not in memory either. The next start sets it aside and goes on
    /// behind it.
    #[error("the journal segment {path} can no longer be read from byte {byte} on: the batches {from} to {to}, which were acknowledged, are lost to it; check the disk, then start again", path = path.display())]
    Lost {
        /// The segment.
        path: PathBuf,
        /// Where its readable records end.
        byte: u64,
        /// First batch that is lost.
        from: Offset,
        /// Last batch that is lost.
        to: Offset,
    },
    /// The batch asked for is no longer, or not yet, in the journal.
    #[error("the journal does not hold batch {offset}; it begins at {first}")]
    Missing {
        /// The batch asked for.
        offset: Offset,
        /// The first batch it holds.
        first: Offset,
    },
}
