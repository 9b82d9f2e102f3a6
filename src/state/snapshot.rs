//! Snapshots: an operator's state in one subtask as it was at a barrier, shared with the running operator.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::backend::{PinnedFiles, Store, split_store_key, store_key};
use super::column::ColumnSnapshot;
use super::error::StateError;
use super::expiry::{ExpiryRules, push_unexpired};
use super::flush::Flush;
use super::key::{Key, KeyEncoder};
use super::key_group::{GroupSet, KeyGroup, KeyGroupRange};
use super::part::{GroupBytes, PartHeader, PartReader, PartWriter, push_state};
use super::timers::Timers;
use crate::disk::Disk;

/// An operator's state in one subtask at a barrier.
pub(crate) trait StateSnapshot: Send {
    /// Name of the operator.
    fn operator(&self) -> &str;

    /// The key groups it is about.
    fn range(&self) -> KeyGroupRange;

    /// For each group of the range, a number that is the same as in another snapshot only when the group is.
    fn versions(&self) -> &[u64];

    /// Whether the operator has state that belongs to no key group.
    fn has_lists(&self) -> bool;

    /// Whether [`Self::prepare`] has anything to do.
    fn needs_preparation(&self) -> bool {
        false
    }

    /// Does what must be done before the rest, off the subtask's thread: brings a store up to date and fixes its files.
    fn prepare(&mut self) -> Result<(), StateError> {
        Ok(())
    }

    /// The files that hold the entries, once prepared, where the store's checkpoints are files; and the number of keys.
    fn pinned(&self) -> Option<(&PinnedFiles, u64)> {
        None
    }

    /// Writes a part (see `part`) with `groups`; without entries when those are in pinned files.
    fn write(&self, groups: &GroupSet, out: &mut dyn io::Write) -> io::Result<Vec<GroupBytes>>;

    /// Writes a part with everything.
    fn write_full(&self, out: &mut dyn io::Write) -> io::Result<Vec<GroupBytes>>;
}

/// A snapshot of state on the heap.
pub(crate) struct HeapSnapshot<K> {
    pub(crate) header: PartHeader,
    pub(crate) versions: Vec<u64>,
    pub(crate) keys: Vec<Arc<Vec<K>>>,
    pub(crate) columns: Vec<Box<dyn ColumnSnapshot>>,
    pub(crate) timers: Timers,
}

impl<K: Key> StateSnapshot for HeapSnapshot<K> {
    fn operator(&self) -> &str {
        &self.header.operator
    }

    fn range(&self) -> KeyGroupRange {
        self.header.range
    }

    fn versions(&self) -> &[u64] {
        &self.versions
    }

    fn has_lists(&self) -> bool {
        !self.header.lists.is_empty()
    }

    fn write(&self, groups: &GroupSet, out: &mut dyn io::Write) -> io::Result<Vec<GroupBytes>> {
        let mut encoder = KeyEncoder::new();
        let mut writer = PartWriter::new(out, &self.header)?;
        let timers = self.timers.by_group();
        for (index, (group, keys)) in self.header.range.groups().zip(&self.keys).enumerate() {
            if !groups.contains(group.0) {
                continue;
            }
            for (row, key) in keys.iter().enumerate() {
                let key = encoder.encode(key).expect("a key in the table was encoded before");
                writer.entry(key, |out| {
                    let mut is_there = false;
                    for column in &self.columns {
                        is_there |= push_state(out, |out| column.encode(index, row, out))?;
                    }
                    Ok(is_there)
                })?;
            }
            write_timers(&mut writer, &timers[index]);
            writer.end_group(group)?;
        }
        writer.finish()
    }

    fn write_full(&self, out: &mut dyn io::Write) -> io::Result<Vec<GroupBytes>> {
        self.write(&self.header.range.into(), out)
    }
}

/// A saved part, to be written again as it is.
pub(crate) struct SavedSnapshot {
    header: PartHeader,
    versions: Vec<u64>,
    bytes: Arc<Vec<u8>>,
    has_lists: bool,
    groups: Vec<GroupBytes>,
}

impl SavedSnapshot {
    /// `bytes` hold all of `groups`, and no store does.
    ///
    /// # Errors
    /// [`StateError::Malformed`] when they are not a part.
    pub(crate) fn new(
        bytes: Arc<Vec<u8>>,
        groups: Vec<GroupBytes>,
        has_lists: bool,
    ) -> Result<Self, StateError> {
        let header = PartReader::new(&bytes)?.header().clone();
        // No group of a running operator has this version.
        let versions = vec![0; header.range.len()];
        Ok(Self { header, versions, bytes, has_lists, groups })
    }
}

impl StateSnapshot for SavedSnapshot {
    fn operator(&self) -> &str {
        &self.header.operator
    }

    fn range(&self) -> KeyGroupRange {
        self.header.range
    }

    fn versions(&self) -> &[u64] {
        &self.versions
    }

    fn has_lists(&self) -> bool {
        self.has_lists
    }

    fn write(&self, _groups: &GroupSet, out: &mut dyn io::Write) -> io::Result<Vec<GroupBytes>> {
        self.write_full(out)
    }

    fn write_full(&self, out: &mut dyn io::Write) -> io::Result<Vec<GroupBytes>> {
        out.write_all(&self.bytes)?;
        Ok(self.groups.clone())
    }
}

fn write_timers(writer: &mut PartWriter<'_>, timers: &[(super::TimeDomain, super::timers::Timer)]) {
    for (domain, (time, key)) in timers {
        writer.timer(*domain, *time, key);
    }
}

/// A snapshot of state in a store.
pub(crate) struct StoreSnapshot {
    header: PartHeader,
    versions: Vec<u64>,
    flush: Arc<Flush>,
    store: Arc<dyn Store>,
    disk: Arc<dyn Disk>,
    timers: Timers,
    keys: u64,
    expiry: Option<(ExpiryRules, i64)>,
    pinned: Option<PinnedFiles>,
}

/// What a store's snapshot consists of.
pub(crate) struct StoreState {
    pub(crate) header: PartHeader,
    pub(crate) versions: Vec<u64>,
    pub(crate) flush: Arc<Flush>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) timers: Timers,
    pub(crate) keys: u64,
    /// Which states expire, and what time it is; `None` when none does.
    pub(crate) expiry: Option<(ExpiryRules, i64)>,
}

impl StoreSnapshot {
    pub(crate) fn new(state: StoreState, disk: Arc<dyn Disk>) -> Self {
        let StoreState { header, versions, flush, store, timers, keys, expiry } = state;
        Self { header, versions, flush, store, disk, timers, keys, expiry, pinned: None }
    }

    fn write_groups(
        &self,
        groups: &GroupSet,
        with_entries: bool,
        out: &mut dyn io::Write,
    ) -> io::Result<Vec<GroupBytes>> {
        let mut writer = PartWriter::new(out, &self.header)?;
        let timers = self.timers.by_group();
        for (index, group) in self.header.range.groups().enumerate() {
            if !groups.contains(group.0) {
                continue;
            }
            if with_entries {
                self.write_entries(group, &mut writer)?;
            }
            write_timers(&mut writer, &timers[index]);
            writer.end_group(group)?;
        }
        writer.finish()
    }

    fn write_entries(&self, group: KeyGroup, writer: &mut PartWriter<'_>) -> io::Result<()> {
        let mut from = Vec::new();
        store_key(group, &[], &mut from);
        let mut outcome = Ok(());
        let scanned = self.store.scan(&from, &mut |store_key, entry| {
            let Some((_, key)) = split_store_key(store_key).filter(|(found, _)| *found == group) else {
                return ControlFlow::Break(());
            };
            outcome = writer.entry(key, |out| match &self.expiry {
                Some((rules, now)) => Ok(push_unexpired(rules, entry, *now, out)),
                None => {
                    out.extend_from_slice(entry);
                    Ok(true)
                }
            });
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        scanned.map_err(io::Error::other)?;
        outcome
    }
}

impl StateSnapshot for StoreSnapshot {
    fn operator(&self) -> &str {
        &self.header.operator
    }

    fn range(&self) -> KeyGroupRange {
        self.header.range
    }

    fn versions(&self) -> &[u64] {
        &self.versions
    }

    fn has_lists(&self) -> bool {
        !self.header.lists.is_empty()
    }

    fn needs_preparation(&self) -> bool {
        true
    }

    fn prepare(&mut self) -> Result<(), StateError> {
        self.flush.run()?;
        self.pinned = self.store.pin()?;
        Ok(())
    }

    fn pinned(&self) -> Option<(&PinnedFiles, u64)> {
        self.pinned.as_ref().map(|pinned| (pinned, self.keys))
    }

    fn write(&self, groups: &GroupSet, out: &mut dyn io::Write) -> io::Result<Vec<GroupBytes>> {
        self.write_groups(groups, self.pinned.is_none(), out)
    }

    fn write_full(&self, out: &mut dyn io::Write) -> io::Result<Vec<GroupBytes>> {
        self.write_groups(&self.header.range.into(), true, out)
    }
}

impl Drop for StoreSnapshot {
    fn drop(&mut self) {
        self.flush.release();
        if let Some(pinned) = &self.pinned
            && let Err(error) = self.disk.remove_directory(&pinned.directory)
        {
            tracing::warn!(directory = %pinned.directory.display(), %error, "cannot remove a checkpoint's files");
        }
    }
}
