//! Several streams of one record type, to be keyed together.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

use super::data_stream::DataStream;
use super::keyed_stream::{KeyedStream, StreamInput};
use super::topology::TopologyBuilder;
use crate::state::Key;

/// The records of several streams. Its watermark is the least of theirs, without those that are idle.
#[must_use = "a stream does nothing until it ends in a sink"]
pub struct UnionStream<T> {
    builder: Rc<RefCell<TopologyBuilder>>,
    inputs: Vec<StreamInput>,
    record: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for UnionStream<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnionStream").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> UnionStream<T> {
    pub(super) fn new(builder: Rc<RefCell<TopologyBuilder>>, inputs: Vec<StreamInput>) -> Self {
        Self { builder, inputs, record: PhantomData }
    }

    /// Adds another stream, behind the others.
    ///
    /// # Panics
    /// When it is of another environment.
    pub fn union(mut self, other: DataStream<T>) -> UnionStream<T> {
        let (builder, input) = other.into_input();
        assert!(Rc::ptr_eq(&self.builder, &builder), "the streams of a union are of one environment");
        self.inputs.push(input);
        self
    }

    /// Partitions the streams: records with equal keys go to one subtask.
    pub fn key_by<K, F>(self, key: F) -> KeyedStream<K, T>
    where
        K: Key,
        F: FnMut(&T) -> K + Clone + Send + 'static,
    {
        KeyedStream::new(self.builder, self.inputs, key)
    }
}
