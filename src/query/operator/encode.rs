//! The tail in front of a sink: rows to lines.

use std::sync::Arc;

use super::rows::{Rows, Side};
use crate::operator::{AnyPart, EncodedPart, PartPool, Slot, Tail};
use crate::query::format::RowEncoder;

/// Encodes rows as lines. Leaves its input as it is.
pub(crate) struct EncodeRows {
    encoder: RowEncoder,
    side: Side,
    pool: Arc<PartPool<EncodedPart>>,
}

impl EncodeRows {
    pub(crate) fn new(encoder: RowEncoder, side: Side, pool: Arc<PartPool<EncodedPart>>) -> Self {
        Self { encoder, side, pool }
    }
}

impl Tail for EncodeRows {
    fn run(&mut self, input: &mut dyn Slot) -> Vec<AnyPart> {
        let rows = Rows::of(input).side(self.side);
        let mut part = self.pool.take();
        part.records = rows.len as u64;
        for row in 0..rows.len {
            self.encoder.encode(&rows.columns, row, &mut part.bytes);
            part.bytes.push(b'\n');
        }
        vec![Box::new(part)]
    }
}
