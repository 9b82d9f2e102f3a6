//! Operators: what a subtask does with a batch.
//!
//! A stage is a chain: a *head* that turns the parts of a batch into records (`text`, `keyed`), operators between
//! (`map`, `filter`, `flat_map`), and *tails* that turn records into the parts of the next stage or of a sink
//! (`key_by`, `encode`). Each is called once a batch and works on whole vectors; the user's closures inside are
//! statically dispatched.
//!
//! Operators know nothing of actors, sources or checkpoints.

pub(crate) mod chain;
mod collector;
mod context;
mod encode;
mod error;
mod event_time;
mod firing;
mod group_clock;
mod key_by;
mod keyed;
mod keyed_core;
mod part;
mod text;
mod transform;

pub(crate) use chain::{Chain, Head, Middle, NO_TIME, Slot, Tail};
pub use collector::Collector;
pub use context::KeyedContext;
pub(crate) use encode::{Encode, EncodedPart};
pub use error::OperatorError;
pub use event_time::WatermarkStrategy;
pub(crate) use event_time::{AssignTimestamps, StreamTime};
pub(crate) use key_by::{KeyBy, KeyedPart, owners};
pub use keyed::KeyedProcessFunction;
pub(crate) use keyed::{KeyedProcess, StateClosure};
pub(crate) use keyed_core::KeyedCore;
pub(crate) use part::{AnyPart, PartPool, TracedPart};
pub(crate) use text::{FrameInput, MessageUse, TextHead, provenance, visit_lines};
pub(crate) use transform::{Copies, Filter, FlatMap, Map};

use std::sync::Arc;

use crate::metrics::JobMetrics;
use crate::state::{MaxParallelism, StateSetup};

/// What an operator learns of the subtask it runs in.
#[derive(Clone)]
pub(crate) struct SubtaskContext {
    pub(crate) index: usize,
    pub(crate) parallelism: usize,
    pub(crate) max_parallelism: MaxParallelism,
    pub(crate) metrics: Arc<JobMetrics>,
    /// How keyed state is held.
    pub(crate) state: Arc<StateSetup>,
}
