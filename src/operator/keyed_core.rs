//! What the heads of keyed stages have in common: state, event time, timers, and what is refused.

use std::borrow::Cow;
use std::sync::Arc;

use super::SubtaskContext;
use super::error::OperatorError;
use super::event_time::{EventClock, SavedClock, StreamTime, WatermarkStrategy};
use super::firing::{DUE_TIMERS_SET_MAX, DueTimer, TimersAhead};
use super::group_clock::{GroupClocks, SavedGroupClocks};
use crate::metrics::{JobMetrics, RejectCause, Rejections};
use crate::runtime::{BatchHeader, Timestamp};
use crate::sink::dead_letter::Refused;
use crate::state::key::{KeyEncoder, KeyHash};
use crate::state::{
    Key, KeyGroup, KeyGroupRange, KeyedState, MaxParallelism, OperatorListDescriptor, OperatorListState,
    Redistribution, SavedPart, Slot, StateError, StateRegistry, StateSetup, StateSnapshot, TimeDomain,
};

/// Name of the operator's list that holds its event clock.
const CLOCK_LIST: &str = "tidegate.event-clock";
/// Name of the list that holds the clocks of its key groups.
const GROUP_CLOCKS_LIST: &str = "tidegate.group-clocks";

/// A keyed stage in one subtask, but for what it does with its records.
pub(crate) struct KeyedCore<K> {
    operator: String,
    pub(crate) state: KeyedState<K>,
    slots: Vec<Slot>,
    /// Records of the batch so far.
    record_count: usize,
    pub(crate) clock: EventClock,
    /// The clock as it is saved; none where there are no timestamps.
    saved_clock: Option<OperatorListState<SavedClock>>,
    /// Where each key group has an event time of its own.
    group_clocks: Option<(GroupClocks, OperatorListState<SavedGroupClocks>)>,
    max_parallelism: MaxParallelism,
    ahead: TimersAhead<K>,
    pub(crate) encoder: KeyEncoder,
    pub(crate) rejections: Rejections,
    refused: Refused,
    /// Knows where refused records are kept.
    setup: Arc<StateSetup>,
    metrics: Arc<JobMetrics>,
    /// Keys were dropped before.
    has_evicted: bool,
    index: usize,
    parallelism: usize,
}

impl<K: Key> KeyedCore<K> {
    /// `streams`: where each of the streams it reads has its event time from; `by_group`: with it each key group has an event time
    /// of its own, made from the rows it is told of. `declare` declares its states; what that returns comes back.
    ///
    /// # Errors
    /// Those of the registry.
    pub(crate) fn open<H>(
        operator: &str,
        context: &SubtaskContext,
        streams: &[StreamTime],
        by_group: Option<WatermarkStrategy>,
        declare: impl FnOnce(&mut StateRegistry) -> Result<H, StateError>,
    ) -> Result<(Self, H), StateError> {
        let range = KeyGroupRange::of_subtask(context.index, context.parallelism, context.max_parallelism);
        let setup = Arc::clone(&context.state);
        let mut state = KeyedState::new(operator.to_owned(), range, context.max_parallelism, setup);
        let handles = declare(state.registry())?;
        let clock = EventClock::new(streams);
        let list = OperatorListDescriptor::new(CLOCK_LIST, Redistribution::Union);
        let saved_clock =
            clock.is_timed().then(|| state.registry().operator_list::<SavedClock>(&list)).transpose()?;
        let group_clocks = match by_group {
            None => None,
            Some(strategy) => {
                let list = OperatorListDescriptor::new(GROUP_CLOCKS_LIST, Redistribution::Union);
                let saved = state.registry().operator_list::<SavedGroupClocks>(&list)?;
                state.timers().split(TimeDomain::EventTime);
                Some((GroupClocks::new(strategy, range), saved))
            }
        };
        let core = Self {
            operator: operator.to_owned(),
            state,
            slots: Vec::new(),
            record_count: 0,
            clock,
            saved_clock,
            group_clocks,
            max_parallelism: context.max_parallelism,
            ahead: TimersAhead::default(),
            encoder: KeyEncoder::new(),
            rejections: Rejections::new(operator, Arc::clone(&context.metrics)),
            refused: Refused::default(),
            setup: Arc::clone(&context.state),
            metrics: Arc::clone(&context.metrics),
            has_evicted: false,
            index: context.index,
            parallelism: context.parallelism,
        };
        Ok((core, handles))
    }

    pub(crate) fn operator(&self) -> &str {
        &self.operator
    }

    /// True when its streams have timestamps.
    pub(crate) fn is_timed(&self) -> bool {
        self.saved_clock.is_some()
    }

    /// Takes a part of a batch in: returns the slots of its keys, to be given back.
    ///
    /// # Errors
    /// Those of finding the slots.
    pub(crate) fn take_in(
        &mut self,
        stream: usize,
        mark: i64,
        hashes: &[KeyHash],
        keys: &[K],
    ) -> Result<Vec<Slot>, StateError> {
        self.clock.hear(stream, mark);
        let mut slots = std::mem::take(&mut self.slots);
        self.state.resolve(hashes, keys, &mut slots)?;
        self.record_count += keys.len();
        Ok(slots)
    }

    /// Tells the clocks of the key groups, where there are any, of rows and their times.
    pub(crate) fn hear_rows(&mut self, hashes: &[KeyHash], times: &[i64]) {
        if let Some((clocks, _)) = &mut self.group_clocks {
            for (hash, time) in hashes.iter().zip(times) {
                clocks.hear(KeyGroup::of(*hash, self.max_parallelism), *time);
            }
        }
    }

    /// The watermark that a key of this hash has.
    #[inline]
    pub(crate) fn watermark_of(&self, hash: KeyHash) -> i64 {
        match &self.group_clocks {
            None => self.clock.watermark(),
            Some((clocks, _)) => clocks.watermark_of(KeyGroup::of(hash, self.max_parallelism)),
        }
    }

    /// Moves event time: the batch of processing time `now` ends.
    pub(crate) fn end_clocks(&mut self, now: i64) {
        self.clock.end_batch(now);
        if let Some((clocks, _)) = &mut self.group_clocks {
            let timers = self.state.timers();
            let last_timer = |index| timers.last_time(TimeDomain::EventTime, index);
            clocks.end_batch(now, self.clock.watermark(), last_timer);
        }
    }

    /// The watermark that what leaves the stage has; none where its key groups go by times of their own.
    pub(crate) fn stage_watermark(&self) -> Option<i64> {
        let watermark = self.clock.watermark();
        (self.group_clocks.is_none() && watermark > i64::MIN).then_some(watermark)
    }

    /// Number of queues of event-time timers.
    pub(crate) fn event_queue_count(&self) -> usize {
        self.group_clocks.as_ref().map_or(1, |(clocks, _)| clocks.len())
    }

    /// The watermark of the queue of this number.
    pub(crate) fn queue_watermark(&self, queue: usize) -> i64 {
        match &self.group_clocks {
            None => self.clock.watermark(),
            Some((clocks, _)) => clocks.watermark(queue),
        }
    }

    /// Keeps the allocation of slots that were taken.
    pub(crate) fn give_back(&mut self, slots: Vec<Slot>) {
        self.slots = slots;
    }

    /// Refuses a record of a key over the limit.
    #[cold]
    pub(crate) fn refuse(&mut self, header: &BatchHeader, key: &K) {
        self.state.with_encoded(key, |key_bytes| {
            let cause = RejectCause::KEYS_MAX;
            self.refused.add(header.offset, &self.operator, cause, key, key_bytes);
            self.rejections.reject(cause, None, || Cow::Borrowed(key_bytes));
        });
    }

    /// Refuses a row, a JSON object, for `cause`.
    #[cold]
    pub(crate) fn refuse_row(&mut self, header: &BatchHeader, cause: RejectCause, row: &[u8]) {
        if self.setup.dead_letters.is_some() {
            self.refused.add_row(header.offset, &self.operator, cause, row);
        }
        self.rejections.reject(cause, None, || Cow::Borrowed(row));
    }

    /// Sets a timer of `key`, a key of the batch. Setting it again changes nothing.
    pub(crate) fn set_timer(&mut self, domain: TimeDomain, time: i64, key: &K) {
        let key = self.encoder.encode(key).expect("a key of a batch was hashed before");
        self.state.timers().set(domain, time, key);
    }

    /// The next timer of a queue that is due at `now`, with the state at its key.
    ///
    /// # Errors
    /// Those of finding its slot.
    pub(crate) fn next_timer(
        &mut self,
        queue: (TimeDomain, usize),
        now: i64,
    ) -> Result<Option<DueTimer<K>>, StateError> {
        while let Some(timer) = self.ahead.next(&mut self.state, queue, now)? {
            if timer.slot == Slot::REFUSED {
                self.rejections.reject(RejectCause::KEYS_MAX, None, || Cow::Borrowed(b"".as_slice()));
                continue;
            }
            self.state.move_to(timer.slot);
            return Ok(Some(timer));
        }
        Ok(None)
    }

    /// # Errors
    /// Timers that fire have set more than can be meant, for times that have come.
    pub(crate) fn check_endless(&mut self) -> Result<(), OperatorError> {
        if self.state.timers().set_due() > DUE_TIMERS_SET_MAX {
            return Err(OperatorError::TimersEndless { limit: DUE_TIMERS_SET_MAX });
        }
        Ok(())
    }

    /// Ends a batch.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn end_batch(&mut self) -> Result<(), OperatorError> {
        self.state.end_batch(std::mem::take(&mut self.record_count))?;
        self.count_evicted();
        if let Some(dead_letters) = &self.setup.dead_letters {
            dead_letters.keep(&self.refused);
        }
        self.refused.clear();
        self.rejections.end_batch();
        Ok(())
    }

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

    /// The earliest processing time at which a batch is wanted.
    pub(crate) fn next_due(&mut self) -> Option<Timestamp> {
        let now = self.state.rows().now();
        let timers = self.state.timers();
        let timer = timers.next_time(TimeDomain::ProcessingTime, 0);
        let idle = match &self.group_clocks {
            None => self.clock.next_due(now),
            Some((clocks, _)) => clocks.next_due(|index| timers.next_time(TimeDomain::EventTime, index)),
        };
        timer.into_iter().chain(idle).min().map(Timestamp)
    }

    /// The state as it is after the last batch.
    ///
    /// # Errors
    /// A value that cannot be encoded; the store's.
    pub(crate) fn snapshot(&mut self) -> Result<Box<dyn StateSnapshot>, StateError> {
        if let Some(saved) = &self.saved_clock {
            saved.update([self.clock.save()]);
        }
        if let Some((clocks, saved)) = &self.group_clocks {
            saved.update([clocks.save()]);
        }
        self.state.snapshot()
    }

    /// # Errors
    /// What was saved does not fit what is declared.
    pub(crate) fn check(&mut self, parts: &[SavedPart]) -> Result<(), StateError> {
        self.state.check(parts, self.parallelism)
    }

    /// Opens the state with what was saved.
    ///
    /// # Errors
    /// What was saved does not fit, or cannot be read.
    pub(crate) fn restore(&mut self, parts: &[SavedPart], stamp: Timestamp) -> Result<(), StateError> {
        self.state.open(parts, self.index, self.parallelism, stamp.0)?;
        // All subtasks had the same.
        if let Some(saved) = self.saved_clock.as_ref().and_then(|saved| saved.get().into_iter().next()) {
            self.clock.restore(&saved);
        }
        if let Some((clocks, saved)) = &mut self.group_clocks {
            clocks.restore(&saved.get());
        }
        Ok(())
    }
}
