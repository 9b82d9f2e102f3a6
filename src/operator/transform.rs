//! Operators without state: map, filter, flat map, and copies for a stream with two readers.

use std::marker::PhantomData;

use super::chain::{Middle, Slot, records};
use super::collector::Collector;
use super::error::OperatorError;

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
        Box::new(Vec::<U>::new())
    }

    fn run(&mut self, input: &mut dyn Slot, out: &mut dyn Slot) -> Result<(), OperatorError> {
        records::<U>(out).extend(records::<T>(input).drain(..).map(&mut self.function));
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
        Box::new(Vec::<T>::new())
    }

    fn run(&mut self, input: &mut dyn Slot, out: &mut dyn Slot) -> Result<(), OperatorError> {
        records::<T>(out).extend(records::<T>(input).drain(..).filter(&mut self.predicate));
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
        Box::new(Vec::<U>::new())
    }

    fn run(&mut self, input: &mut dyn Slot, out: &mut dyn Slot) -> Result<(), OperatorError> {
        let mut collector = Collector::new(records::<U>(out));
        for record in records::<T>(input).drain(..) {
            collector.next_record();
            (self.function)(record, &mut collector);
        }
        Ok(())
    }
}

/// The same records again, the input left as it is.
pub(crate) struct Copies<T>(pub(crate) PhantomData<fn(T)>);

impl<T: Clone + 'static> Middle for Copies<T> {
    fn new_buffer(&self) -> Box<dyn Slot> {
        Box::new(Vec::<T>::new())
    }

    fn run(&mut self, input: &mut dyn Slot, out: &mut dyn Slot) -> Result<(), OperatorError> {
        records::<T>(out).extend_from_slice(records::<T>(input));
        Ok(())
    }
}
