//! SIGTERM and Ctrl-C: the first asks the job to stop, the second ends the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::runtime::StopHandle;

/// Exit code after a second Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Watches for signals from a thread of its own.
///
/// # Errors
/// The operating system's, when there is no thread or event queue.
pub(super) fn watch(stop: StopHandle) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    let interrupt = signal(SignalKind::interrupt())?;
    let terminate = signal(SignalKind::terminate())?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .stack_size(64 * 1024)
        .spawn(move || runtime.block_on(wait(interrupt, terminate, stop)))?;
    Ok(())
}

async fn wait(mut interrupt: Signal, mut terminate: Signal, stop: StopHandle) {
    for round in 0.. {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if round > 0 {
            tracing::warn!("asked again: ending at once, without a last checkpoint");
            std::process::exit(INTERRUPTED);
        }
        stop.stop();
    }
}
