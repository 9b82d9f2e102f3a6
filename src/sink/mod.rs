//! Sinks: where results go. A sink writes whole batches, in order.

mod file;
mod memory;
mod print;

pub use memory::Collected;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::Disk;

/// Writes the results of batches.
pub(crate) trait SinkWriter: Send {
    /// Writes one batch's results, or one subtask's share of them. Returns once the operating system has them.
    ///
    /// # Errors
    /// The operating system's; the job ends.
    fn write(&mut self, results: &[u8]) -> io::Result<()>;
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

impl SinkSpec {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Print => "print".to_owned(),
            Self::File(path) => format!("file {}", path.display()),
            Self::Memory(_) => "memory".to_owned(),
        }
    }

    /// # Errors
    /// The operating system's when the file cannot be opened.
    pub(crate) fn open(&self, disk: &Arc<dyn Disk>) -> io::Result<Box<dyn SinkWriter>> {
        Ok(match self {
            Self::Print => Box::new(print::PrintWriter),
            Self::File(path) => Box::new(file::FileWriter::open(&**disk, path)?),
            Self::Memory(collected) => Box::new(collected.clone()),
        })
    }
}
