//! The control socket: how a command line reaches a running job.
//!
//! A Unix socket `control.sock` in the job's folder, mode 0600, so that only the job's user can connect. One request a
//! connection, one line each way, fields separated by tabs:
//!
//! ```text
//! savepoint <go-on|stop> <path, or nothing for the job's own>     request
//! ok <offset> <readings> <keys> <bytes> <path>                    answer
//! error <what is wrong>                                           answer
//! ```
//!
//! Limits: a request has at most 8 KiB and must come within 5 s; connections are served one after the other, others wait.
//! The socket is removed when the job ends; one that a killed process left is removed at the next start, under the
//! directory's lock.
//!
//! The path of a Unix socket may have at most 107 bytes, those of directories are longer: both sides name the directory by
//! an open descriptor, `/proc/self/fd/<n>/control.sock`.

mod client;
mod socket;

pub(crate) use client::{ControlError, ask_for_savepoint};
pub(crate) use socket::ControlSocket;

/// Name of the socket in the job's folder.
pub(crate) const SOCKET_NAME: &str = "control.sock";

/// Longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 8 * 1024;
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

const GO_ON: &str = "go-on";
const STOP: &str = "stop";

/// Opens a directory to name it by its descriptor.
fn open_directory(directory: &std::path::Path) -> std::io::Result<std::os::fd::OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(directory, flags, Mode::empty())?)
}

/// The short path of the socket in an open directory.
fn socket_path(directory: &impl std::os::fd::AsRawFd) -> std::path::PathBuf {
    std::path::PathBuf::from(format!("/proc/self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd()))
}
