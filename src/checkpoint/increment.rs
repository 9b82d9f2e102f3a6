//! Increments: which key groups a checkpoint writes anew, and which parts of earlier checkpoints it goes on using.
//!
//! A group is written when its version differs from the one last written; an earlier part stays in use for the
//! groups nobody has written since. A part of which less than half is still in use is written anew, so that the parts
//! of a checkpoint take at most about twice their live bytes. Plain bookkeeping, no I/O.

use std::collections::BTreeMap;

use super::manifest::PartEntry;
use crate::state::{GroupSet, PinnedFiles, StateSnapshot};

/// Parts up to this size, in bytes, are left as they are however little of them is in use.
const COMPACTED_BYTES_MIN: u64 = 64 << 10;

/// What the newest completed checkpoint consists of.
#[derive(Debug, Default)]
pub(crate) struct Increments {
    entries: Vec<PartEntry>,
    /// Version written last, by operator and group.
    versions: BTreeMap<(String, u16), u64>,
    /// Which opening of each store, by its identity, wrote `entries`; none for those that were restored.
    openings: BTreeMap<u64, u64>,
}

impl Increments {
    /// Forgets what was written: everything is written anew.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.versions.clear();
        self.openings.clear();
    }

    /// The groups of a snapshot that must be written, or `None` when nothing of it needs to be.
    pub(crate) fn groups_to_write(&self, snapshot: &dyn StateSnapshot) -> Option<GroupSet> {
        let range = snapshot.range();
        if snapshot.pinned().is_some() {
            return Some(range.into());
        }
        let operator = snapshot.operator();
        let mut groups: GroupSet = range
            .groups()
            .zip(snapshot.versions())
            .filter(|(group, version)| {
                let written = self.versions.get(&(operator.to_owned(), group.0));
                written != Some(version) || !self.covers(operator, group.0)
            })
            .map(|(group, _)| group.0)
            .collect();
        for entry in self.entries.iter().filter(|entry| entry.operator == operator) {
            let live = entry.groups.iter().filter(|group| !groups.contains(group.group));
            let live_bytes: u64 = live.map(|group| group.bytes).sum();
            if entry.bytes > COMPACTED_BYTES_MIN && live_bytes * 2 < entry.bytes {
                let stale: Vec<u16> = entry.groups.iter().map(|group| group.group).collect();
                for group in stale.into_iter().filter(|group| range.contains(crate::state::KeyGroup(*group)))
                {
                    groups.insert(group);
                }
            }
        }
        (!groups.is_empty() || snapshot.has_lists()).then_some(groups)
    }

    fn covers(&self, operator: &str, group: u16) -> bool {
        let of_operator =
            self.entries.iter().filter(|entry| entry.operator == operator && entry.store.is_none());
        of_operator.flat_map(|entry| &entry.groups).any(|covered| covered.group == group)
    }

    /// The parts of a checkpoint that wrote `written`: those, and what earlier ones hold of other groups.
    pub(crate) fn merge(&self, operators: &[String], written: Vec<PartEntry>) -> Vec<PartEntry> {
        let mut taken: BTreeMap<&str, GroupSet> = BTreeMap::new();
        let mut with_lists: Vec<&str> = Vec::new();
        for entry in &written {
            let groups: GroupSet = entry.groups.iter().map(|group| group.group).collect();
            taken.entry(&entry.operator).or_default().extend(&groups);
            if entry.has_lists {
                with_lists.push(&entry.operator);
            }
        }
        let mut kept: Vec<PartEntry> = Vec::new();
        for entry in self.entries.iter().filter(|entry| operators.contains(&entry.operator)) {
            let mut entry = entry.clone();
            if let Some(taken) = taken.get(entry.operator.as_str()) {
                entry.groups.retain(|group| !taken.contains(group.group));
            }
            entry.has_lists &= !with_lists.contains(&entry.operator.as_str());
            if !entry.groups.is_empty() || entry.has_lists {
                kept.push(entry);
            }
        }
        kept.extend(written);
        kept
    }

    /// A checkpoint of these parts and snapshots' versions was completed.
    pub(crate) fn completed(&mut self, entries: Vec<PartEntry>, written: Written) {
        self.entries = entries;
        self.versions.extend(written.versions);
        self.openings.extend(written.openings);
    }

    /// The table of a pinned store that an earlier checkpoint has among its parts. Of two openings of one store that went
    /// on from one checkpoint, as happens when an attempt's last checkpoint completes behind the next one's start, only
    /// the one that wrote last may use what is there.
    pub(crate) fn table(&self, pinned: &PinnedFiles, file: &str) -> Option<&super::manifest::FileEntry> {
        let identity = pinned.identity;
        if self.openings.get(&identity).is_some_and(|opening| *opening != pinned.opening) {
            return None;
        }
        let stores = self.entries.iter().filter_map(|entry| entry.store.as_ref());
        stores
            .filter(|store| store.identity == identity)
            .flat_map(|store| &store.files)
            .find(|entry| entry.is_table && entry.file == file)
    }

    /// Begins with a restored checkpoint: its tables are still good, its groups are written anew once.
    pub(crate) fn restored(&mut self, entries: &[PartEntry]) {
        self.entries = entries.to_vec();
        self.versions.clear();
        self.openings.clear();
    }
}

/// What the snapshots of a checkpoint stand for.
#[derive(Debug, Default)]
pub(crate) struct Written {
    versions: Vec<((String, u16), u64)>,
    openings: Vec<(u64, u64)>,
}

impl Written {
    /// Notes a snapshot.
    pub(crate) fn add(&mut self, snapshot: &dyn StateSnapshot) {
        self.versions.extend(versions_of(snapshot));
        self.openings.extend(snapshot.pinned().map(|(pinned, _)| (pinned.identity, pinned.opening)));
    }
}

/// The version of each group of a snapshot.
fn versions_of(snapshot: &dyn StateSnapshot) -> impl Iterator<Item = ((String, u16), u64)> {
    let operator = snapshot.operator().to_owned();
    let versions: Vec<u64> = snapshot.versions().to_vec();
    snapshot
        .range()
        .groups()
        .zip(versions)
        .map(move |(group, version)| ((operator.clone(), group.0), version))
}
