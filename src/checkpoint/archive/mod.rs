//! The archive: completed checkpoints of one device and job on a remote, from which any device can carry on.
//!
//! | file | what it is |
//! |---|---|
//! | `paths` | the names of its objects |
//! | `sealed`, `key`, `cipher` | who may write to it, and who may read it |
//! | `manifest` | what a shipped checkpoint is made of |
//! | `chunk`, `base` | how files are cut and packed |
//! | `upload` | one checkpoint on its way |
//! | `shipping` | the state machine around uploads: who ships, when, what comes next |
//! | `pace`, `backoff`, `retention` | its plain decisions |
//! | `catalogue` | reading what is there |
//! | `restore` | the way back |
//! | `mark` | what the device remembers |
//!
//! Invariants:
//!   - an object is written once under a name that follows from its content, or is random; nothing is renamed;
//!   - a manifest is written when every chunk it names was found on the remote, and read back before it counts;
//!   - nothing read from a remote is used before a seal or a hash has vouched for it, and no name from it becomes a path
//!     before it was checked;
//!   - the newest usable manifest wins: highest incarnation, then highest generation.
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
mod key;
mod manifest;
mod mark;
mod pace;
mod paths;
mod restore;
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
pub use key::{ArchiveKey, Trust};
pub(crate) use manifest::files_of;
pub(crate) use mark::MarkFile;
pub(crate) use pace::Moment;
pub use pace::{UploadLimits, UploadWindow};
pub(crate) use paths::ArchivePaths;
#[cfg(test)]
pub(crate) use paths::ManifestName;
pub(crate) use restore::{Fetched, Restorer, Step, Wanted, cut_uploads};
pub use retention::Retention;
pub use shipping::{Backlog, Connectivity, ShippingStatus};
pub(crate) use shipping::{Shipping, ShippingPolicy, ShippingStart, Turn};
pub use upload::Verification;
