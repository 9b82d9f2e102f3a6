//! The sink actor: merges a batch's parts in subtask order and writes them, on the sink thread, once the batch is
//! durable in the journal.
//!
//! A batch up to the last delivered one is a replay: it is recognised by its offset and not written again. On a full
//! disk the batch is tried again until there is space; the credit it holds slows the sources meanwhile.
//!
//! A failed sync ends the job, also when the disk is full: what was written since the last one may be gone, and another
//! sync of the same file would not tell. The next start cuts the file to its checkpoint and writes the rest again.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::alignment::Alignment;
use super::batch::{Attempt, BatchHeader, Offset};
use super::coordinator::CheckpointCoordinator;
use super::error::JobError;
use super::messages::{BatchDelivered, BatchesDurable, DeliverPart, JobFailed, ResetSink, SinkReached};
use super::sequencer::{Sequencer, notify};
use super::supervisor::JobSupervisor;
use crate::checkpoint::SinkPosition;
use crate::metrics::JobMetrics;
use crate::operator::{AnyPart, EncodedPart, PartPool, TracedPart};
use crate::sink::OpenSink;

/// Pause before a full disk is tried again.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(200);

/// What a sink needs for life.
pub(crate) struct SinkWiring {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) input_count: usize,
    pub(crate) pool: Arc<PartPool<EncodedPart>>,
    pub(crate) sequencer: Addr<Sequencer>,
    pub(crate) coordinator: Addr<CheckpointCoordinator>,
    pub(crate) supervisor: Addr<JobSupervisor>,
    pub(crate) metrics: Arc<JobMetrics>,
    pub(crate) mailbox_capacity: usize,
    /// Whether batches wait for the journal; without one they are delivered at once.
    pub(crate) gate: Gate,
}

/// Until when a batch is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Journal,
    Open,
}

/// Why a batch was not delivered.
enum Undelivered {
    /// There was no space for it: it can be tried again.
    Full(io::Error),
    Failed(io::Error),
}

/// A batch's results in one piece.
struct Results {
    header: BatchHeader,
    bytes: Vec<u8>,
    records: u64,
}

/// Writes a job's results.
pub(crate) struct SinkActor {
    wiring: SinkWiring,
    sink: OpenSink,
    alignment: Alignment,
    /// Complete batches that wait for the journal; bounded by the credit.
    held: VecDeque<Results>,
    durable: Offset,
    attempt: Attempt,
    failed: bool,
    disk_is_full: bool,
    spare: Vec<Vec<u8>>,
}

impl SinkActor {
    pub(crate) fn new(wiring: SinkWiring, sink: OpenSink) -> Self {
        let alignment = Alignment::new(wiring.input_count);
        let durable = if wiring.gate == Gate::Open { Offset(u64::MAX) } else { Offset(0) };
        Self {
            wiring,
            sink,
            alignment,
            held: VecDeque::new(),
            durable,
            attempt: Attempt(0),
            failed: false,
            disk_is_full: false,
            spare: Vec::new(),
        }
    }

    /// The parts in subtask order, as one piece of bytes.
    fn merge(&mut self, header: BatchHeader, parts: Vec<AnyPart>) -> Results {
        let mut encoded = Vec::with_capacity(parts.len());
        for part in parts {
            match part.downcast::<TracedPart>() {
                Ok(traced) => encoded.extend(traced.0.into_iter().map(|(_, part)| encoded_part(part))),
                Err(part) => encoded.push(encoded_part(part)),
            }
        }
        let mut parts = encoded.into_iter();
        // One input is the usual case: its bytes are taken as they are.
        let mut first = parts.next().unwrap_or_default();
        let mut bytes = std::mem::replace(&mut first.bytes, self.spare.pop().unwrap_or_default());
        let mut records = first.records;
        self.wiring.pool.put(first);
        for mut part in parts {
            bytes.extend_from_slice(&part.bytes);
            records += part.records;
            part.bytes.clear();
            self.wiring.pool.put(part);
        }
        Results { header, bytes, records }
    }

    /// Delivers what is durable, in order.
    fn deliver_durable(&mut self, context: &mut Context<Self>) {
        while !self.failed
            && !self.disk_is_full
            && let Some(results) = self.held.pop_front_if(|results| results.header.offset <= self.durable)
        {
            match self.deliver(&results) {
                Ok(()) => {
                    self.disk_is_full = false;
                    let mut bytes = results.bytes;
                    bytes.clear();
                    self.spare.push(bytes);
                }
                Err(Undelivered::Full(error)) => {
                    tracing::error!(sink = self.wiring.name, %error, "the disk is full: results wait");
                    self.held.push_front(results);
                    self.disk_is_full = true;
                    context.run_later(FULL_DISK_PAUSE, |actor, context| {
                        actor.disk_is_full = false;
                        actor.deliver_durable(context);
                    });
                }
                Err(Undelivered::Failed(source)) => {
                    self.failed = true;
                    let error = JobError::Sink { sink: self.wiring.name.clone(), source };
                    notify(&self.wiring.supervisor, JobFailed { error });
                }
            }
        }
    }

    fn deliver(&mut self, results: &Results) -> Result<(), Undelivered> {
        let header = results.header;
        if header.offset > self.sink.delivered {
            let written = self.sink.writer.write(header.offset, &results.bytes);
            written.map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Undelivered::Full(error),
                _ => Undelivered::Failed(error),
            })?;
            self.sink.delivered = header.offset;
            JobMetrics::add(&self.wiring.metrics.outputs, results.records);
        }
        if header.barrier.is_some() {
            let bytes = self.sink.writer.sync().map_err(Undelivered::Failed)?;
            let position =
                SinkPosition { sink: self.wiring.name.clone(), delivered: self.sink.delivered, bytes };
            notify(&self.wiring.coordinator, SinkReached { header, sink: self.wiring.index, position });
        }
        let delivered =
            BatchDelivered { attempt: header.attempt, offset: header.offset, sink: self.wiring.index };
        notify(&self.wiring.sequencer, delivered);
        Ok(())
    }
}

fn encoded_part(part: AnyPart) -> EncodedPart {
    *part.downcast().expect("an encoder sends encoded parts")
}

impl Actor for SinkActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.wiring.mailbox_capacity);
    }
}

impl Handler<DeliverPart> for SinkActor {
    type Result = ();

    fn handle(&mut self, message: DeliverPart, context: &mut Self::Context) {
        if message.header.attempt != self.attempt || self.failed {
            return;
        }
        self.alignment.push(message.input, message.header, message.part);
        while let Some((header, parts)) = self.alignment.pop() {
            let results = self.merge(header, parts);
            self.held.push_back(results);
        }
        self.deliver_durable(context);
    }
}

impl Handler<BatchesDurable> for SinkActor {
    type Result = ();

    fn handle(&mut self, message: BatchesDurable, context: &mut Self::Context) {
        self.durable = self.durable.max(message.through);
        self.deliver_durable(context);
    }
}

impl Handler<ResetSink> for SinkActor {
    type Result = ();

    fn handle(&mut self, message: ResetSink, _: &mut Self::Context) {
        self.alignment.clear();
        self.held.clear();
        self.attempt = message.attempt;
    }
}
