//! Descriptors and child processes: a child that is being started holds copies of all descriptors of this process
//! until its program runs. What must really be closed, a port or a pipe, is closed while no child is being started.

use std::io;
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
