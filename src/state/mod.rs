//! Keyed state: keys, key groups, descriptors and the tables that hold values on the heap.
//!
//! An operator resolves the key of each record of a batch to a *slot* (key group, row) once; every named state
//! of the operator is a column indexed by slot. So a second state costs no second hash lookup, the lookups of a
//! whole batch overlap in the memory system, and a snapshot shares columns group by group without copying.
//!
//! ```text
//!   record ─▶ key ─▶ hash ─▶ key group ─▶ index ─▶ row
//!                                           keys[row]
//!                                    column "avg"[row]
//!                                  column "alarm"[row]
//! ```
//!
//! Nothing here knows of actors, batches or checkpoints.

mod cow;
mod descriptor;
mod digest;
mod error;
pub(crate) mod key;
mod key_group;
mod keyed;
pub(crate) mod part;
mod value;

pub use descriptor::{StateValue, ValueStateDescriptor};
pub(crate) use digest::StateDigest;
pub use error::StateError;
pub use key::{KEY_BYTES_MAX, Key, TextKey};
pub use key_group::{KeyGroup, KeyGroupRange, MAX_PARALLELISM_DEFAULT, MaxParallelism};
pub use keyed::StateRegistry;
pub(crate) use keyed::{KeyedState, Slot, StateSnapshot};
pub use value::ValueState;
