//! What a replay did.

use std::collections::BTreeMap;
use std::fmt;

use super::plan::Leg;
use crate::checkpoint::CheckpointId;
use crate::metrics::RejectCause;
use crate::runtime::Offset;

/// What a replay did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// The checkpoint it began with; `None` for empty state.
    pub checkpoint: Option<CheckpointId>,
    /// The batch behind which it began.
    pub offset: Offset,
    /// The last batch in the state.
    pub last: Offset,
    /// Batches run again.
    pub batches: u64,
    /// Readings in them, without skipped ones.
    pub readings: u64,
    /// Readings left out because the journal says that operators could not bear them.
    pub skipped: u64,
    /// Results given out, summed over the sinks.
    pub results: u64,
    /// Readings rejected, by place and cause.
    pub rejected: BTreeMap<(String, RejectCause), u64>,
    /// Batches that should have been there and were not, in order.
    pub gaps: Vec<Gap>,
    /// Hash of the state behind the last batch.
    pub state: StateHash,
}

impl ReplayReport {
    pub(super) fn begin(leg: &Leg) -> Self {
        Self {
            checkpoint: leg.contents.as_ref().map(|contents| contents.manifest.id),
            offset: leg.base,
            last: leg.base,
            batches: 0,
            readings: 0,
            skipped: 0,
            results: 0,
            rejected: BTreeMap::new(),
            gaps: Vec::new(),
            state: StateHash([0; 32]),
        }
    }
}

/// Batches a replay had to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first.
    pub from: Offset,
    /// The last; `None` when nothing says how far it goes.
    pub to: Option<Offset>,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            Some(to) => write!(f, "{}..={to}", self.from),
            None => write!(f, "{}..", self.from),
        }
    }
}

/// Hash of the keyed state of all operators: equal for equal state, whatever the machine and the number of subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateHash(pub [u8; 32]);

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
