//! The sink actor: merges a batch's parts in subtask order and writes them, on the sink thread.

use std::sync::Arc;

use actix::prelude::*;

use super::alignment::Alignment;
use super::batch::{Attempt, BatchHeader};
use super::coordinator::CheckpointCoordinator;
use super::error::JobError;
use super::messages::{BatchDelivered, DeliverPart, JobFailed, ResetSink, SinkReached};
use super::sequencer::{Sequencer, notify};
use super::supervisor::JobSupervisor;
use crate::checkpoint::SinkPosition;
use crate::metrics::JobMetrics;
use crate::operator::{AnyPart, EncodedPart, PartPool};
use crate::sink::SinkWriter;

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
}

/// Writes a job's results.
pub(crate) struct SinkActor {
    wiring: SinkWiring,
    writer: Box<dyn SinkWriter>,
    alignment: Alignment,
    attempt: Attempt,
    /// Records delivered since the job's first start.
    records: u64,
    failed: bool,
}

impl SinkActor {
    pub(crate) fn new(wiring: SinkWiring, writer: Box<dyn SinkWriter>, records: u64) -> Self {
        let alignment = Alignment::new(wiring.input_count);
        Self { wiring, writer, alignment, attempt: Attempt(0), records, failed: false }
    }

    fn deliver(&mut self, header: BatchHeader, parts: Vec<AnyPart>) -> std::io::Result<()> {
        let mut records = 0;
        for part in parts {
            let mut part: Box<EncodedPart> = part.downcast().expect("an encoder sends encoded parts");
            if !part.bytes.is_empty() {
                self.writer.write(&part.bytes)?;
            }
            records += part.records;
            part.bytes.clear();
            self.wiring.pool.put(*part);
        }
        self.records += records;
        JobMetrics::add(&self.wiring.metrics.outputs, records);
        let delivered =
            BatchDelivered { attempt: header.attempt, offset: header.offset, sink: self.wiring.index };
        notify(&self.wiring.sequencer, delivered);
        if header.barrier.is_some() {
            let position = SinkPosition { sink: self.wiring.name.clone(), records: self.records };
            notify(&self.wiring.coordinator, SinkReached { header, sink: self.wiring.index, position });
        }
        Ok(())
    }
}

impl Actor for SinkActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.wiring.mailbox_capacity);
    }
}

impl Handler<DeliverPart> for SinkActor {
    type Result = ();

    fn handle(&mut self, message: DeliverPart, _: &mut Self::Context) {
        if message.header.attempt != self.attempt || self.failed {
            return;
        }
        self.alignment.push(message.input, message.header, message.part);
        while let Some((header, parts)) = self.alignment.pop() {
            if let Err(source) = self.deliver(header, parts) {
                self.failed = true;
                let error = JobError::Sink { sink: self.wiring.name.clone(), source };
                return notify(&self.wiring.supervisor, JobFailed { error });
            }
        }
    }
}

impl Handler<ResetSink> for SinkActor {
    type Result = ();

    fn handle(&mut self, message: ResetSink, _: &mut Self::Context) {
        self.alignment.clear();
        self.attempt = message.attempt;
    }
}
