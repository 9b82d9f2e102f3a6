//! The `file` sink: results appended to a file.
//!
//! What was written survives a crash of the process; a power cut may take what the kernel had not yet written.

use std::io;
use std::path::Path;

use super::SinkWriter;
use crate::disk::{Disk, DurableFile};

/// Appends to a file.
pub(crate) struct FileWriter {
    file: Box<dyn DurableFile>,
}

impl FileWriter {
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        Ok(Self { file: disk.append(path)? })
    }
}

impl SinkWriter for FileWriter {
    fn write(&mut self, results: &[u8]) -> io::Result<()> {
        self.file.write_all(results)
    }
}
