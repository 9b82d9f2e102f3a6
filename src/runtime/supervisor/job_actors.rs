//! The actors of a job that live as long as it does, and restoring all of it for an attempt.

use std::sync::Arc;

use actix::prelude::*;

use crate::checkpoint::Contents;
use crate::operator::OperatorError;
use crate::runtime::batch::Attempt;
use crate::runtime::coordinator::CheckpointCoordinator;
use crate::runtime::journal_actor::JournalActor;
use crate::runtime::messages::{ResetSink, RestoreSubtask, ResumeCheckpoints, ResumeSealing};
use crate::runtime::reserve::Reserve;
use crate::runtime::sequenced::ReplayFrom;
use crate::runtime::sequencer::Sequencer;
use crate::runtime::sink_actor::SinkActor;
use crate::runtime::subtask::Subtask;

/// The actors of a job besides its sources and subtasks.
#[derive(Clone)]
pub(crate) struct JobActors {
    pub(crate) sequencer: Addr<Sequencer>,
    pub(crate) coordinator: Addr<CheckpointCoordinator>,
    pub(crate) sinks: Vec<Addr<SinkActor>>,
    pub(crate) journal: Option<Addr<JournalActor>>,
    pub(crate) reserve: Option<Reserve>,
}

impl JobActors {
    /// The kind of an actor that no longer takes messages.
    pub(crate) fn lost(&self) -> Option<&'static str> {
        if !self.sequencer.connected() {
            Some("sequencer")
        } else if !self.coordinator.connected() {
            Some("checkpoint coordinator")
        } else if self.sinks.iter().any(|sink| !sink.connected()) {
            Some("sink")
        } else if self.journal.as_ref().is_some_and(|journal| !journal.connected()) {
            Some("journal")
        } else {
            None
        }
    }

    /// Restores subtasks, sinks and coordinator for `attempt`, then resumes the sequencer. In this order no part of the
    /// attempt can reach an actor that does not expect it.
    pub(crate) async fn restore(
        self,
        subtasks: Vec<Addr<Subtask>>,
        attempt: Attempt,
        contents: Option<Arc<Contents>>,
        from: ReplayFrom,
    ) -> Result<(), OperatorError> {
        let gone = |_| OperatorError::failed("an actor is gone");
        // All at once: they are on several threads.
        let restoring: Vec<_> = subtasks
            .iter()
            .map(|subtask| subtask.send(RestoreSubtask { attempt, contents: contents.clone() }))
            .map(actix::spawn)
            .collect();
        for restored in restoring {
            restored.await.map_err(|_| OperatorError::failed("restoring was cancelled"))?.map_err(gone)??;
        }
        for sink in &self.sinks {
            sink.send(ResetSink { attempt }).await.map_err(gone)?;
        }
        self.coordinator.send(ResumeCheckpoints { attempt }).await.map_err(gone)?;
        self.sequencer.send(ResumeSealing { attempt, from }).await.map_err(gone)
    }
}
