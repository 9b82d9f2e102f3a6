//! The archive as a whole, on a remote in memory.
//!
//! - `shipping`: checkpoints on their way, cut, refused, told about. - `restoring`: the way back, damaged, forged, set back.
//! - `journal`: the journal shipped ahead of them. - `device`, `journal_device`: what ships.

pub(super) mod device;
mod journal;
mod journal_device;
mod restoring;
mod shipping;
