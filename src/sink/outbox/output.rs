//! Outputs as they are given out, and what is known of each.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::block::Block;
use super::id::OutputId;
use super::summary::Summary;

/// Names an output within the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(super) block: OutputId,
    pub(super) position: u32,
}

/// An output on its way out.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(super) block: Arc<Block>,
    pub(super) position: u32,
}

impl Output {
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { block: self.block.id, position: self.position }
    }

    pub(crate) fn id(&self) -> OutputId {
        self.block.output_id(self.position)
    }

    /// Its bytes, without a line end.
    pub(crate) fn payload(&self) -> &[u8] {
        self.block.payload(self.position)
    }

    /// What is folded in it.
    pub(crate) fn summary(&self) -> Option<&Summary> {
        self.block.summary(self.position)
    }
}

/// Which outputs are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// What waited when the connection was made.
    Backlog,
    /// What has come since.
    Live,
}

/// How far a QoS 2 publish has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// It may be at the broker.
    Published,
    /// The broker has it, and may have been told to release it.
    Received,
}

/// A QoS 2 publish of an earlier life of the process, not completed.
#[derive(Debug, Clone)]
pub(crate) struct InFlight {
    pub(crate) packet_id: u16,
    pub(crate) phase: Phase,
    pub(crate) output: Output,
}

/// Outputs that were not delivered as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Dropped because the outbox was full.
    pub(crate) dropped: u64,
    /// Dropped because they were too old.
    pub(crate) expired: u64,
    /// Folded into summaries.
    pub(crate) folded: u64,
    /// Refused by the broker for good.
    pub(crate) refused: u64,
    /// In blocks that were damaged, where their number can be told.
    pub(crate) damaged_blocks: u64,
}

/// A block some outputs of which have been given out.
#[derive(Debug)]
pub(super) struct OpenBlock {
    pub(super) block: Arc<Block>,
    /// Outputs from the first on that have been given out.
    pub(super) taken: u32,
    /// Of them, those not done with.
    pub(super) pending: BTreeSet<u32>,
    /// Some are done with that the store does not know of.
    pub(super) is_dirty: bool,
    /// What the store knows of its progress is up to publishes of QoS 2.
    pub(super) is_exact: bool,
    pub(super) bytes: u64,
}

impl OpenBlock {
    pub(super) fn new(block: Arc<Block>, taken: u32, bytes: u64) -> Self {
        Self { block, taken, pending: BTreeSet::new(), is_dirty: false, is_exact: false, bytes }
    }

    pub(super) fn is_done(&self) -> bool {
        self.taken == self.block.header.count && self.pending.is_empty()
    }
}
