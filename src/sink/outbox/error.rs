//! Why an outbox does not do what it was asked.

use std::io;

/// What can go wrong with an outbox.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboxError {
    #[error("the outbox holds the {bytes_max} bytes it may, and its policy is to wait")]
    Full { bytes_max: u64 },
    #[error("the outbox's store failed: {0}")]
    Store(#[source] io::Error),
}

impl From<io::Error> for OutboxError {
    fn from(error: io::Error) -> Self {
        Self::Store(error)
    }
}

/// A full outbox is to its sink what a full disk is: the batch is tried again.
impl From<OutboxError> for io::Error {
    fn from(error: OutboxError) -> Self {
        let kind = match &error {
            OutboxError::Full { .. } => io::ErrorKind::StorageFull,
            OutboxError::Store(source) => source.kind(),
        };
        Self::new(kind, error)
    }
}
