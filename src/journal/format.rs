//! The bytes of a journal segment. This is the normative description.
//!
//! All numbers little-endian; `varint` is LEB128 of at most 64 bits; `zigzag` a varint of a signed number.
//!
//! ```text
//! segment header, 72 bytes
//!   magic        [u8; 8]    // "TGJOURN\0"
//!   version      u16        // 1; 2 in a job whose sources take messages
//!   reserved     u16        // 0
//!   checksum     u32        // CRC-32C of the header with this field 0
//!   job          u64        // first 8 bytes of BLAKE3 of the job's name
//!   base_offset  u64        // offset of the first batch, if there is one
//!   base_stamp   i64        // processing time, ms, that stamps are counted from
//!   chain        [u8; 32]   // chain of the segment before, 0 for a journal's first
//! record, one behind the other
//!   length       u32        // bytes of kind and body, 1..=64 MiB; 0: end of what was written
//!   checksum     u32        // CRC-32C of kind and body, continued from the header's checksum
//!   kind         u8         // 1 batch, 2 batch compressed, 3 skip; in version 2 also 4 batch with tables, 5 such compressed
//!   body
//! body of a batch
//!   offset       varint     // less base_offset; contiguous from 0 within a segment
//!   durable_lag  varint     // offset less the highest offset durable when this was written
//!   stamp        zigzag     // ms since base_stamp
//!   chunks       varint     // number of chunks
//!   per chunk
//!     source     varint     // number of the source
//!     origin     varint     // 0: a new name follows (length varint, UTF-8 bytes); n: the segment's n-th name
//!     first_line varint
//!     bytes      varint     // length
//!     lines      [u8; bytes] // each with its `\n`
//! body of a batch with tables: that of a batch, and for each chunk behind its lines
//!   bytes        varint     // length
//!   table        [u8; bytes] // the messages the lines are of, see `mqtt::message_table`; empty for a chunk of lines
//! body of a compressed batch: body length varint, lz4 block of the body of a batch
//! body of a skip
//!   offset       varint     // of the batch, absolute
//!   frame        varint     // number of the frame within it, from 0
//!   cause        length varint, UTF-8 bytes
//! ```
//!
//! The chain of a segment is BLAKE3 over its header and the checksums of its records in order. A record's checksum
//! covers the segment's identity through the header's, so a record of another segment, or of an earlier use of the
//! same blocks, is never valid.
//!
//! `durable_lag` is the marker that tells a torn tail from a hole: when a record behind an invalid one says that
//! the invalid one was durable, something acknowledged was lost.

use std::sync::Arc;

use crate::encoding::{Reader, text, varint, zigzag};
use crate::mutants::Mutant;
use crate::runtime::{Offset, Timestamp};

pub(crate) const HEADER_BYTES: usize = 72;
pub(crate) const RECORD_PREFIX_BYTES: usize = 8;
/// Longest record, checked before anything is allocated.
pub(crate) const RECORD_BYTES_MAX: u32 = 64 << 20;
/// Names of origins a segment may hold; the next segment starts anew.
pub(crate) const ORIGINS_MAX: usize = 4096;

const MAGIC: [u8; 8] = *b"TGJOURN\0";
const KIND_BATCH: u8 = 1;
const KIND_COMPRESSED: u8 = 2;
const KIND_SKIP: u8 = 3;
const KIND_TABLES: u8 = 4;
const KIND_TABLES_COMPRESSED: u8 = 5;

/// A segment's chain value.
pub(crate) type Chain = [u8; 32];

/// What the records of a segment may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentFormat {
    /// Version 1.
    Lines,
    /// Version 2: tables of messages too.
    Messages,
}

impl SegmentFormat {
    fn version(self) -> u16 {
        match self {
            Self::Lines => 1,
            Self::Messages => 2,
        }
    }

    fn of_version(version: u16) -> Option<Self> {
        [Self::Lines, Self::Messages].into_iter().find(|format| format.version() == version)
    }
}

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) format: SegmentFormat,
    pub(crate) job: u64,
    pub(crate) base_offset: Offset,
    pub(crate) base_stamp: Timestamp,
    pub(crate) chain: Chain,
}

/// The header's `job`.
pub(crate) fn job_identity(job: &str) -> u64 {
    let hash = blake3::hash(job.as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    u64::from_le_bytes(*first)
}

impl SegmentHeader {
    /// The header's bytes; the second value seeds the records' checksums.
    pub(crate) fn encode(&self) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.format.version().to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(&self.job.to_le_bytes());
        bytes.extend_from_slice(&self.base_offset.0.to_le_bytes());
        bytes.extend_from_slice(&self.base_stamp.0.to_le_bytes());
        bytes.extend_from_slice(&self.chain);
        let checksum = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        (bytes.try_into().expect("the fields add up to the header"), checksum)
    }

    /// Reads a header; `None` when it is cut, damaged or of another format.
    pub(crate) fn decode(segment: &[u8]) -> Option<(Self, u32)> {
        let mut reader = Reader::new(segment.get(..HEADER_BYTES)?);
        let (magic, version) = (reader.array::<8>()?, u16::from_le_bytes(reader.array()?));
        let _reserved = reader.array::<2>()?;
        let checksum = u32::from_le_bytes(reader.array()?);
        let header = Self {
            format: SegmentFormat::of_version(version)?,
            job: u64::from_le_bytes(reader.array()?),
            base_offset: Offset(u64::from_le_bytes(reader.array()?)),
            base_stamp: Timestamp(i64::from_le_bytes(reader.array()?)),
            chain: reader.array()?,
        };
        let (expected, seed) = header.encode();
        (magic == MAGIC && checksum == seed && segment.starts_with(&expected)).then_some((header, checksum))
    }
}

/// A chunk as it is journaled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChunkRecord<B> {
    pub(crate) source: u16,
    pub(crate) origin: Arc<str>,
    pub(crate) first_line: u64,
    /// Lines, each with its `\n`.
    pub(crate) lines: B,
    /// The messages the lines are of.
    pub(crate) table: B,
}

/// A batch as it is journaled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchRecord {
    pub(crate) offset: Offset,
    /// Highest offset that was durable when this record was written.
    pub(crate) durable: Offset,
    pub(crate) stamp: Timestamp,
    pub(crate) chunks: Vec<ChunkRecord<Vec<u8>>>,
}

/// A frame that is not to be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SkipRecord {
    pub(crate) offset: Offset,
    pub(crate) frame: u64,
    pub(crate) cause: String,
}

/// Any record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    Batch(BatchRecord),
    Skip(SkipRecord),
}

/// Names of origins met in a segment, in order of appearance.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    names: Vec<Arc<str>>,
}

impl Origins {
    pub(crate) fn is_full(&self) -> bool {
        self.names.len() >= ORIGINS_MAX
    }

    /// How many were met.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Forgets all but the first `count`.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.names.truncate(count);
    }
}

/// Appends records of one segment.
#[derive(Debug)]
pub(crate) struct RecordEncoder {
    format: SegmentFormat,
    base_offset: Offset,
    base_stamp: Timestamp,
    seed: u32,
    compress: bool,
    origins: Origins,
    body: Vec<u8>,
}

impl RecordEncoder {
    pub(crate) fn new(header: &SegmentHeader, seed: u32, compress: bool) -> Self {
        Self {
            format: header.format,
            base_offset: header.base_offset,
            base_stamp: header.base_stamp,
            seed,
            compress,
            origins: Origins::default(),
            body: Vec::new(),
        }
    }

    pub(crate) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Appends a batch to `out`; returns its checksum.
    pub(crate) fn batch<'a>(
        &mut self,
        offset: Offset,
        durable: Offset,
        stamp: Timestamp,
        chunks: impl ExactSizeIterator<Item = ChunkRecord<&'a [u8]>> + Clone,
        out: &mut Vec<u8>,
    ) -> u32 {
        let has_tables = chunks.clone().any(|chunk| !chunk.table.is_empty());
        let (plain, compressed) = if has_tables {
            assert_eq!(self.format, SegmentFormat::Messages, "the job's sources say what they take");
            (KIND_TABLES, KIND_TABLES_COMPRESSED)
        } else {
            (KIND_BATCH, KIND_COMPRESSED)
        };
        self.body.clear();
        varint(offset.0 - self.base_offset.0, &mut self.body);
        varint(offset.0.saturating_sub(durable.0), &mut self.body);
        zigzag(stamp.0.wrapping_sub(self.base_stamp.0), &mut self.body);
        varint(chunks.len() as u64, &mut self.body);
        for chunk in chunks {
            varint(u64::from(chunk.source), &mut self.body);
            match self.origins.names.iter().rposition(|name| *name == chunk.origin) {
                Some(index) => varint(index as u64 + 1, &mut self.body),
                None => {
                    varint(0, &mut self.body);
                    text(&chunk.origin, &mut self.body);
                    self.origins.names.push(chunk.origin);
                }
            }
            varint(chunk.first_line, &mut self.body);
            varint(chunk.lines.len() as u64, &mut self.body);
            self.body.extend_from_slice(chunk.lines);
            if has_tables {
                varint(chunk.table.len() as u64, &mut self.body);
                self.body.extend_from_slice(chunk.table);
            }
        }
        if self.compress {
            let packed = lz4_flex::block::compress(&self.body);
            let mut body = Vec::with_capacity(packed.len() + 5);
            varint(self.body.len() as u64, &mut body);
            body.extend_from_slice(&packed);
            if body.len() < self.body.len() {
                return frame(compressed, &body, self.seed, out);
            }
        }
        frame(plain, &self.body, self.seed, out)
    }

    /// Appends a skip to `out`; returns its checksum.
    pub(crate) fn skip(&mut self, skip: &SkipRecord, out: &mut Vec<u8>) -> u32 {
        self.body.clear();
        varint(skip.offset.0, &mut self.body);
        varint(skip.frame, &mut self.body);
        text(&skip.cause, &mut self.body);
        frame(KIND_SKIP, &self.body, self.seed, out)
    }
}

fn frame(kind: u8, body: &[u8], seed: u32, out: &mut Vec<u8>) -> u32 {
    let length = u32::try_from(body.len() + 1).ok().filter(|length| *length <= RECORD_BYTES_MAX);
    let length = length.expect("a batch is far below 64 MiB");
    let checksum = crc32c::crc32c_append(crc32c::crc32c_append(seed, &[kind]), body);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(body);
    checksum
}

/// Reads the records of one segment, from its first.
#[derive(Debug)]
pub(crate) struct RecordDecoder<'a> {
    format: SegmentFormat,
    segment: &'a [u8],
    position: usize,
    base_offset: Offset,
    base_stamp: Timestamp,
    seed: u32,
    origins: Origins,
}

impl<'a> RecordDecoder<'a> {
    /// `segment` is the whole segment, `header` and `seed` what `SegmentHeader::decode` gave.
    pub(crate) fn new(segment: &'a [u8], header: &SegmentHeader, seed: u32) -> Self {
        Self {
            format: header.format,
            segment,
            position: HEADER_BYTES,
            base_offset: header.base_offset,
            base_stamp: header.base_stamp,
            seed,
            origins: Origins::default(),
        }
    }

    /// Goes on within a segment: `records` begins with a record, and `origins` are those of the records before it.
    pub(crate) fn go_on(records: &'a [u8], header: &SegmentHeader, seed: u32, origins: Origins) -> Self {
        Self { position: 0, origins, ..Self::new(records, header, seed) }
    }

    /// The origins of the records read.
    pub(crate) fn into_origins(self) -> Origins {
        self.origins
    }

    /// How many there are by now.
    pub(crate) fn origin_count(&self) -> usize {
        self.origins.len()
    }

    /// Byte behind the last valid record.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// The next record and its checksum; `None` where the valid records end.
    pub(crate) fn next_record(&mut self) -> Option<(Record, u32)> {
        let (kind, body, checksum) = self.checked_at(self.position)?;
        let record = self.decode(kind, body)?;
        self.position += RECORD_PREFIX_BYTES + 1 + body.len();
        Some((record, checksum))
    }

    /// The record at `position`, if length and checksum are right.
    fn checked_at(&self, position: usize) -> Option<(u8, &'a [u8], u32)> {
        let mut reader = Reader::new(self.segment.get(position..)?);
        let length = u32::from_le_bytes(reader.array()?);
        let checksum = u32::from_le_bytes(reader.array()?);
        if length == 0 || length > RECORD_BYTES_MAX {
            return None;
        }
        let covered = reader.take(length as usize)?;
        if crc32c::crc32c_append(self.seed, covered) != checksum && !Mutant::NoCrcCheck.is_on() {
            return None;
        }
        let (kind, body) = covered.split_first()?;
        Some((*kind, body, checksum))
    }

    fn decode(&mut self, kind: u8, body: &[u8]) -> Option<Record> {
        match kind {
            _ if !self.knows(kind) => None,
            KIND_BATCH | KIND_TABLES => self.decode_batch(kind, body).map(Record::Batch),
            KIND_COMPRESSED | KIND_TABLES_COMPRESSED => {
                self.decode_batch(kind, &decompress(body)?).map(Record::Batch)
            }
            KIND_SKIP => {
                let mut reader = Reader::new(body);
                let (offset, frame) = (Offset(reader.varint()?), reader.varint()?);
                let cause = reader.text()?.to_owned();
                Some(Record::Skip(SkipRecord { offset, frame, cause }))
            }
            _ => None,
        }
    }

    fn knows(&self, kind: u8) -> bool {
        match kind {
            KIND_BATCH | KIND_COMPRESSED | KIND_SKIP => true,
            KIND_TABLES | KIND_TABLES_COMPRESSED => self.format == SegmentFormat::Messages,
            _ => false,
        }
    }

    fn decode_batch(&mut self, kind: u8, body: &[u8]) -> Option<BatchRecord> {
        let mut reader = Reader::new(body);
        let offset = Offset(self.base_offset.0.checked_add(reader.varint()?)?);
        let durable = Offset(offset.0.saturating_sub(reader.varint()?));
        let stamp = Timestamp(self.base_stamp.0.wrapping_add(reader.zigzag()?));
        let count = reader.varint()?;
        let mut chunks = Vec::new();
        for _ in 0..count {
            let source = u16::try_from(reader.varint()?).ok()?;
            let origin = match reader.varint()? {
                0 => {
                    let name: Arc<str> = reader.text()?.into();
                    self.origins.names.push(Arc::clone(&name));
                    name
                }
                index => Arc::clone(self.origins.names.get(usize::try_from(index - 1).ok()?)?),
            };
            let first_line = reader.varint()?;
            let length = usize::try_from(reader.varint()?).ok()?;
            let lines = reader.take(length)?.to_vec();
            if lines.last().is_some_and(|last| *last != b'\n') {
                return None;
            }
            let mut table = Vec::new();
            if kind == KIND_TABLES || kind == KIND_TABLES_COMPRESSED {
                let length = usize::try_from(reader.varint()?).ok()?;
                table.extend_from_slice(reader.take(length)?);
            }
            chunks.push(ChunkRecord { source, origin, first_line, lines, table });
        }
        reader.is_empty().then_some(BatchRecord { offset, durable, stamp, chunks })
    }

    /// Looks behind an invalid record, byte by byte, for a valid batch; returns its offset and what was durable when it
    /// was written.
    pub(crate) fn find_later_batch(&self) -> Option<(Offset, Offset)> {
        self.later_batch().map(|(_, found)| found)
    }

    /// Goes to the first valid batch behind an invalid record.
    pub(crate) fn skip_to_later_batch(&mut self) -> Option<(Offset, Offset)> {
        let (position, found) = self.later_batch()?;
        self.position = position;
        Some(found)
    }

    fn later_batch(&self) -> Option<(usize, (Offset, Offset))> {
        let last = self.segment.len().checked_sub(RECORD_PREFIX_BYTES + 1)?;
        (self.position + 1..=last).find_map(|position| {
            // Zeros, the usual end of a preallocated segment, are passed over without a checksum.
            let kind = *self.segment.get(position + RECORD_PREFIX_BYTES)?;
            if kind == KIND_SKIP || !self.knows(kind) {
                return None;
            }
            let (kind, body, _) = self.checked_at(position)?;
            let is_compressed = kind == KIND_COMPRESSED || kind == KIND_TABLES_COMPRESSED;
            let unpacked = if is_compressed { decompress(body)? } else { body.to_vec() };
            let mut reader = Reader::new(&unpacked);
            let offset = self.base_offset.0.checked_add(reader.varint()?)?;
            let durable = offset.saturating_sub(reader.varint()?);
            Some((position, (Offset(offset), Offset(durable))))
        })
    }
}

fn decompress(body: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(body);
    let length = usize::try_from(reader.varint()?).ok()?;
    if length > RECORD_BYTES_MAX as usize {
        return None;
    }
    lz4_flex::block::decompress(reader.rest(), length).ok()
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
