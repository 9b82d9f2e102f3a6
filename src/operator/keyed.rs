//! The head of a keyed stage: calls a keyed process function for each record, with the state of its key.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use super::SubtaskContext;
use super::chain::{Head, Slot as ChainSlot, records};
use super::collector::Collector;
use super::error::OperatorError;
use super::key_by::KeyedPart;
use super::part::{AnyPart, PartPool};
use crate::metrics::{JobMetrics, RejectCause, Rejections};
use crate::mutants::Mutant;
use crate::runtime::{BatchHeader, Offset, Timestamp};
use crate::sink::dead_letter::Refused;
use crate::state::{
    Key, KeyGroupRange, KeyedState, SavedPart, Slot, StateError, StateRegistry, StateSetup, StateSnapshot,
    StateValue, ValueState, ValueStateDescriptor,
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
}

/// What a keyed process function may know besides its record. Time comes from here, never from the system clock,
/// so that a replay sees the same.
#[derive(Debug)]
pub struct KeyedContext<'a, K> {
    key: &'a K,
    header: &'a BatchHeader,
    rejections: &'a mut Rejections,
}

impl<K: std::fmt::Debug> KeyedContext<'_, K> {
    /// Rejects the record at hand: counted by cause, sampled in the log with its key.
    pub fn reject(&mut self, cause: RejectCause) {
        let key = self.key;
        self.rejections.reject(cause, None, || format!("{key:?}").into_bytes().into());
    }
}

impl<K> KeyedContext<'_, K> {
    /// The record's key.
    pub fn key(&self) -> &K {
        self.key
    }

    /// Processing time of the record's batch.
    pub fn processing_time(&self) -> Timestamp {
        if Mutant::WallClockInOperator.is_on() {
            return crate::runtime::wall_time();
        }
        self.header.stamp
    }

    /// Offset of the record's batch.
    pub fn offset(&self) -> Offset {
        self.header.offset
    }
}

/// Runs a keyed process function over the parts of a batch.
pub(crate) struct KeyedProcess<K, T, P: KeyedProcessFunction<K, T>> {
    operator: String,
    function: P,
    handles: P::State,
    state: KeyedState<K>,
    slots: Vec<Slot>,
    rejections: Rejections,
    refused: Refused,
    /// Knows where refused records are kept.
    setup: Arc<StateSetup>,
    metrics: Arc<JobMetrics>,
    /// Keys were dropped before.
    has_evicted: bool,
    pool: Arc<PartPool<Box<KeyedPart<K, T>>>>,
    index: usize,
    parallelism: usize,
    types: PhantomData<fn(T)>,
}

impl<K: Key, T, P: KeyedProcessFunction<K, T>> KeyedProcess<K, T, P> {
    pub(crate) fn open(
        operator: &str,
        mut function: P,
        context: &SubtaskContext,
        pool: Arc<PartPool<Box<KeyedPart<K, T>>>>,
    ) -> Result<Self, StateError> {
        let range = KeyGroupRange::of_subtask(context.index, context.parallelism, context.max_parallelism);
        let setup = Arc::clone(&context.state);
        let mut state = KeyedState::new(operator.to_owned(), range, context.max_parallelism, setup);
        let handles = function.open(state.registry())?;
        Ok(Self {
            operator: operator.to_owned(),
            function,
            handles,
            state,
            slots: Vec::new(),
            rejections: Rejections::new(operator, Arc::clone(&context.metrics)),
            refused: Refused::default(),
            setup: Arc::clone(&context.state),
            metrics: Arc::clone(&context.metrics),
            has_evicted: false,
            pool,
            index: context.index,
            parallelism: context.parallelism,
            types: PhantomData,
        })
    }
}

impl<K: Key, T, P: KeyedProcessFunction<K, T>> KeyedProcess<K, T, P> {
    fn count_evicted(&mut self) {
        let evicted = self.state.take_evicted();
        if evicted == 0 {
            return;
        }
        JobMetrics::add(&self.metrics.keys_evicted, evicted);
        if !std::mem::replace(&mut self.has_evicted, true) {
            tracing::warn!(
                operator = self.operator,
                keys = evicted,
                "state is at its limit: the keys not seen for longest are dropped from now on, and counted"
            );
        }
    }
}

impl<K: Key, T: Send + 'static, P: KeyedProcessFunction<K, T>> Head for KeyedProcess<K, T, P> {
    fn new_buffer(&self) -> Box<dyn ChainSlot> {
        Box::new(Vec::<P::Out>::new())
    }

    fn run(
        &mut self,
        header: &BatchHeader,
        parts: Vec<AnyPart>,
        out: &mut dyn ChainSlot,
    ) -> Result<(), OperatorError> {
        let out = records::<P::Out>(out);
        let rows = self.state.rows();
        let mut record_count = 0;
        self.state.begin_batch(header.stamp.0);
        for part in parts {
            let mut part: Box<KeyedPart<K, T>> = part.downcast().expect("key_by sends keyed parts");
            self.state.resolve(&part.hashes, &part.keys, &mut self.slots)?;
            record_count += part.records.len();
            let mut collector = Collector::new(out);
            for ((record, key), slot) in part.records.drain(..).zip(&part.keys).zip(&self.slots) {
                if *slot == Slot::REFUSED {
                    self.state.with_encoded(key, |key_bytes| {
                        let cause = RejectCause::KEYS_MAX;
                        self.refused.add(header.offset, &self.operator, cause, key, key_bytes);
                        self.rejections.reject(cause, None, || Cow::Borrowed(key_bytes));
                    });
                    continue;
                }
                rows.move_to(*slot);
                collector.next_record();
                let mut context = KeyedContext { key, header, rejections: &mut self.rejections };
                self.function.process(record, &mut self.handles, &mut context, &mut collector)?;
            }
            part.hashes.clear();
            part.keys.clear();
            self.pool.put(part);
        }
        self.state.end_batch(record_count)?;
        self.count_evicted();
        if let Some(dead_letters) = &self.setup.dead_letters {
            dead_letters.keep(&self.refused);
        }
        self.refused.clear();
        self.rejections.end_batch();
        Ok(())
    }

    fn stateful_operator(&self) -> Option<&str> {
        Some(&self.operator)
    }

    fn snapshot(&mut self) -> Result<Option<Box<dyn StateSnapshot>>, StateError> {
        self.state.snapshot().map(Some)
    }

    fn check(&mut self, parts: &[SavedPart]) -> Result<(), StateError> {
        self.state.check(parts, self.parallelism)
    }

    fn open(&mut self, parts: &[SavedPart], stamp: Timestamp) -> Result<(), StateError> {
        self.state.open(parts, self.index, self.parallelism, stamp.0)
    }

    fn key_count(&self) -> usize {
        self.state.key_count()
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
