//! The tail in front of a sink: records to bytes, in the subtask, so that sinks only write.

use std::marker::PhantomData;
use std::sync::Arc;

use super::chain::{Slot, Tail, buffer};
use super::part::{AnyPart, PartPool};

/// A batch's results of one subtask, encoded.
#[derive(Debug, Default)]
pub(crate) struct EncodedPart {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: u64,
}

/// Encodes records as lines through a closure.
pub(crate) struct Encode<T, F> {
    function: F,
    pool: Arc<PartPool<EncodedPart>>,
    types: PhantomData<fn(T)>,
}

impl<T, F> Encode<T, F> {
    pub(crate) fn new(function: F, pool: Arc<PartPool<EncodedPart>>) -> Self {
        Self { function, pool, types: PhantomData }
    }
}

impl<T: 'static, F: FnMut(&T, &mut Vec<u8>)> Tail for Encode<T, F> {
    fn run(&mut self, input: &mut dyn Slot) -> Vec<AnyPart> {
        let input = &mut buffer::<T>(input).records;
        let mut part = self.pool.take();
        part.records = input.len() as u64;
        for record in input.drain(..) {
            (self.function)(&record, &mut part.bytes);
            part.bytes.push(b'\n');
        }
        vec![Box::new(part)]
    }
}
