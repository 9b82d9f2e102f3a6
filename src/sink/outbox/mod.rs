//! The outbox: outputs of a sink wait on disk until they are delivered.
//!
//! - `id`: which output of which life of a job. - `block`: what is stored. - `store`, `sled_store`: where.
//! - `keys`: the entries' keys. - `output`: an output as it is given out. - `recovery`: what is found at a start.
//! - `queue`: what comes in, what goes out, what is done with. - `room`: what is done when it is full, or outputs are old.
//! - `summary`: many numeric outputs in one. - `inspect`: what it holds, for people.
//!
//! A plain state machine on a sorted map; it knows no sockets, no threads and no clock. Entries by the first byte of their key:
//!
//! ```text
//! b + id of its first output    a block that waits (see `block`)
//! p + id of a block             how many of its outputs, from the first on, are delivered or in flight; u32 little-endian
//! f + packet id                 a QoS 2 publish in flight: its block, position and phase (postcard)
//! d + id of its first output    a delivered block that is kept for a while: when it was delivered, i64, and the block
//! ma                            the last batch that came in whole, for when no block says so (postcard)
//! mc                            what was not delivered as it came, by cause (postcard)
//! ```
//!
//! Invariants:
//! - A batch comes in whole: its blocks leave only once the last of them is stored. What is found of a batch without
//!   its end is removed when the outbox is opened; replay brings the batch again.
//! - A block goes only once each of its outputs is delivered, or by policy, counted.
//! - The store may lose the tail of its writes in a crash, not in a checkpoint: the sink flushes before it reports its
//!   position. What is lost behind that is made again by replay, under the same ids.
//! - Whoever publishes with QoS 2 flushes before each step that the broker sees (see `mqtt::publisher`), so that what was
//!   seen by the broker is never forgotten.
//!
//! Order: outputs leave in the order of their ids in two lanes, the backlog (what was there when the connection was made) and
//! what has come in since. Within each lane the order holds; a slow backlog does not hold up what is new.
//!
//! Limits: the sizes of blocks and what is stored beside them stay below `bytes_max`, but for a single batch that is larger by itself,
//! which is taken when nothing else waits.

mod block;
mod error;
mod id;
mod inspect;
mod keys;
mod output;
mod queue;
mod recovery;
mod room;
mod settings;
#[cfg(feature = "sled")]
mod sled_store;
mod store;
mod summary;
#[cfg(test)]
mod tests;

pub(crate) use error::OutboxError;
pub(crate) use id::{Incarnation, MalformedId, OutputId};
pub(crate) use inspect::Place;
pub(crate) use output::{Lane, Output, Phase, Ticket};
pub(crate) use queue::Outbox;
pub use settings::WhenFull;
pub(crate) use settings::{BYTES_MIN, OutboxSettings};
#[cfg(feature = "sled")]
pub(crate) use sled_store::SledOutboxStore;
#[cfg(test)]
pub(crate) use store::MemoryOutboxStore;
pub(crate) use store::OutboxStore;
pub(crate) use summary::columns;
