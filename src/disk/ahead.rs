//! Room behind a file that somebody else writes, such as a store's log: allocated before it is needed, so that a full disk is
//! found here and not there.
#![expect(clippy::disallowed_types, reason = "part of the one module that does file work")]

use std::fs::File;
use std::io;
use std::path::Path;

/// A file that is written by somebody else.
#[derive(Debug)]
pub(crate) struct AllocateAhead {
    file: File,
}

impl AllocateAhead {
    /// Of the file at `path`, which exists.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::options().write(true).open(path)? })
    }

    /// Allocates the file's holes and the next `bytes` behind its end, which stays where it is. Where the file system cannot,
    /// nothing is done.
    ///
    /// # Errors
    /// The operating system's, `StorageFull` among them.
    pub(crate) fn allocate(&self, bytes: u64) -> io::Result<()> {
        let end = self.file.metadata()?.len();
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, end + bytes) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "part of the one module that does file work")]
mod tests {
    use super::*;

    #[test]
    fn the_files_end_and_contents_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, b"abc").unwrap();
        AllocateAhead::of(&path).unwrap().allocate(1 << 20).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
    }
}
