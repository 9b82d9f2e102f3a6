//! A chain: the operators of one stage, run one after the other over a whole batch.
//!
//! Buffers are numbered slots: slot 0 is what the head produced, slot `i + 1` what middle `i` did. A slot keeps
//! its allocation from batch to batch. A slot is emptied by its one reader; `Copies`, which leaves its input as it is, runs before that one.
//!
//! A batch has three steps: its begin, its records and its end. Timers fire in the first and the last. They are taken
//! together, or, when the batch goes frame by frame, one after the other, the middle one once for each frame.

use std::any::Any;

use super::error::OperatorError;
use super::part::AnyPart;
use crate::runtime::{BatchHeader, Timestamp};
use crate::state::{SavedPart, StateError, StateSnapshot};

/// A slot of a chain: a buffer of records whose type its two ends know.
pub(crate) trait Slot: Any {
    /// Empties it, keeping its allocation.
    fn clear(&mut self);
}

/// The event time of a record that has none in a stream that has timestamps: one that a processing-time timer led to.
pub(crate) const NO_TIME: i64 = i64::MIN;

/// Records between two operators of a chain.
#[derive(Debug)]
pub(crate) struct Buffer<T> {
    pub(crate) records: Vec<T>,
    /// Event time of each record, in milliseconds; empty when the stream has none.
    pub(crate) times: Vec<i64>,
    /// How far event time is: the highest time an assigner of timestamps has seen in this step, or the watermark of a
    /// keyed stage.
    pub(crate) mark: i64,
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self { records: Vec::new(), times: Vec::new(), mark: i64::MIN }
    }
}

impl<T: 'static> Slot for Buffer<T> {
    fn clear(&mut self) {
        self.records.clear();
        self.times.clear();
        self.mark = i64::MIN;
    }
}

/// The first operator of a chain.
pub(crate) trait Head {
    /// A buffer for the results, empty.
    fn new_buffer(&self) -> Box<dyn Slot>;

    /// The numbers of the frames in a part that are this subtask's, where parts are frames.
    fn frames(&self, _part: &AnyPart) -> Vec<u64> {
        Vec::new()
    }

    /// Begins a batch.
    fn begin(&mut self, _header: &BatchHeader, _out: &mut dyn Slot) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Turns parts of a batch, in input order, into records.
    fn run(
        &mut self,
        header: &BatchHeader,
        parts: Vec<AnyPart>,
        out: &mut dyn Slot,
    ) -> Result<(), OperatorError>;

    /// Ends the batch.
    fn end(&mut self, _header: &BatchHeader, _out: &mut dyn Slot) -> Result<(), OperatorError> {
        Ok(())
    }

    /// The earliest processing time at which the head wants a batch, whatever that holds.
    fn next_due(&mut self) -> Option<Timestamp> {
        None
    }

    /// Name of the operator whose keyed state the head holds.
    fn stateful_operator(&self) -> Option<&str> {
        None
    }

    /// The keyed state as it is after the last batch.
    fn snapshot(&mut self) -> Result<Option<Box<dyn StateSnapshot>>, StateError> {
        Ok(None)
    }

    /// Whether what was saved of the head's operator fits what it declares; for a head that is dropped afterwards.
    fn check(&mut self, _parts: &[SavedPart]) -> Result<(), StateError> {
        Ok(())
    }

    /// Opens the state, with what was saved of the head's operator. Called once, before the first batch.
    fn open(&mut self, _parts: &[SavedPart], _stamp: Timestamp) -> Result<(), StateError> {
        Ok(())
    }

    /// Number of keys held.
    fn key_count(&self) -> usize {
        0
    }
}

/// An operator between head and tails.
pub(crate) trait Middle {
    /// A buffer for the results, empty.
    fn new_buffer(&self) -> Box<dyn Slot>;

    /// Turns the records in `input`, of the batch at hand, into those in `out`.
    fn run(
        &mut self,
        header: &BatchHeader,
        input: &mut dyn Slot,
        out: &mut dyn Slot,
    ) -> Result<(), OperatorError>;
}

/// The end of a chain: one part for each receiving subtask.
pub(crate) trait Tail {
    /// Empties `input` into as many parts as there are receivers.
    fn run(&mut self, input: &mut dyn Slot) -> Vec<AnyPart>;
}

/// A stage's operators in one subtask.
pub(crate) struct Chain {
    head: Box<dyn Head>,
    /// Each with the slot it reads; middle `i` writes slot `i + 1`.
    middles: Vec<(usize, Box<dyn Middle>)>,
    tails: Vec<(usize, Box<dyn Tail>)>,
    slots: Vec<Box<dyn Slot>>,
}

impl Chain {
    pub(crate) fn new(
        head: Box<dyn Head>,
        middles: Vec<(usize, Box<dyn Middle>)>,
        tails: Vec<(usize, Box<dyn Tail>)>,
    ) -> Self {
        let mut slots = vec![head.new_buffer()];
        slots.extend(middles.iter().map(|(_, middle)| middle.new_buffer()));
        Self { head, middles, tails, slots }
    }

    /// Processes a batch; returns the parts of each tail.
    pub(crate) fn run(
        &mut self,
        header: &BatchHeader,
        parts: Vec<AnyPart>,
    ) -> Result<Vec<Vec<AnyPart>>, OperatorError> {
        self.step(header, |head, out| {
            head.begin(header, out)?;
            head.run(header, parts, out)?;
            head.end(header, out)
        })
    }

    /// Begins a batch that goes frame by frame.
    pub(crate) fn begin(&mut self, header: &BatchHeader) -> Result<Vec<Vec<AnyPart>>, OperatorError> {
        self.step(header, |head, out| head.begin(header, out))
    }

    /// Processes one frame of it.
    pub(crate) fn frame(
        &mut self,
        header: &BatchHeader,
        part: AnyPart,
    ) -> Result<Vec<Vec<AnyPart>>, OperatorError> {
        self.step(header, |head, out| head.run(header, vec![part], out))
    }

    /// Ends it.
    pub(crate) fn end(&mut self, header: &BatchHeader) -> Result<Vec<Vec<AnyPart>>, OperatorError> {
        self.step(header, |head, out| head.end(header, out))
    }

    fn step(
        &mut self,
        header: &BatchHeader,
        take: impl FnOnce(&mut dyn Head, &mut dyn Slot) -> Result<(), OperatorError>,
    ) -> Result<Vec<Vec<AnyPart>>, OperatorError> {
        self.slots.iter_mut().for_each(|slot| slot.clear());
        take(&mut *self.head, &mut *self.slots[0])?;
        for (index, (input, middle)) in self.middles.iter_mut().enumerate() {
            let (before, from_here) = self.slots.split_at_mut(index + 1);
            middle.run(header, &mut *before[*input], &mut *from_here[0])?;
        }
        Ok(self.tails.iter_mut().map(|(input, tail)| tail.run(&mut *self.slots[*input])).collect())
    }

    pub(crate) fn head(&mut self) -> &mut dyn Head {
        &mut *self.head
    }
}

/// The typed buffer behind a slot.
pub(crate) fn buffer<T: 'static>(slot: &mut dyn Slot) -> &mut Buffer<T> {
    let slot: &mut dyn Any = slot;
    slot.downcast_mut().expect("the typed stream connected operators of one record type")
}
