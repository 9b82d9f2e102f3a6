//! Output ids: which output of which life of a job.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::runtime::Offset;

/// Low bits of an incarnation that are random.
const RANDOM_BITS: u32 = 24;

/// A life of the job's numbering. Another one begins where offsets are given again for other results: on another device,
/// or after a loss. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub(crate) struct Incarnation(pub(crate) u64);

impl Incarnation {
    /// The first one behind `earlier`, made from the wall clock in seconds and from chance, so that two devices whose clock
    /// is not set have different ones.
    pub(crate) fn after(earlier: Option<Self>, wall_seconds: u64, random: u32) -> Self {
        let least = earlier.map_or(0, |earlier| (earlier.0 >> RANDOM_BITS) + 1);
        let random = u64::from(random) & ((1 << RANDOM_BITS) - 1);
        Self((wall_seconds.max(least) << RANDOM_BITS) | random)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Incarnation {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let is_hexadecimal = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let malformed = || MalformedId { text: text.to_owned() };
        if !is_hexadecimal {
            return Err(malformed());
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| malformed())
    }
}

/// Names one output of a job for ever: a repeated one has the same id and the same bytes. Ids of a job grow in the order
/// its results were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub(crate) struct OutputId {
    pub(crate) incarnation: Incarnation,
    /// The batch.
    pub(crate) offset: Offset,
    /// Number of the output within its batch, from 0.
    pub(crate) index: u32,
}

/// Length of an encoded id.
pub(super) const ID_BYTES: usize = 20;

impl OutputId {
    /// Big-endian, so that encoded ids sort like ids.
    #[expect(clippy::big_endian_bytes, reason = "keys of the store sort by their bytes")]
    pub(super) fn encode(self) -> [u8; ID_BYTES] {
        let mut key = [0; ID_BYTES];
        key[..8].copy_from_slice(&self.incarnation.0.to_be_bytes());
        key[8..16].copy_from_slice(&self.offset.0.to_be_bytes());
        key[16..].copy_from_slice(&self.index.to_be_bytes());
        key
    }

    #[expect(clippy::big_endian_bytes, reason = "keys of the store sort by their bytes")]
    pub(super) fn decode(key: &[u8]) -> Option<Self> {
        let (incarnation, rest) = key.split_first_chunk::<8>()?;
        let (offset, index) = rest.split_first_chunk::<8>()?;
        Some(Self {
            incarnation: Incarnation(u64::from_be_bytes(*incarnation)),
            offset: Offset(u64::from_be_bytes(*offset)),
            index: u32::from_be_bytes(index.try_into().ok()?),
        })
    }
}

/// `INCARNATION/OFFSET/INDEX`, as in the user property of a publish behind the job's name.
impl fmt::Display for OutputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.incarnation, self.offset, self.index)
    }
}

/// A text that is not an output id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an output id: INCARNATION/OFFSET/INDEX, as `outbox list` shows it")]
pub(crate) struct MalformedId {
    text: String,
}

impl FromStr for OutputId {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let malformed = || MalformedId { text: text.to_owned() };
        let mut parts = text.split('/');
        let mut part = || parts.next().ok_or_else(malformed);
        let id = Self {
            incarnation: part()?.parse().map_err(|_| malformed())?,
            offset: Offset(part()?.parse().map_err(|_| malformed())?),
            index: part()?.parse().map_err(|_| malformed())?,
        };
        if parts.next().is_some() { Err(malformed()) } else { Ok(id) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shown_read_and_sorted_like_its_bytes() {
        let id = |incarnation, offset, index| OutputId {
            incarnation: Incarnation(incarnation),
            offset: Offset(offset),
            index,
        };
        let ids = [id(0, 1, 0), id(0, 1, 300), id(0, 256, 0), id(1, 1, 0), id(u64::MAX, 1, 0)];
        for pair in ids.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].encode() < pair[1].encode());
        }
        for id in ids {
            assert_eq!(OutputId::decode(&id.encode()), Some(id));
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(id(0xAB, 7, 3).to_string(), "00000000000000ab/7/3");
        for text in ["", "1/2/3", "00000000000000ab/7", "00000000000000ab/7/3/4", "00000000000000ab/x/3"] {
            assert!(text.parse::<OutputId>().unwrap_err().to_string().contains("outbox list"));
        }
    }

    #[test]
    fn a_later_incarnation_is_greater_whatever_the_clock_says() {
        let first = Incarnation::after(None, 1_000, u32::MAX);
        let second = Incarnation::after(Some(first), 10, 0);
        assert!(second > first);
        assert_ne!(Incarnation::after(None, 0, 1), Incarnation::after(None, 0, 2));
    }
}
