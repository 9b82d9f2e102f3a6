//! Rows of several stages put together where no keyed step does it.

use super::rows::{Rows, Side};
use crate::operator::{AnyPart, Head, OperatorError, Slot, SubtaskContext, Tail};
use crate::query::row_batch::RowBatch;
use crate::query::sql_type::SqlType;
use crate::runtime::BatchHeader;

/// Rows on their way to the subtask of the same number.
#[derive(Debug)]
struct UnionPart(RowBatch);

/// The tail in front of a union: gives the subtask of the same number all rows, and the others none.
pub(crate) struct ToUnion {
    types: Vec<SqlType>,
    side: Side,
    index: usize,
    parallelism: usize,
}

impl ToUnion {
    pub(crate) fn new(types: &[SqlType], side: Side, context: &SubtaskContext) -> Self {
        Self { types: types.to_vec(), side, index: context.index, parallelism: context.parallelism }
    }
}

impl Tail for ToUnion {
    fn run(&mut self, input: &mut dyn Slot) -> Vec<AnyPart> {
        let rows = Rows::of(input).side(self.side);
        let part = |index: usize| {
            let is_own = index == self.index;
            UnionPart(if is_own { rows.clone() } else { RowBatch::new(&self.types) })
        };
        (0..self.parallelism).map(|index| Box::new(part(index)) as AnyPart).collect()
    }
}

/// The head of a union's stage: the rows of a batch, stream by stream.
pub(crate) struct UnionRows {
    types: Vec<SqlType>,
    all: Vec<u32>,
}

impl UnionRows {
    pub(crate) fn new(types: &[SqlType]) -> Self {
        Self { types: types.to_vec(), all: Vec::new() }
    }
}

impl Head for UnionRows {
    fn new_buffer(&self) -> Box<dyn Slot> {
        Box::new(Rows::new(&self.types, &[]))
    }

    fn run(
        &mut self,
        _header: &BatchHeader,
        parts: Vec<AnyPart>,
        out: &mut dyn Slot,
    ) -> Result<(), OperatorError> {
        let out = &mut Rows::of(out).rows;
        for part in parts {
            let UnionPart(mut rows) =
                *part.downcast::<UnionPart>().expect("the tail of a union sends its rows");
            // Sinks have no use for event time, which some of the streams may not have.
            rows.times.clear();
            self.all.clear();
            self.all.extend(0..u32::try_from(rows.len).expect("a batch is below 4 G rows"));
            out.extend_rows(&rows, &self.all);
        }
        Ok(())
    }
}
