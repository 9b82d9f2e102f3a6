//! Asking a running job to stop.

use tokio_util::sync::CancellationToken;

/// Asks a job to stop: it stops reading, drains what it has read, takes a last checkpoint and returns.
///
/// Clones ask the same job. May be used from any thread, also before the job runs.
#[derive(Debug, Clone, Default)]
pub struct StopHandle {
    token: CancellationToken,
}

impl StopHandle {
    /// A handle nobody has asked through yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the job to stop. Asking again changes nothing.
    pub fn stop(&self) {
        self.token.cancel();
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(crate) async fn stopped(&self) {
        self.token.cancelled().await;
    }
}
