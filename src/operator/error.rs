//! Errors of operators.

use std::error::Error;
use std::time::Duration;

use crate::state::StateError;

/// Why an operator could not process a batch. The supervisor rewinds the job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// The operator's own code failed.
    #[error("{0}")]
    Failed(Box<dyn Error + Send + Sync>),
    /// The operator's own code panicked.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The operator's own code did not return in time.
    #[error("did not return within {timeout:?}")]
    Hung {
        /// The time it had for the batch, or for the frame when the batch went frame by frame.
        timeout: Duration,
    },
    /// Timers that fire set ever more timers for times that have come.
    #[error(
        "timers that fire set more than {limit} timers that are due at once: \
         set them for a time behind `processing_time()` or `current_watermark()`"
    )]
    TimersEndless {
        /// How many one operator may set in one batch.
        limit: usize,
    },
    /// State could not be declared or restored.
    #[error(transparent)]
    State(#[from] StateError),
}

impl OperatorError {
    /// Wraps an error of the operator's own code.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}
