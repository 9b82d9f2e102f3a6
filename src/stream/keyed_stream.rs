//! A stream partitioned by key.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::data_stream::DataStream;
use super::topology::{Prototype, StageSlot, Target, TopologyBuilder};
use crate::operator::{
    Collector, KeyBy, KeyedPart, KeyedProcess, KeyedProcessFunction, PartPool, StateClosure, Tail,
};
use crate::state::{Key, StateValue, ValueState, ValueStateDescriptor};

type TailOf<K, T> = Box<
    dyn Fn(&str, &crate::operator::SubtaskContext, Arc<PartPool<Box<KeyedPart<K, T>>>>) -> Box<dyn Tail>
        + Send
        + Sync,
>;

/// Records of type `T`, partitioned by keys of type `K`.
#[must_use = "a stream does nothing until it ends in a sink"]
pub struct KeyedStream<K, T> {
    builder: Rc<RefCell<TopologyBuilder>>,
    slot: StageSlot,
    key_by: TailOf<K, T>,
}

impl<K, T> std::fmt::Debug for KeyedStream<K, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyedStream").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl<K: Key, T: Send + 'static> KeyedStream<K, T> {
    pub(crate) fn new<F>(builder: Rc<RefCell<TopologyBuilder>>, slot: StageSlot, key: F) -> Self
    where
        F: FnMut(&T) -> K + Clone + Send + 'static,
    {
        let prototype = Prototype::new(key);
        let key_by: TailOf<K, T> = Box::new(move |name, context, pool| {
            Box::new(KeyBy::new(name, prototype.instance(), context, pool))
        });
        Self { builder, slot, key_by }
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
        let prototype = Prototype::new(function);
        let key_by = self.key_by;
        let slot = {
            let mut builder = self.builder.borrow_mut();
            let slot = builder.add_stage(
                kind,
                false,
                Box::new(move |name, context| {
                    let head = KeyedProcess::open(name, prototype.instance(), context, Arc::clone(&pool))?;
                    Ok(Box::new(head))
                }),
            );
            let tail =
                Box::new(move |name: &str, context: &_| key_by(name, context, Arc::clone(&upstream_pool)));
            builder.add_tail(self.slot, tail, Target::Stage(slot.stage));
            slot
        };
        DataStream::new(self.builder, slot)
    }
}
