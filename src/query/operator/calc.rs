//! Filter and projection.

use std::sync::Arc;

use super::rejected::Rejected;
use super::rows::{Rows, Side};
use crate::operator::{Middle, OperatorError, Slot, SubtaskContext};
use crate::query::format::RowEncoder;
use crate::query::plan::Calc;
use crate::query::row_batch::RowBatch;
use crate::query::sql_type::SqlType;
use crate::query::vector::{Failures, Vector};
use crate::runtime::BatchHeader;

/// Keeps the rows the filter holds for, and computes columns of them. Leaves its input as it is. A row that an expression
/// fails for is rejected.
pub(crate) struct CalcOperator {
    calc: Arc<Calc>,
    side: Side,
    types: Vec<SqlType>,
    /// The rows the filter holds for, when they are not all.
    kept: RowBatch,
    selection: Vec<u32>,
    failures: Failures,
    rejected: Rejected,
}

impl CalcOperator {
    pub(crate) fn new(
        operator: &str,
        calc: Arc<Calc>,
        side: Side,
        input: RowEncoder,
        input_types: &[SqlType],
        context: &SubtaskContext,
    ) -> Self {
        Self {
            types: calc.project.iter().map(|column| column.sql_type).collect(),
            calc,
            side,
            kept: RowBatch::new(input_types),
            selection: Vec::new(),
            failures: Failures::default(),
            rejected: Rejected::new(operator, input, context),
        }
    }
}

impl Middle for CalcOperator {
    fn new_buffer(&self) -> Box<dyn Slot> {
        Box::new(Rows::new(&self.types, &[]))
    }

    fn run(
        &mut self,
        header: &BatchHeader,
        input: &mut dyn Slot,
        out: &mut dyn Slot,
    ) -> Result<(), OperatorError> {
        let input = Rows::of(input).side(self.side);
        let out = &mut Rows::of(out).rows;
        let now = header.stamp.0;
        out.mark = input.mark;
        let calc = Arc::clone(&self.calc);
        let mut kept = std::mem::take(&mut self.kept);
        let mut rows = input;
        if let Some(filter) = &calc.filter {
            self.failures.0.clear();
            let holds = filter.evaluate(rows, now, &mut self.failures);
            select(&holds, &mut self.failures, rows.len, &mut self.selection);
            self.rejected.rows(header, rows, &mut self.failures);
            if self.selection.len() < rows.len {
                kept.clear();
                kept.extend_rows(rows, &self.selection);
                rows = &kept;
            }
        }
        self.failures.0.clear();
        for (column, expression) in out.columns.iter_mut().zip(&calc.project) {
            match expression.evaluate(rows, now, &mut self.failures) {
                Vector::Borrowed(from) => column.copy_from(from),
                vector => *column = vector.into_column(rows.len),
            }
        }
        out.times.clone_from(&rows.times);
        out.len = rows.len;
        if !self.failures.is_empty() {
            self.rejected.rows(header, rows, &mut self.failures);
            self.selection.clear();
            self.failures.select(out.len, |_| true, &mut self.selection);
            let all = std::mem::replace(out, RowBatch::new(&self.types));
            out.mark = all.mark;
            out.extend_rows(&all, &self.selection);
        }
        self.kept = kept;
        self.rejected.end_batch();
        Ok(())
    }
}

/// The rows a filter holds for and did not fail for.
fn select(holds: &Vector<'_>, failures: &mut Failures, len: usize, selection: &mut Vec<u32>) {
    selection.clear();
    let values = holds.booleans();
    if holds.has_no_nulls() {
        failures.select(len, |row| values.get(row), selection);
    } else {
        failures.select(len, |row| values.get(row) && !holds.is_null(row), selection);
    }
}
