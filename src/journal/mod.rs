//! The ingest journal: every batch, on stable storage before anything of it is acknowledged or delivered.
//!
//! A directory of segments (`format` has the bytes), one writer (`writer`), readers for replays (`reader`) and for
//! shipping (`excerpt`), and a recovery that decides by reading only (`recovery` has the decision table).
//!
//! ```text
//! <job>/journal/
//!   <base offset, 20 digits>.segment    preallocated; the last one is written to
//! <job>/quarantine/                     segments that were found damaged; never deleted by us
//! ```
//!
//! Nothing here knows of actors; the group commit is the runtime's.

mod error;
mod excerpt;
mod format;
mod reader;
mod recovery;
mod writer;

pub use error::JournalError;
pub(crate) use excerpt::{EXCERPT_BYTES_MAX, Excerpt, ExcerptReader};
#[cfg(test)]
pub(crate) use format::ChunkRecord;
pub(crate) use format::{BatchRecord, SegmentFormat, SkipRecord};
pub(crate) use reader::JournalReader;
pub(crate) use recovery::{Recovered, list, recover};
pub(crate) use writer::{Entry, JournalWriter, SegmentSettings, segment_name};
