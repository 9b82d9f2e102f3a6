//! The archive: completed checkpoints of one device and job on a remote, from which any device can carry on.
//!
//! | file | what it is |
//! |---|---|
//! | `paths` | the names of its objects |
//! | `sealed`, `key`, `cipher` | who may write to it, and who may read it |
//! | `manifest` | what a shipped checkpoint is made of |
//! | `chunk`, `base` | how files are cut and packed |
//! | `upload` | one checkpoint on its way |
//! | `piece`, `journal_shipping` | the journal, shipped ahead of checkpoints |
//! | `shipping` | the state machine around uploads: who ships, when, what comes next |
//! | `pace`, `backoff`, `retention` | its plain decisions |
//! | `catalogue` | reading what is there |
//! | `restore`, `fetch`, `replica` | the way back: which checkpoint, its files, and the journal that carries it on |
//! | `listing`, `restored` | what there was to choose from, and what came of it |
//! | `mark` | what the device remembers |
//!
//! Invariants:
//!   - an object is written once under a name that follows from its content, or is random; nothing is renamed;
//!   - a manifest is written when every chunk it names was found on the remote, and read back before it counts;
//!   - nothing read from a remote is used before a seal or a hash has vouched for it, and no name from it becomes a path
//!     before it was checked;
//!   - the newest usable manifest wins: highest incarnation, then highest generation.
//!
//! A piece of the journal is written once too, but no manifest names it: it counts when it is chained to what a restore
//! begins with.
//!
//! What a crash or a cut leaves behind, by step: a short or unnamed chunk (found out by its length or hash, used or
//! removed later); a short manifest (its seal does not fit: passed over); an incarnation nobody uses (harmless).
//!
//! What stores may break: two devices of one identity that open an incarnation at once both see which of the two counts,
//! as long as a listing shows what was written before; a device that was stopped between looking and writing can
//! still add a manifest of its older incarnation, which readers rank below.

mod backoff;
mod base;
mod catalogue;
mod chunk;
mod cipher;
mod error;
mod fetch;
mod journal_shipping;
mod key;
mod listing;
mod manifest;
mod mark;
mod pace;
mod paths;
mod piece;
mod replica;
mod restore;
mod restored;
mod retention;
mod sealed;
mod shipping;
#[cfg(test)]
mod tests;
mod upload;

pub(crate) use catalogue::Archive;
pub(crate) use chunk::ChunkSizes;
pub use cipher::ArchiveCipher;
pub use error::{ArchiveError, Unusable};
pub(crate) use journal_shipping::JournalShipping;
pub use key::{ArchiveKey, Trust};
pub(crate) use listing::cut_uploads;
pub(crate) use manifest::files_of;
pub(crate) use mark::MarkFile;
pub(crate) use pace::Moment;
pub use pace::{UploadLimits, UploadWindow};
pub(crate) use paths::ArchivePaths;
#[cfg(test)]
pub(crate) use paths::ManifestName;
pub(crate) use replica::{PieceListing, Replica};
pub(crate) use restore::Restorer;
pub(crate) use restored::{Fetched, Step, Wanted};
pub use retention::Retention;
pub use shipping::{Backlog, Connectivity, ShippingStatus};
pub(crate) use shipping::{Shipping, ShippingPolicy, ShippingStart, Turn};
pub use upload::Verification;
