//! A handle to a running job: stop it, or take a savepoint of it, from any thread.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::stop::StopHandle;
use crate::checkpoint::{Savepoint, SavepointDraft, SavepointError};

/// Requests for savepoints that wait, at most; whoever asks for another one waits.
const REQUESTS_MAX: usize = 16;

/// What becomes of the job once a savepoint is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterSavepoint {
    /// It goes on.
    GoOn,
    /// It ends in order: nothing is processed after the savepoint. What was read before is in it.
    Stop,
}

/// Where the outcome of a request for a savepoint goes.
pub(crate) type SavepointAnswer = oneshot::Sender<Result<Savepoint, SavepointError>>;

/// A savepoint that was asked for.
#[derive(Debug)]
#[must_use = "whether it was taken is known only to who waits for it"]
pub struct PendingSavepoint {
    outcome: oneshot::Receiver<Result<Savepoint, SavepointError>>,
}

impl PendingSavepoint {
    /// Waits for the savepoint. Not to be called in asynchronous code.
    ///
    /// # Errors
    /// See [`JobHandle::savepoint`].
    pub fn wait(self) -> Result<Savepoint, SavepointError> {
        self.outcome.blocking_recv().unwrap_or(Err(SavepointError::JobEnded))
    }
}

/// A request for a savepoint.
#[derive(Debug)]
pub(crate) struct SavepointRequest {
    /// Its directory; `None` for the next one of the job's own.
    pub(crate) to: Option<PathBuf>,
    pub(crate) after: AfterSavepoint,
    pub(crate) answer: SavepointAnswer,
}

/// A request whose directory is made.
#[derive(Debug)]
pub(crate) struct SavepointOrder {
    pub(crate) draft: SavepointDraft,
    pub(crate) after: AfterSavepoint,
    pub(crate) answer: SavepointAnswer,
    /// Dropped with the order: then the next one may come.
    pub(crate) _finished: oneshot::Sender<()>,
}

/// Stops a job and takes savepoints of it. Clones are about the same job; usable from any thread, also before it runs.
#[derive(Debug, Clone)]
pub struct JobHandle {
    stop: StopHandle,
    requests: mpsc::Sender<SavepointRequest>,
    /// Taken by the job when it runs.
    receiver: Arc<Mutex<Option<mpsc::Receiver<SavepointRequest>>>>,
}

impl Default for JobHandle {
    fn default() -> Self {
        Self::new()
    }
}

impl From<StopHandle> for JobHandle {
    /// A handle that stops the same job.
    fn from(stop: StopHandle) -> Self {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        Self { stop, requests, receiver: Arc::new(Mutex::new(Some(receiver))) }
    }
}

impl JobHandle {
    /// A handle nobody has asked through yet. One is for one job.
    pub fn new() -> Self {
        Self::from(StopHandle::new())
    }

    /// Asks the job to stop, as [`StopHandle::stop`] does.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// Takes a savepoint, at `to` or else under the job's own directory, and waits for it; before the job runs, for that
    /// too. Not to be called in asynchronous code.
    ///
    /// # Errors
    /// See [`SavepointError`]. With [`AfterSavepoint::Stop`], [`SavepointError::Write`] may come after the job has
    /// stopped, with its last checkpoint; any other leaves it running.
    pub fn savepoint(&self, to: Option<PathBuf>, after: AfterSavepoint) -> Result<Savepoint, SavepointError> {
        self.ask_for_savepoint(to, after)?.wait()
    }

    /// Asks for a savepoint as [`savepoint`](Self::savepoint) does, and comes back at once unless many have been asked for:
    /// asked before the job runs, it is the first thing the job does.
    ///
    /// # Errors
    /// [`SavepointError::JobEnded`].
    pub fn ask_for_savepoint(
        &self,
        to: Option<PathBuf>,
        after: AfterSavepoint,
    ) -> Result<PendingSavepoint, SavepointError> {
        let (answer, outcome) = oneshot::channel();
        let request = SavepointRequest { to, after, answer };
        self.requests.blocking_send(request).map_err(|_| SavepointError::JobEnded)?;
        Ok(PendingSavepoint { outcome })
    }

    pub(crate) fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    pub(crate) fn requests(&self) -> mpsc::Sender<SavepointRequest> {
        self.requests.clone()
    }

    /// What is asked for: once. Dropped, everything asked for is answered with [`SavepointError::JobEnded`].
    pub(crate) fn take_requests(&self) -> Option<mpsc::Receiver<SavepointRequest>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
