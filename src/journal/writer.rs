//! The journal's writer: appends batches to the active segment, syncs, rolls, deletes.
//!
//! Limits: a segment is sealed before it would pass `segment_bytes` (one that holds a single larger record may), or when
//! it has met 4,096 origins.
//!
//! Invariants: one active segment; a sealed one never changes; what `append` wrote counts only after the next
//! `sync` succeeded. After a failed write or sync the segment is poisoned: what it holds that was synced is read back from
//! the disk, and the batches since are written again to a *new* segment, whose base offset says that they supersede what
//! the poisoned one may hold. What cannot be read back is written again too while it is in memory, which the batches of
//! the last sync are: the page they end in is the one that was written to when the disk failed.
//!
//! Crash: a new segment's header and name are synced before its first batch, so a segment that lacks a readable header
//! never held anything acknowledged.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::JournalError;
use super::format::{
    Chain, ChunkRecord, Record, RecordDecoder, RecordEncoder, SegmentFormat, SegmentHeader, SkipRecord,
    job_identity,
};
use super::recovery::Recovered;
use crate::disk::{Disk, DurableFile};
use crate::mutants::Mutant;
use crate::runtime::{Offset, Timestamp};
use crate::source::frame::{FrameChunk, Frames};

/// A batch to be journaled.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) offset: Offset,
    pub(crate) stamp: Timestamp,
    pub(crate) frames: Arc<Frames>,
}

/// A segment that is not written to any more.
#[derive(Debug, Clone)]
pub(crate) struct SealedSegment {
    pub(crate) base: Offset,
    pub(crate) path: PathBuf,
    /// What it takes on the disk.
    pub(crate) bytes: u64,
}

/// A segment that failed.
struct Suspect {
    base: Offset,
    path: PathBuf,
    /// Bytes of it that were synced.
    durable_bytes: u64,
}

struct ActiveSegment {
    file: Box<dyn DurableFile>,
    base: Offset,
    path: PathBuf,
    encoder: RecordEncoder,
    chain: blake3::Hasher,
    written: u64,
    /// Bytes of it that are synced.
    durable_bytes: u64,
    capacity: u64,
}

/// How segments are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentSettings {
    pub(crate) segment_bytes: u64,
    pub(crate) compress: bool,
    pub(crate) format: SegmentFormat,
}

/// Writes the journal of one job.
pub(crate) struct JournalWriter {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    job: u64,
    settings: SegmentSettings,
    /// Most the journal may take on the disk: the last segment before it is shorter.
    bytes_max: u64,
    active: Option<ActiveSegment>,
    sealed: VecDeque<SealedSegment>,
    chain: Chain,
    /// Last batch written.
    written: Offset,
    /// Last batch synced.
    durable: Offset,
    /// Batches written since the last sync, in case they must be written again.
    unsynced: Vec<Entry>,
    /// The batches of the last sync.
    synced: Vec<Entry>,
    /// A segment that failed and was not read back yet.
    suspect: Option<Suspect>,
    /// Skips not known to be durable.
    skips: Vec<SkipRecord>,
    buffer: Vec<u8>,
    checksums: Vec<u32>,
}

impl JournalWriter {
    /// A writer that goes on behind `last`, the later of what was recovered and what is checkpointed, in a new segment.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        directory: &Path,
        job: &str,
        settings: SegmentSettings,
        recovered: &Recovered,
        last: Offset,
    ) -> Self {
        Self {
            disk,
            directory: directory.to_owned(),
            job: job_identity(job),
            settings,
            bytes_max: u64::MAX,
            active: None,
            sealed: recovered.segments.iter().cloned().collect(),
            chain: if last == recovered.last { recovered.chain } else { [0; 32] },
            written: last,
            durable: last,
            unsynced: Vec::new(),
            synced: Vec::new(),
            suspect: None,
            skips: Vec::new(),
            buffer: Vec::new(),
            checksums: Vec::new(),
        }
    }

    /// Last batch that is on stable storage.
    pub(crate) fn durable(&self) -> Offset {
        self.durable
    }

    /// Last batch that was written.
    pub(crate) fn written(&self) -> Offset {
        self.written
    }

    /// From now on a new segment takes this much of the disk ahead, or what its first batch needs.
    pub(crate) fn set_segment_bytes(&mut self, segment_bytes: u64) {
        self.settings.segment_bytes = segment_bytes;
    }

    /// Sets what the journal may take on the disk. Only what does not fit any segment goes beyond.
    pub(crate) fn set_bytes_max(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// What may still be written before the limit, in bytes.
    pub(crate) fn bytes_left(&self) -> u64 {
        let written = self.active.as_ref().map_or(0, |active| active.written);
        self.bytes_max.saturating_sub(self.sealed_bytes() + written)
    }

    fn sealed_bytes(&self) -> u64 {
        self.sealed.iter().map(|segment| segment.bytes).sum()
    }

    /// What the journal takes on the disk, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.sealed_bytes() + self.active.as_ref().map_or(0, |active| active.capacity.max(active.written))
    }

    /// Writes batches; they are durable after the next `sync`.
    ///
    /// # Errors
    /// [`JournalError::Write`]: the segment is given up. `recover_from_failure` writes everything not yet durable to a
    /// new one; until that succeeds nothing else may be appended.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) -> Result<(), JournalError> {
        let first_new = self.unsynced.len();
        self.unsynced.extend(entries);
        self.write_from(first_new)
    }

    /// Journals that a frame is not to be processed; durable after the next `sync`.
    ///
    /// # Errors
    /// As `append`.
    pub(crate) fn skip(&mut self, skip: SkipRecord) -> Result<(), JournalError> {
        let stamp = self.unsynced.last().map_or(Timestamp(0), |entry| entry.stamp);
        self.ensure_segment(self.written.next(), stamp, 0)?;
        let active = self.active.as_mut().expect("a segment was ensured");
        self.buffer.clear();
        let checksum = active.encoder.skip(&skip, &mut self.buffer);
        self.skips.push(skip);
        self.checksums.push(checksum);
        self.write_buffer()
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// As `append`.
    pub(crate) fn sync(&mut self) -> Result<(), JournalError> {
        if let Some(active) = &mut self.active {
            if let Err(source) = active.file.sync() {
                return Err(self.give_up(source));
            }
            active.durable_bytes = active.written;
        } else {
            assert!(self.unsynced.is_empty(), "what was appended has a segment");
        }
        self.durable = self.written;
        if !self.unsynced.is_empty() {
            std::mem::swap(&mut self.synced, &mut self.unsynced);
            self.unsynced.clear();
        }
        self.skips.clear();
        Ok(())
    }

    /// Lets go of what was appended, for a journal that is never synced: after a failure it is not written again.
    pub(crate) fn let_go(&mut self) {
        self.unsynced.clear();
        self.skips.clear();
    }

    /// The last batch that is not written again after a failure.
    pub(crate) fn kept(&self) -> Offset {
        self.unsynced.first().map_or(self.written, |first| Offset(first.offset.0 - 1))
    }

    /// After a failure: reads back what is durable of the segment, writes the rest to a new one and syncs it.
    ///
    /// # Errors
    /// [`JournalError::Write`] when that fails too; it may be called again. [`JournalError::Lost`] when something durable is
    /// neither on the disk nor in memory.
    pub(crate) fn recover_from_failure(&mut self) -> Result<(), JournalError> {
        assert!(self.active.is_none(), "a failed segment was given up");
        if let Some(suspect) = self.suspect.take() {
            self.read_back(&suspect)?;
        }
        self.written = self.kept();
        self.write_from(0)?;
        for skip in std::mem::take(&mut self.skips) {
            self.skip(skip)?;
        }
        self.sync()
    }

    /// Deletes the segments that hold only batches up to `offset`. Returns what is left, in bytes.
    ///
    /// # Errors
    /// [`JournalError::Write`] when a file cannot be removed; it is tried again the next time.
    pub(crate) fn delete_through(&mut self, offset: Offset) -> Result<u64, JournalError> {
        let mut removed = false;
        while let Some(oldest) = self.sealed.front() {
            let next_base = self.sealed.get(1).map(|next| next.base);
            let next_base = next_base.or(self.active.as_ref().map(|active| active.base));
            if next_base.is_none_or(|next| next.0 > offset.0 + 1) {
                break;
            }
            let path = oldest.path.clone();
            match self.disk.remove(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(JournalError::Write { path, source });
                }
                _ => removed = true,
            }
            self.sealed.pop_front();
        }
        if removed {
            self.disk
                .sync_directory(&self.directory)
                .map_err(|source| JournalError::Write { path: self.directory.clone(), source })?;
        }
        Ok(self.bytes())
    }

    /// Checks that a segment that failed still holds what was synced to it, and takes back what it does not hold.
    fn read_back(&mut self, suspect: &Suspect) -> Result<(), JournalError> {
        let Suspect { base, path, durable_bytes } = suspect;
        let (readable, byte) = match read_durable(&*self.disk, path, *durable_bytes) {
            Ok(bytes) => readable_through(&bytes, *base),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "cannot read back the segment that failed");
                (Offset(base.0 - 1), 0)
            }
        };
        if readable >= self.durable {
            return Ok(());
        }
        let from = readable.next();
        tracing::error!(
            path = %path.display(), byte, lost = %format_args!("{from}..={}", self.durable),
            "batches that were durable can no longer be read"
        );
        if self.synced.first().is_none_or(|first| first.offset > from) {
            return Err(JournalError::Lost { path: path.clone(), byte: byte as u64, from, to: self.durable });
        }
        tracing::warn!("they are still in memory and are written again");
        let mut again: Vec<Entry> = self.synced.drain(..).filter(|entry| entry.offset >= from).collect();
        again.append(&mut self.unsynced);
        self.unsynced = again;
        if readable < *base {
            self.sealed.pop_back_if(|sealed| sealed.base == *base);
        }
        Ok(())
    }

    fn write_from(&mut self, first: usize) -> Result<(), JournalError> {
        for index in first..self.unsynced.len() {
            let entry = self.unsynced[index].clone();
            let chunk_bytes = |chunk: &FrameChunk| chunk.byte_count() + chunk.table().len() + 32;
            let body: usize = entry.frames.chunks.iter().map(chunk_bytes).sum();
            self.ensure_segment(entry.offset, entry.stamp, body as u64 + 64)?;
            self.encode(&entry);
            self.write_buffer()?;
            self.written = entry.offset;
        }
        Ok(())
    }

    fn encode(&mut self, entry: &Entry) {
        assert_eq!(entry.offset, self.written.next(), "batches are journaled without gaps");
        let active = self.active.as_mut().expect("a segment was ensured");
        let chunks = entry.frames.chunks.iter().map(|chunk| ChunkRecord {
            source: chunk.source.0,
            origin: Arc::clone(&chunk.origin),
            first_line: chunk.first_line,
            lines: chunk.bytes(&(0..chunk.frame_count())),
            table: chunk.table(),
        });
        self.buffer.clear();
        let checksum =
            active.encoder.batch(entry.offset, self.durable, entry.stamp, chunks, &mut self.buffer);
        self.checksums.push(checksum);
    }

    fn write_buffer(&mut self) -> Result<(), JournalError> {
        let active = self.active.as_mut().expect("a segment was ensured");
        if let Err(source) = active.file.write_all(&self.buffer) {
            return Err(self.give_up(source));
        }
        active.written += self.buffer.len() as u64;
        for checksum in self.checksums.drain(..) {
            active.chain.update(&checksum.to_le_bytes());
        }
        Ok(())
    }

    /// Makes room for `bytes` more in the active segment, or starts the next one at `base`.
    fn ensure_segment(&mut self, base: Offset, stamp: Timestamp, bytes: u64) -> Result<(), JournalError> {
        if let Some(active) = &self.active {
            if active.written + bytes <= active.capacity && !active.encoder.origins().is_full() {
                return Ok(());
            }
            self.seal()?;
        }
        let header = SegmentHeader {
            format: self.settings.format,
            job: self.job,
            base_offset: base,
            base_stamp: stamp,
            chain: self.chain,
        };
        let path = self.directory.join(segment_name(base));
        let left = self.bytes_max.saturating_sub(self.sealed_bytes());
        let capacity = self.settings.segment_bytes.min(left).max(bytes + super::format::HEADER_BYTES as u64);
        let (bytes, seed) = header.encode();
        let file = self
            .create(&path, &bytes, capacity)
            .map_err(|source| JournalError::Write { path: path.clone(), source })?;
        let mut chain = blake3::Hasher::new();
        chain.update(&bytes);
        let encoder = RecordEncoder::new(&header, seed, self.settings.compress);
        let written = bytes.len() as u64;
        let durable_bytes = written;
        self.active =
            Some(ActiveSegment { file, base, path, encoder, chain, written, durable_bytes, capacity });
        Ok(())
    }

    fn create(&self, path: &Path, header: &[u8], capacity: u64) -> io::Result<Box<dyn DurableFile>> {
        // A file of this name holds nothing that counts: a segment with batches is never created again.
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = self.disk.create_new(path)?;
        file.preallocate(capacity)?;
        file.write_all(header)?;
        file.sync()?;
        if !Mutant::NoDirectorySync.is_on() {
            self.disk.sync_directory(&self.directory)?;
        }
        Ok(file)
    }

    /// Ends the active segment. What it holds is synced first: the next one's first record says it is durable.
    fn seal(&mut self) -> Result<(), JournalError> {
        self.sync_active()?;
        if let Some(active) = self.active.take() {
            self.chain = *active.chain.finalize().as_bytes();
            let bytes = active.capacity.max(active.written);
            self.sealed.push_back(SealedSegment { base: active.base, path: active.path, bytes });
        }
        Ok(())
    }

    fn sync_active(&mut self) -> Result<(), JournalError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        active.file.sync().map_err(|source| self.give_up(source))
    }

    /// The active segment failed: it keeps what is durable and is never written again.
    fn give_up(&mut self, source: io::Error) -> JournalError {
        let active = self.active.take().expect("the active segment failed");
        self.checksums.clear();
        let bytes = active.capacity.max(active.written);
        let path = active.path.clone();
        // The chain cannot say where a failed segment ends; the next one starts a new chain.
        self.chain = [0; 32];
        if active.base <= self.kept() {
            let path = active.path.clone();
            self.suspect = Some(Suspect { base: active.base, path, durable_bytes: active.durable_bytes });
            self.sealed.push_back(SealedSegment { base: active.base, path: active.path, bytes });
        }
        JournalError::Write { path, source }
    }
}

/// The first bytes of a file, from the disk itself.
fn read_durable(disk: &dyn Disk, path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    disk.drop_cache(path)?;
    let mut found = Vec::new();
    disk.open(path)?.0.take(bytes).read_to_end(&mut found)?;
    Ok(found)
}

/// The last batch that can be read from a segment without a gap, and the byte behind it.
fn readable_through(segment: &[u8], base: Offset) -> (Offset, usize) {
    let mut last = Offset(base.0 - 1);
    let Some((header, seed)) = SegmentHeader::decode(segment) else { return (last, 0) };
    let mut decoder = RecordDecoder::new(segment, &header, seed);
    while let Some((record, _)) = decoder.next_record() {
        if let Record::Batch(batch) = record {
            last = batch.offset;
        }
    }
    (last, decoder.position())
}

/// File name of the segment that begins with `base`.
pub(crate) fn segment_name(base: Offset) -> String {
    format!("{:020}.segment", base.0)
}
