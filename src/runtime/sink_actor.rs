//! The sink actor: merges a batch's parts in subtask order and writes them, on the sink thread, once the batch is
//! durable in the journal.
//!
//! A batch up to the last delivered one is a replay: it is recognised by its offset and not written again. On a full
//! disk the batch is tried again until there is space; the credit it holds slows the sources meanwhile.
//!
//! A failed sync ends the job, also when the disk is full: what was written since the last one may be gone, and another
//! sync of the same file would not tell. A sink that still holds what was written tries again. The next start cuts the file to its checkpoint and writes the rest again.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use actix::prelude::*;

use super::alignment::Alignment;
use super::batch::{Attempt, BatchHeader, Offset};
use super::coordinator::CheckpointCoordinator;
use super::error::JobError;
use super::messages::{BatchDelivered, BatchesDurable, DeliverPart, JobFailed, Ping, ResetSink, SinkReached};
use super::reserve::{FULL_DISK_PAUSE, Reserve, STOP_TRIES_MAX};
use super::sequencer::{Sequencer, notify};
use super::supervisor::JobSupervisor;
use crate::checkpoint::SinkPosition;
use crate::disk::is_full;
use crate::metrics::JobMetrics;
use crate::operator::{AnyPart, EncodedPart, PartPool, TracedPart};
use crate::sink::{AfterFullSync, OpenSink, Takers};
use crate::state::Waiting;

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
    /// Disk for a stop on a full disk; a job without a journal has none.
    pub(crate) reserve: Option<Reserve>,
    /// Told of every wait for a reader.
    pub(crate) readers: Arc<Waiting>,
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
    /// A batch waits for space; it is tried again after a pause.
    disk_is_full: bool,
    /// The last batch found no space.
    was_full: bool,
    /// How often a full disk was tried again while the job was stopping.
    stop_tries: u32,
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
            was_full: false,
            stop_tries: 0,
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
                    self.was_full = false;
                    let mut bytes = results.bytes;
                    bytes.clear();
                    self.spare.push(bytes);
                }
                Err(Undelivered::Full(error)) => {
                    self.held.push_front(results);
                    if !self.waits_for_space(error) {
                        return;
                    }
                    self.disk_is_full = true;
                    context.run_later(FULL_DISK_PAUSE, |actor, context| {
                        actor.disk_is_full = false;
                        actor.deliver_durable(context);
                    });
                }
                Err(Undelivered::Failed(source)) => self.fail(source),
            }
        }
    }

    /// Whether a full disk is tried again: always, but not for ever by a job that stops.
    fn waits_for_space(&mut self, error: io::Error) -> bool {
        let reserve = self.wiring.reserve.as_ref();
        if reserve.is_some_and(|reserve| !reserve.release_to_stop() && reserve.is_stopping()) {
            self.stop_tries += 1;
        }
        if self.stop_tries > STOP_TRIES_MAX {
            self.fail(error);
            return false;
        }
        // Once for each time it fills up.
        if !std::mem::replace(&mut self.was_full, true) {
            tracing::error!(sink = self.wiring.name, %error, "the disk is full: results wait");
        }
        true
    }

    fn fail(&mut self, source: io::Error) {
        self.failed = true;
        let error = JobError::Sink { sink: self.wiring.name.clone(), source };
        notify(&self.wiring.supervisor, JobFailed { error });
    }

    fn deliver(&mut self, results: &Results) -> Result<(), Undelivered> {
        let header = results.header;
        if header.offset > self.sink.delivered {
            let waits = (self.sink.writer.takers() == Takers::Reader).then(|| self.wiring.readers.begin());
            let written = self.sink.writer.write(header.offset, &results.bytes);
            drop(waits);
            written.map_err(|error| {
                if is_full(&error) { Undelivered::Full(error) } else { Undelivered::Failed(error) }
            })?;
            self.sink.delivered = header.offset;
            JobMetrics::add(&self.wiring.metrics.outputs, results.records);
        }
        if header.barrier.is_some() {
            let bytes = self.sink.writer.sync().map_err(|error| {
                if is_full(&error) && self.sink.writer.after_full_sync() == AfterFullSync::Again {
                    Undelivered::Full(error)
                } else {
                    Undelivered::Failed(error)
                }
            })?;
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

impl Handler<Ping> for SinkActor {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<ResetSink> for SinkActor {
    type Result = ();

    fn handle(&mut self, message: ResetSink, _: &mut Self::Context) {
        self.alignment.clear();
        self.held.clear();
        self.attempt = message.attempt;
    }
}
