//! The head of a keyed step: gives rows, with the state of their keys, to the step's function, and fires its timers.

use std::sync::Arc;

use super::rows::Rows;
use super::to_keys::KeyedRowsPart;
use crate::operator::{
    AnyPart, Head, KeyedCore, NO_TIME, OperatorError, PartPool, Slot as ChainSlot, StreamTime,
    SubtaskContext, WatermarkStrategy,
};
use crate::query::format::RowEncoder;
use crate::query::group_key::GroupKey;
use crate::query::row_batch::RowBatch;
use crate::query::sql_type::SqlType;
use crate::runtime::{BatchHeader, Timestamp};
use crate::state::key::KeyHash;
use crate::state::{
    SavedPart, Slot, StateError, StateSnapshot, StateValue, TimeDomain, ValueState, ValueStateDescriptor,
};

/// What a keyed step does with its rows.
pub(crate) trait KeyedRowFunction {
    /// What it keeps for each key.
    type State: StateValue;

    /// How that is saved.
    fn descriptor(&self) -> ValueStateDescriptor<Self::State>;

    /// The clock its timers are set by.
    fn domain(&self) -> TimeDomain;

    /// Types of its results and of late rows.
    fn types(&self) -> (Vec<SqlType>, Vec<SqlType>);

    /// Processes the rows of a part.
    ///
    /// # Errors
    /// Any failure rewinds the job.
    fn process(
        &mut self,
        rows: &RowBatch,
        context: &mut RowContext<'_, Self::State>,
        out: &mut Rows,
    ) -> Result<(), OperatorError>;

    /// A timer fires; the state is at its key.
    fn fire(&mut self, time: i64, key: &GroupKey, context: &mut RowContext<'_, Self::State>, out: &mut Rows);
}

/// What a function of rows works with.
pub(crate) struct RowContext<'a, S: StateValue> {
    pub(crate) header: &'a BatchHeader,
    pub(crate) state: &'a ValueState<S>,
    /// Key and slot of each row.
    pub(crate) keys: &'a [GroupKey],
    hashes: &'a [KeyHash],
    slots: &'a [Slot],
    domain: TimeDomain,
    core: &'a mut KeyedCore<GroupKey>,
    encoder: &'a RowEncoder,
}

impl<S: StateValue> RowContext<'_, S> {
    /// Moves the state to the key of `row`; false when the key was refused.
    #[inline]
    pub(crate) fn move_to(&mut self, row: usize) -> bool {
        let slot = self.slots[row];
        if slot == Slot::REFUSED {
            self.core.refuse(self.header, &self.keys[row]);
            return false;
        }
        self.core.state.move_to(slot);
        true
    }

    /// The watermark that the key of `row` had before this batch.
    #[inline]
    pub(crate) fn watermark(&self, row: usize) -> i64 {
        self.core.watermark_of(self.hashes[row])
    }

    /// True when rows have event time.
    pub(crate) fn is_timed(&self) -> bool {
        self.core.is_timed()
    }

    pub(crate) fn set_timer(&mut self, time: i64, key: &GroupKey) {
        self.core.set_timer(self.domain, time, key);
    }

    /// Rejects a row of the step's input.
    #[cold]
    pub(crate) fn reject(&mut self, rows: &RowBatch, row: usize, cause: crate::metrics::RejectCause) {
        let mut text = Vec::new();
        self.encoder.encode(&rows.columns, row, &mut text);
        self.core.refuse_row(self.header, cause, &text);
    }
}

/// Runs a function of rows over the parts of a batch.
pub(crate) struct KeyedRows<F: KeyedRowFunction> {
    function: F,
    state: ValueState<F::State>,
    core: KeyedCore<GroupKey>,
    encoder: RowEncoder,
    pool: Arc<PartPool<Box<KeyedRowsPart>>>,
}

impl<F: KeyedRowFunction> KeyedRows<F> {
    /// `input` renders rows of the input that are rejected; `streams`: where those it reads have their event time from; `by_group`: each
    /// key group has an event time of its own.
    ///
    /// # Errors
    /// Those of declaring the state.
    pub(crate) fn open(
        operator: &str,
        function: F,
        input: RowEncoder,
        (streams, by_group): (&[StreamTime], Option<WatermarkStrategy>),
        context: &SubtaskContext,
        pool: Arc<PartPool<Box<KeyedRowsPart>>>,
    ) -> Result<Self, StateError> {
        let descriptor = function.descriptor();
        let (core, state) =
            KeyedCore::open(operator, context, streams, by_group, |registry| registry.value(&descriptor))?;
        Ok(Self { function, state, core, encoder: input, pool })
    }

    fn fire(
        &mut self,
        (domain, queue): (TimeDomain, usize),
        now: i64,
        header: &BatchHeader,
        out: &mut Rows,
    ) -> Result<(), OperatorError> {
        if domain != self.function.domain() {
            return Ok(());
        }
        self.core.state.timers().begin_firing(domain, now);
        while let Some(timer) = self.core.next_timer((domain, queue), now)? {
            let mut context = RowContext {
                header,
                state: &self.state,
                keys: &[],
                hashes: &[],
                slots: &[],
                domain,
                core: &mut self.core,
                encoder: &self.encoder,
            };
            self.function.fire(timer.time, &timer.key, &mut context, out);
            self.core.check_endless()?;
        }
        self.core.state.timers().end_firing();
        Ok(())
    }
}

impl<F: KeyedRowFunction> Head for KeyedRows<F> {
    fn new_buffer(&self) -> Box<dyn ChainSlot> {
        let (types, late) = self.function.types();
        Box::new(Rows::new(&types, &late))
    }

    fn begin(&mut self, header: &BatchHeader, out: &mut dyn ChainSlot) -> Result<(), OperatorError> {
        self.core.state.begin_batch(header.stamp.0);
        self.fire((TimeDomain::ProcessingTime, 0), header.stamp.0, header, Rows::of(out))
    }

    fn run(
        &mut self,
        header: &BatchHeader,
        parts: Vec<AnyPart>,
        out: &mut dyn ChainSlot,
    ) -> Result<(), OperatorError> {
        let out = Rows::of(out);
        for part in parts {
            let mut part: Box<KeyedRowsPart> = part.downcast().expect("the tail of a query sends keyed rows");
            let mark = part.rows.mark.unwrap_or(i64::MIN);
            let slots = self.core.take_in(part.stream, mark, &part.hashes, &part.keys)?;
            if self.core.is_timed() && part.rows.times.is_empty() {
                // Of a stream without event time that others with one are in union with.
                part.rows.times.resize(part.rows.len, NO_TIME);
            }
            self.core.hear_rows(&part.hashes, &part.rows.times);
            let mut context = RowContext {
                header,
                state: &self.state,
                keys: &part.keys,
                hashes: &part.hashes,
                slots: &slots,
                domain: self.function.domain(),
                core: &mut self.core,
                encoder: &self.encoder,
            };
            self.function.process(&part.rows, &mut context, out)?;
            self.core.give_back(slots);
            part.hashes.clear();
            part.keys.clear();
            part.rows.clear();
            self.pool.put(part);
        }
        Ok(())
    }

    fn end(&mut self, header: &BatchHeader, out: &mut dyn ChainSlot) -> Result<(), OperatorError> {
        let out = Rows::of(out);
        self.core.end_clocks(header.stamp.0);
        for queue in 0..self.core.event_queue_count() {
            let watermark = self.core.queue_watermark(queue);
            self.fire((TimeDomain::EventTime, queue), watermark, header, out)?;
        }
        let mark = self.core.stage_watermark();
        (out.rows.mark, out.late.mark) = (mark, mark);
        self.core.end_batch()
    }

    fn next_due(&mut self) -> Option<Timestamp> {
        self.core.next_due()
    }

    fn stateful_operator(&self) -> Option<&str> {
        Some(self.core.operator())
    }

    fn snapshot(&mut self) -> Result<Option<Box<dyn StateSnapshot>>, StateError> {
        self.core.snapshot().map(Some)
    }

    fn check(&mut self, parts: &[SavedPart]) -> Result<(), StateError> {
        self.core.check(parts)
    }

    fn open(&mut self, parts: &[SavedPart], stamp: Timestamp) -> Result<(), StateError> {
        self.core.restore(parts, stamp)
    }

    fn key_count(&self) -> usize {
        self.core.state.key_count()
    }
}
