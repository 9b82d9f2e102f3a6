//! What a keyed process function may know and ask for besides its record.

use super::chain::NO_TIME;
use crate::metrics::{RejectCause, Rejections};
use crate::mutants::Mutant;
use crate::runtime::{BatchHeader, Offset, Timestamp};
use crate::state::key::KeyEncoder;
use crate::state::{Key, TimeDomain, Timers};

/// What a keyed process function may know besides its record, and where it sets timers. Time comes from here, never from
/// the system clock, so that a replay sees the same.
#[derive(Debug)]
pub struct KeyedContext<'a, K> {
    pub(super) key: &'a K,
    pub(super) header: &'a BatchHeader,
    pub(super) time: i64,
    pub(super) watermark: i64,
    pub(super) rejections: &'a mut Rejections,
    pub(super) timers: &'a mut Timers,
    pub(super) encoder: &'a mut KeyEncoder,
}

impl<K: std::fmt::Debug> KeyedContext<'_, K> {
    /// Rejects the record at hand: counted by cause, sampled in the log with its key.
    pub fn reject(&mut self, cause: RejectCause) {
        let key = self.key;
        self.rejections.reject(cause, None, || format!("{key:?}").into_bytes().into());
    }
}

impl<K> KeyedContext<'_, K> {
    /// The record's key, or the timer's.
    pub fn key(&self) -> &K {
        self.key
    }

    /// Processing time of the batch.
    pub fn processing_time(&self) -> Timestamp {
        if Mutant::WallClockInOperator.is_on() {
            return crate::runtime::wall_time();
        }
        self.header.stamp
    }

    /// Event time of the record, or of the event-time timer that fires; none where no timestamps were assigned.
    pub fn timestamp(&self) -> Option<Timestamp> {
        (self.time != NO_TIME).then_some(Timestamp(self.time))
    }

    /// The watermark: records with a timestamp up to it are late. [`Timestamp::MIN`] as long as there is none.
    pub fn current_watermark(&self) -> Timestamp {
        Timestamp(self.watermark)
    }

    /// Offset of the batch.
    pub fn offset(&self) -> Offset {
        self.header.offset
    }
}

impl<K: Key> KeyedContext<'_, K> {
    /// Calls [`on_timer`](super::KeyedProcessFunction::on_timer) for the key at hand once processing time has reached
    /// `time`: at the beginning of the first batch behind this one whose time that is. Setting it again changes nothing.
    pub fn register_processing_time_timer(&mut self, time: Timestamp) {
        self.set(TimeDomain::ProcessingTime, time);
    }

    /// Calls [`on_timer`](super::KeyedProcessFunction::on_timer) for the key at hand once the watermark has reached
    /// `time`: at the end of the batch that takes it there, or of this one. Setting it again changes nothing.
    pub fn register_event_time_timer(&mut self, time: Timestamp) {
        self.set(TimeDomain::EventTime, time);
    }

    /// Takes a timer of the key at hand back, if it is set.
    pub fn delete_processing_time_timer(&mut self, time: Timestamp) {
        self.delete(TimeDomain::ProcessingTime, time);
    }

    /// Takes a timer of the key at hand back, if it is set.
    pub fn delete_event_time_timer(&mut self, time: Timestamp) {
        self.delete(TimeDomain::EventTime, time);
    }

    fn set(&mut self, domain: TimeDomain, time: Timestamp) {
        let key = self.encoder.encode(self.key).expect("a key of a batch was hashed before");
        self.timers.set(domain, time.0, key);
    }

    fn delete(&mut self, domain: TimeDomain, time: Timestamp) {
        let key = self.encoder.encode(self.key).expect("a key of a batch was hashed before");
        self.timers.delete(domain, time.0, key);
    }
}
