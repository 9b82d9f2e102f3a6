//! Errors of operators.

use std::error::Error;

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
