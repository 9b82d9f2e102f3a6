//! Errors of keyed state.

use super::key_group::MaxParallelism;

/// Why state could not be declared, snapshotted or restored. All but [`Self::Store`] are permanent: the job must not start with
/// them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Two states of one operator have one name.
    #[error("operator {operator:?} declares the state {state:?} twice")]
    DuplicateName {
        /// Operator that declared it.
        operator: String,
        /// The name given twice.
        state: String,
    },
    /// The checkpoint holds a state the operator no longer declares, or declares otherwise.
    #[error(
        "state {state:?} of operator {operator:?} was saved as {saved} but the job declares {declared}; \
         restore with the old definition, or start empty"
    )]
    SchemaMismatch {
        /// Operator whose state it is.
        operator: String,
        /// Name of the state.
        state: String,
        /// Saved kind, type and version.
        saved: String,
        /// Declared kind, type and version, or "nothing".
        declared: String,
    },
    /// The checkpoint's keys are of another type.
    #[error(
        "operator {operator:?} was saved with keys of type {saved} but the job keys it by {declared}; \
         restore with the old key, or start empty"
    )]
    KeyMismatch {
        /// Operator whose state it is.
        operator: String,
        /// Saved key type.
        saved: String,
        /// Declared key type.
        declared: String,
    },
    /// The number of key groups differs: it is fixed for a job's life.
    #[error(
        "operator {operator:?} was saved with max-parallelism {} but the job has {}; it cannot change",
        saved.get(), declared.get()
    )]
    MaxParallelismMismatch {
        /// Operator whose state it is.
        operator: String,
        /// Saved number of key groups.
        saved: MaxParallelism,
        /// The job's number of key groups.
        declared: MaxParallelism,
    },
    /// A part of the checkpoint passes its hash but cannot be read.
    #[error("state part of operator {operator:?} is malformed at byte {position}: {detail}")]
    Malformed {
        /// Operator whose state it is, as far as known.
        operator: String,
        /// Byte of the part.
        position: usize,
        /// What was expected there.
        detail: &'static str,
    },
    /// A value refused to be encoded.
    #[error("a value of operator {operator:?} cannot be encoded: {reason}")]
    Encode {
        /// Operator whose state it is.
        operator: String,
        /// What the encoder said.
        reason: String,
    },
    /// More keys than the limit, and the policy is to stop.
    #[error(
        "operator {operator:?} holds {keys} keys and gets another one; its limit is {limit}: \
         raise the limit, let state expire, or choose another policy"
    )]
    TooManyKeys {
        /// Operator whose state it is.
        operator: String,
        /// Keys its subtask holds.
        keys: usize,
        /// The subtask's limit.
        limit: String,
    },
    /// More timers than memory.
    #[error(
        "operator {operator:?} has {timers} timers set in one subtask; its memory is enough for {limit}: \
         raise memory-max or parallelism, or set fewer"
    )]
    TooManyTimers {
        /// Operator whose timers they are.
        operator: String,
        /// Timers that are set.
        timers: usize,
        /// The most that fit.
        limit: usize,
    },
    /// The state was saved by a backend this program was built without.
    #[error(
        "state of operator {operator:?} was saved by the {backend} backend, which this program was built without; \
         restore from a savepoint, or use a program with it"
    )]
    BackendMissing {
        /// Operator whose state it is.
        operator: String,
        /// Name of the backend.
        backend: String,
    },
    /// The directory for stores cannot be used.
    #[error("cannot prepare {path} for the state of operator {operator:?}: {source}")]
    Directory {
        /// Operator whose state it is.
        operator: String,
        /// What could not be made or linked.
        path: std::path::PathBuf,
        /// The file system's error.
        source: std::io::Error,
    },
    /// A store failed.
    #[error(transparent)]
    Store(#[from] super::backend::StoreError),
}

impl StateError {
    /// Whether what failed would succeed if there were room on the disk.
    pub(crate) fn is_full_disk(&self) -> bool {
        match self {
            Self::Directory { source, .. } => crate::disk::is_full(source),
            Self::Store(error) => error.is_full,
            _ => false,
        }
    }
}
