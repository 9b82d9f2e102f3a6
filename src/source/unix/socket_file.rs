//! The file of a Unix socket: bound by one process at a time, replaced when its process is gone, removed at the end.
//!
//! A killed process leaves its file. Nobody serves that one, so connecting to it is refused by the kernel, and it is
//! replaced; one that is served is left alone. The look and the bind happen under a lock (`flock`) on the directory, so of
//! two processes that start at once one is refused. What is no socket is never removed.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::disk::{Disk, RealDisk};
use crate::source::connection::BACKLOG;

/// Looks at the directory's lock, and the pause between two.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What a file is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

/// A socket file of ours; removed when dropped, unless another process has replaced it. To be dropped before its socket,
/// which keeps the number of its inode from being given to another file.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    id: FileId,
}

impl SocketFile {
    /// Binds a socket of `kind` at `path`; one of streams listens.
    ///
    /// # Errors
    /// `AddrInUse` when another process serves `path`, `AlreadyExists` when it is no socket, `WouldBlock` when the directory
    /// stays locked, `InvalidInput` for a path of more than 107 bytes; the operating system's.
    pub(crate) fn bind(path: &Path, kind: Type, mode: u32) -> io::Result<(Self, Socket)> {
        let address = SockAddr::unix(path)?;
        let _locked = lock_directory(path)?;
        remove_abandoned(path, &address)?;
        let socket = Socket::new(Domain::UNIX, kind, None)?;
        socket.set_nonblocking(true)?;
        let mode = Mode::from_raw_mode(mode);
        // The file is made with this mode less the umask, so at no time may more connect than will be allowed.
        rustix::fs::fchmod(&socket, mode)?;
        socket.bind(&address)?;
        let file = Self { path: path.to_owned(), id: file_id(path)? };
        rustix::fs::chmod(path, mode)?;
        if kind == Type::STREAM {
            socket.listen(BACKLOG)?;
        }
        Ok((file, socket))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !matches!(file_id(&self.path), Ok(id) if id == self.id) {
            return tracing::warn!(path = %self.path.display(), "the socket file is not ours any more: left as it is");
        }
        if let Err(error) = RealDisk.remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket file");
        }
    }
}

fn file_id(path: &Path) -> io::Result<FileId> {
    let status = rustix::fs::lstat(path)?;
    Ok(FileId { device: status.st_dev, inode: status.st_ino })
}

/// Keeps others that go by this module out of the directory until the descriptor is closed.
fn lock_directory(path: &Path) -> io::Result<rustix::fd::OwnedFd> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    for _ in 0..LOCK_ATTEMPTS {
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(directory),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another process holds a lock on its directory"))
}

fn remove_abandoned(path: &Path, address: &SockAddr) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One that is served and has no room for us must not hold us.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "replacing a socket file that nobody serves");
            RealDisk.remove(path)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        // Connected, out of room, or a socket of datagrams.
        Ok(()) | Err(_) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process serves this socket"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn refusal(path: &Path, kind: Type) -> io::ErrorKind {
        SocketFile::bind(path, kind, 0o660).unwrap_err().kind()
    }

    #[test]
    fn a_file_is_made_with_its_mode_and_removed_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        for kind in [Type::STREAM, Type::DGRAM] {
            for mode in [0o600, 0o660, 0o666] {
                let (file, _socket) = SocketFile::bind(&path, kind, mode).unwrap();
                assert_eq!(path.symlink_metadata().unwrap().permissions().mode() & 0o7777, mode);
                drop(file);
                assert!(path.symlink_metadata().is_err());
            }
        }
    }

    #[test]
    fn one_that_is_served_is_refused_and_one_that_is_not_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        for kind in [Type::STREAM, Type::DGRAM] {
            let (file, socket) = SocketFile::bind(&path, kind, 0o660).unwrap();
            assert_eq!(refusal(&path, Type::STREAM), io::ErrorKind::AddrInUse);
            assert_eq!(refusal(&path, Type::DGRAM), io::ErrorKind::AddrInUse);
            // As a kill does: the socket is gone, the file is not.
            std::mem::forget(file);
            drop(socket);
            let (older, _socket) = SocketFile::bind(&path, kind, 0o660).unwrap();
            RealDisk.remove(&path).unwrap();
            let (newer, _newer_socket) = SocketFile::bind(&path, kind, 0o660).unwrap();
            drop(older);
            assert!(path.symlink_metadata().is_ok(), "a newer file is not the older one's to remove");
            drop(newer);
            assert!(path.symlink_metadata().is_err());
        }
    }

    #[test]
    fn what_is_no_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        RealDisk.create_new(&path).unwrap();
        assert_eq!(refusal(&path, Type::STREAM), io::ErrorKind::AlreadyExists);
        assert!(path.is_file());
    }

    #[test]
    fn of_many_that_start_at_once_one_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        for _ in 0..20 {
            let (file, _) = SocketFile::bind(&path, Type::STREAM, 0o660).unwrap();
            // As a kill does.
            std::mem::forget(file);
            let together = std::sync::Barrier::new(4);
            let bound: Vec<_> = std::thread::scope(|scope| {
                let start = || {
                    together.wait();
                    SocketFile::bind(&path, Type::STREAM, 0o660)
                };
                let starting: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
                starting.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(bound.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{bound:?}");
        }
    }
}
