//! The journal's reader: batches in order from a given offset, for a replay.
//!
//! Limits: one segment is in memory at a time. May read while the writer appends: it stops where told to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use super::JournalError;
use super::format::{BatchRecord, Record, RecordDecoder, SegmentHeader};
use super::recovery::{Listed, SEGMENT_BYTES_LIMIT, list};
use crate::disk::{Disk, read_whole};
use crate::runtime::Offset;

/// Reads batches from `next` up to and with `last`.
pub(crate) struct JournalReader {
    disk: Arc<dyn Disk>,
    segments: VecDeque<Listed>,
    batches: VecDeque<BatchRecord>,
    skips: BTreeMap<Offset, BTreeSet<u64>>,
    next: Offset,
    last: Offset,
}

impl JournalReader {
    /// # Errors
    /// [`JournalError::Missing`] when the journal begins behind `next`; [`JournalError::Read`].
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        next: Offset,
        last: Offset,
        skips: BTreeMap<Offset, BTreeSet<u64>>,
    ) -> Result<Self, JournalError> {
        let mut segments: VecDeque<Listed> = list(&*disk, directory)?.into();
        while segments.get(1).is_some_and(|second| second.base <= next) {
            segments.pop_front();
        }
        if next <= last {
            let first = segments.front().map_or(last.next(), |segment| segment.base);
            if first > next {
                return Err(JournalError::Missing { offset: next, first });
            }
        }
        Ok(Self { disk, segments, batches: VecDeque::new(), skips, next, last })
    }

    /// True when the next batch is `next` and the last `last`.
    pub(crate) fn is_at(&self, next: Offset, last: Offset) -> bool {
        self.next == next && self.last == last
    }

    /// The next batch and the frames of it that are to be skipped; `None` behind the last.
    ///
    /// # Errors
    /// [`JournalError::Missing`] when a batch that should be there is not; [`JournalError::Read`].
    pub(crate) fn next_batch(&mut self) -> Result<Option<(BatchRecord, BTreeSet<u64>)>, JournalError> {
        if self.next > self.last {
            return Ok(None);
        }
        while self.batches.is_empty() {
            let Some(segment) = self.segments.pop_front() else {
                return Err(JournalError::Missing { offset: self.next, first: self.last.next() });
            };
            self.load(&segment)?;
        }
        let batch = self.batches.pop_front().expect("a batch was loaded");
        if batch.offset != self.next {
            return Err(JournalError::Missing { offset: self.next, first: batch.offset });
        }
        self.next = self.next.next();
        let skipped = self.skips.remove(&batch.offset).unwrap_or_default();
        Ok(Some((batch, skipped)))
    }

    fn load(&mut self, segment: &Listed) -> Result<(), JournalError> {
        let bytes = read_whole(&*self.disk, &segment.path, SEGMENT_BYTES_LIMIT)
            .map_err(|source| JournalError::Read { path: segment.path.clone(), source })?;
        let Some((header, seed)) = SegmentHeader::decode(&bytes) else { return Ok(()) };
        // Batches from the next segment's base on were written again there.
        let end = self.segments.front().map_or(self.last.next(), |next| next.base);
        let mut decoder = RecordDecoder::new(&bytes, &header, seed);
        while let Some((record, _)) = decoder.next_record() {
            if let Record::Batch(batch) = record
                && (self.next..end).contains(&batch.offset)
            {
                self.batches.push_back(batch);
            }
        }
        Ok(())
    }
}
