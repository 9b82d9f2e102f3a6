//! A stream of records.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::rc::Rc;

use super::keyed_stream::{KeyedStream, StreamInput};
use super::line::Line;
use super::topology::{Prototype, StageSlot, TopologyBuilder};
use super::union_stream::UnionStream;
use crate::operator::{
    AssignTimestamps, Collector, Copies, Encode, Filter, FlatMap, Map, StreamTime, WatermarkStrategy,
};
use crate::runtime::Timestamp;
use crate::sink::{Collected, MqttPublish, SinkSpec};
use crate::state::Key;

/// A stream of records of type `T`.
#[must_use = "a stream does nothing until it ends in a sink"]
pub struct DataStream<T> {
    builder: Rc<RefCell<TopologyBuilder>>,
    slot: StageSlot,
    time: StreamTime,
    record: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for DataStream<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataStream").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> DataStream<T> {
    pub(crate) fn new(builder: Rc<RefCell<TopologyBuilder>>, slot: StageSlot, time: StreamTime) -> Self {
        Self { builder, slot, time, record: PhantomData }
    }

    /// Names the stage this stream comes from: in messages, and for the state it keeps. A stage whose name stays the
    /// same finds its state again when the job is changed around it.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.builder.borrow_mut().name_stage(self.slot.stage, name.into());
        self
    }

    /// One result for each record.
    pub fn map<U, F>(self, function: F) -> DataStream<U>
    where
        U: Send + 'static,
        F: FnMut(T) -> U + Clone + Send + 'static,
    {
        let prototype = Prototype::new(function);
        let slot = self
            .builder
            .borrow_mut()
            .add_middle(self.slot, Box::new(move |_, _| Box::new(Map::<T, U, F>::new(prototype.instance()))));
        DataStream::new(self.builder, slot, self.time)
    }

    /// The records `predicate` holds for.
    pub fn filter<F>(self, predicate: F) -> DataStream<T>
    where
        F: FnMut(&T) -> bool + Clone + Send + 'static,
    {
        let prototype = Prototype::new(predicate);
        let slot = self
            .builder
            .borrow_mut()
            .add_middle(self.slot, Box::new(move |_, _| Box::new(Filter::<T, F>::new(prototype.instance()))));
        DataStream::new(self.builder, slot, self.time)
    }

    /// Any number of results for each record.
    pub fn flat_map<U, F>(self, function: F) -> DataStream<U>
    where
        U: Send + 'static,
        F: FnMut(T, &mut Collector<'_, U>) + Clone + Send + 'static,
    {
        let prototype = Prototype::new(function);
        let slot = self.builder.borrow_mut().add_middle(
            self.slot,
            Box::new(move |_, _| Box::new(FlatMap::<T, U, F>::new(prototype.instance()))),
        );
        DataStream::new(self.builder, slot, self.time)
    }

    /// The same records twice, for two sinks or two keys.
    pub fn tee(self) -> (DataStream<T>, DataStream<T>)
    where
        T: Clone,
    {
        // The copy is made first: operators added later, which empty the slot, run later.
        let copies = Box::new(|_: &str, _: &_| Box::new(Copies::<T>(PhantomData)) as _);
        let copy = self.builder.borrow_mut().add_middle(self.slot, copies);
        (DataStream::new(Rc::clone(&self.builder), copy, self.time), self)
    }

    /// Partitions the stream: records with equal keys go to one subtask, in their order.
    pub fn key_by<K, F>(self, key: F) -> KeyedStream<K, T>
    where
        K: Key,
        F: FnMut(&T) -> K + Clone + Send + 'static,
    {
        KeyedStream::new(self.builder, vec![(self.slot, self.time)], key)
    }

    /// Gives each record a timestamp, its event time, and the stream watermarks. Earlier timestamps of the stream are
    /// replaced. What operators make of a record has its timestamp; what an event-time timer leads to has the timer's,
    /// what a processing-time timer leads to has none.
    pub fn assign_timestamps_and_watermarks<F>(
        self,
        strategy: WatermarkStrategy,
        timestamp: F,
    ) -> DataStream<T>
    where
        F: FnMut(&T) -> Timestamp + Clone + Send + 'static,
    {
        let prototype = Prototype::new(timestamp);
        let assigner = Box::new(move |_: &str, _: &_| {
            Box::new(AssignTimestamps::<T, F>::new(prototype.instance())) as _
        });
        let slot = self.builder.borrow_mut().add_middle(self.slot, assigner);
        DataStream::new(self.builder, slot, StreamTime::Assigned(strategy))
    }

    /// The records of both streams, to be keyed: within a batch those of this stream first. The watermark is the lesser
    /// one; a stream without timestamps holds it back for ever.
    ///
    /// # Panics
    /// When the streams are of different environments.
    pub fn union(self, other: DataStream<T>) -> UnionStream<T> {
        UnionStream::new(self.builder, vec![(self.slot, self.time)]).union(other)
    }

    /// What a union takes.
    pub(super) fn into_input(self) -> (Rc<RefCell<TopologyBuilder>>, StreamInput) {
        (self.builder, (self.slot, self.time))
    }

    /// Writes each record as a line to standard output.
    pub fn print(self)
    where
        T: Line,
    {
        self.write_with(SinkSpec::Print, T::append_to);
    }

    /// Writes each record as a line to standard output, in a format of your own; the line's end is added.
    pub fn print_with<F>(self, format: F)
    where
        F: FnMut(&T, &mut Vec<u8>) + Clone + Send + 'static,
    {
        self.write_with(SinkSpec::Print, format);
    }

    /// Appends each record as a line to a file.
    pub fn write_to_file(self, path: impl Into<PathBuf>)
    where
        T: Line,
    {
        self.write_with(SinkSpec::File(path.into()), T::append_to);
    }

    /// Publishes each record as a message at an MQTT broker; without a line end.
    pub fn publish_to_mqtt(self, publish: MqttPublish)
    where
        T: Line,
    {
        self.write_with(SinkSpec::Mqtt(Box::new(publish)), T::append_to);
    }

    /// Keeps each record as a line in memory.
    pub fn collect_into(self, collected: &Collected)
    where
        T: Line,
    {
        self.write_with(SinkSpec::Memory(collected.clone()), T::append_to);
    }

    fn write_with<F>(self, sink: SinkSpec, format: F)
    where
        F: FnMut(&T, &mut Vec<u8>) + Clone + Send + 'static,
    {
        let mut builder = self.builder.borrow_mut();
        let (target, pool) = builder.add_sink(sink);
        let prototype = Prototype::new(format);
        let tail = Box::new(move |_: &str, _: &_| {
            Box::new(Encode::<T, F>::new(prototype.instance(), std::sync::Arc::clone(&pool))) as _
        });
        builder.add_tail(self.slot, tail, target);
    }
}
