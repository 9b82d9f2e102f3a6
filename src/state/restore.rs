//! What a restore gets of one operator: verified parts, and the files of a saved store.

use std::path::PathBuf;
use std::sync::Arc;

use super::key_group::GroupSet;

/// One saved part of an operator's state.
#[derive(Debug, Clone)]
pub(crate) struct SavedPart {
    /// The part, its hash verified.
    pub(crate) bytes: Arc<Vec<u8>>,
    /// The key groups it is to be read for; of others it holds an old state.
    pub(crate) groups: GroupSet,
    /// Whether its operator lists count.
    pub(crate) has_lists: bool,
    /// Where the entries of its groups are when not in the part.
    pub(crate) store: Option<SavedStore>,
}

/// A store as immutable files, their hashes verified.
#[derive(Debug, Clone)]
pub(crate) struct SavedStore {
    pub(crate) kind: String,
    pub(crate) identity: u64,
    pub(crate) keys: u64,
    pub(crate) files: Vec<SavedFile>,
}

/// One file of a saved store.
#[derive(Debug, Clone)]
pub(crate) struct SavedFile {
    /// Its name in the store's directory.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Whether it is never written to again, so that it can be linked.
    pub(crate) is_table: bool,
}
