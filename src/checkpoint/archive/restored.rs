//! What a restore is asked for, and what it brought.

use std::collections::BTreeMap;

use super::manifest::Shipped;
use super::replica::Replica;
use crate::checkpoint::{CheckpointId, Reached};
use crate::runtime::Offset;

/// Which checkpoint is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// This one; without it the newest that is whole.
    pub(crate) id: Option<CheckpointId>,
    /// Also one older than what this device has seen.
    pub(crate) accept_rollback: bool,
    /// The newest on the remote must be of this generation at least: for a device that has seen nothing yet.
    pub(crate) min_generation: u64,
}

/// A checkpoint that is fetched whole and verified, and not installed yet.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) shipped: Shipped,
    /// The journal that carries it on.
    pub(crate) journal: Option<Replica>,
    /// How far the device that shipped had come, as far as the remote knows.
    pub(crate) reached: Reached,
    /// When that was, in milliseconds since 1970 by that device's clock.
    pub(crate) heard_ms: i64,
}

/// What the device that shipped had taken in behind what is restored, as far as the remote knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    /// First and last batch.
    pub(crate) batches: (Offset, Offset),
    pub(crate) readings: u64,
    /// First and last line of each client that asked for acknowledgements.
    pub(crate) clients: Vec<(String, u64, u64)>,
}

impl Fetched {
    /// How far what is restored goes: the checkpoint, and the journal behind it.
    pub(crate) fn restored(&self) -> Reached {
        let mut restored = Reached::of(&self.shipped.checkpoint);
        if let Some(journal) = &self.journal {
            let Reached { offset, readings, clients } = &journal.reached;
            (restored.offset, restored.readings) = (*offset, *readings);
            restored.clients = latest(&restored.clients, clients);
        }
        restored
    }

    /// What is lost with what is restored, unless a journal here or the senders still have it.
    pub(crate) fn lost(&self) -> Option<Lost> {
        let restored = self.restored();
        if self.reached.offset <= restored.offset {
            return None;
        }
        let held = |client: &str| {
            restored.clients.iter().find(|(held, _)| held == client).map_or(0, |(_, lines)| *lines)
        };
        let clients =
            self.reached.clients.iter().map(|(client, lines)| (client.clone(), held(client) + 1, *lines));
        Some(Lost {
            batches: (restored.offset.next(), self.reached.offset),
            readings: self.reached.readings.saturating_sub(restored.readings),
            clients: clients.filter(|(_, from, through)| from <= through).collect(),
        })
    }
}

/// The last line of each client in either.
pub(super) fn latest(left: &[(String, u64)], right: &[(String, u64)]) -> Vec<(String, u64)> {
    let mut latest: BTreeMap<String, u64> = left.iter().cloned().collect();
    for (client, lines) in right {
        let known = latest.entry(client.clone()).or_default();
        *known = (*known).max(*lines);
    }
    latest.into_iter().collect()
}

/// How far a restore has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// This checkpoint is fetched.
    Chosen { id: CheckpointId, bytes: u64 },
    /// So many bytes of it are there.
    Fetched { bytes: u64 },
}
