//! The `file` sink: results appended to a file, each batch exactly once.
//!
//! A checkpoint records the file's length after a sync. A restart cuts the file to that length, and the replay writes
//! what followed again, byte for byte the same. A reader of the file may see it shrink at a restart and grow again
//! with the same contents.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::SinkWriter;
use crate::disk::{Disk, DurableFile};
use crate::runtime::Offset;

/// Appends to a file.
pub(crate) struct FileWriter {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Box<dyn DurableFile>,
    length: u64,
}

impl FileWriter {
    /// Opens `path`, cut to `length` bytes when given.
    pub(crate) fn open(disk: Arc<dyn Disk>, path: &Path, length: Option<u64>) -> io::Result<Self> {
        let found = match disk.open(path) {
            Ok((_, found)) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(length) = length {
            match found.unwrap_or(0) {
                found if found > length => disk.truncate(path, length)?,
                found if found < length => tracing::warn!(
                    path = %path.display(), bytes = found, expected = length,
                    "the file is shorter than the checkpoint says: results are missing from it"
                ),
                _ => {}
            }
        }
        let file = disk.append(path)?;
        // Also when it was there already: who made it may have crashed before this.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        disk.sync_directory(directory.unwrap_or(Path::new(".")))?;
        let length = disk.open(path)?.1;
        Ok(Self { disk, path: path.to_owned(), file, length })
    }
}

impl SinkWriter for FileWriter {
    fn write(&mut self, _offset: Offset, results: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(results) {
            // Part of the batch may be there: it is cut off, so that the batch can be tried again.
            self.disk.truncate(&self.path, self.length)?;
            return Err(error);
        }
        self.length += results.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<u64> {
        self.file.sync()?;
        Ok(self.length)
    }
}
