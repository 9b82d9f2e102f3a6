//! Excerpts: whole records of a journal's segments, as the bytes they are, to be kept elsewhere.
//!
//! A reader goes through the segments in order and hands out what is durable, an excerpt at a time. The excerpts of a
//! segment, one behind the other from its first byte, are the beginning of that segment: a journal of such beginnings is
//! recovered like any other.
//!
//! Limits: an excerpt has about [`EXCERPT_BYTES`] bytes; one that is a single longer record has at most
//! [`EXCERPT_BYTES_MAX`]. May read while the writer appends: it takes nothing behind the batch it is told, and a record
//! that is not whole yet is not valid yet.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::JournalError;
use super::format::{
    BatchRecord, HEADER_BYTES, Origins, RECORD_BYTES_MAX, RECORD_PREFIX_BYTES, Record, RecordDecoder,
    SegmentHeader,
};
use super::recovery::{Listed, list};
use super::writer::segment_name;
use crate::disk::Disk;
use crate::runtime::Offset;
use crate::source::frame::client_of;

/// Bytes that are read for an excerpt.
pub(crate) const EXCERPT_BYTES: usize = 1 << 20;
/// Longest excerpt, in bytes: a segment's header and its longest record.
pub(crate) const EXCERPT_BYTES_MAX: usize = HEADER_BYTES + RECORD_PREFIX_BYTES + RECORD_BYTES_MAX as usize;

/// Whole records of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// Base offset of the segment.
    pub(crate) segment: Offset,
    /// Where it begins in the segment; one that begins at 0 holds the header.
    pub(crate) position: u64,
    pub(crate) bytes: Vec<u8>,
    /// The last batch in it, or before it where it holds none.
    pub(crate) through: Offset,
    /// Readings in its batches that were to be counted.
    pub(crate) readings: u64,
    /// The last line of each client that asked for acknowledgements, in the same batches.
    pub(crate) clients: BTreeMap<Arc<str>, u64>,
    /// BLAKE3 of the segment up to its end.
    pub(crate) hash: blake3::Hash,
}

/// Where a reader is in a segment.
struct Place {
    base: Offset,
    path: PathBuf,
    header: Option<(SegmentHeader, u32)>,
    position: u64,
    /// Of all bytes before `position`.
    hasher: blake3::Hasher,
    /// Met before `position`.
    origins: Origins,
    /// The last batch before `position`.
    last: Offset,
}

/// Reads excerpts.
pub(crate) struct ExcerptReader {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    place: Option<Place>,
}

impl ExcerptReader {
    pub(crate) fn new(disk: Arc<dyn Disk>, directory: PathBuf) -> Self {
        Self { disk, directory, place: None }
    }

    /// Base offset of the segment that is read; `None` when that is gone, or none was gone to.
    pub(crate) fn segment(&self) -> Option<Offset> {
        self.place.as_ref().map(|place| place.base)
    }

    /// Base offset of the segment that holds the batch at `offset`, if there is one.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub(crate) fn segment_of(&self, offset: Offset) -> Result<Option<Offset>, JournalError> {
        let listed = list(&*self.disk, &self.directory)?;
        Ok(listed.iter().rev().map(|segment| segment.base).find(|base| *base <= offset))
    }

    /// Goes to the beginning of the segment that begins with `base`.
    pub(crate) fn begin(&mut self, base: Offset) {
        self.place = Some(Place {
            base,
            path: self.directory.join(segment_name(base)),
            header: None,
            position: 0,
            hasher: blake3::Hasher::new(),
            origins: Origins::default(),
            last: Offset(base.0.saturating_sub(1)),
        });
    }

    /// Goes behind the first `bytes` bytes of a segment, if they are those with this hash.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub(crate) fn go_behind(
        &mut self,
        base: Offset,
        bytes: u64,
        hash: &blake3::Hash,
    ) -> Result<bool, JournalError> {
        self.begin(base);
        while let Some(place) = self.place.as_ref().filter(|place| place.position < bytes) {
            let left = usize::try_from(bytes - place.position).unwrap_or(usize::MAX);
            let taken = self.take(Offset(u64::MAX), None, (Offset(u64::MAX), left));
            let taken = match taken {
                Err(JournalError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
                taken => taken?,
            };
            if taken.is_none() {
                break;
            }
        }
        let is_there = self
            .place
            .as_ref()
            .is_some_and(|place| place.position == bytes && place.hasher.finalize() == *hash);
        if !is_there {
            self.place = None;
        }
        Ok(is_there)
    }

    /// The next excerpt, of batches up to `through`; `None` when there is none yet, or its segment is gone. Readings and
    /// clients are counted in batches behind `counted`.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub(crate) fn next(&mut self, through: Offset, counted: Offset) -> Result<Option<Excerpt>, JournalError> {
        let listed = list(&*self.disk, &self.directory)?;
        // Bounded: each turn goes to a later segment.
        loop {
            let Some(place) = &self.place else { return Ok(None) };
            let Some(index) = listed.iter().position(|segment| segment.base == place.base) else {
                self.place = None;
                return Ok(None);
            };
            let next_base = listed.get(index + 1).map(|Listed { base, .. }| *base);
            if let Some(excerpt) = self.take(through, next_base, (counted, usize::MAX))? {
                return Ok(Some(excerpt));
            }
            let last = self.place.as_ref().map_or(Offset(0), |place| place.last);
            match next_base.filter(|next| *next <= last.next() && *next <= through) {
                Some(next) => self.begin(next),
                None => return Ok(None),
            }
        }
    }

    /// Takes the next records of the segment, at most `bytes_max` bytes.
    fn take(
        &mut self,
        through: Offset,
        next_base: Option<Offset>,
        (counted, bytes_max): (Offset, usize),
    ) -> Result<Option<Excerpt>, JournalError> {
        let Some(place) = &mut self.place else { return Ok(None) };
        let failed = |source| JournalError::Read { path: place.path.clone(), source };
        let mut bytes = read_at(&*self.disk, &place.path, place.position, EXCERPT_BYTES.min(bytes_max))
            .map_err(failed)?;
        let Some((header, seed)) = place.header.or_else(|| SegmentHeader::decode(&bytes)) else {
            return Ok(None);
        };
        let header_bytes = if place.header.is_none() { HEADER_BYTES } else { 0 };
        let needed = header_bytes + record_bytes(bytes.get(header_bytes..).unwrap_or_default());
        if needed > bytes.len() && needed <= bytes_max {
            bytes = read_at(&*self.disk, &place.path, place.position, needed).map_err(failed)?;
        }
        let records = bytes.get(header_bytes..).unwrap_or_default();
        let origins = std::mem::take(&mut place.origins);
        let mut decoder = RecordDecoder::go_on(records, &header, seed, origins);
        let mut taken = Taken { through: place.last, ..Taken::default() };
        // The end of what is taken, and the origins known there.
        let (mut end, mut known) = (0, decoder.origin_count());
        // Skips go with the batch behind them, and the last ones of a segment when the next has begun.
        let takes_skips = next_base.is_some() || bytes_max < usize::MAX;
        while let Some((record, _)) = decoder.next_record() {
            match record {
                Record::Batch(batch)
                    if batch.offset > through || next_base.is_some_and(|next| batch.offset >= next) =>
                {
                    break;
                }
                Record::Batch(batch) => {
                    taken.take_in(&batch, counted);
                    (end, known) = (decoder.position(), decoder.origin_count());
                }
                Record::Skip(_) if takes_skips => end = decoder.position(),
                Record::Skip(_) => {}
            }
        }
        place.origins = decoder.into_origins();
        place.origins.truncate(known);
        if end == 0 {
            return Ok(None);
        }
        bytes.truncate(header_bytes + end);
        let position = place.position;
        place.header = Some((header, seed));
        place.position += bytes.len() as u64;
        place.hasher.update(&bytes);
        place.last = taken.through;
        let Taken { through, readings, clients } = taken;
        let hash = place.hasher.finalize();
        Ok(Some(Excerpt { segment: place.base, position, bytes, through, readings, clients, hash }))
    }
}

/// What batches hold.
#[derive(Debug, Default)]
struct Taken {
    through: Offset,
    readings: u64,
    clients: BTreeMap<Arc<str>, u64>,
}

impl Taken {
    fn take_in(&mut self, batch: &BatchRecord, counted: Offset) {
        self.through = batch.offset;
        for chunk in batch.chunks.iter().filter(|_| batch.offset > counted) {
            let lines = memchr::memchr_iter(b'\n', &chunk.lines).count() as u64;
            self.readings += lines;
            if let Some(client) = client_of(&chunk.origin).filter(|_| lines > 0) {
                let last = self.clients.entry(client.into()).or_default();
                *last = (*last).max(chunk.first_line + lines - 1);
            }
        }
    }
}

/// Bytes of the record that `records` begins with, as it says; 0 when it cannot be one.
fn record_bytes(records: &[u8]) -> usize {
    let length = records.split_first_chunk::<4>().map_or(0, |(length, _)| u32::from_le_bytes(*length));
    if length == 0 || length > RECORD_BYTES_MAX { 0 } else { RECORD_PREFIX_BYTES + length as usize }
}

fn read_at(disk: &dyn Disk, path: &Path, position: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut found = Vec::new();
    disk.open_at(path, position)?.take(bytes as u64).read_to_end(&mut found)?;
    Ok(found)
}

#[cfg(test)]
#[path = "excerpt_tests.rs"]
mod tests;
