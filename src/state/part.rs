//! State parts: the bytes of one operator's keyed state in one key-group range.
//!
//! This is the normative description of the format. A part is written once, to a file or to the heap; the
//! manifest that names it holds its length and BLAKE3 hash, so a part carries no checksum of its own and is only
//! read after its hash was verified.
//!
//! Layout, little-endian:
//!   magic          [u8; 8]   // "TGSTATE\0"
//!   version        u16       // 2
//!   header_bytes   u32       // 1..=16 MiB
//!   header         postcard PartHeader
//!   blocks, one for each key group that holds a key or a timer, groups ascending:
//!     group        u16
//!     entries      u32
//!     timers       u32
//!     payload_bytes u64
//!     payload: per key
//!       key        u16 length, bytes            // postcard, 1..=256 bytes
//!       entry: per declared state: u32 length + 1, bytes // see `cell`; 0 = absent
//!     then per timer, in firing order
//!       clock      u8        // 0 processing time, 1 event time
//!       time       i64       // milliseconds
//!       key        u16 length, bytes
//!   end            u16 = 0xFFFF
//!   keys           u64       // sum of all entries
//!
//! Keys are in row order from the heap and in the order of their encoded form from a store. The row order is a
//! function of the batches processed, so equal runs write equal bytes.

use serde::{Deserialize, Serialize};
use std::io::{self, Write};

use super::descriptor::StateSchema;
use super::error::StateError;
use super::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
use super::list_state::SavedList;
use super::timers::TimeDomain;

pub(super) const MAGIC: [u8; 8] = *b"TGSTATE\0";
pub(super) const VERSION: u16 = 2;
pub(super) const HEADER_BYTES_MAX: u32 = 16 << 20;
const END_MARK: u16 = u16::MAX;

/// What a part says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartHeader {
    pub(crate) operator: String,
    pub(crate) key_type: String,
    pub(crate) max_parallelism: MaxParallelism,
    pub(crate) range: KeyGroupRange,
    pub(crate) states: Vec<StateSchema>,
    /// Operator state: not keyed, whole in the header.
    pub(crate) lists: Vec<SavedList>,
}

/// Versions a declared state can be restored from besides its own, with the type each had.
pub(crate) type Migrations = Vec<(u16, String)>;

impl PartHeader {
    /// Compares what the job declares (`self`) with what was saved; `migrations` are those of the declared states.
    pub(crate) fn check_restorable(&self, saved: &Self, migrations: &[Migrations]) -> Result<(), StateError> {
        let operator = || self.operator.clone();
        if saved.max_parallelism != self.max_parallelism {
            return Err(StateError::MaxParallelismMismatch {
                operator: operator(),
                saved: saved.max_parallelism,
                declared: self.max_parallelism,
            });
        }
        if saved.key_type != self.key_type {
            return Err(StateError::KeyMismatch {
                operator: operator(),
                saved: saved.key_type.clone(),
                declared: self.key_type.clone(),
            });
        }
        for state in &saved.states {
            let declared = self.states.iter().position(|declared| declared.name == state.name);
            let is_readable =
                declared.is_some_and(|index| is_readable(&self.states[index], &migrations[index], state));
            if !is_readable {
                return Err(StateError::SchemaMismatch {
                    operator: operator(),
                    state: state.name.clone(),
                    saved: state.to_string(),
                    declared: declared.map_or_else(
                        || "nothing of that name".to_owned(),
                        |index| self.states[index].to_string(),
                    ),
                });
            }
        }
        Ok(())
    }
}

/// Whether values saved under one schema can be read under the declared one. A time to live may come and go.
fn is_readable(declared: &StateSchema, migrations: &Migrations, saved: &StateSchema) -> bool {
    if declared.kind != saved.kind {
        return false;
    }
    if declared.version == saved.version {
        return declared.type_name == saved.type_name;
    }
    // Of a map's type name the part for the map key stays the same.
    let map_key = |name: &str| name.split_once(" to ").map_or(String::new(), |(key, _)| format!("{key} to "));
    let prefix = map_key(&declared.type_name);
    migrations.iter().any(|(version, type_name)| {
        *version == saved.version && saved.type_name == format!("{prefix}{type_name}")
    })
}

/// Writes a part group by group.
pub(crate) struct PartWriter<'a> {
    out: &'a mut dyn Write,
    payload: Vec<u8>,
    entries: u32,
    timers: u32,
    written: Vec<GroupBytes>,
}

/// What a part holds of one key group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupBytes {
    pub(crate) group: u16,
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
}

impl<'a> PartWriter<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, header: &PartHeader) -> io::Result<Self> {
        let header = postcard::to_stdvec(header).map_err(io::Error::other)?;
        let header_bytes = u32::try_from(header.len()).ok().filter(|bytes| *bytes <= HEADER_BYTES_MAX);
        let header_bytes = header_bytes.ok_or_else(|| io::Error::other("operator state above 16 MiB"))?;
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&header_bytes.to_le_bytes())?;
        out.write_all(&header)?;
        Ok(Self { out, payload: Vec::new(), entries: 0, timers: 0, written: Vec::new() })
    }

    /// Adds a key; `encode` appends its entry and says whether it holds anything: if not, nothing is added.
    pub(crate) fn entry(
        &mut self,
        key: &[u8],
        encode: impl FnOnce(&mut Vec<u8>) -> Result<bool, postcard::Error>,
    ) -> io::Result<()> {
        let start = self.payload.len();
        let length = u16::try_from(key.len()).expect("a key is at most 256 bytes");
        self.payload.extend_from_slice(&length.to_le_bytes());
        self.payload.extend_from_slice(key);
        if encode(&mut self.payload).map_err(io::Error::other)? {
            self.entries += 1;
        } else {
            self.payload.truncate(start);
        }
        Ok(())
    }

    /// Adds a timer, after all keys of the group.
    pub(crate) fn timer(&mut self, domain: TimeDomain, time: i64, key: &[u8]) {
        let length = u16::try_from(key.len()).expect("a key is at most 256 bytes");
        self.payload.push(domain as u8);
        self.payload.extend_from_slice(&time.to_le_bytes());
        self.payload.extend_from_slice(&length.to_le_bytes());
        self.payload.extend_from_slice(key);
        self.timers += 1;
    }

    /// Writes the block of `group`, or nothing when it is empty.
    pub(crate) fn end_group(&mut self, group: KeyGroup) -> io::Result<()> {
        if self.entries > 0 || self.timers > 0 {
            self.out.write_all(&group.0.to_le_bytes())?;
            self.out.write_all(&self.entries.to_le_bytes())?;
            self.out.write_all(&self.timers.to_le_bytes())?;
            self.out.write_all(&(self.payload.len() as u64).to_le_bytes())?;
            self.out.write_all(&self.payload)?;
        }
        let (keys, bytes) = (u64::from(self.entries), self.payload.len() as u64);
        self.written.push(GroupBytes { group: group.0, keys, bytes });
        self.payload.clear();
        self.entries = 0;
        self.timers = 0;
        Ok(())
    }

    /// Ends the part; says what it holds of every group that was ended.
    pub(crate) fn finish(self) -> io::Result<Vec<GroupBytes>> {
        let keys: u64 = self.written.iter().map(|group| group.keys).sum();
        self.out.write_all(&END_MARK.to_le_bytes())?;
        self.out.write_all(&keys.to_le_bytes())?;
        Ok(self.written)
    }
}

/// Appends one state's share of an entry; `encode` appends it and says whether there is anything.
pub(crate) fn push_state<E>(
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
) -> Result<bool, E> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let is_there = encode(out)?;
    if is_there {
        let length = u32::try_from(out.len() - start - 4 + 1).expect("a value in a state is below 4 GiB");
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    } else {
        out.truncate(start + 4);
    }
    Ok(is_there)
}

/// Takes the next state's share off an entry; `Some(None)` when it is absent, `None` when the entry is cut short.
pub(crate) fn split_state<'a>(entry: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, rest) = entry.split_first_chunk::<4>()?;
    match u32::from_le_bytes(*length).checked_sub(1) {
        None => {
            *entry = rest;
            Some(None)
        }
        Some(length) => {
            let (value, rest) = rest.split_at_checked(length as usize)?;
            *entry = rest;
            Some(Some(value))
        }
    }
}

/// An encoded key and its entry.
type SavedEntry<'a> = (&'a [u8], &'a [u8]);

/// A clock, a time in milliseconds and an encoded key.
type SavedTimer<'a> = (TimeDomain, i64, &'a [u8]);

/// Reads a part; every length is checked against what is left before it is used.
pub(crate) struct PartReader<'a> {
    header: PartHeader,
    part: &'a [u8],
    position: usize,
    block_end: usize,
    entries_left: u32,
    timers_left: u32,
    keys: u64,
}

impl<'a> PartReader<'a> {
    pub(crate) fn new(part: &'a [u8]) -> Result<Self, StateError> {
        let malformed =
            |position, detail| StateError::Malformed { operator: String::new(), position, detail };
        let mut cursor = Bytes { part, position: 0 };
        if cursor.array::<8>() != Some(MAGIC) {
            return Err(malformed(0, "the magic of a state part"));
        }
        if cursor.array::<2>().map(u16::from_le_bytes) != Some(VERSION) {
            return Err(malformed(8, "format version 2"));
        }
        let header_bytes = cursor.array::<4>().map(u32::from_le_bytes);
        let header = header_bytes
            .filter(|bytes| *bytes <= HEADER_BYTES_MAX)
            .and_then(|bytes| cursor.take(bytes as usize))
            .and_then(|bytes| postcard::from_bytes::<PartHeader>(bytes).ok())
            .ok_or_else(|| malformed(10, "a part header"))?;
        let position = cursor.position;
        Ok(Self { header, part, position, block_end: 0, entries_left: 0, timers_left: 0, keys: 0 })
    }

    pub(crate) fn header(&self) -> &PartHeader {
        &self.header
    }

    /// Byte of the part up to which it is read.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn malformed(&self, detail: &'static str) -> StateError {
        StateError::Malformed { operator: self.header.operator.clone(), position: self.position, detail }
    }

    /// Moves to the next block; `None` at the end of the part. The block before must be read or skipped.
    pub(crate) fn next_group(&mut self) -> Result<Option<KeyGroup>, StateError> {
        assert_eq!((self.entries_left, self.timers_left), (0, 0), "the block before is read or skipped");
        let Some(group) = self.array().map(u16::from_le_bytes) else {
            return Err(self.malformed("a block or the end mark"));
        };
        if group == END_MARK {
            let keys = self.array().map(u64::from_le_bytes);
            return match keys {
                Some(keys) if keys == self.keys && self.position == self.part.len() => Ok(None),
                _ => Err(self.malformed("the number of keys, and nothing behind it")),
            };
        }
        if group >= self.header.max_parallelism.get() {
            return Err(self.malformed("a key group below max-parallelism"));
        }
        let entries = self.array().map(u32::from_le_bytes);
        let timers = self.array().map(u32::from_le_bytes);
        let payload_bytes = self.array().map(u64::from_le_bytes);
        let left = self.part.len() - self.position;
        match (entries, timers, payload_bytes.and_then(|bytes| usize::try_from(bytes).ok())) {
            (Some(entries), Some(timers), Some(bytes)) if entries.max(timers) > 0 && bytes <= left => {
                self.entries_left = entries;
                self.timers_left = timers;
                self.keys = self.keys.saturating_add(u64::from(entries));
                self.block_end = self.position + bytes;
                Ok(Some(KeyGroup(group)))
            }
            _ => Err(self.malformed("a block that ends within the part")),
        }
    }

    pub(crate) fn skip_group(&mut self) {
        self.position = self.block_end;
        self.entries_left = 0;
        self.timers_left = 0;
    }

    /// The next key of the block with its entry, or `None` behind the last.
    pub(crate) fn next_entry(&mut self) -> Result<Option<SavedEntry<'a>>, StateError> {
        if self.entries_left == 0 {
            return Ok(None);
        }
        self.entries_left -= 1;
        let key = self.key()?;
        let start = self.position;
        for _ in 0..self.header.states.len() {
            let mut rest = &self.part[self.position..self.block_end.max(self.position)];
            if split_state(&mut rest).is_none() {
                return Err(self.malformed("a value within the block"));
            }
            self.position = self.block_end - rest.len();
        }
        Ok(Some((key, &self.part[start..self.position])))
    }

    /// The next timer of the block, or `None` at its end. The entries come before.
    pub(crate) fn next_timer(&mut self) -> Result<Option<SavedTimer<'a>>, StateError> {
        assert_eq!(self.entries_left, 0, "the entries are read");
        if self.timers_left == 0 {
            let is_at_end = self.position == self.block_end;
            return if is_at_end { Ok(None) } else { Err(self.malformed("the end of the block")) };
        }
        self.timers_left -= 1;
        let domain = match self.array::<1>() {
            Some([0]) => TimeDomain::ProcessingTime,
            Some([1]) => TimeDomain::EventTime,
            _ => return Err(self.malformed("the clock of a timer")),
        };
        let Some(time) = self.array().map(i64::from_le_bytes) else {
            return Err(self.malformed("the time of a timer"));
        };
        Ok(Some((domain, time, self.key()?)))
    }

    fn key(&mut self) -> Result<&'a [u8], StateError> {
        let length = self.array().map(u16::from_le_bytes);
        let key = length.and_then(|length| self.take(usize::from(length)));
        key.filter(|_| self.position <= self.block_end)
            .ok_or_else(|| self.malformed("a key within the block"))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N).and_then(|bytes| bytes.try_into().ok())
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let mut cursor = Bytes { part: self.part, position: self.position };
        let taken = cursor.take(length);
        self.position = cursor.position;
        taken
    }
}

/// A position in a byte slice that never passes its end.
struct Bytes<'a> {
    part: &'a [u8],
    position: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(length)?;
        let taken = self.part.get(self.position..end)?;
        self.position = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N).and_then(|bytes| bytes.try_into().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::descriptor::StateKind;

    #[test]
    fn golden_bytes() {
        let header = PartHeader {
            operator: "o".into(),
            key_type: "k".into(),
            max_parallelism: MaxParallelism::new(4).unwrap(),
            range: KeyGroupRange { start: 0, end: 4 },
            states: vec![StateSchema {
                name: "s".into(),
                kind: StateKind::Value,
                type_name: "v".into(),
                version: 1,
                has_ttl: false,
            }],
            lists: Vec::new(),
        };
        let mut bytes = Vec::new();
        let mut writer = PartWriter::new(&mut bytes, &header).unwrap();
        writer.end_group(KeyGroup(0)).unwrap();
        let entry = |out: &mut Vec<u8>| {
            push_state(out, |out| {
                out.extend([8, 9]);
                Ok(true)
            })
        };
        writer.entry(&[7], entry).unwrap();
        writer.entry(&[6], |out| push_state(out, |_| Ok(false))).unwrap();
        writer.timer(TimeDomain::EventTime, 258, &[7]);
        writer.end_group(KeyGroup(1)).unwrap();
        let written = writer.finish().unwrap();
        assert_eq!(written[1], GroupBytes { group: 1, keys: 1, bytes: 21 });
        let mut golden = b"TGSTATE\0".to_vec();
        golden.extend([2, 0]);
        golden.extend([16, 0, 0, 0]);
        golden.extend([1, b'o', 1, b'k', 4, 0, 4, 1, 1, b's', 0, 1, b'v', 1, 0, 0]);
        golden.extend([1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 21, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([1, 0, 7, 3, 0, 0, 0, 8, 9]);
        golden.extend([1, 2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 7]);
        golden.extend([0xFF, 0xFF, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes, golden);
        let mut reader = PartReader::new(&bytes).unwrap();
        assert_eq!(reader.header(), &header);
        assert_eq!(reader.next_group().unwrap(), Some(KeyGroup(1)));
        let (key, mut entry) = reader.next_entry().unwrap().unwrap();
        assert_eq!((key, split_state(&mut entry)), ([7].as_slice(), Some(Some([8, 9].as_slice()))));
        assert!(reader.next_entry().unwrap().is_none());
        assert_eq!(reader.next_timer().unwrap(), Some((TimeDomain::EventTime, 258, [7].as_slice())));
        assert!(reader.next_timer().unwrap().is_none());
        assert!(reader.next_group().unwrap().is_none());
    }
}
