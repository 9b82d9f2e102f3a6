//! SIGTERM and Ctrl-C: the first asks the job to stop, a second Ctrl-C ends the process.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::runtime::StopHandle;

/// Exit code after a second Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Signals closer together are one request: `timeout` signals its child and then the group the child is in.
const SAME_REQUEST: Duration = Duration::from_millis(50);

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
    let mut asked: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {
                if asked.is_some_and(|asked| asked.elapsed() > SAME_REQUEST) {
                    tracing::warn!("interrupted again: ending at once, without a last checkpoint");
                    std::process::exit(INTERRUPTED);
                }
            }
            _ = terminate.recv() => {}
        }
        asked.get_or_insert_with(Instant::now);
        stop.stop();
    }
}
