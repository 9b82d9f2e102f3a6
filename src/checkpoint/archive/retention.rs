//! What may go from an archive. Plain decisions on what was observed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::paths::ManifestName;

/// What is known of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// It names these chunks.
    Usable(BTreeSet<[u8; 32]>),
    /// It can never be used.
    Useless,
    /// Another release may be able to use it: what it names is unknown.
    Unknown,
}

/// The manifests that may go: those older than the newest `retain` usable ones, and not newer than our own incarnation.
/// `names` are newest first.
pub(crate) fn manifests_to_delete(
    names: &[ManifestName],
    known: &BTreeMap<ManifestName, Known>,
    retain: usize,
    incarnation: u32,
) -> Vec<ManifestName> {
    let mut usable = 0;
    let mut outdated = Vec::new();
    for name in names {
        if usable >= retain.max(1) && name.incarnation <= incarnation {
            outdated.push(*name);
        }
        if matches!(known.get(name), Some(Known::Usable(_))) {
            usable += 1;
        }
    }
    outdated
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
            known.values().any(|known| matches!(known, Known::Usable(chunks) if chunks.contains(hash)))
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
        Known::Usable(chunks.iter().map(|chunk| [*chunk; 32]).collect())
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
        assert_eq!(manifests_to_delete(&names, &known, 2, 3), [names[4]]);
        assert_eq!(manifests_to_delete(&names, &known, 1, 3), [names[2], names[3], names[4]]);
        assert_eq!(
            manifests_to_delete(&names, &known, 1, 1),
            [names[3], names[4]],
            "a newer incarnation's stay"
        );
        assert_eq!(manifests_to_delete(&names, &known, 5, 3), []);
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
