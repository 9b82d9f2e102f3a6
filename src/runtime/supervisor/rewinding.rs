//! Rewinding: what the supervisor does between a failure and the next attempt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::actor::{JobSupervisor, Phase};
use super::failures::{Decision, Failure, Poison};
use crate::checkpoint::Contents;
use crate::metrics::{JobMetrics, RejectCause};
use crate::operator::OperatorError;
use crate::runtime::error::JobError;
use crate::runtime::messages::{AbortPending, PauseSealing, SkipFrame};
use crate::runtime::sequenced::ReplayFrom;

/// How often a rewind looks whether the batches under way are through.
const QUIET_INTERVAL: Duration = Duration::from_millis(5);

impl JobSupervisor {
    /// Restores every subtask for a new attempt and lets the batches flow.
    pub(super) fn begin_attempt(&mut self, contents: Option<Arc<Contents>>, context: &mut Context<Self>) {
        let Some(deployments) = &self.deployments else { return };
        let subtasks = deployments.current().addresses();
        self.attempt = self.attempt.next();
        if let Some(reporter) = &self.reporter {
            reporter.restoring(contents.as_ref().map(|contents| &contents.manifest));
        }
        let begins_at = match &contents {
            None => self.begins_at.clone(),
            Some(contents) => ReplayFrom {
                // The journal may begin behind the checkpoint after a loss.
                offset: contents.manifest.offset.max(self.begins_at.offset),
                readings: contents.manifest.readings,
                ..ReplayFrom::default()
            },
        };
        let from = ReplayFrom { suspects: self.failures.suspects(), ..begins_at };
        let restored = self.actors().clone().restore(subtasks, self.attempt, contents, from);
        context.wait(restored.into_actor(self).map(|outcome, actor, context| match outcome {
            Ok(()) => actor.attempt_began(context),
            Err(cause) => {
                let place = "restore".to_owned();
                actor.failed(Failure { place, work: None, cause }, context);
            }
        }));
    }

    fn attempt_began(&mut self, context: &mut Context<Self>) {
        if self.phase == Phase::Ended {
            return;
        }
        self.phase = Phase::Running;
        if let Some(start_sources) = self.start_sources.take() {
            self.report_start();
            self.sources = start_sources();
            self.sources_running = self.sources.len();
        }
        if let Some(reporter) = &mut self.reporter {
            reporter.running();
        }
        self.drain_if_ended(context);
    }

    fn report_start(&self) {
        match &self.restored {
            None => tracing::info!("no checkpoint: starting empty"),
            Some(restored) => tracing::info!(
                checkpoint = %restored.checkpoint, age = format_args!("{:.1}s", restored.age_seconds()),
                keys = restored.keys, readings = restored.readings, offset = %restored.offset, "restored"
            ),
        }
    }

    /// Looks for a subtask that does not return; abandons the deployment it is in.
    pub(super) fn look_for_hangs(&mut self, timeout: Duration, context: &mut Context<Self>) {
        // While a rewind waits for its turn, batches under way can still hang.
        if self.phase == Phase::Ended || (self.phase == Phase::Rewinding && self.delayed.is_none()) {
            return;
        }
        let Some(deployments) = &mut self.deployments else { return };
        if deployments.waits_for_disk() {
            if self.watchdog.pass_over() {
                tracing::warn!(longer_than = ?timeout, "a subtask waits for the disk of its state");
            }
            return;
        }
        let subtasks = deployments.current().subtasks();
        let Some(hung) = self.watchdog.look(subtasks.iter().map(|subtask| &*subtask.progress)) else {
            return;
        };
        let place = format!("{} at batch {}", subtasks[hung.subtask].place, hung.work.offset);
        JobMetrics::add(&self.metrics.hangs, 1);
        if let Err(error) = deployments.replace(&context.address(), &place) {
            return self.end(Err(error));
        }
        self.watchdog.forget();
        self.connect_stages(context);
        let cause = OperatorError::Hung { timeout };
        self.failed(Failure { place, work: Some(hung.work), cause }, context);
    }

    /// An operator failed: rewinds or gives up.
    pub(super) fn failed(&mut self, failure: Failure, context: &mut Context<Self>) {
        let decision = self.failures.judge(&failure, Instant::now());
        let Failure { place, work, cause } = failure;
        let Decision::Rewind { delay, poison } = decision else {
            return match (cause, work) {
                (OperatorError::State(source), Some(_)) => {
                    self.end(Err(JobError::State { place, source: Box::new(source) }));
                }
                (cause, _) => self.give_up(place, cause),
            };
        };
        if let Some(poison) = poison {
            self.skip_poison(poison, &cause, context);
        }
        tracing::error!(%place, %cause, ?delay, "operator failed: the job rewinds to its last checkpoint");
        if self.delayed.is_some() {
            // The rewind that is about to begin covers this failure too.
            return;
        }
        self.phase = Phase::Rewinding;
        let paused = self.actors().sequencer.send(PauseSealing);
        context.wait(paused.into_actor(self).map(move |sealed, actor, context| {
            actor.rewind_after(delay, sealed.unwrap_or(0), context);
        }));
    }

    fn give_up(&mut self, place: String, cause: OperatorError) {
        let error = match (cause, &self.restored) {
            (OperatorError::State(source), Some(restored)) => {
                JobError::Restore { checkpoint: restored.checkpoint, source: Box::new(source) }
            }
            (OperatorError::State(source), None) => JobError::Open(Box::new(source)),
            (cause, _) => {
                let failures = self.failures.count();
                JobError::RestartsExhausted { failures, place, cause: Box::new(cause) }
            }
        };
        self.end(Err(error));
    }

    /// Gives up a frame.
    fn skip_poison(&mut self, poison: Poison, cause: &OperatorError, context: &mut Context<Self>) {
        let Some(journal) = self.actors().journal.clone() else { return };
        let Poison { offset, frame } = poison;
        tracing::error!(%offset, frame, %cause, "a frame fails every time: it is skipped and kept in the dead-letter file");
        self.metrics.add_rejected("dead-letter", RejectCause::POISON, 1);
        let skipped = journal.send(SkipFrame { offset, frame, cause: cause.to_string() });
        context.wait(skipped.into_actor(self).map(|outcome, actor, _| match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => actor.end(Err(error.into())),
            Err(_) => actor.end(Err(JobError::ActorLost("journal"))),
        }));
    }

    fn rewind_after(&mut self, delay: Duration, readings_sealed: u64, context: &mut Context<Self>) {
        let delayed = context.run_later(delay, move |actor, context| {
            actor.delayed = None;
            actor.rewind(readings_sealed, context);
        });
        self.delayed = Some((delayed, readings_sealed));
    }

    pub(super) fn rewind(&mut self, readings_sealed: u64, context: &mut Context<Self>) {
        if self.phase != Phase::Rewinding {
            return;
        }
        let busy = self.deployments.as_ref().map_or(0, |deployments| deployments.current().close());
        if busy > 0 {
            // One that never ends its batch is for the watchdog, which cannot look while subtasks are restored.
            return self.rewind_after(QUIET_INTERVAL, readings_sealed, context);
        }
        JobMetrics::add(&self.metrics.restarts, 1);
        let newest = self.actors().coordinator.send(AbortPending);
        context.wait(newest.into_actor(self).map(move |newest, actor, context| match newest {
            Ok(Ok(contents)) => {
                actor.report_rewind(contents.as_deref(), readings_sealed);
                actor.begin_attempt(contents, context);
            }
            Ok(Err(error)) => actor.end(Err(error.into())),
            Err(_) => actor.end(Err(JobError::ActorLost("checkpoint coordinator"))),
        }));
    }

    fn report_rewind(&mut self, contents: Option<&Contents>, readings_sealed: u64) {
        if self.has_journal {
            let behind = contents.map_or(self.begins_at.offset, |contents| contents.manifest.offset);
            tracing::warn!(offset = %behind, "rewound: what came since is replayed from the journal");
            return;
        }
        let in_state = contents.map_or(0, |contents| contents.manifest.readings);
        let lost = readings_sealed.saturating_sub(self.readings_accounted.max(in_state));
        self.readings_accounted = readings_sealed;
        JobMetrics::add(&self.metrics.readings_lost, lost);
        match contents {
            Some(Contents { manifest, .. }) => tracing::warn!(
                checkpoint = %manifest.id, offset = %manifest.offset, keys = manifest.key_count(), readings_lost = lost,
                "rewound to the newest completed checkpoint"
            ),
            None => {
                tracing::warn!(readings_lost = lost, "rewound to empty state: no checkpoint was completed")
            }
        }
    }
}
