//! The operating system's file system.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the one module that does file work"
)]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::{Disk, DurableFile};

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Permissions of group and others.
const NOT_OWNER: u32 = 0o077;

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RealDisk;

/// Keeps a directory ours until dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: Option<File>,
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that is just being started has a copy of the descriptor for a moment.
        if let Some(Err(error)) = self.file.as_ref().map(File::unlock) {
            tracing::debug!(%error, "cannot unlock the directory");
        }
    }
}

impl DirectoryLock {
    /// The lock of a disk no other process can see.
    #[cfg(test)]
    pub(crate) fn unneeded() -> Self {
        Self { file: None }
    }
}

impl Disk for RealDisk {
    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        if !directory.is_dir() {
            let create = || DirBuilder::new().mode(DIRECTORY_MODE).create(directory);
            let created = match create() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.create_directory(parent)?;
                    create()
                }
                outcome => outcome,
            };
            match created {
                // Another thread made it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
                outcome => outcome?,
            }
        }
        // The entry lives in the parent and is durable only after the parent's sync; also when it was there
        // already, since who made it may have crashed before this.
        self.sync_directory(parent)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        let file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.set_len(bytes)
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read + Send>, u64)> {
        // Looked at first: opening a named pipe would wait for a writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
        }
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok((Box::new(file), length))
    }

    fn open_at(&self, path: &Path, position: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(position))?;
        Ok(Box::new(file))
    }

    fn drop_cache(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&File::open(path)?, 0, None, rustix::fs::Advice::DontNeed)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        match std::fs::hard_link(from, to) {
            // Another file system, or one without hard links.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::CrossesDevices
                        | io::ErrorKind::PermissionDenied
                        | io::ErrorKind::Unsupported
                ) =>
            {
                super::copy(self, from, to)
            }
            outcome => outcome,
        }
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        match std::fs::remove_dir_all(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn lock(&self, path: &Path) -> io::Result<DirectoryLock> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock { file: Some(file) }),
            Err(std::fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

/// Reads a secret of at most `limit` bytes, which other users must not be able to read.
///
/// # Errors
/// The operating system's; `PermissionDenied` when the group or others may read the file, `InvalidData` when it is longer.
pub(crate) fn read_secret(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if metadata.permissions().mode() & NOT_OWNER != 0 && !is_handed_over(path) {
        let advice = "other users may read it; do `chmod 600` on it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, advice));
    }
    super::read_whole(&RealDisk, path, limit)
}

/// Whether systemd hands the file over (`LoadCredential`): it gives the service's user access by a list that shows as the
/// group's.
fn is_handed_over(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|directory| path.starts_with(directory))
}

struct RealFile(File);

impl Write for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl DurableFile for RealFile {
    fn preallocate(&mut self, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            outcome => outcome.map_err(io::Error::from),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}
