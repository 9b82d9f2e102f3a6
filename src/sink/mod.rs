//! Sinks: where results go. A sink writes whole batches, in order, and only what is durable in the journal.
//!
//! A sink knows through which batch it has delivered. A batch that is replayed behind a restart or a rewind is
//! recognised by its offset and not delivered again: a file is cut to the length the checkpoint names and written on
//! from there, standard output keeps a log of its position.

pub(crate) mod dead_letter;
mod file;
mod memory;
pub(crate) mod outbox;
mod print;

pub use memory::Collected;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::SinkPosition;
use crate::disk::Disk;
use crate::runtime::Offset;

/// Writes the results of batches.
pub(crate) trait SinkWriter: Send {
    /// Writes one batch's results. Returns once the operating system has all of them.
    ///
    /// # Errors
    /// The operating system's. Nothing of the batch is left behind where that can be had; after `StorageFull` the same
    /// batch is tried again.
    fn write(&mut self, offset: Offset, results: &[u8]) -> io::Result<()>;

    /// Makes durable what was written and returns its length in bytes, where it has one.
    ///
    /// # Errors
    /// The operating system's. What was written since the last sync may be gone; the sink is not used again.
    fn sync(&mut self) -> io::Result<u64>;
}

/// The output of a job.
#[derive(Debug, Clone)]
pub(crate) enum SinkSpec {
    /// Lines on standard output.
    Print,
    /// Lines appended to a file.
    File(PathBuf),
    /// Lines kept in memory.
    Memory(Collected),
}

/// A sink that is ready, and the batch through which it has delivered.
pub(crate) struct OpenSink {
    pub(crate) writer: Box<dyn SinkWriter>,
    pub(crate) delivered: Offset,
}

impl SinkSpec {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Print => "print".to_owned(),
            Self::File(path) => format!("file {}", path.display()),
            Self::Memory(_) => "memory".to_owned(),
        }
    }

    /// Opens the sink where the checkpoint left it. `positions` is a directory for what it must remember besides.
    ///
    /// # Errors
    /// The operating system's when a file cannot be opened or cut.
    pub(crate) fn open(
        &self,
        disk: &Arc<dyn Disk>,
        positions: Option<&Path>,
        restored: Option<&SinkPosition>,
    ) -> io::Result<OpenSink> {
        let delivered = restored.map_or(Offset(0), |position| position.delivered);
        match self {
            Self::Print => print::open(disk, positions, delivered),
            Self::File(path) => {
                let writer = file::FileWriter::open(Arc::clone(disk), path, restored.map(|from| from.bytes))?;
                Ok(OpenSink { writer: Box::new(writer), delivered })
            }
            Self::Memory(collected) => Ok(OpenSink { writer: Box::new(collected.clone()), delivered }),
        }
    }
}
