//! State parts: the bytes of one operator's keyed state in one key-group range.
//!
//! This is the normative description of the format. A part is written once, to a file or to the heap; the
//! manifest that names it holds its length and BLAKE3 hash, so a part carries no checksum of its own and is only
//! read after its hash was verified.
//!
//! Layout, little-endian:
//!   magic          [u8; 8]   // "TGSTATE\0"
//!   version        u16       // 1
//!   header_bytes   u32       // 1..=1 MiB
//!   header         postcard PartHeader
//!   blocks, one for each key group that holds a key, groups ascending:
//!     group        u16
//!     entries      u32       // 1..
//!     payload_bytes u64
//!     payload: per key, in row order
//!       key        u16 length, bytes            // postcard, 1..=256 bytes
//!       per declared state: u32 length + 1, bytes // postcard; 0 = absent
//!   end            u16 = 0xFFFF
//!   keys           u64       // sum of all entries
//!
//! The row order is a function of the batches processed, so equal runs write equal bytes.

use serde::{Deserialize, Serialize};
use std::io::{self, Write};

use super::descriptor::StateSchema;
use super::error::StateError;
use super::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};

const MAGIC: [u8; 8] = *b"TGSTATE\0";
const VERSION: u16 = 1;
const HEADER_BYTES_MAX: u32 = 1 << 20;
const END_MARK: u16 = u16::MAX;

/// What a part says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartHeader {
    pub(crate) operator: String,
    pub(crate) key_type: String,
    pub(crate) max_parallelism: MaxParallelism,
    pub(crate) range: KeyGroupRange,
    pub(crate) states: Vec<StateSchema>,
}

impl PartHeader {
    /// Compares what the job declares (`self`) with what was saved.
    pub(crate) fn check_restorable(&self, saved: &Self) -> Result<(), StateError> {
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
            let declared = self.states.iter().find(|declared| declared.name == state.name);
            if declared != Some(state) {
                return Err(StateError::SchemaMismatch {
                    operator: operator(),
                    state: state.name.clone(),
                    saved: describe(state),
                    declared: declared.map_or_else(|| "nothing of that name".to_owned(), describe),
                });
            }
        }
        Ok(())
    }
}

fn describe(state: &StateSchema) -> String {
    format!("{:?} of {} version {}", state.kind, state.type_name, state.version)
}

/// Writes a part group by group.
pub(crate) struct PartWriter<'a> {
    out: &'a mut dyn Write,
    payload: Vec<u8>,
    entries: u32,
    keys: u64,
}

impl<'a> PartWriter<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, header: &PartHeader) -> io::Result<Self> {
        let header = postcard::to_stdvec(header).map_err(io::Error::other)?;
        let header_bytes = u32::try_from(header.len()).ok().filter(|bytes| *bytes <= HEADER_BYTES_MAX);
        let header_bytes = header_bytes.ok_or_else(|| io::Error::other("state header above 1 MiB"))?;
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&header_bytes.to_le_bytes())?;
        out.write_all(&header)?;
        Ok(Self { out, payload: Vec::new(), entries: 0, keys: 0 })
    }

    /// Starts an entry; its values follow in the header's order.
    pub(crate) fn key(&mut self, encoded: &[u8]) {
        let length = u16::try_from(encoded.len()).expect("a key is at most 256 bytes");
        self.payload.extend_from_slice(&length.to_le_bytes());
        self.payload.extend_from_slice(encoded);
        self.entries += 1;
    }

    /// Adds one value; `encode` appends it and says whether there is one.
    pub(crate) fn value(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<bool, postcard::Error>,
    ) -> io::Result<()> {
        let start = self.payload.len();
        self.payload.extend_from_slice(&[0; 4]);
        if encode(&mut self.payload).map_err(io::Error::other)? {
            let length = self.payload.len() - start - 4;
            let length =
                u32::try_from(length + 1).map_err(|_| io::Error::other("state value above 4 GiB"))?;
            self.payload[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
        Ok(())
    }

    /// Writes the block of `group`, or nothing when it has no entry.
    pub(crate) fn end_group(&mut self, group: KeyGroup) -> io::Result<()> {
        if self.entries > 0 {
            self.out.write_all(&group.0.to_le_bytes())?;
            self.out.write_all(&self.entries.to_le_bytes())?;
            self.out.write_all(&(self.payload.len() as u64).to_le_bytes())?;
            self.out.write_all(&self.payload)?;
            self.keys += u64::from(self.entries);
        }
        self.payload.clear();
        self.entries = 0;
        Ok(())
    }

    pub(crate) fn finish(self) -> io::Result<u64> {
        self.out.write_all(&END_MARK.to_le_bytes())?;
        self.out.write_all(&self.keys.to_le_bytes())?;
        Ok(self.keys)
    }
}

/// Reads a part; every length is checked against what is left before it is used.
pub(crate) struct PartReader<'a> {
    header: PartHeader,
    part: &'a [u8],
    position: usize,
    block_end: usize,
    entries_left: u32,
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
            return Err(malformed(8, "format version 1"));
        }
        let header_bytes = cursor.array::<4>().map(u32::from_le_bytes);
        let header = header_bytes
            .filter(|bytes| *bytes <= HEADER_BYTES_MAX)
            .and_then(|bytes| cursor.take(bytes as usize))
            .and_then(|bytes| postcard::from_bytes::<PartHeader>(bytes).ok())
            .ok_or_else(|| malformed(10, "a part header"))?;
        Ok(Self { header, part, position: cursor.position, block_end: 0, entries_left: 0, keys: 0 })
    }

    pub(crate) fn header(&self) -> &PartHeader {
        &self.header
    }

    pub(crate) fn malformed(&self, detail: &'static str) -> StateError {
        StateError::Malformed { operator: self.header.operator.clone(), position: self.position, detail }
    }

    /// Moves to the next block; `None` at the end of the part. The block before must be read or skipped.
    pub(crate) fn next_group(&mut self) -> Result<Option<KeyGroup>, StateError> {
        assert_eq!(self.entries_left, 0, "the block before is read or skipped");
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
        let payload_bytes = self.array().map(u64::from_le_bytes);
        let left = self.part.len() - self.position;
        match (entries, payload_bytes.and_then(|bytes| usize::try_from(bytes).ok())) {
            (Some(entries), Some(bytes)) if entries > 0 && bytes <= left => {
                self.entries_left = entries;
                self.keys += u64::from(entries);
                self.block_end = self.position + bytes;
                Ok(Some(KeyGroup(group)))
            }
            _ => Err(self.malformed("a block that ends within the part")),
        }
    }

    pub(crate) fn skip_group(&mut self) {
        self.position = self.block_end;
        self.entries_left = 0;
    }

    /// The next key of the block, or `None` at its end.
    pub(crate) fn next_key(&mut self) -> Result<Option<&'a [u8]>, StateError> {
        if self.entries_left == 0 {
            return if self.position == self.block_end {
                Ok(None)
            } else {
                Err(self.malformed("the end of the block"))
            };
        }
        self.entries_left -= 1;
        let length = self.array().map(u16::from_le_bytes);
        let key = length.and_then(|length| self.take(usize::from(length)));
        key.map(Some).ok_or_else(|| self.malformed("a key within the block"))
    }

    /// The next value of the entry, or `None` when it is absent.
    pub(crate) fn next_value(&mut self) -> Result<Option<&'a [u8]>, StateError> {
        let Some(length) = self.array().map(u32::from_le_bytes) else {
            return Err(self.malformed("a value length"));
        };
        match length.checked_sub(1) {
            None => Ok(None),
            Some(length) => match self.take(length as usize) {
                Some(value) => Ok(Some(value)),
                None => Err(self.malformed("a value within the block")),
            },
        }
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
            }],
        };
        let mut bytes = Vec::new();
        let mut writer = PartWriter::new(&mut bytes, &header).unwrap();
        writer.end_group(KeyGroup(0)).unwrap();
        writer.key(&[7]);
        writer
            .value(|out| {
                out.extend([8, 9]);
                Ok(true)
            })
            .unwrap();
        writer.end_group(KeyGroup(1)).unwrap();
        assert_eq!(writer.finish().unwrap(), 1);
        let mut golden = b"TGSTATE\0".to_vec();
        golden.extend([1, 0]);
        golden.extend([14, 0, 0, 0]);
        golden.extend([1, b'o', 1, b'k', 4, 0, 4, 1, 1, b's', 0, 1, b'v', 1]);
        golden.extend([1, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([1, 0, 7, 3, 0, 0, 0, 8, 9]);
        golden.extend([0xFF, 0xFF, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes, golden);
        assert_eq!(PartReader::new(&bytes).unwrap().header(), &header);
    }
}
