//! What an operator rejects of a batch: counted by cause, sampled in the log, and kept as dead letters.

use std::borrow::Cow;
use std::sync::Arc;

use crate::metrics::{Provenance, RejectCause, Rejections};
use crate::operator::SubtaskContext;
use crate::query::format::RowEncoder;
use crate::query::row_batch::RowBatch;
use crate::query::vector::Failures;
use crate::runtime::BatchHeader;
use crate::sink::dead_letter::Refused;
use crate::state::StateSetup;

/// Rejects rows and frames of one operator in one subtask.
pub(super) struct Rejected {
    operator: String,
    /// Renders a row.
    encoder: RowEncoder,
    text: Vec<u8>,
    rejections: Rejections,
    refused: Refused,
    setup: Arc<StateSetup>,
}

impl Rejected {
    pub(super) fn new(operator: &str, encoder: RowEncoder, context: &SubtaskContext) -> Self {
        Self {
            operator: operator.to_owned(),
            encoder,
            text: Vec::new(),
            rejections: Rejections::new(operator, Arc::clone(&context.metrics)),
            refused: Refused::default(),
            setup: Arc::clone(&context.state),
        }
    }

    /// Rejects the rows of `rows` that failed, each for one of its causes.
    #[cold]
    pub(super) fn rows(&mut self, header: &BatchHeader, rows: &RowBatch, failures: &mut Failures) {
        for (row, cause) in failures.settled() {
            self.text.clear();
            self.encoder.encode(&rows.columns, *row as usize, &mut self.text);
            if self.setup.dead_letters.is_some() {
                self.refused.add_row(header.offset, &self.operator, *cause, &self.text);
            }
            self.rejections.reject(*cause, None, || Cow::Borrowed(&self.text));
        }
    }

    /// Rejects a frame.
    #[cold]
    pub(super) fn frame(
        &mut self,
        header: &BatchHeader,
        cause: RejectCause,
        from: Option<Provenance<'_>>,
        bytes: &[u8],
    ) {
        if let (true, Some(from)) = (self.setup.dead_letters.is_some(), from) {
            self.refused.add_frame(header.offset, &self.operator, cause, from, bytes);
        }
        self.rejections.reject(cause, from, || bytes.into());
    }

    /// Keeps what was rejected of the batch.
    pub(super) fn end_batch(&mut self) {
        if let Some(dead_letters) = &self.setup.dead_letters {
            dead_letters.keep(&self.refused);
        }
        self.refused.clear();
        self.rejections.end_batch();
    }
}
