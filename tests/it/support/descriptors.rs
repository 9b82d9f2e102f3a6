//! Descriptors and child processes: a child that is being started holds copies of all descriptors of this process
//! until its program runs. What must really be closed, a port or a pipe, is closed while no child is being started.

use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

static STARTING: Mutex<()> = Mutex::new(());

fn starting() -> MutexGuard<'static, ()> {
    // It guards no data.
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a child; returns once its program runs.
pub(crate) fn start_child(command: &mut Command) -> io::Result<Child> {
    let _no_closing = starting();
    command.spawn()
}

/// Closes what `resource` holds: when this returns nobody has a copy.
pub(crate) fn close<T>(resource: T) {
    let _no_start = starting();
    drop(resource);
}

/// A stream whose reader takes nothing, filled up, and that reader.
pub(crate) fn full_stream() -> (OwnedFd, UnixStream) {
    let (mut writer, reader) = UnixStream::pair().expect("a socket pair can be had and filled");
    writer.set_nonblocking(true).expect("a socket pair can be had and filled");
    let full = loop {
        if let Err(error) = writer.write_all(&[b'\n'; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    writer.set_nonblocking(false).expect("a socket pair can be had and filled");
    (writer.into(), reader)
}
