//! Alignment: batch N is processed when every input has delivered its part of N, parts in input order.
//!
//! Inputs deliver in offset order, so a queue for each input suffices; a queue holds at most the batches in
//! flight, [`BATCHES_IN_FLIGHT_LIMIT`] (a `heapless` deque: no queue can outgrow the credit).

use super::batch::BatchHeader;
use super::settings::BATCHES_IN_FLIGHT_LIMIT;
use crate::operator::AnyPart;

type Queue = heapless::Deque<(BatchHeader, AnyPart), BATCHES_IN_FLIGHT_LIMIT>;

/// Waits for the parts of each batch.
pub(crate) struct Alignment {
    inputs: Vec<Queue>,
}

impl Alignment {
    pub(crate) fn new(input_count: usize) -> Self {
        Self { inputs: (0..input_count).map(|_| Queue::new()).collect() }
    }

    /// Takes in the part of one input.
    pub(crate) fn push(&mut self, input: usize, header: BatchHeader, part: AnyPart) {
        let pushed = self.inputs[input].push_back((header, part));
        assert!(pushed.is_ok(), "the credit bounds the parts that wait");
    }

    /// The next batch all of whose parts are here.
    pub(crate) fn pop(&mut self) -> Option<(BatchHeader, Vec<AnyPart>)> {
        if self.inputs.iter().any(|input| input.is_empty()) {
            return None;
        }
        let mut parts = Vec::with_capacity(self.inputs.len());
        let mut batch: Option<BatchHeader> = None;
        for input in &mut self.inputs {
            let (header, part) = input.pop_front().expect("no input is empty");
            assert_eq!(*batch.get_or_insert(header), header, "every input delivers every batch, in order");
            parts.push(part);
        }
        batch.map(|header| (header, parts))
    }

    /// Forgets everything: the attempt it belonged to is over.
    pub(crate) fn clear(&mut self) {
        self.inputs.iter_mut().for_each(heapless::Deque::clear);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::batch::{Attempt, Offset, Pace, Timestamp};

    fn header(offset: u64) -> BatchHeader {
        BatchHeader {
            attempt: Attempt(1),
            offset: Offset(offset),
            stamp: Timestamp(0),
            barrier: None,
            pace: Pace::Batch,
        }
    }

    #[test]
    fn a_batch_waits_for_all_inputs_and_comes_in_input_order() {
        let mut alignment = Alignment::new(2);
        alignment.push(1, header(1), Box::new("b1"));
        alignment.push(1, header(2), Box::new("b2"));
        assert!(alignment.pop().is_none());
        alignment.push(0, header(1), Box::new("a1"));
        let (popped, parts) = alignment.pop().unwrap();
        let parts: Vec<&str> = parts.iter().map(|part| *part.downcast_ref::<&str>().unwrap()).collect();
        assert_eq!((popped.offset, parts), (Offset(1), vec!["a1", "b1"]));
        assert!(alignment.pop().is_none());
    }
}
