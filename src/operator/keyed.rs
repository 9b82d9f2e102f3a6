//! The head of a keyed stage: calls a keyed process function for each record, with the state of its key, and when
//! timers fire.
//!
//! ```text
//! begin   processing-time timers up to the batch's stamp
//! run     records, part by part
//! end     the watermark moves; event-time timers up to it
//! ```

use std::marker::PhantomData;
use std::sync::Arc;

use super::SubtaskContext;
use super::chain::{Buffer, Head, NO_TIME, Slot as ChainSlot, buffer};
use super::collector::Collector;
use super::context::KeyedContext;
use super::error::OperatorError;
use super::event_time::StreamTime;
use super::firing::DueTimer;
use super::key_by::KeyedPart;
use super::keyed_core::KeyedCore;
use super::part::{AnyPart, PartPool};
use crate::runtime::{BatchHeader, Timestamp};
use crate::state::{
    Key, SavedPart, Slot, StateError, StateRegistry, StateSnapshot, StateValue, TimeDomain, ValueState,
    ValueStateDescriptor,
};

/// A function over keyed records that keeps state for each key.
///
/// One value of the implementing type exists for each subtask, cloned from the one given to
/// [`process`](crate::KeyedStream::process); after a failure it is cloned anew. What must outlive a failure is
/// declared as state in [`open`](Self::open), whose handles come back in [`process`](Self::process).
///
/// ```
/// use tidegate::{Collector, KeyedContext, KeyedProcessFunction, OperatorError};
/// use tidegate::{StateError, StateRegistry, ValueState, ValueStateDescriptor};
///
/// /// Emits a key's reading when it differs from the one before.
/// #[derive(Clone)]
/// struct Changed;
///
/// impl KeyedProcessFunction<i64, (i64, i64)> for Changed {
///     type Out = (i64, i64);
///     type State = ValueState<i64>;
///
///     fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError> {
///         states.value(&ValueStateDescriptor::new("last"))
///     }
///
///     fn process(
///         &mut self,
///         (key, reading): (i64, i64),
///         last: &mut Self::State,
///         _context: &mut KeyedContext<'_, i64>,
///         out: &mut Collector<'_, Self::Out>,
///     ) -> Result<(), OperatorError> {
///         if last.value() != Some(reading) {
///             last.update(reading);
///             out.collect((key, reading));
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait KeyedProcessFunction<K, T>: 'static {
    /// What it emits.
    type Out: Send + 'static;
    /// The handles of its states: one handle, a tuple or a struct of them.
    type State: 'static;

    /// Declares the states. Called once in each subtask, before any record and before state is restored.
    ///
    /// # Errors
    /// Those of the registry; the job does not start.
    fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError>;

    /// Processes one record; the state handles are at its key.
    ///
    /// It must return: one that takes longer than `Settings::batch_timeout` has failed, and its thread is lost to the job.
    ///
    /// # Errors
    /// Any failure rewinds the job to its last completed checkpoint.
    fn process(
        &mut self,
        record: T,
        state: &mut Self::State,
        context: &mut KeyedContext<'_, K>,
        out: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError>;

    /// Called when a timer fires that was set through the context; the state handles are at its key. Does nothing unless it
    /// is implemented.
    ///
    /// Timers that are due fire in the order of time, then of the encoded key: those of processing time before the
    /// records of a batch, those of event time behind them. One that is set meanwhile and is due fires in its turn. A
    /// clock may jump far: set the next of a row of timers from [`KeyedContext::processing_time`], not from `time`.
    ///
    /// # Errors
    /// Any failure rewinds the job to its last completed checkpoint. It is no frame's fault, so the batch is never given
    /// up: a timer that fails each time ends the job by its restart strategy.
    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        state: &mut Self::State,
        context: &mut KeyedContext<'_, K>,
        out: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError> {
        let _ = (time, domain, state, context, out);
        Ok(())
    }
}

/// Runs a keyed process function over the parts of a batch.
pub(crate) struct KeyedProcess<K, T, P: KeyedProcessFunction<K, T>> {
    function: P,
    handles: P::State,
    core: KeyedCore<K>,
    pool: Arc<PartPool<Box<KeyedPart<K, T>>>>,
    types: PhantomData<fn(T)>,
}

impl<K: Key, T, P: KeyedProcessFunction<K, T>> KeyedProcess<K, T, P> {
    /// `streams`: where each of the streams it reads has its event time from.
    pub(crate) fn open(
        operator: &str,
        mut function: P,
        context: &SubtaskContext,
        pool: Arc<PartPool<Box<KeyedPart<K, T>>>>,
        streams: &[StreamTime],
    ) -> Result<Self, StateError> {
        let (core, handles) =
            KeyedCore::open(operator, context, streams, None, |registry| function.open(registry))?;
        Ok(Self { function, handles, core, pool, types: PhantomData })
    }

    /// Fires the timers of `domain` that are due at `now`, and those they set that are due too.
    fn fire(
        &mut self,
        domain: TimeDomain,
        now: i64,
        header: &BatchHeader,
        out: &mut Buffer<P::Out>,
    ) -> Result<(), OperatorError> {
        let core = &mut self.core;
        core.state.timers().begin_firing(domain, now);
        while let Some(DueTimer { time, key, .. }) = core.next_timer((domain, 0), now)? {
            let event_time = if domain == TimeDomain::EventTime { time } else { NO_TIME };
            let mut context = KeyedContext {
                key: &key,
                header,
                time: event_time,
                watermark: core.clock.watermark(),
                rejections: &mut core.rejections,
                timers: core.state.timers(),
                encoder: &mut core.encoder,
            };
            let mut collector = Collector::new(&mut out.records);
            self.function.on_timer(
                Timestamp(time),
                domain,
                &mut self.handles,
                &mut context,
                &mut collector,
            )?;
            if core.is_timed() {
                out.times.resize(out.records.len(), event_time);
            }
            core.check_endless()?;
        }
        core.state.timers().end_firing();
        Ok(())
    }
}

impl<K: Key, T: Send + 'static, P: KeyedProcessFunction<K, T>> Head for KeyedProcess<K, T, P> {
    fn new_buffer(&self) -> Box<dyn ChainSlot> {
        Box::new(Buffer::<P::Out>::default())
    }

    fn begin(&mut self, header: &BatchHeader, out: &mut dyn ChainSlot) -> Result<(), OperatorError> {
        self.core.state.begin_batch(header.stamp.0);
        self.fire(TimeDomain::ProcessingTime, header.stamp.0, header, buffer::<P::Out>(out))
    }

    fn run(
        &mut self,
        header: &BatchHeader,
        parts: Vec<AnyPart>,
        out: &mut dyn ChainSlot,
    ) -> Result<(), OperatorError> {
        let out = buffer::<P::Out>(out);
        let core = &mut self.core;
        let rows = core.state.rows();
        let watermark = core.clock.watermark();
        for part in parts {
            let mut part: Box<KeyedPart<K, T>> = part.downcast().expect("key_by sends keyed parts");
            let slots = core.take_in(part.stream, part.mark, &part.hashes, &part.keys)?;
            let is_timed = core.is_timed();
            let mut collector = Collector::new(&mut out.records);
            let mut times = part.times.iter();
            for ((record, key), slot) in part.records.drain(..).zip(&part.keys).zip(&slots) {
                let time = times.next().copied().unwrap_or(NO_TIME);
                if *slot == Slot::REFUSED {
                    core.refuse(header, key);
                    continue;
                }
                rows.move_to(*slot);
                collector.next_record();
                let mut context = KeyedContext {
                    key,
                    header,
                    time,
                    watermark,
                    rejections: &mut core.rejections,
                    timers: core.state.timers(),
                    encoder: &mut core.encoder,
                };
                self.function.process(record, &mut self.handles, &mut context, &mut collector)?;
                if is_timed {
                    out.times.resize(collector.count(), time);
                }
            }
            core.give_back(slots);
            part.hashes.clear();
            part.keys.clear();
            part.times.clear();
            self.pool.put(part);
        }
        Ok(())
    }

    fn end(&mut self, header: &BatchHeader, out: &mut dyn ChainSlot) -> Result<(), OperatorError> {
        let out = buffer::<P::Out>(out);
        self.core.clock.end_batch(header.stamp.0);
        let watermark = self.core.clock.watermark();
        self.fire(TimeDomain::EventTime, watermark, header, out)?;
        out.mark = watermark;
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

/// A closure with one value state, as a keyed process function.
pub(crate) struct StateClosure<V, U, F> {
    descriptor: ValueStateDescriptor<V>,
    function: F,
    types: PhantomData<fn() -> U>,
}

impl<V, U, F> StateClosure<V, U, F> {
    pub(crate) fn new(descriptor: ValueStateDescriptor<V>, function: F) -> Self {
        Self { descriptor, function, types: PhantomData }
    }
}

impl<V: StateValue, U, F: Clone> Clone for StateClosure<V, U, F> {
    fn clone(&self) -> Self {
        Self::new(self.descriptor.clone(), self.function.clone())
    }
}

impl<K, T, V, U, F> KeyedProcessFunction<K, T> for StateClosure<V, U, F>
where
    V: StateValue,
    U: Send + 'static,
    F: FnMut(T, &mut ValueState<V>, &mut Collector<'_, U>) + 'static,
{
    type Out = U;
    type State = ValueState<V>;

    fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError> {
        states.value(&self.descriptor)
    }

    fn process(
        &mut self,
        record: T,
        state: &mut Self::State,
        _context: &mut KeyedContext<'_, K>,
        out: &mut Collector<'_, U>,
    ) -> Result<(), OperatorError> {
        (self.function)(record, state, out);
        Ok(())
    }
}
