//! The sequencer actor: a shell around `sequencing`.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::clock::wall_time;
use super::coordinator::CheckpointCoordinator;
use super::messages::{
    AppendFrames, BarrierAnswer, BatchDelivered, ConnectStages, DeliverPart, Ended, PauseSealing,
    RequestBarrier, ResumeSealing,
};
use super::sequencing::{SealedBatch, Sequencing, Waiting};
use super::subtask::Subtask;
use crate::metrics::JobMetrics;
use crate::operator::FrameInput;

type Receipt = oneshot::Sender<()>;

/// Puts the frames of all sources in one order and seals them into batches.
pub(crate) struct Sequencer {
    sequencing: Sequencing<Receipt>,
    subtasks: Vec<Addr<Subtask>>,
    coordinator: Option<Addr<CheckpointCoordinator>>,
    metrics: Arc<JobMetrics>,
}

impl Sequencer {
    pub(crate) fn new(sequencing: Sequencing<Receipt>, metrics: Arc<JobMetrics>) -> Self {
        Self { sequencing, subtasks: Vec::new(), coordinator: None, metrics }
    }

    fn seal_all(&mut self) {
        // Bounded by the credit.
        while let Some(batch) = self.sequencing.seal(wall_time()) {
            self.send(batch);
        }
    }

    fn send(&mut self, batch: SealedBatch<Receipt>) {
        let header = batch.header;
        JobMetrics::add(&self.metrics.readings, batch.frames.count() as u64);
        JobMetrics::add(&self.metrics.batches, 1);
        for subtask in &self.subtasks {
            let part: Box<FrameInput> = Box::new(Arc::clone(&batch.frames));
            send_part(subtask, DeliverPart { header, input: 0, part });
        }
        for receipt in batch.receipts {
            if receipt.send(()).is_err() {
                tracing::trace!("the source that sent these frames has gone");
            }
        }
        if let (Some(checkpoint), Some(coordinator)) = (header.barrier, &self.coordinator) {
            notify(coordinator, BarrierAnswer::Set { checkpoint, header, readings: batch.readings });
        }
    }
}

/// Sends a part under credit: the mailbox cannot be full. A closed one belongs to an actor the supervisor is about
/// to miss, and the part is covered by the rewind.
pub(crate) fn send_part<A>(address: &Addr<A>, part: DeliverPart)
where
    A: Actor<Context = Context<A>> + Handler<DeliverPart>,
{
    if let Err(SendError::Full(_)) = address.try_send(part) {
        panic!("the credit bounds every mailbox");
    }
}

/// Sends a notice that must not be lost while the receiver lives. Mailboxes are sized so that notices fit.
pub(crate) fn notify<A, M>(address: &Addr<A>, message: M)
where
    M: Message + Send + 'static,
    M::Result: Send,
    A: Actor<Context = Context<A>> + Handler<M>,
{
    if let Err(SendError::Full(_)) = address.try_send(message) {
        panic!("notices are few and mailboxes sized for them");
    }
}

impl Actor for Sequencer {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // No limit of the mailbox's own: every sender limits itself. A connection has one chunk under way, a sink one
        // notice for each batch in flight, the coordinator one request.
        context.set_mailbox_capacity(0);
    }
}

impl Handler<ConnectStages> for Sequencer {
    type Result = ();

    fn handle(&mut self, message: ConnectStages, _: &mut Self::Context) {
        self.subtasks = message.subtasks;
        self.coordinator = Some(message.coordinator);
    }
}

impl Handler<AppendFrames> for Sequencer {
    type Result = ResponseFuture<Result<(), Ended>>;

    fn handle(&mut self, message: AppendFrames, _: &mut Self::Context) -> Self::Result {
        let (receipt, sealed) = oneshot::channel();
        self.sequencing.append(Waiting { chunk: message.chunk, recorded: message.recorded, receipt });
        self.seal_all();
        Box::pin(async move { sealed.await.map_err(|_| Ended) })
    }
}

impl Handler<BatchDelivered> for Sequencer {
    type Result = ();

    fn handle(&mut self, message: BatchDelivered, _: &mut Self::Context) {
        self.sequencing.delivered(message.attempt, message.sink, message.offset);
        self.seal_all();
    }
}

impl Handler<RequestBarrier> for Sequencer {
    type Result = ();

    fn handle(&mut self, message: RequestBarrier, _: &mut Self::Context) {
        if self.sequencing.request_barrier(message.checkpoint, message.scope, message.since) {
            self.seal_all();
        } else if let Some(coordinator) = &self.coordinator {
            notify(coordinator, BarrierAnswer::NothingNew { checkpoint: message.checkpoint });
        }
    }
}

impl Handler<PauseSealing> for Sequencer {
    type Result = u64;

    fn handle(&mut self, _: PauseSealing, _: &mut Self::Context) -> u64 {
        self.sequencing.pause()
    }
}

impl Handler<ResumeSealing> for Sequencer {
    type Result = ();

    fn handle(&mut self, message: ResumeSealing, _: &mut Self::Context) {
        self.sequencing.resume(message.attempt);
        self.seal_all();
    }
}
