//! Key groups: the unit in which keyed state is owned, moved and snapshotted.
//!
//! A job has `max_parallelism` key groups for life (default [`MAX_PARALLELISM_DEFAULT`]). A key belongs to the
//! group its hash says; a subtask owns a contiguous range of groups, so another parallelism only cuts the same
//! groups into other ranges. The cuts are Flink's (`KeyGroupRangeAssignment`).

use serde::{Deserialize, Serialize};

use super::key::KeyHash;

/// Key groups of a job that does not say otherwise.
pub const MAX_PARALLELISM_DEFAULT: u16 = 128;

/// Number of key groups of a job, 1..=32,768; fixed for the job's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxParallelism(u16);

impl MaxParallelism {
    /// Largest number of key groups.
    pub const LIMIT: u16 = 32_768;

    /// `groups` key groups, or `None` when outside 1..=32,768.
    pub fn new(groups: u16) -> Option<Self> {
        (1..=Self::LIMIT).contains(&groups).then_some(Self(groups))
    }

    /// The number of key groups.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for MaxParallelism {
    fn default() -> Self {
        Self(MAX_PARALLELISM_DEFAULT)
    }
}

/// One key group, `0..max_parallelism`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyGroup(pub u16);

impl KeyGroup {
    /// The group of a key. Uses bits 17..32 of the hash: a table inside a group indexes by the low bits and tags
    /// by the top seven, and neither may be constant within a group.
    #[inline]
    pub(crate) fn of(hash: KeyHash, groups: MaxParallelism) -> Self {
        let low = hash.0 & 0xFFFF_FFFF;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the product's top half is below max_parallelism"
        )]
        Self(((low * u64::from(groups.0)) >> 32) as u16)
    }
}

impl KeyGroup {
    /// The group of an encoded key.
    pub(crate) fn of_encoded(key: &[u8], groups: MaxParallelism) -> Self {
        Self::of(super::key::hash_encoded(key), groups)
    }
}

/// A contiguous range of key groups, half open: `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyGroupRange {
    /// First group of the range.
    pub start: u16,
    /// First group behind the range.
    pub end: u16,
}

impl KeyGroupRange {
    /// The range that subtask `index` of `parallelism` owns; the ranges of all subtasks partition all groups.
    pub fn of_subtask(index: usize, parallelism: usize, groups: MaxParallelism) -> Self {
        assert!(index < parallelism, "subtask index within its stage");
        let cut = |index: usize| {
            let cut = (index * usize::from(groups.0)).div_ceil(parallelism);
            u16::try_from(cut).expect("a cut is at most max_parallelism")
        };
        Self { start: cut(index), end: cut(index + 1) }
    }

    /// True when `group` lies in the range.
    pub fn contains(self, group: KeyGroup) -> bool {
        (self.start..self.end).contains(&group.0)
    }

    /// Number of groups in the range.
    pub fn len(self) -> usize {
        usize::from(self.end - self.start)
    }

    /// True when the range holds no group: there are more subtasks than groups.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The groups of the range, ascending.
    pub fn groups(self) -> impl Iterator<Item = KeyGroup> {
        (self.start..self.end).map(KeyGroup)
    }
}

/// A set of key groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GroupSet(std::collections::BTreeSet<u16>);

impl GroupSet {
    pub(crate) fn insert(&mut self, group: u16) {
        self.0.insert(group);
    }

    pub(crate) fn contains(&self, group: u16) -> bool {
        self.0.contains(&group)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().copied()
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }
}

impl FromIterator<u16> for GroupSet {
    fn from_iter<I: IntoIterator<Item = u16>>(groups: I) -> Self {
        Self(groups.into_iter().collect())
    }
}

impl From<KeyGroupRange> for GroupSet {
    fn from(range: KeyGroupRange) -> Self {
        (range.start..range.end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_groups_on_two_subtasks_split_0_to_4_and_5_to_9() {
        let ten = MaxParallelism::new(10).unwrap();
        assert_eq!(KeyGroupRange::of_subtask(0, 2, ten), KeyGroupRange { start: 0, end: 5 });
        assert_eq!(KeyGroupRange::of_subtask(1, 2, ten), KeyGroupRange { start: 5, end: 10 });
    }

    #[test]
    fn ranges_partition_all_groups_for_every_parallelism() {
        for groups in [1, 2, 10, 127, 128, 1000] {
            let groups = MaxParallelism::new(groups).unwrap();
            for parallelism in 1..=usize::from(groups.get()).min(64) {
                let mut next = 0;
                for index in 0..parallelism {
                    let range = KeyGroupRange::of_subtask(index, parallelism, groups);
                    assert_eq!(range.start, next);
                    next = range.end;
                }
                assert_eq!(next, groups.get());
            }
        }
    }

    #[test]
    fn every_group_is_hit_and_none_beyond() {
        let groups = MaxParallelism::default();
        let mut seen = [false; 128];
        for low in (0..=u32::MAX).step_by(1 << 20) {
            seen[usize::from(KeyGroup::of(KeyHash(u64::from(low)), groups).0)] = true;
        }
        assert_eq!(seen, [true; 128]);
    }
}
