//! Event time: timestamps of records, and the watermarks made from them.
//!
//! An assigner gives each record a timestamp and notes the highest of a batch; every part to a keyed stage carries it.
//! The watermark is made where it is used: each subtask of a keyed stage hears of all of a batch, so all of them have
//! the same watermark after the same batch, whatever the parallelism. What leaves a keyed stage carries its watermark.
//!
//! ```text
//! watermark of a stream   highest timestamp so far - bound - 1 ms, or that of the stage it comes from
//! watermark of a stage    the least of its streams that are not idle, and never less than before
//! ```
//!
//! It moves at the end of a batch: the records of batch N see the watermark after batch N - 1, and the event-time timers
//! it makes due fire behind the records. The end of a finite input leaves it where it is: a job that is started
//! again goes on from there, and its records would all be late otherwise.

use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::chain::{Buffer, Middle, Slot, buffer};
use super::error::OperatorError;
use crate::runtime::{BatchHeader, Timestamp};

/// A watermark from here on is no time of a record: the input has ended.
pub(crate) const INPUT_ENDED: i64 = i64::MAX / 2;

/// How far behind the highest timestamp records may come, and when a stream that brings none is not waited for.
///
/// One timestamp far in the future takes the watermark with it, for good: filter what cannot be right before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatermarkStrategy {
    bound_ms: i64,
    idleness_ms: Option<i64>,
}

impl WatermarkStrategy {
    /// Records come at most `bound` (of event time, in whole milliseconds) behind a later one.
    pub fn bounded_out_of_orderness(bound: Duration) -> Self {
        Self { bound_ms: milliseconds(bound), idleness_ms: None }
    }

    /// Timestamps never descend.
    pub fn monotonous() -> Self {
        Self::bounded_out_of_orderness(Duration::ZERO)
    }

    /// A stream that brought no record for `timeout` of processing time does not hold back the others it is in union
    /// with. When all are idle the watermark stays.
    #[must_use]
    pub fn with_idleness(self, timeout: Duration) -> Self {
        Self { idleness_ms: Some(milliseconds(timeout)), ..self }
    }

    /// What holds for the records of both; they are idle when both are.
    pub(crate) fn widest(self, other: Self) -> Self {
        let idleness_ms = self.idleness_ms.zip(other.idleness_ms).map(|(own, other)| own.max(other));
        Self { bound_ms: self.bound_ms.max(other.bound_ms), idleness_ms }
    }

    pub(super) fn bound_ms(&self) -> i64 {
        self.bound_ms
    }

    pub(super) fn idleness_ms(&self) -> Option<i64> {
        self.idleness_ms
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Where a stream has its watermarks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamTime {
    /// It has none.
    None,
    /// From the timestamps assigned to its records.
    Assigned(WatermarkStrategy),
    /// From the keyed stage it comes from.
    Stage,
}

/// Gives each record a timestamp.
pub(crate) struct AssignTimestamps<T, F> {
    timestamp: F,
    types: PhantomData<fn(T)>,
}

impl<T, F> AssignTimestamps<T, F> {
    pub(crate) fn new(timestamp: F) -> Self {
        Self { timestamp, types: PhantomData }
    }
}

impl<T: 'static, F: FnMut(&T) -> Timestamp> Middle for AssignTimestamps<T, F> {
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
        out.times.extend(input.records.iter().map(|record| (self.timestamp)(record).0));
        out.mark = out.times.iter().max().copied().unwrap_or(i64::MIN);
        std::mem::swap(&mut out.records, &mut input.records);
        Ok(())
    }
}

/// The event time of a keyed stage.
#[derive(Debug)]
pub(crate) struct EventClock {
    watermark: i64,
    streams: Vec<Stream>,
}

/// One of the streams a stage reads.
#[derive(Debug)]
struct Stream {
    time: StreamTime,
    highest: i64,
    /// Processing time of the last batch that brought something, or of the first there was.
    active: Option<i64>,
    /// The batch at hand brought something.
    is_heard: bool,
}

/// An event clock as it is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedClock {
    watermark: i64,
    /// Highest mark and last activity of each stream.
    streams: Vec<(i64, Option<i64>)>,
}

impl EventClock {
    pub(crate) fn new(streams: &[StreamTime]) -> Self {
        let stream =
            |time: &StreamTime| Stream { time: *time, highest: i64::MIN, active: None, is_heard: false };
        Self { watermark: i64::MIN, streams: streams.iter().map(stream).collect() }
    }

    /// True when any of the streams has timestamps.
    pub(crate) fn is_timed(&self) -> bool {
        self.streams.iter().any(|stream| stream.time != StreamTime::None)
    }

    pub(crate) fn watermark(&self) -> i64 {
        self.watermark
    }

    /// A part of the batch carries `mark`. One sender's marks do not descend, and senders of a stage end a batch with
    /// the same mark, so the highest is what counts.
    pub(crate) fn hear(&mut self, stream: usize, mark: i64) {
        let stream = &mut self.streams[stream];
        stream.is_heard |= mark > i64::MIN;
        stream.highest = stream.highest.max(mark);
    }

    /// The batch of processing time `now` ends.
    pub(crate) fn end_batch(&mut self, now: i64) {
        for stream in &mut self.streams {
            if std::mem::take(&mut stream.is_heard) || stream.active.is_none() {
                stream.active = Some(now);
            }
        }
        let live = self.streams.iter().filter(|stream| !stream.is_idle(now));
        if let Some(least) = live.map(Stream::watermark).min() {
            self.watermark = self.watermark.max(least);
        }
    }

    /// When, without another record, a stream that holds back the others counts as idle.
    pub(crate) fn next_due(&self, now: i64) -> Option<i64> {
        let live = || self.streams.iter().filter(|stream| !stream.is_idle(now));
        let holds_back = |stream: &&Stream| {
            stream.watermark() == self.watermark && live().any(|other| other.watermark() > self.watermark)
        };
        live().filter(holds_back).filter_map(Stream::idle_from).min()
    }

    pub(crate) fn save(&self) -> SavedClock {
        let streams = self.streams.iter().map(|stream| (stream.highest, stream.active)).collect();
        SavedClock { watermark: self.watermark, streams }
    }

    pub(crate) fn restore(&mut self, saved: &SavedClock) {
        self.watermark = saved.watermark;
        for (stream, (highest, active)) in self.streams.iter_mut().zip(&saved.streams) {
            (stream.highest, stream.active) = (*highest, *active);
        }
    }
}

impl Stream {
    fn watermark(&self) -> i64 {
        match self.time {
            StreamTime::None => i64::MIN,
            StreamTime::Assigned(strategy) => {
                self.highest.saturating_sub(strategy.bound_ms).saturating_sub(1)
            }
            StreamTime::Stage => self.highest,
        }
    }

    /// Processing time from which it is idle.
    fn idle_from(&self) -> Option<i64> {
        let StreamTime::Assigned(WatermarkStrategy { idleness_ms: Some(timeout), .. }) = self.time else {
            return None;
        };
        self.active.map(|active| active.saturating_add(timeout))
    }

    fn is_idle(&self, now: i64) -> bool {
        self.idle_from().is_some_and(|idle_from| idle_from <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(bound_ms: u64) -> WatermarkStrategy {
        WatermarkStrategy::bounded_out_of_orderness(Duration::from_millis(bound_ms))
    }

    fn batch(clock: &mut EventClock, now: i64, marks: &[(usize, i64)]) -> i64 {
        marks.iter().for_each(|(stream, mark)| clock.hear(*stream, *mark));
        clock.end_batch(now);
        clock.watermark()
    }

    #[test]
    fn it_is_the_highest_timestamp_less_the_bound_and_one_millisecond() {
        let mut clock = EventClock::new(&[StreamTime::Assigned(bounded(10))]);
        assert!(clock.is_timed() && !EventClock::new(&[StreamTime::None]).is_timed());
        assert_eq!(batch(&mut clock, 0, &[]), i64::MIN);
        assert_eq!(batch(&mut clock, 0, &[(0, 100), (0, 90)]), 89);
        assert_eq!(batch(&mut clock, 0, &[(0, 50)]), 89, "never back");
        assert_eq!(batch(&mut clock, 0, &[(0, i64::MIN), (0, i64::MAX)]), i64::MAX - 11);
        let mut clock = EventClock::new(&[StreamTime::Assigned(WatermarkStrategy::monotonous())]);
        assert_eq!(batch(&mut clock, 0, &[(0, 7)]), 6);
        let mut behind = EventClock::new(&[StreamTime::Stage]);
        assert_eq!(batch(&mut behind, 0, &[(0, 6)]), 6, "as it is in the stage before");
    }

    #[test]
    fn the_least_of_all_streams_counts_but_for_idle_ones() {
        let patient = StreamTime::Assigned(bounded(0));
        let idle = StreamTime::Assigned(bounded(0).with_idleness(Duration::from_millis(50)));
        let mut clock = EventClock::new(&[patient, idle]);
        assert_eq!(batch(&mut clock, 10, &[(0, 100)]), i64::MIN, "nothing is known of the other");
        assert_eq!(clock.next_due(10), Some(60));
        assert_eq!(batch(&mut clock, 59, &[(0, 200)]), i64::MIN);
        assert_eq!(batch(&mut clock, 60, &[]), 199, "idle");
        assert_eq!(clock.next_due(60), None);
        assert_eq!(batch(&mut clock, 61, &[(1, 150)]), 199, "late, and never back");
        assert_eq!(batch(&mut clock, 62, &[(0, 300), (1, 250)]), 249);
        assert_eq!(clock.next_due(62), Some(112));
        let saved = clock.save();
        let mut restored = EventClock::new(&[patient, idle]);
        restored.restore(&saved);
        assert_eq!(restored.save(), saved);
        assert_eq!(batch(&mut restored, 111, &[]), 249);
        assert_eq!(batch(&mut restored, 112, &[]), 299);
    }

    #[test]
    fn when_all_are_idle_it_stays() {
        let idle = StreamTime::Assigned(bounded(0).with_idleness(Duration::from_millis(50)));
        let mut clock = EventClock::new(&[idle, idle]);
        assert_eq!(batch(&mut clock, 0, &[(0, 100), (1, 300)]), 99);
        assert_eq!(batch(&mut clock, 100, &[]), 99);
        assert_eq!(batch(&mut clock, 101, &[(1, 301)]), 300);
    }
}
