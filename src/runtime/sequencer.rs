//! The sequencer actor: a shell around `sequencing`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{oneshot, watch};

use super::batch::Offset;

use super::clock::{ClockJump, SystemClocks};
use super::error::JobError;
use super::memory_watch::{LOOK_INTERVAL, ProcessMemory};
use super::messages::{
    AppendFrames, AskCommit, AskReceived, BarrierAnswer, BatchDelivered, BatchesDurable, ClientHello,
    CommitBatches, ConnectStages, DeleteJournal, DeliverPart, Ended, JobFailed, JournalPressure,
    JournalProgress, PauseSealing, ReadJournal, RequestBarrier, ResumeSealing, Room, TimerSet,
};
use super::sequenced::{Input, SealedBatch, Waiting};
use super::sequencing::Sequencing;
use crate::metrics::JobMetrics;
use crate::operator::FrameInput;
use crate::source::frame::client_of;

type Receipt = oneshot::Sender<Offset>;

/// A client's greeting that waits until everything up to a batch is durable.
struct Greeting {
    through: Offset,
    client: Arc<str>,
    session: u64,
    answer: oneshot::Sender<(u64, u64)>,
}

/// Puts the frames of all sources in one order and seals them into batches.
pub(crate) struct Sequencer {
    sequencing: Sequencing<Receipt>,
    peers: Option<ConnectStages>,
    metrics: Arc<JobMetrics>,
    /// Tells the sources how far the journal is.
    durable: watch::Sender<Offset>,
    greetings: Vec<Greeting>,
    /// The newest session of each client.
    sessions: BTreeMap<Arc<str>, u64>,
    is_reading: bool,
    was_under_pressure: bool,
    clocks: SystemClocks,
    /// What is looked at now and then where memory is limited.
    memory: Option<ProcessMemory>,
    /// The wake-up that is set, and for when, in monotonic time.
    wake_up: Option<(Duration, SpawnHandle)>,
}

impl Sequencer {
    pub(crate) fn new(
        sequencing: Sequencing<Receipt>,
        metrics: Arc<JobMetrics>,
        durable: watch::Sender<Offset>,
        memory: Option<ProcessMemory>,
    ) -> Self {
        Self {
            sequencing,
            peers: None,
            metrics,
            durable,
            greetings: Vec::new(),
            sessions: BTreeMap::new(),
            is_reading: false,
            was_under_pressure: false,
            clocks: SystemClocks::new(),
            memory,
            wake_up: None,
        }
    }

    /// Does all that can be done now: sends batches, commits them, reads for a replay.
    fn advance(&mut self, context: &mut Context<Self>) {
        // Bounded by the credit.
        let mut now = self.clocks.read();
        while let Some(batch) = self.sequencing.next_batch(now) {
            self.send(batch);
            now = self.clocks.read();
        }
        if let Some(until) = self.sequencing.held_until() {
            self.wake_at(until, now.monotonic, context);
        }
        let Some(peers) = &self.peers else { return };
        let Some(journal) = &peers.journal else { return };
        if let Some(entries) = self.sequencing.next_commit() {
            notify(journal, CommitBatches { entries });
        }
        if !self.is_reading
            && let Some((from, through)) = self.sequencing.wants_replay()
        {
            self.is_reading = true;
            let attempt = self.sequencing.attempt();
            let read = journal.send(ReadJournal { from, through });
            context.spawn(read.into_actor(self).map(move |outcome, actor, context| {
                actor.is_reading = false;
                match outcome {
                    Ok(Ok(batches)) => {
                        actor.sequencing.replay(attempt, batches);
                        actor.advance(context);
                    }
                    Ok(Err(error)) => actor.fail(error.into()),
                    Err(_) => actor.fail(JobError::ActorLost("journal")),
                }
            }));
        }
    }

    /// Looks at the process's memory, and slows the sources where it is short.
    fn look_at_memory(&mut self, context: &mut Context<Self>) {
        let Some(measures) = self.memory.as_mut().and_then(ProcessMemory::look) else { return };
        if measures.is_new_episode {
            JobMetrics::add(&self.metrics.memory_shortages, 1);
        }
        self.sequencing.hold_sources(measures.holds_sources);
        self.advance(context);
    }

    /// Looks again at `until`, or before.
    fn wake_at(&mut self, until: Duration, now: Duration, context: &mut Context<Self>) {
        match self.wake_up {
            Some((set, _)) if set <= until => return,
            Some((_, later)) => drop(context.cancel_future(later)),
            None => {}
        }
        let wake_up = context.run_later(until.saturating_sub(now), |actor, context| {
            actor.wake_up = None;
            actor.advance(context);
        });
        self.wake_up = Some((until, wake_up));
    }

    fn fail(&self, error: JobError) {
        if let Some(peers) = &self.peers {
            notify(&peers.supervisor, JobFailed { error });
        }
    }

    fn send(&mut self, batch: SealedBatch<Receipt>) {
        let header = batch.header;
        let counter = match batch.input {
            Input::Sources => &self.metrics.readings,
            Input::Journal => &self.metrics.replayed,
        };
        JobMetrics::add(counter, batch.frames.count() as u64);
        JobMetrics::add(&self.metrics.batches, 1);
        if let Some(jump) = batch.clock_jump {
            JobMetrics::add(&self.metrics.clock_jumps, 1);
            report_jump(jump);
        }
        for receipt in batch.receipts {
            if receipt.send(header.offset).is_err() {
                tracing::trace!("the source that sent these frames has gone");
            }
        }
        let Some(peers) = &self.peers else { return };
        for subtask in &peers.subtasks {
            let part = Box::new(FrameInput { frames: Arc::clone(&batch.frames), only: None });
            send_part(subtask, DeliverPart { header, input: 0, part });
        }
        if let Some(checkpoint) = header.barrier {
            let clients = self.sequencing.clients();
            let sessions = self.sequencing.sessions();
            let readings = batch.readings;
            notify(
                &peers.coordinator,
                BarrierAnswer::Set { checkpoint, header, readings, clients, sessions },
            );
        }
    }

    /// Results and acknowledgements up to `through` may leave.
    fn release(&mut self, through: Offset) {
        if let Some(peers) = &self.peers {
            for sink in &peers.sinks {
                notify(sink, BatchesDurable { through });
            }
        }
        self.durable.send_replace(through);
        self.answer_greetings(through);
    }

    /// Answers the clients all of whose earlier lines are durable.
    fn answer_greetings(&mut self, through: Offset) {
        for greeting in self.greetings.extract_if(.., |greeting| greeting.through <= through) {
            let lines = self.sequencing.lines_of(&greeting.client);
            if greeting.answer.send((lines, greeting.session)).is_err() {
                tracing::trace!("the client that greeted has gone");
            }
        }
    }
}

fn report_jump(jump: ClockJump) {
    match jump {
        ClockJump::Forward(by_ms) => {
            tracing::warn!(by_ms, "the wall clock jumped forward: processing time follows it");
        }
        ClockJump::Back(by_ms) => {
            tracing::warn!(by_ms, "the wall clock jumped back: processing time goes on without it");
        }
        ClockJump::BehindLastStamp(by_ms) => {
            tracing::warn!(by_ms, "the wall clock is behind the journal: processing time goes on without it");
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
        if self.memory.is_some() {
            context.run_interval(LOOK_INTERVAL, Self::look_at_memory);
        }
    }
}

impl Handler<ConnectStages> for Sequencer {
    type Result = ();

    fn handle(&mut self, message: ConnectStages, _: &mut Self::Context) {
        self.peers = Some(message);
    }
}

impl Handler<AppendFrames> for Sequencer {
    type Result = ResponseFuture<Result<Offset, Ended>>;

    fn handle(&mut self, message: AppendFrames, context: &mut Self::Context) -> Self::Result {
        let client = client_of(&message.chunk.origin);
        if client.is_some_and(|client| self.sessions.get(client).copied() != message.session) {
            return Box::pin(async { Err(Ended) });
        }
        let (receipt, sealed) = oneshot::channel();
        self.sequencing.append(Waiting { chunk: message.chunk, recorded: message.recorded, receipt });
        self.advance(context);
        Box::pin(async move { sealed.await.map_err(|_| Ended) })
    }
}

impl Handler<ClientHello> for Sequencer {
    type Result = ResponseFuture<Result<(u64, u64), Ended>>;

    fn handle(&mut self, message: ClientHello, _: &mut Self::Context) -> Self::Result {
        let client = message.client;
        let session = self.sessions.entry(Arc::clone(&client)).or_default();
        *session += 1;
        let (answer, answered) = oneshot::channel();
        self.sequencing.drop_waiting_of(&client);
        let through = self.sequencing.last();
        let greeting = Greeting { through, client, session: *session, answer };
        self.greetings.push(greeting);
        let durable = *self.durable.borrow();
        self.answer_greetings(durable);
        Box::pin(async move { answered.await.map_err(|_| Ended) })
    }
}

impl Handler<AskReceived> for Sequencer {
    type Result = MessageResult<AskReceived>;

    fn handle(&mut self, message: AskReceived, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.sequencing.received_by(&message.session))
    }
}

impl Handler<AskCommit> for Sequencer {
    type Result = MessageResult<AskCommit>;

    fn handle(&mut self, _: AskCommit, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.sequencing.committing())
    }
}

impl Handler<JournalProgress> for Sequencer {
    type Result = ();

    fn handle(&mut self, message: JournalProgress, context: &mut Self::Context) {
        self.sequencing.set_pressure(message.room != Room::Enough);
        let is_under_pressure = message.room == Room::Little;
        if is_under_pressure != self.was_under_pressure {
            self.was_under_pressure = is_under_pressure;
            if let Some(peers) = &self.peers {
                notify(&peers.coordinator, JournalPressure { is_under_pressure });
            }
        }
        self.sequencing.committed(message.written);
        self.release(message.durable);
        self.advance(context);
    }
}

impl Handler<DeleteJournal> for Sequencer {
    type Result = ();

    fn handle(&mut self, message: DeleteJournal, _: &mut Self::Context) {
        if let Some(journal) = self.peers.as_ref().and_then(|peers| peers.journal.as_ref()) {
            notify(journal, message);
        }
    }
}

impl Handler<BatchDelivered> for Sequencer {
    type Result = ();

    fn handle(&mut self, message: BatchDelivered, context: &mut Self::Context) {
        self.sequencing.delivered(message.attempt, message.sink, message.offset);
        self.advance(context);
    }
}

impl Handler<TimerSet> for Sequencer {
    type Result = ();

    fn handle(&mut self, message: TimerSet, context: &mut Self::Context) {
        let TimerSet { attempt, stage, subtask, behind, earliest } = message;
        self.sequencing.timer_set(attempt, (stage, subtask), behind, earliest);
        self.advance(context);
    }
}

impl Handler<RequestBarrier> for Sequencer {
    type Result = ();

    fn handle(&mut self, message: RequestBarrier, context: &mut Self::Context) {
        if self.sequencing.request_barrier(message.checkpoint, message.scope, message.since) {
            self.advance(context);
        } else if let Some(peers) = &self.peers {
            notify(&peers.coordinator, BarrierAnswer::NothingNew { checkpoint: message.checkpoint });
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

    fn handle(&mut self, message: ResumeSealing, context: &mut Self::Context) {
        self.sequencing.resume(message.attempt, message.from);
        if let Some((from, through)) = self.sequencing.replays() {
            tracing::info!(%from, %through, "replaying batches from the journal");
        }
        // The sinks of the new attempt know nothing of what was durable before.
        let durable = *self.durable.borrow();
        self.release(durable);
        self.advance(context);
    }
}
