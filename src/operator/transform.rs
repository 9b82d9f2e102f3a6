//! Operators without state: map, filter, flat map, and copies for a stream with two readers.

use std::marker::PhantomData;

use super::chain::{Buffer, Middle, Slot, buffer};
use super::collector::Collector;
use super::error::OperatorError;
use crate::runtime::BatchHeader;

/// One result for each record.
pub(crate) struct Map<T, U, F> {
    function: F,
    types: PhantomData<fn(T) -> U>,
}

impl<T, U, F> Map<T, U, F> {
    pub(crate) fn new(function: F) -> Self {
        Self { function, types: PhantomData }
    }
}

impl<T: 'static, U: 'static, F: FnMut(T) -> U> Middle for Map<T, U, F> {
    fn new_buffer(&self) -> Box<dyn Slot> {
        Box::new(Buffer::<U>::default())
    }

    fn run(
        &mut self,
        _header: &BatchHeader,
        input: &mut dyn Slot,
        out: &mut dyn Slot,
    ) -> Result<(), OperatorError> {
        let (input, out) = (buffer::<T>(input), buffer::<U>(out));
        out.records.extend(input.records.drain(..).map(&mut self.function));
        std::mem::swap(&mut out.times, &mut input.times);
        out.mark = input.mark;
        Ok(())
    }
}

/// The records a predicate holds for.
pub(crate) struct Filter<T, F> {
    predicate: F,
    types: PhantomData<fn(T)>,
}

impl<T, F> Filter<T, F> {
    pub(crate) fn new(predicate: F) -> Self {
        Self { predicate, types: PhantomData }
    }
}

impl<T: 'static, F: FnMut(&T) -> bool> Middle for Filter<T, F> {
    fn new_buffer(&self) -> Box<dyn Slot> {
        Box::new(Buffer::<T>::default())
    }

    fn run(
        &mut self,
        _header: &BatchHeader,
        input: &mut dyn Slot,
        out: &mut dyn Slot,
    ) -> Result<(), OperatorError> {
        let (input, out) = (buffer::<T>(input), buffer::<T>(out));
        out.mark = input.mark;
        if input.times.is_empty() {
            out.records.extend(input.records.drain(..).filter(&mut self.predicate));
            return Ok(());
        }
        for (record, time) in input.records.drain(..).zip(&input.times) {
            if (self.predicate)(&record) {
                out.records.push(record);
                out.times.push(*time);
            }
        }
        Ok(())
    }
}

/// Any number of results for each record.
pub(crate) struct FlatMap<T, U, F> {
    function: F,
    types: PhantomData<fn(T) -> U>,
}

impl<T, U, F> FlatMap<T, U, F> {
    pub(crate) fn new(function: F) -> Self {
        Self { function, types: PhantomData }
    }
}

impl<T: 'static, U: 'static, F: FnMut(T, &mut Collector<'_, U>)> Middle for FlatMap<T, U, F> {
    fn new_buffer(&self) -> Box<dyn Slot> {
        Box::new(Buffer::<U>::default())
    }

    fn run(
        &mut self,
        _header: &BatchHeader,
        input: &mut dyn Slot,
        out: &mut dyn Slot,
    ) -> Result<(), OperatorError> {
        let (input, out) = (buffer::<T>(input), buffer::<U>(out));
        out.mark = input.mark;
        let mut collector = Collector::new(&mut out.records);
        if input.times.is_empty() {
            for record in input.records.drain(..) {
                collector.next_record();
                (self.function)(record, &mut collector);
            }
            return Ok(());
        }
        for (record, time) in input.records.drain(..).zip(&input.times) {
            collector.next_record();
            (self.function)(record, &mut collector);
            out.times.resize(collector.count(), *time);
        }
        Ok(())
    }
}

/// The same records again, the input left as it is.
pub(crate) struct Copies<T>(pub(crate) PhantomData<fn(T)>);

impl<T: Clone + 'static> Middle for Copies<T> {
    fn new_buffer(&self) -> Box<dyn Slot> {
        Box::new(Buffer::<T>::default())
    }

    fn run(
        &mut self,
        _header: &BatchHeader,
        input: &mut dyn Slot,
        out: &mut dyn Slot,
    ) -> Result<(), OperatorError> {
        let (input, out) = (buffer::<T>(input), buffer::<T>(out));
        out.records.extend_from_slice(&input.records);
        out.times.extend_from_slice(&input.times);
        out.mark = input.mark;
        Ok(())
    }
}
