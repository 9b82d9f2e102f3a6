//! The subtask actor: runs one stage's chain in one thread, under actix's supervision.
//!
//! A failing operator stops the actor; actix restarts it empty (`restarting`), and it ignores what arrives until
//! the job's supervisor restores it for the next attempt. A panic is caught here, because an actor that panics is
//! not restarted but dropped.
//!
//! A chain that does not return holds its thread for good: the supervisor abandons the subtask, and should the chain
//! return later, nothing it did leaves.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use actix::prelude::*;

use super::alignment::Alignment;
use super::batch::{Attempt, BatchHeader, Offset, Pace, Timestamp};
use super::coordinator::CheckpointCoordinator;
use super::messages::{DeliverPart, Ping, RestoreSubtask, SnapshotTaken, SubtaskFailed, TimerSet};
use super::progress::{Halted, Progress, Work};
use super::sequencer::{Sequencer, notify, send_part};
use super::sink_actor::SinkActor;
use super::supervisor::JobSupervisor;
use crate::checkpoint::Contents;
use crate::operator::{AnyPart, Chain, FrameInput, OperatorError, SubtaskContext, TracedPart};
use crate::state::StateSnapshot;
use crate::stream::ChainFactory;

/// Where the parts of one tail go.
pub(crate) enum Receiver {
    /// One part to each subtask of a stage, whose input of this number it is.
    Stage { subtasks: Vec<Addr<Subtask>>, input: usize },
    /// The only part to a sink.
    Sink(Addr<SinkActor>),
}

impl Receiver {
    /// Parts it takes of each batch.
    fn count(&self) -> usize {
        match self {
            Self::Stage { subtasks, .. } => subtasks.len(),
            Self::Sink(_) => 1,
        }
    }
}

/// What a subtask needs for life.
pub(crate) struct SubtaskWiring {
    pub(crate) stage: usize,
    pub(crate) context: SubtaskContext,
    pub(crate) input_count: usize,
    pub(crate) factory: Arc<dyn ChainFactory>,
    /// One receiver for each tail.
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) sequencer: Addr<Sequencer>,
    pub(crate) coordinator: Addr<CheckpointCoordinator>,
    pub(crate) supervisor: Addr<JobSupervisor>,
    pub(crate) mailbox_capacity: usize,
    /// What the supervisor sees of the subtask.
    pub(crate) progress: Arc<Progress>,
}

impl SubtaskWiring {
    /// Stage and subtask, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{} ({}/{})", self.factory.name(), self.context.index + 1, self.context.parallelism)
    }
}

/// One parallel instance of a stage.
pub(crate) struct Subtask {
    wiring: SubtaskWiring,
    alignment: Alignment,
    /// The chain, and the attempt it was restored for.
    running: Option<(Attempt, Chain)>,
    /// The earliest timer as the sequencer knows it.
    earliest_timer: Option<Timestamp>,
}

impl Subtask {
    pub(crate) fn new(wiring: SubtaskWiring) -> Self {
        let alignment = Alignment::new(wiring.input_count);
        Self { wiring, alignment, running: None, earliest_timer: None }
    }

    fn process(&mut self, header: BatchHeader, parts: Vec<AnyPart>) -> Result<(), Interruption> {
        let progress = &self.wiring.progress;
        progress.begin(Work { offset: header.offset, frame: None })?;
        let (_, chain) = self.running.as_mut().expect("only a running subtask aligns batches");
        let outputs = match header.pace {
            Pace::Batch => {
                guard(|| chain.run(&header, parts)).map_err(|cause| Failure { frame: None, cause })?
            }
            Pace::FrameByFrame => {
                let shape: Vec<usize> = self.wiring.receivers.iter().map(Receiver::count).collect();
                frame_by_frame(chain, &header, parts, &shape, progress)?
            }
        };
        let snapshot = match header.barrier {
            None => None,
            Some(_) => {
                Some(guard(|| Ok(chain.head().snapshot()?)).map_err(|cause| Failure { frame: None, cause })?)
            }
        };
        let earliest = chain.head().next_due();
        progress.end()?;
        self.send(header, outputs);
        self.report_timer(header.attempt, (header.offset, header.stamp), earliest);
        if let Some(snapshot) = snapshot {
            self.send_snapshot(header, snapshot);
        }
        Ok(())
    }

    fn send(&self, header: BatchHeader, outputs: Vec<Vec<AnyPart>>) {
        for (receiver, parts) in self.wiring.receivers.iter().zip(outputs) {
            match receiver {
                Receiver::Stage { subtasks, input } => {
                    for (subtask, part) in subtasks.iter().zip(parts) {
                        send_part(subtask, DeliverPart { header, input: *input, part });
                    }
                }
                Receiver::Sink(sink) => {
                    let input = self.wiring.context.index;
                    for part in parts {
                        send_part(sink, DeliverPart { header, input, part });
                    }
                }
            }
        }
    }

    /// Tells the sequencer for when the earliest timer is set, unless it knows; one that is due by now is a new one.
    fn report_timer(
        &mut self,
        attempt: Attempt,
        (behind, stamp): (Offset, Timestamp),
        earliest: Option<Timestamp>,
    ) {
        let is_due = earliest.is_some_and(|time| time <= stamp);
        if std::mem::replace(&mut self.earliest_timer, earliest) != earliest || is_due {
            let (stage, subtask) = (self.wiring.stage, self.wiring.context.index);
            notify(&self.wiring.sequencer, TimerSet { attempt, stage, subtask, behind, earliest });
        }
    }

    /// Sends a snapshot to the coordinator; what takes long is done on a blocking thread first.
    fn send_snapshot(&self, header: BatchHeader, snapshot: Option<Box<dyn StateSnapshot>>) {
        let (stage, subtask) = (self.wiring.stage, self.wiring.context.index);
        let coordinator = self.wiring.coordinator.clone();
        match snapshot {
            Some(mut snapshot) if snapshot.needs_preparation() => {
                drop(tokio::task::spawn_blocking(move || {
                    let snapshots = snapshot.prepare().map(|()| vec![snapshot]);
                    notify(&coordinator, SnapshotTaken { header, stage, subtask, snapshots });
                }));
            }
            snapshot => {
                let snapshots = Ok(snapshot.into_iter().collect());
                notify(&coordinator, SnapshotTaken { header, stage, subtask, snapshots });
            }
        }
    }

    fn fail(&mut self, header: BatchHeader, failure: Failure, context: &mut Context<Self>) {
        // Still under the eye of the watchdog.
        self.drop_state();
        if self.wiring.progress.end().is_err() {
            return;
        }
        let Failure { frame, cause } = failure;
        let (attempt, offset) = (header.attempt, header.offset);
        let failed = SubtaskFailed { attempt, place: self.wiring.place(), offset, frame, cause };
        notify(&self.wiring.supervisor, failed);
        context.stop();
    }

    /// Drops the operators; their destructors are user code too.
    fn drop_state(&mut self) {
        self.alignment.clear();
        let running = self.running.take();
        if guard(|| {
            drop(running);
            Ok(())
        })
        .is_err()
        {
            tracing::warn!(place = self.wiring.place(), "an operator panicked while it was dropped");
        }
    }

    fn restore(&mut self, message: RestoreSubtask) -> Result<usize, OperatorError> {
        self.drop_state();
        let wiring = &self.wiring;
        let mut chain = restored_chain(&*wiring.factory, &wiring.context, message.contents.as_deref())?;
        let key_count = chain.head().key_count();
        let earliest = chain.head().next_due();
        self.running = Some((message.attempt, chain));
        self.wiring.progress.open();
        let manifest = message.contents.as_ref().map(|contents| &contents.manifest);
        let restored = manifest.map(|manifest| (manifest.offset, manifest.stamp)).unwrap_or_default();
        self.earliest_timer = None;
        self.report_timer(message.attempt, restored, earliest);
        Ok(key_count)
    }
}

/// Why a batch was not processed.
enum Interruption {
    Failed(Failure),
    /// The attempt is over, or another subtask has taken over.
    Halted,
}

impl From<Failure> for Interruption {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Halted> for Interruption {
    fn from(_: Halted) -> Self {
        Self::Halted
    }
}

/// Builds a subtask's chain and loads what `contents` holds of its state.
pub(super) fn restored_chain(
    factory: &dyn ChainFactory,
    context: &SubtaskContext,
    contents: Option<&Contents>,
) -> Result<Chain, OperatorError> {
    guard(|| {
        let mut chain = factory.build(context)?;
        let head = chain.head();
        let operator = head.stateful_operator().map(str::to_owned);
        let saved = contents.map(|contents| {
            let parts = contents.manifest.parts.iter().zip(&contents.parts);
            let of_operator = parts.filter(|(entry, _)| Some(&entry.operator) == operator.as_ref());
            (of_operator.map(|(_, part)| part.clone()).collect::<Vec<_>>(), contents.manifest.stamp)
        });
        let (parts, stamp) = saved.unwrap_or_default();
        head.open(&parts, stamp)?;
        Ok(chain)
    })
}

/// A subtask's name in messages: `average (1/2)`.
pub(super) fn place(factory: &dyn ChainFactory, index: usize, parallelism: usize) -> String {
    format!("{} ({}/{parallelism})", factory.name(), index + 1)
}

/// Why a batch could not be processed, and on which frame where that is known.
struct Failure {
    frame: Option<u64>,
    cause: OperatorError,
}

/// The parts of each tail.
type StepResult = Result<Vec<Vec<AnyPart>>, OperatorError>;

/// Processes a batch one frame at a time, in the order of a whole batch; returns a traced part for each receiver. What
/// timers do is of no frame: when they fail, none is to blame.
fn frame_by_frame(
    chain: &mut Chain,
    header: &BatchHeader,
    parts: Vec<AnyPart>,
    receivers: &[usize],
    progress: &Progress,
) -> Result<Vec<Vec<AnyPart>>, Interruption> {
    let mut outputs: Vec<Vec<TracedPart>> =
        receivers.iter().map(|count| (0..*count).map(|_| TracedPart(Vec::new())).collect()).collect();
    let mut step = |chain: &mut Chain, frame: Option<u64>, take: &mut dyn FnMut(&mut Chain) -> StepResult| {
        progress.begin(Work { offset: header.offset, frame })?;
        let results = guard(|| take(chain)).map_err(|cause| Failure { frame, cause })?;
        for (outputs, results) in outputs.iter_mut().zip(results) {
            for (traced, result) in outputs.iter_mut().zip(results) {
                traced.0.push((frame, result));
            }
        }
        Ok::<(), Interruption>(())
    };
    step(chain, None, &mut |chain| chain.begin(header))?;
    for part in parts {
        let frames: Vec<(Option<u64>, AnyPart)> = match part.downcast::<FrameInput>() {
            Ok(input) => {
                let whole: AnyPart = input.clone();
                let numbers = chain.head().frames(&whole);
                let only = |frame| FrameInput { frames: Arc::clone(&input.frames), only: Some(frame) };
                numbers.into_iter().map(|frame| (Some(frame), Box::new(only(frame)) as AnyPart)).collect()
            }
            Err(part) => {
                let traced: Box<TracedPart> = part.downcast().expect("every stage goes frame by frame");
                traced.0
            }
        };
        for (frame, part) in frames {
            let mut part = Some(part);
            step(chain, frame, &mut |chain| chain.frame(header, part.take().expect("called once")))?;
        }
    }
    step(chain, None, &mut |chain| chain.end(header))?;
    Ok(outputs
        .into_iter()
        .map(|parts| parts.into_iter().map(|part| Box::new(part) as AnyPart).collect())
        .collect())
}

/// Runs user code; a panic becomes an error.
pub(super) fn guard<T>(code: impl FnOnce() -> Result<T, OperatorError>) -> Result<T, OperatorError> {
    catch_panic(code).unwrap_or_else(|message| Err(OperatorError::Panicked(message)))
}

/// Runs user code; a panic's message becomes the error. What the code touched is not used again after a panic.
pub(crate) fn catch_panic<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| message_of(&*panic))
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

impl Actor for Subtask {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.wiring.mailbox_capacity);
    }
}

impl Supervised for Subtask {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.drop_state();
        tracing::debug!(place = self.wiring.place(), "subtask restarted, waiting to be restored");
    }
}

impl Handler<DeliverPart> for Subtask {
    type Result = ();

    fn handle(&mut self, message: DeliverPart, context: &mut Self::Context) {
        if self.running.as_ref().map(|(attempt, _)| *attempt) != Some(message.header.attempt) {
            return;
        }
        self.alignment.push(message.input, message.header, message.part);
        while let Some((header, parts)) = self.alignment.pop() {
            match self.process(header, parts) {
                Ok(()) => {}
                Err(Interruption::Failed(failure)) => return self.fail(header, failure, context),
                Err(Interruption::Halted) => return self.drop_state(),
            }
        }
    }
}

impl Handler<Ping> for Subtask {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<RestoreSubtask> for Subtask {
    type Result = Result<usize, OperatorError>;

    fn handle(&mut self, message: RestoreSubtask, _: &mut Self::Context) -> Self::Result {
        self.restore(message)
    }
}
