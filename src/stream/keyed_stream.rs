//! A stream partitioned by key.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::data_stream::DataStream;
use super::topology::{Prototype, StageSlot, Target, TopologyBuilder};
use crate::operator::{
    Collector, KeyBy, KeyedPart, KeyedProcess, KeyedProcessFunction, PartPool, StateClosure, StreamTime,
    SubtaskContext, Tail,
};
use crate::state::{Key, StateValue, ValueState, ValueStateDescriptor};

/// A stream that is keyed: what produced it, and its event time.
pub(super) type StreamInput = (StageSlot, StreamTime);

type TailOf<K, T> = Arc<
    dyn Fn(&str, &SubtaskContext, Arc<PartPool<Box<KeyedPart<K, T>>>>, usize) -> Box<dyn Tail> + Send + Sync,
>;

/// Records of type `T`, partitioned by keys of type `K`.
#[must_use = "a stream does nothing until it ends in a sink"]
pub struct KeyedStream<K, T> {
    builder: Rc<RefCell<TopologyBuilder>>,
    inputs: Vec<StreamInput>,
    key_by: TailOf<K, T>,
}

impl<K, T> std::fmt::Debug for KeyedStream<K, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyedStream").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

impl<K: Key, T: Send + 'static> KeyedStream<K, T> {
    pub(super) fn new<F>(builder: Rc<RefCell<TopologyBuilder>>, inputs: Vec<StreamInput>, key: F) -> Self
    where
        F: FnMut(&T) -> K + Clone + Send + 'static,
    {
        let prototype = Prototype::new(key);
        let key_by: TailOf<K, T> = Arc::new(move |name, context, pool, stream| {
            Box::new(KeyBy::new(name, prototype.instance(), context, pool, stream))
        });
        Self { builder, inputs, key_by }
    }

    /// Calls `function` for each record, with the state of its key.
    pub fn process<P>(self, function: P) -> DataStream<P::Out>
    where
        P: KeyedProcessFunction<K, T> + Clone + Send,
    {
        self.stage("process", function)
    }

    /// Calls a closure for each record, with one value state of its key.
    pub fn flat_map<V, U, F>(self, state: ValueStateDescriptor<V>, function: F) -> DataStream<U>
    where
        V: StateValue,
        U: Send + 'static,
        F: FnMut(T, &mut ValueState<V>, &mut Collector<'_, U>) + Clone + Send + 'static,
    {
        self.stage("flat-map", StateClosure::new(state, function))
    }

    fn stage<P>(self, kind: &str, function: P) -> DataStream<P::Out>
    where
        P: KeyedProcessFunction<K, T> + Clone + Send,
    {
        let pool = Arc::new(PartPool::default());
        let upstream_pool = Arc::clone(&pool);
        let times: Vec<StreamTime> = self.inputs.iter().map(|(_, time)| *time).collect();
        let is_timed = times.iter().any(|time| *time != StreamTime::None);
        let prototype = Prototype::new(function);
        let key_by = self.key_by;
        let slot = {
            let mut builder = self.builder.borrow_mut();
            let slot = builder.add_stage(
                kind,
                false,
                Box::new(move |name, context| {
                    let head =
                        KeyedProcess::open(name, prototype.instance(), context, Arc::clone(&pool), &times)?;
                    Ok(Box::new(head))
                }),
            );
            for (stream, (input, _)) in self.inputs.into_iter().enumerate() {
                let (key_by, pool) = (Arc::clone(&key_by), Arc::clone(&upstream_pool));
                let tail = move |name: &str, context: &_| key_by(name, context, Arc::clone(&pool), stream);
                builder.add_tail(input, Box::new(tail), Target::Stage { stage: slot.stage, stream });
            }
            slot
        };
        DataStream::new(self.builder, slot, if is_timed { StreamTime::Stage } else { StreamTime::None })
    }
}
