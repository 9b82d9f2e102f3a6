//! Recovery: what a journal directory holds, found by reading only.
//!
//! | segment | behind its valid records | verdict |
//! |---|---|---|
//! | not the last | the next segment begins there | whole (its tail was torn, or superseded after a failed write) |
//! | not the last | the next segment begins later | corrupt: batches in between are lost |
//! | the last | no later record, or none of what is missing was durable | torn tail: never acknowledged, passed over |
//! | the last | a record that says what is missing was durable | corrupt |
//! | no readable header, the last | nothing but zeros | torn at its creation: held nothing |
//! | no readable header | anything else | corrupt |
//! | header of another job, chain of another segment | | corrupt |
//!
//! Segments that end before the batch the caller needs first are not read: they may have gaps, since a power cut may
//! take back some removals and not others.
//!
//! At the first corrupt place the usable journal ends; it is reported with segment, byte and lost offsets. The caller
//! moves the segments from there on to quarantine, but not one that holds batches before the damage, and goes on behind
//! the last usable batch. Nothing is changed here, so recovery can be interrupted and repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::JournalError;
use super::format::{BatchRecord, Chain, HEADER_BYTES, Record, RecordDecoder, SegmentHeader, job_identity};
use super::writer::{SealedSegment, segment_name};
use crate::disk::{Disk, read_whole};
use crate::mqtt::{Event, events};
use crate::runtime::{Offset, Timestamp};
use crate::source::frame::client_of;

/// Longest segment that is read, in bytes.
pub(crate) const SEGMENT_BYTES_LIMIT: u64 = 1 << 30;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Usable segments and ones no longer needed, oldest first.
    pub(crate) segments: Vec<SealedSegment>,
    /// How many of them, the oldest, were not read since they are no longer needed.
    pub(crate) unread: usize,
    /// First batch held; `None` when there is none.
    pub(crate) first: Option<Offset>,
    /// Last batch held.
    pub(crate) last: Offset,
    /// Its processing time.
    pub(crate) last_stamp: Timestamp,
    /// Chain of the last segment.
    pub(crate) chain: Chain,
    /// Frames not to be processed, by batch.
    pub(crate) skips: BTreeMap<Offset, BTreeSet<u64>>,
    /// Lines of each client that asked for acknowledgements, in the batches from the one needed on; as far as read when
    /// none is.
    pub(crate) clients: BTreeMap<Arc<str>, u64>,
    /// What each message session took in, in the same batches.
    pub(crate) sessions: BTreeMap<Arc<str>, Vec<Event>>,
    /// Bytes behind the last valid record that were not zero: a torn tail. At least 1 for a last segment without a header.
    pub(crate) torn_bytes: u64,
    pub(crate) corruption: Option<Corruption>,
}

/// Where the usable journal ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Corruption {
    pub(crate) segment: PathBuf,
    pub(crate) byte: u64,
    pub(crate) reason: &'static str,
    /// Offsets known to be lost, both ends included; `None` when nothing says how far they went.
    pub(crate) lost: Option<(Offset, Offset)>,
    /// The segment, unless batches before the damage can be read from it, and all behind it.
    pub(crate) unusable: Vec<PathBuf>,
}

/// A segment file.
pub(crate) struct Listed {
    pub(crate) base: Offset,
    pub(crate) path: PathBuf,
}

/// Reads the journal in `directory`, which may not exist, from the segment that holds `needed` on.
///
/// # Errors
/// [`JournalError::Read`] when the directory or a segment cannot be read: that is a dying disk, not damage.
pub(crate) fn recover(
    disk: &dyn Disk,
    directory: &Path,
    job: &str,
    needed: Offset,
) -> Result<Recovered, JournalError> {
    let mut listed = list(disk, directory)?;
    let mut recovered = Recovered::default();
    // What lies before it may belong to a history that was given up.
    let clients_from = if needed == Offset(u64::MAX) { Offset(0) } else { needed };
    let begin = listed.iter().rposition(|segment| segment.base <= needed).unwrap_or(0);
    for Listed { base, path } in listed.drain(..begin) {
        let bytes = disk.open(&path).map_or(0, |(_, length)| length);
        recovered.segments.push(SealedSegment { base, path, bytes });
        recovered.unread += 1;
    }
    for (index, segment) in listed.iter().enumerate() {
        let bytes = read_whole(disk, &segment.path, SEGMENT_BYTES_LIMIT)
            .map_err(|source| JournalError::Read { path: segment.path.clone(), source })?;
        let next_base = listed.get(index + 1).map(|next| next.base);
        let place = Place { next_base, is_first: index == 0, clients_from };
        match read_segment(&mut recovered, segment, &bytes, job, place) {
            Ok(()) => {}
            Err((byte, reason)) => {
                let highest = highest_offset(disk, &listed[index..]);
                let missing = recovered.last.next();
                // What it holds before the damage stays; the next segment begins behind that, and supersedes the rest.
                let is_usable = recovered.first.is_some() && recovered.last >= segment.base;
                if is_usable {
                    let (base, path) = (segment.base, segment.path.clone());
                    recovered.segments.push(SealedSegment { base, path, bytes: bytes.len() as u64 });
                }
                recovered.chain = [0; 32];
                let unusable = listed.iter().skip(index + usize::from(is_usable));
                recovered.corruption = Some(Corruption {
                    segment: segment.path.clone(),
                    byte: byte as u64,
                    reason,
                    lost: (highest >= missing).then_some((missing, highest)),
                    unusable: unusable.map(|segment| segment.path.clone()).collect(),
                });
                break;
            }
        }
    }
    Ok(recovered)
}

/// The segment files of a directory, by base offset; none when it does not exist.
pub(crate) fn list(disk: &dyn Disk, directory: &Path) -> Result<Vec<Listed>, JournalError> {
    let names = match disk.list(directory) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(JournalError::Read { path: directory.to_owned(), source }),
    };
    let mut listed: Vec<Listed> = names
        .into_iter()
        .filter_map(|name| {
            let base = Offset(name.strip_suffix(".segment")?.parse().ok()?);
            (name == segment_name(base)).then(|| Listed { base, path: directory.join(name) })
        })
        .collect();
    listed.sort_by_key(|segment| segment.base);
    Ok(listed)
}

/// What reading a segment depends on besides itself.
struct Place {
    next_base: Option<Offset>,
    is_first: bool,
    clients_from: Offset,
}

/// Takes in one segment, or says at which byte and why it is corrupt.
fn read_segment(
    recovered: &mut Recovered,
    segment: &Listed,
    bytes: &[u8],
    job: &str,
    Place { next_base, is_first, clients_from }: Place,
) -> Result<(), (usize, &'static str)> {
    let Some((header, seed)) = SegmentHeader::decode(bytes) else {
        let only_zeros_behind =
            bytes.get(HEADER_BYTES..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0));
        if next_base.is_some() || !only_zeros_behind {
            return Err((0, "the header is damaged"));
        }
        // Nothing tells a segment that never had a header from one that lost everything.
        let written = bytes.iter().filter(|byte| **byte != 0).count() as u64;
        recovered.torn_bytes = written.max(1);
        return Ok(());
    };
    if header.job != job_identity(job) || header.base_offset != segment.base {
        return Err((0, "the header belongs to another job or another place"));
    }
    if !is_first && segment.base != recovered.last.next() {
        return Err((0, "batches before it are missing"));
    }
    if !is_first && header.chain != [0; 32] && header.chain != recovered.chain {
        return Err((0, "it does not continue the segment before it"));
    }
    let mut chain = blake3::Hasher::new();
    chain.update(bytes.get(..HEADER_BYTES).unwrap_or_default());
    let mut decoder = RecordDecoder::new(bytes, &header, seed);
    let mut expected = segment.base;
    loop {
        let position = decoder.position();
        match decoder.next_record() {
            // Superseded: its segment failed, and the next one holds the batch.
            Some((Record::Batch(batch), _)) if next_base == Some(batch.offset) => break,
            Some((Record::Batch(batch), checksum)) => {
                if batch.offset != expected {
                    return Err((position, "the batch is out of order"));
                }
                chain.update(&checksum.to_le_bytes());
                if batch.offset >= clients_from {
                    count_clients(&mut recovered.clients, &batch);
                    take_in_sessions(&mut recovered.sessions, &batch);
                }
                recovered.first.get_or_insert(batch.offset);
                recovered.last = batch.offset;
                recovered.last_stamp = recovered.last_stamp.max(batch.stamp);
                expected = expected.next();
            }
            Some((Record::Skip(skip), checksum)) => {
                chain.update(&checksum.to_le_bytes());
                recovered.skips.entry(skip.offset).or_default().insert(skip.frame);
            }
            None => break,
        }
    }
    let end = decoder.position();
    match next_base {
        Some(next) if next != expected => return Err((end, "a record is damaged")),
        Some(_) => {}
        None => {
            if decoder.find_later_batch().is_some_and(|(_, durable)| durable >= expected) {
                return Err((end, "a record that was durable is damaged"));
            }
            let tail = bytes.get(end..).unwrap_or_default();
            recovered.torn_bytes = tail.iter().filter(|byte| **byte != 0).count() as u64;
        }
    }
    if expected == segment.base && next_base.is_none() {
        // It holds no batch: the writer begins it anew.
        return Ok(());
    }
    recovered.chain = *chain.finalize().as_bytes();
    let bytes = bytes.len() as u64;
    recovered.segments.push(SealedSegment { base: segment.base, path: segment.path.clone(), bytes });
    Ok(())
}

fn count_clients(clients: &mut BTreeMap<Arc<str>, u64>, batch: &BatchRecord) {
    for chunk in &batch.chunks {
        let lines = memchr::memchr_iter(b'\n', &chunk.lines).count() as u64;
        if let Some(client) = client_of(&chunk.origin).filter(|_| lines > 0) {
            let counted = clients.entry(client.into()).or_default();
            *counted = (chunk.first_line + lines - 1).max(*counted);
        }
    }
}

fn take_in_sessions(sessions: &mut BTreeMap<Arc<str>, Vec<Event>>, batch: &BatchRecord) {
    for chunk in batch.chunks.iter().filter(|chunk| !chunk.table.is_empty()) {
        sessions.entry(Arc::clone(&chunk.origin)).or_default().extend(events(&chunk.table));
    }
}

/// The highest offset any of the segments speaks of, damaged or not.
fn highest_offset(disk: &dyn Disk, segments: &[Listed]) -> Offset {
    let in_segment = |segment: &Listed| {
        let before_base = Offset(segment.base.0.saturating_sub(1));
        let bytes = read_whole(disk, &segment.path, SEGMENT_BYTES_LIMIT).unwrap_or_default();
        let Some((header, seed)) = SegmentHeader::decode(&bytes) else { return before_base };
        let mut decoder = RecordDecoder::new(&bytes, &header, seed);
        let mut highest = before_base;
        // Bounded: every step moves forward in the segment.
        loop {
            while let Some((record, _)) = decoder.next_record() {
                if let Record::Batch(batch) = record {
                    highest = highest.max(batch.offset);
                }
            }
            match decoder.skip_to_later_batch() {
                Some((offset, _)) => highest = highest.max(offset),
                None => return highest,
            }
        }
    };
    segments.iter().map(in_segment).max().unwrap_or_default()
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
