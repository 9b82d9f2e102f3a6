//! What may go from an archive. Plain decisions on what was observed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::pace::DAY_MS;
use super::paths::{ManifestName, PieceName};
use crate::runtime::Offset;

/// What is known of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// It names these chunks, was shipped at this time in milliseconds since 1970, and is as of this batch.
    Usable { chunks: BTreeSet<[u8; 32]>, shipped_ms: i64, offset: Offset },
    /// It can never be used.
    Useless,
    /// It is what a cut upload left, or the rest of one that was whole.
    Torn,
    /// Another release may be able to use it: what it names is unknown.
    Unknown,
}

/// What stays on the remote: the newest, and beside them the last of each of some days and weeks (UTC, from Monday). Days
/// and weeks are counted that have one; by the order of generations, so a clock that jumps removes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The newest, at least 1. Default 3.
    pub newest: usize,
    /// Days. Default 0.
    pub daily: usize,
    /// Weeks. Default 0.
    pub weekly: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { newest: 3, daily: 0, weekly: 0 }
    }
}

/// The manifests that may go: those older than the newest that stay, but for the last of their day or week, and those that
/// are cut short; none that is newer than our own incarnation. `names` are newest first.
pub(crate) fn manifests_to_delete(
    names: &[ManifestName],
    known: &BTreeMap<ManifestName, Known>,
    retention: Retention,
    incarnation: u32,
) -> Vec<ManifestName> {
    let mut usable = 0;
    let (mut days, mut weeks) = (BTreeSet::new(), BTreeSet::new());
    let mut outdated = Vec::new();
    for name in names {
        let is_newest = usable < retention.newest.max(1);
        let mut is_last_of_its_time = false;
        if let Some(Known::Usable { shipped_ms, .. }) = known.get(name) {
            usable += 1;
            let day = shipped_ms.div_euclid(DAY_MS);
            // 1970 began on a Thursday.
            let week = (day + 3).div_euclid(7);
            is_last_of_its_time = (days.len() < retention.daily && days.insert(day))
                | (weeks.len() < retention.weekly && weeks.insert(week));
        }
        let is_torn = known.get(name) == Some(&Known::Torn);
        if (is_torn || !is_newest && !is_last_of_its_time) && name.incarnation <= incarnation {
            outdated.push(*name);
        }
    }
    outdated
}

/// The pieces of the journal that may go: those of segments that end before the batch behind the oldest of the newest
/// checkpoints that stay; none that is newer than our own incarnation. What carries on a checkpoint that stays for its day
/// or week goes too. `names` are newest first.
pub(crate) fn pieces_to_delete(
    pieces: &[PieceName],
    names: &[ManifestName],
    known: &BTreeMap<ManifestName, Known>,
    retention: Retention,
    incarnation: u32,
) -> Vec<PieceName> {
    if known.values().any(|known| *known == Known::Unknown) {
        return Vec::new();
    }
    let offset = |name: &ManifestName| match known.get(name) {
        Some(Known::Usable { offset, .. }) => Some(*offset),
        _ => None,
    };
    let oldest = names.iter().filter_map(offset).take(retention.newest.max(1)).min();
    let Some(needed) = oldest.map(Offset::next) else { return Vec::new() };
    let first = pieces.iter().map(|piece| piece.segment).filter(|segment| *segment <= needed).max();
    let is_outdated = |piece: &&PieceName| {
        piece.through < needed
            && first.is_some_and(|first| piece.segment < first)
            && piece.incarnation <= incarnation
    };
    pieces.iter().filter(is_outdated).copied().collect()
}

/// Chunks that no manifest names, and since when that is so.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    since: BTreeMap<[u8; 32], Duration>,
}

impl Garbage {
    /// Looks at all chunks and all manifests that are left; returns the chunks that nothing has named for `grace`.
    /// Time is the process's own, so a remote with a wrong clock does no harm; another process begins anew.
    pub(crate) fn observe(
        &mut self,
        chunks: impl IntoIterator<Item = [u8; 32]>,
        known: &BTreeMap<ManifestName, Known>,
        now: Duration,
        grace: Duration,
    ) -> Vec<[u8; 32]> {
        if known.values().any(|known| *known == Known::Unknown) {
            self.since.clear();
            return Vec::new();
        }
        let is_named = |hash: &[u8; 32]| {
            known.values().any(|known| matches!(known, Known::Usable { chunks, .. } if chunks.contains(hash)))
        };
        let since: BTreeMap<[u8; 32], Duration> = chunks
            .into_iter()
            .filter(|hash| !is_named(hash))
            .map(|hash| (hash, self.since.get(&hash).copied().unwrap_or(now)))
            .collect();
        self.since = since;
        let is_over = |since: Duration| now.saturating_sub(since) >= grace;
        self.since.iter().filter(|(_, since)| is_over(**since)).map(|(hash, _)| *hash).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(incarnation: u32, generation: u64) -> ManifestName {
        ManifestName { incarnation, generation, seal: [0; 8] }
    }

    fn usable(chunks: &[u8]) -> Known {
        Known::Usable {
            chunks: chunks.iter().map(|chunk| [*chunk; 32]).collect(),
            shipped_ms: 0,
            offset: Offset(0),
        }
    }

    #[test]
    fn pieces_go_with_their_segment() {
        let piece = |incarnation, segment, through| PieceName {
            incarnation,
            through: Offset(through),
            segment: Offset(segment),
            seal: [0; 8],
            previous: [0; 8],
        };
        let pieces = [piece(1, 1, 10), piece(1, 1, 20), piece(2, 21, 30), piece(2, 21, 50), piece(2, 51, 60)];
        let names = [name(2, 3), name(2, 2), name(1, 1)];
        let known = |offsets: [u64; 3]| -> BTreeMap<_, _> {
            let usable =
                |offset| Known::Usable { chunks: BTreeSet::new(), shipped_ms: 0, offset: Offset(offset) };
            names.into_iter().zip(offsets.map(usable)).collect()
        };
        let gone = |offsets, kept, incarnation| {
            pieces_to_delete(&pieces, &names, &known(offsets), newest(kept), incarnation)
        };
        assert_eq!(gone([40, 25, 19], 2, 2), pieces[..2], "the beginning of a segment stays");
        assert_eq!(gone([40, 25, 19], 3, 2), [], "batch 20 carries on the oldest");
        assert_eq!(gone([50, 25, 19], 1, 2), pieces[..4]);
        assert_eq!(gone([50, 25, 19], 1, 1), pieces[..2], "a newer incarnation's stay");
        assert_eq!(gone([99, 98, 97], 3, 2), pieces[..4], "the last segment stays");
    }

    fn newest(newest: usize) -> Retention {
        Retention { newest, ..Retention::default() }
    }

    #[test]
    fn the_last_of_days_and_weeks_stay_beside_the_newest() {
        // Four a day, generation 40 on a Thursday, ten days after generation 1.
        let names: Vec<ManifestName> = (1..=40).rev().map(|generation| name(1, generation)).collect();
        let at = |generation: u64| i64::try_from(generation - 1).unwrap() / 4 * DAY_MS + 5 * DAY_MS;
        let known = |name: &ManifestName| {
            (
                *name,
                Known::Usable { chunks: BTreeSet::new(), shipped_ms: at(name.generation), offset: Offset(0) },
            )
        };
        let known: BTreeMap<_, _> = names.iter().map(known).collect();
        let kept = |retention: Retention| -> Vec<u64> {
            let outdated = manifests_to_delete(&names, &known, retention, 1);
            names.iter().filter(|name| !outdated.contains(name)).map(|name| name.generation).collect()
        };
        assert_eq!(kept(Retention { newest: 2, daily: 3, weekly: 0 }), [40, 39, 36, 32]);
        // Days 5 to 14 since 1970: the first week ends with day 10.
        assert_eq!(kept(Retention { newest: 1, daily: 0, weekly: 2 }), [40, 24]);
        assert_eq!(kept(Retention { newest: 1, daily: 2, weekly: 9 }), [40, 36, 24]);
    }

    #[test]
    fn the_newest_usable_are_kept_and_what_is_newer_than_them() {
        let names = [name(3, 9), name(2, 8), name(2, 7), name(1, 6), name(1, 5)];
        let known: BTreeMap<_, _> = [
            (names[0], Known::Useless),
            (names[1], usable(&[])),
            (names[2], Known::Useless),
            (names[3], usable(&[])),
            (names[4], usable(&[])),
        ]
        .into();
        assert_eq!(manifests_to_delete(&names, &known, newest(2), 3), [names[4]]);
        assert_eq!(manifests_to_delete(&names, &known, newest(1), 3), [names[2], names[3], names[4]]);
        assert_eq!(
            manifests_to_delete(&names, &known, newest(1), 1),
            [names[3], names[4]],
            "a newer incarnation's stay"
        );
        assert_eq!(manifests_to_delete(&names, &known, newest(5), 3), []);
        let known = known.into_iter().chain([(names[2], Known::Torn)]).collect();
        assert_eq!(manifests_to_delete(&names, &known, newest(5), 3), [names[2]], "one that is cut short");
        assert_eq!(
            manifests_to_delete(&names, &known, newest(5), 1),
            [],
            "a newer incarnation's may be under way"
        );
    }

    #[test]
    fn a_chunk_goes_when_nothing_has_named_it_for_the_grace_period() {
        let second = Duration::from_secs(1);
        let mut known: BTreeMap<_, _> = [(name(1, 1), usable(&[1]))].into();
        let mut garbage = Garbage::default();
        let chunks = [[1; 32], [2; 32]];
        assert_eq!(garbage.observe(chunks, &known, second, second), Vec::<[u8; 32]>::new());
        assert_eq!(garbage.observe(chunks, &known, 2 * second, second), [[2; 32]]);
        // Named again meanwhile: its time begins anew.
        known.insert(name(1, 2), usable(&[2]));
        assert!(garbage.observe(chunks, &known, 3 * second, second).is_empty());
        known.remove(&name(1, 2));
        assert!(garbage.observe(chunks, &known, 4 * second, second).is_empty());
        assert_eq!(garbage.observe(chunks, &known, 5 * second, second), [[2; 32]]);
        known.insert(name(9, 9), Known::Unknown);
        assert!(
            garbage.observe(chunks, &known, 9 * second, second).is_empty(),
            "who knows what that one names"
        );
    }
}
