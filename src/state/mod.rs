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

pub(crate) mod backend;
mod cell;
mod column;
#[cfg(test)]
mod conformance;
mod cow;
mod descriptor;
mod digest;
mod error;
mod expiry;
mod flush;
#[cfg(test)]
mod footprint_tests;
mod heap_size;
pub(crate) mod inspect;
pub(crate) mod key;
mod key_group;
mod keyed;
mod limits;
mod list;
mod list_state;
mod map;
pub(crate) mod part;
mod placed_store;
mod registry;
mod restore;
mod rows;
mod setup;
mod snapshot;
mod table;
mod timers;
mod ttl;
mod value;
mod waiting;

pub use backend::StoreError;
#[cfg(feature = "rocksdb")]
pub(crate) use backend::rocksdb::RocksDbFactory;
#[cfg(feature = "sled")]
pub(crate) use backend::sled::SledFactory;
pub(crate) use backend::{PinnedFiles, StoreBudget, StoreFactory};
pub use descriptor::{
    AggregateFunction, AggregatingStateDescriptor, ListStateDescriptor, MapStateDescriptor,
    ReducingStateDescriptor, StateValue, ValueStateDescriptor,
};
pub(crate) use digest::StateDigest;
pub use error::StateError;
pub use key::{KEY_BYTES_MAX, Key, TextKey};
pub(crate) use key_group::GroupSet;
pub use key_group::{KeyGroup, KeyGroupRange, MAX_PARALLELISM_DEFAULT, MaxParallelism};
pub(crate) use keyed::KeyedState;
pub use limits::KeyLimitPolicy;
pub use list::ListState;
pub use list_state::{OperatorListDescriptor, OperatorListState, Redistribution};
pub use map::MapState;
pub(crate) use part::GroupBytes;
pub use registry::StateRegistry;
pub(crate) use restore::{SavedFile, SavedPart, SavedStore};
pub(crate) use rows::Slot;
pub(crate) use setup::{CACHE_SHARE_WHOLE, StateSetup};
pub(crate) use snapshot::{SavedSnapshot, StateSnapshot};
pub use timers::TimeDomain;
pub(crate) use timers::{Timer, Timers};
pub use ttl::{IncrementalCleanup, StateTtl, TtlUpdate, TtlVisibility};
pub use value::{AggregatingState, ReducingState, ValueState};
pub(crate) use waiting::Waiting;
