//! The number of distinct values, approximately: HyperLogLog with the estimator of Ertl, "New cardinality estimation
//! algorithms for HyperLogLog sketches" (2017).
//!
//! Limits: 2^11 registers, so the standard error is 2.3 %; at most 2 KiB a group.
//!
//! A register keeps the longest run of zero bits, plus one, of the hashes (xxh3, 64 bits, seed 0) that fall on it. The
//! registers are kept singly while at most [`SPARSE_MAX`] are not zero, then all; so which of the two holds follows
//! from the values alone, and a merged sketch equals that of all values.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::query::vector::Vector;

use super::value_bytes::with_bytes;

const INDEX_BITS: u32 = 11;
const REGISTERS: usize = 1 << INDEX_BITS;
/// The bits of a hash behind the index; a rank is at most one more.
const RANK_BITS: u32 = u64::BITS - INDEX_BITS;
/// The most registers that are kept singly: four bytes each, half of what all take.
const SPARSE_MAX: usize = 256;
/// 1 / (2 ln 2), the factor of the estimator for many registers.
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// A sketch of distinct values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum HyperLogLog {
    /// Registers that are not zero, by index: `index << 8 | rank`.
    Sparse(Vec<u32>),
    /// The rank of each register.
    Dense(Vec<u8>),
}

impl Default for HyperLogLog {
    fn default() -> Self {
        Self::Sparse(Vec::new())
    }
}

impl HyperLogLog {
    pub(super) fn add(&mut self, vector: &Vector<'_>, row: usize) {
        let hash = with_bytes(vector, row, xxh3_64);
        let index = u32::try_from(hash >> RANK_BITS).unwrap_or(0);
        // A bit below the hash's ends the run where all of them are zero.
        let rank = ((hash << INDEX_BITS) | (1 << (INDEX_BITS - 1))).leading_zeros() + 1;
        self.raise(index, rank);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        match other {
            Self::Sparse(entries) => entries.iter().for_each(|entry| self.raise(entry >> 8, entry & 0xFF)),
            Self::Dense(ranks) => {
                for (index, rank) in (0_u32..).zip(ranks).filter(|(_, rank)| **rank > 0) {
                    self.raise(index, u32::from(*rank));
                }
            }
        }
    }

    fn raise(&mut self, index: u32, rank: u32) {
        match self {
            Self::Sparse(entries) => match entries.binary_search_by_key(&index, |entry| entry >> 8) {
                Ok(at) => entries[at] = entries[at].max(index << 8 | rank),
                Err(at) => {
                    entries.insert(at, index << 8 | rank);
                    if entries.len() > SPARSE_MAX {
                        *self = Self::Dense(dense(entries));
                    }
                }
            },
            Self::Dense(ranks) => {
                if let Some(register) = ranks.get_mut(index as usize) {
                    *register = (*register).max(u8::try_from(rank).unwrap_or(u8::MAX));
                }
            }
        }
    }

    /// The estimated number of distinct values.
    pub(super) fn estimate(&self) -> i64 {
        const RANKS_MAX: usize = RANK_BITS as usize + 1;
        // How many registers have each rank.
        let mut counts = [0_u32; RANKS_MAX + 1];
        let mut count = |rank: usize| counts[rank.min(RANKS_MAX)] += 1;
        match self {
            Self::Sparse(entries) => {
                entries.iter().for_each(|entry| count((entry & 0xFF) as usize));
                (entries.len()..REGISTERS).for_each(|_| count(0));
            }
            Self::Dense(ranks) => ranks.iter().for_each(|rank| count(usize::from(*rank))),
        }
        let registers = REGISTERS as f64;
        let mut sum = registers * tau(1.0 - f64::from(counts[RANKS_MAX]) / registers);
        for rank in (1..RANKS_MAX).rev() {
            sum = 0.5 * (sum + f64::from(counts[rank]));
        }
        sum += registers * sigma(f64::from(counts[0]) / registers);
        // Of no value the sum is infinite and the estimate 0.
        (ALPHA * registers * registers / sum).round() as i64
    }
}

fn dense(entries: &[u32]) -> Vec<u8> {
    let mut ranks = vec![0; REGISTERS];
    for entry in entries {
        if let Some(register) = ranks.get_mut((entry >> 8) as usize) {
            *register = entry.to_le_bytes()[0];
        }
    }
    ranks
}

/// Corrects for registers without a value.
fn sigma(share: f64) -> f64 {
    if share >= 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut factor, mut sum) = (share, 1.0, share);
    loop {
        power *= power;
        let next = sum + power * factor;
        factor += factor;
        if next == sum {
            return sum;
        }
        sum = next;
    }
}

/// Corrects for registers with the highest rank.
fn tau(share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        return 0.0;
    }
    let (mut root, mut factor, mut sum) = (share, 1.0, 1.0 - share);
    loop {
        root = root.sqrt();
        factor *= 0.5;
        let next = sum - (1.0 - root) * (1.0 - root) * factor;
        if next == sum {
            return sum / 3.0;
        }
        sum = next;
    }
}
