//! Blocks: what an outbox stores, each some outputs of one batch, or what older blocks were folded into.
//!
//! ```text
//! checksum  u32   // CRC-32C over what follows, little-endian like all numbers
//! version   u8    // 1
//! kind      u8    // 0 lines, 1 folded
//! lines:    is_last u8 (1: the batch ends here) | stamp i64 | count u32 | the outputs, each with its line end
//! folded:   bucket i64 (ms) | stamp i64 | through (an id) | count u32 | postcard of the entries
//! ```
//!
//! Limits: a block of lines ends with the output that brings it to 16 KiB.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::id::{ID_BYTES, OutputId};
use super::summary::Summary;
use crate::runtime::{Offset, Timestamp};

/// Bytes of outputs after which a block ends.
pub(super) const LINES_BYTES: usize = 16 << 10;
const VERSION: u8 = 1;
const KIND_LINES: u8 = 0;
const KIND_FOLDED: u8 = 1;
const PREFIX_BYTES: usize = 4 + 2;
/// Prefix, `is_last`, stamp, count.
const LINES_HEADER_BYTES: usize = PREFIX_BYTES + 1 + 8 + 4;

/// Prefix, bucket, stamp, through, count.
const FOLDED_HEADER_BYTES: usize = PREFIX_BYTES + 8 + 8 + ID_BYTES + 4;

/// What blocks were folded into.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Folded {
    /// Id of the last output that is in here.
    pub(super) through: OutputId,
    /// When the newest output in here came.
    pub(super) stamp: Timestamp,
    /// Time that a summary in here covers at most, in milliseconds.
    pub(super) bucket_ms: i64,
    /// In the order of their ids.
    pub(super) entries: Vec<FoldedEntry>,
}

/// An output in a folded block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FoldedEntry {
    /// Of the first output it stands for.
    pub(super) offset: Offset,
    pub(super) index: u32,
    pub(super) content: FoldedContent,
}

/// What became of an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum FoldedContent {
    /// Kept as it was, without its line end.
    Kept(Vec<u8>),
    Summary(Summary),
}

/// What a block's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) stamp: Timestamp,
    /// Number of outputs.
    pub(super) count: u32,
    /// Nothing of the batch follows.
    pub(super) is_last: bool,
    /// Of a folded block: through which id it replaces what was there, and over what time it was folded.
    pub(super) folded: Option<(OutputId, i64)>,
}

/// Why a block cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DamagedBlock {
    #[error("its checksum does not match")]
    Checksum,
    #[error("it is of version {0}, which this program does not know")]
    Version(u8),
    #[error("its contents cannot be decoded")]
    Contents,
}

/// A block in memory: its outputs can be had one by one.
#[derive(Debug)]
pub(crate) struct Block {
    pub(super) id: OutputId,
    pub(super) header: BlockHeader,
    text: Vec<u8>,
    outputs: Vec<Placed>,
}

/// One output in a block's text.
#[derive(Debug)]
struct Placed {
    id: OutputId,
    range: Range<usize>,
    summary: Option<Summary>,
}

/// Encodes outputs of one batch.
pub(super) fn encode_lines(lines: &[u8], count: u32, stamp: Timestamp, is_last: bool) -> Vec<u8> {
    let mut value = Vec::with_capacity(LINES_HEADER_BYTES + lines.len());
    value.extend_from_slice(&[0, 0, 0, 0, VERSION, KIND_LINES, u8::from(is_last)]);
    value.extend_from_slice(&stamp.0.to_le_bytes());
    value.extend_from_slice(&count.to_le_bytes());
    value.extend_from_slice(lines);
    seal(value)
}

/// Encodes a folded block.
pub(super) fn encode_folded(folded: &Folded) -> Vec<u8> {
    let mut value = vec![0, 0, 0, 0, VERSION, KIND_FOLDED];
    value.extend_from_slice(&folded.bucket_ms.to_le_bytes());
    value.extend_from_slice(&folded.stamp.0.to_le_bytes());
    value.extend_from_slice(&folded.through.encode());
    value.extend_from_slice(&u32::try_from(folded.entries.len()).unwrap_or(u32::MAX).to_le_bytes());
    seal(postcard::to_extend(&folded.entries, value).expect("memory takes all"))
}

fn seal(mut value: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&value[4..]);
    value[..4].copy_from_slice(&checksum.to_le_bytes());
    value
}

/// The lines of a batch as blocks: bytes, number of outputs, and whether it is the last.
pub(super) fn split(results: &[u8]) -> impl Iterator<Item = (&[u8], u32, bool)> {
    let mut rest = results;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // Up to the end of the line that reaches the size.
        let after = rest.len().min(LINES_BYTES) - 1;
        let end = memchr::memchr(b'\n', &rest[after..]).map_or(rest.len(), |at| after + at + 1);
        let (block, behind) = rest.split_at(end);
        rest = behind;
        let unended = u32::from(!block.ends_with(b"\n"));
        let count = u32::try_from(memchr::memchr_iter(b'\n', block).count()).unwrap_or(u32::MAX) + unended;
        Some((block, count, rest.is_empty()))
    })
}

/// Reads a block's header, after its checksum.
///
/// # Errors
/// See [`DamagedBlock`].
pub(super) fn header(value: &[u8]) -> Result<BlockHeader, DamagedBlock> {
    let (checksum, rest) = value.split_first_chunk::<4>().ok_or(DamagedBlock::Contents)?;
    if crc32c::crc32c(rest) != u32::from_le_bytes(*checksum) {
        return Err(DamagedBlock::Checksum);
    }
    match rest {
        [VERSION, KIND_LINES, is_last, rest @ ..] => {
            let (stamp, rest) = rest.split_first_chunk::<8>().ok_or(DamagedBlock::Contents)?;
            let (count, _) = rest.split_first_chunk::<4>().ok_or(DamagedBlock::Contents)?;
            Ok(BlockHeader {
                stamp: Timestamp(i64::from_le_bytes(*stamp)),
                count: u32::from_le_bytes(*count),
                is_last: *is_last == 1,
                folded: None,
            })
        }
        [VERSION, KIND_FOLDED, rest @ ..] => {
            let (bucket_ms, rest) = rest.split_first_chunk::<8>().ok_or(DamagedBlock::Contents)?;
            let (stamp, rest) = rest.split_first_chunk::<8>().ok_or(DamagedBlock::Contents)?;
            let (through, rest) = rest.split_at_checked(ID_BYTES).ok_or(DamagedBlock::Contents)?;
            let (count, _) = rest.split_first_chunk::<4>().ok_or(DamagedBlock::Contents)?;
            let through = OutputId::decode(through).ok_or(DamagedBlock::Contents)?;
            Ok(BlockHeader {
                stamp: Timestamp(i64::from_le_bytes(*stamp)),
                count: u32::from_le_bytes(*count),
                is_last: true,
                folded: Some((through, i64::from_le_bytes(*bucket_ms))),
            })
        }
        [VERSION, ..] | [] => Err(DamagedBlock::Contents),
        [version, ..] => Err(DamagedBlock::Version(*version)),
    }
}

/// The entries of a folded block whose header was read.
fn decode_entries(value: &[u8]) -> Result<Vec<FoldedEntry>, DamagedBlock> {
    let body = value.get(FOLDED_HEADER_BYTES..).ok_or(DamagedBlock::Contents)?;
    postcard::from_bytes(body).map_err(|_| DamagedBlock::Contents)
}

impl Block {
    /// Reads the block stored under `id`.
    ///
    /// # Errors
    /// See [`DamagedBlock`].
    pub(super) fn decode(id: OutputId, value: &[u8]) -> Result<Self, DamagedBlock> {
        let header = header(value)?;
        let block = if header.folded.is_some() {
            Self::from_folded(id, header, decode_entries(value)?)
        } else {
            Self::from_lines(id, header, value.get(LINES_HEADER_BYTES..).ok_or(DamagedBlock::Contents)?)
        };
        if block.outputs.len() == header.count as usize { Ok(block) } else { Err(DamagedBlock::Contents) }
    }

    fn from_lines(id: OutputId, header: BlockHeader, text: &[u8]) -> Self {
        let mut outputs = Vec::new();
        let mut start = 0;
        let ends = memchr::memchr_iter(b'\n', text).map(|at| (at, at + 1));
        let unended = (!text.ends_with(b"\n") && !text.is_empty()).then_some((text.len(), text.len()));
        for ((end, next), index) in ends.chain(unended).zip(id.index..) {
            outputs.push(Placed { id: OutputId { index, ..id }, range: start..end, summary: None });
            start = next;
        }
        Self { id, header, text: text.to_vec(), outputs }
    }

    fn from_folded(id: OutputId, header: BlockHeader, entries: Vec<FoldedEntry>) -> Self {
        let mut text = Vec::new();
        let outputs = entries.into_iter().map(|entry| {
            let start = text.len();
            let summary = match entry.content {
                FoldedContent::Kept(line) => {
                    text.extend_from_slice(&line);
                    None
                }
                FoldedContent::Summary(summary) => {
                    summary.append_to(&mut text);
                    Some(summary)
                }
            };
            let id = OutputId { offset: entry.offset, index: entry.index, ..id };
            Placed { id, range: start..text.len(), summary }
        });
        let outputs = outputs.collect();
        Self { id, header, text, outputs }
    }

    pub(crate) fn output_id(&self, position: u32) -> OutputId {
        self.outputs[position as usize].id
    }

    /// An output's bytes, without a line end; of a summary a JSON object.
    pub(crate) fn payload(&self, position: u32) -> &[u8] {
        &self.text[self.outputs[position as usize].range.clone()]
    }

    /// What is folded in an output that is a summary.
    pub(crate) fn summary(&self, position: u32) -> Option<&Summary> {
        self.outputs[position as usize].summary.as_ref()
    }

    /// Position of the first output at or behind `id`.
    pub(super) fn position_of(&self, id: OutputId) -> u32 {
        let position = self.outputs.partition_point(|placed| placed.id < id);
        u32::try_from(position).expect("the count is an u32")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: OutputId =
        OutputId { incarnation: super::super::id::Incarnation(9), offset: Offset(4), index: 2 };

    #[test]
    fn lines_come_out_as_they_went_in() {
        let value = encode_lines(b"(1,2)\n\nlast\n", 3, Timestamp(5), true);
        let block = Block::decode(ID, &value).unwrap();
        let texts: Vec<_> = (0..3).map(|position| block.payload(position)).collect();
        assert_eq!(texts, [&b"(1,2)"[..], b"", b"last"]);
        assert_eq!(block.output_id(2), OutputId { index: 4, ..ID });
        assert_eq!((block.header.stamp, block.header.is_last), (Timestamp(5), true));
        assert_eq!(block.position_of(OutputId { index: 3, ..ID }), 1);
    }

    #[test]
    fn a_batch_is_split_at_line_ends() {
        let line = [b'x'; 99];
        let results: Vec<u8> = (0..1000).flat_map(|_| line.iter().chain(b"\n").copied()).collect();
        let blocks: Vec<_> = split(&results).collect();
        assert_eq!(blocks.concat_lines(), results);
        assert_eq!(blocks.iter().map(|(_, count, _)| count).sum::<u32>(), 1000);
        assert!(blocks.iter().all(|(lines, ..)| lines.len() < LINES_BYTES + 100));
        let lasts: Vec<_> = blocks.iter().map(|(.., is_last)| *is_last).collect();
        assert!(lasts.iter().rev().skip(1).all(|is_last| !is_last) && lasts.last() == Some(&true));
        assert_eq!(split(b"").count(), 0);
        let giant = vec![b'y'; 5 * LINES_BYTES];
        assert_eq!(split(&giant).collect::<Vec<_>>(), [(&giant[..], 1, true)]);
    }

    trait ConcatLines {
        fn concat_lines(&self) -> Vec<u8>;
    }

    impl ConcatLines for Vec<(&[u8], u32, bool)> {
        fn concat_lines(&self) -> Vec<u8> {
            self.iter().flat_map(|(lines, ..)| lines.iter().copied()).collect()
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let value = encode_lines(b"(1,2)\n(1,3)\n", 2, Timestamp(5), false);
        for index in 0..value.len() {
            let mut damaged = value.clone();
            damaged[index] ^= 0x40;
            assert!(Block::decode(ID, &damaged).is_err(), "byte {index}");
        }
        assert_eq!(Block::decode(ID, &value[..3]).unwrap_err(), DamagedBlock::Contents);
        let newer = seal(vec![0, 0, 0, 0, 2, 0]);
        assert_eq!(Block::decode(ID, &newer).unwrap_err(), DamagedBlock::Version(2));
    }
}
