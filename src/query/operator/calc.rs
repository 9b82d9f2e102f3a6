//! Filter and projection.

use std::borrow::Cow;
use std::sync::Arc;

use super::rows::{Rows, Side};
use crate::metrics::Rejections;
use crate::operator::{Middle, OperatorError, Slot, SubtaskContext};
use crate::query::format::RowEncoder;
use crate::query::plan::Calc;
use crate::query::row_batch::RowBatch;
use crate::query::sql_type::SqlType;
use crate::query::vector::{Failures, Vector};
use crate::runtime::BatchHeader;
use crate::sink::dead_letter::Refused;
use crate::state::StateSetup;

/// Keeps the rows the filter holds for, and computes columns of them. Leaves its input as it is. A row that an expression
/// fails for is rejected.
pub(crate) struct CalcOperator {
    operator: String,
    calc: Arc<Calc>,
    side: Side,
    types: Vec<SqlType>,
    /// Renders an input row that is rejected.
    input: RowEncoder,
    /// The rows the filter holds for, when they are not all.
    kept: RowBatch,
    selection: Vec<u32>,
    failures: Failures,
    rejections: Rejections,
    refused: Refused,
    setup: Arc<StateSetup>,
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
            operator: operator.to_owned(),
            types: calc.project.iter().map(|column| column.sql_type).collect(),
            calc,
            side,
            input,
            kept: RowBatch::new(input_types),
            selection: Vec::new(),
            failures: Failures::default(),
            rejections: Rejections::new(operator, Arc::clone(&context.metrics)),
            refused: Refused::default(),
            setup: Arc::clone(&context.state),
        }
    }

    /// Rejects the rows that failed, and takes them out of `selection`, whose rows they are numbered by.
    #[cold]
    fn reject(&mut self, header: &BatchHeader, rows: &RowBatch) {
        self.failures.0.sort_unstable();
        self.failures.0.dedup_by_key(|(row, _)| *row);
        let mut text = Vec::new();
        for (row, cause) in &self.failures.0 {
            text.clear();
            self.input.encode(&rows.columns, *row as usize, &mut text);
            if self.setup.dead_letters.is_some() {
                self.refused.add_row(header.offset, &self.operator, *cause, &text);
            }
            self.rejections.reject(*cause, None, || Cow::Borrowed(&text));
        }
    }

    fn keep_refused(&mut self) {
        if let Some(dead_letters) = &self.setup.dead_letters {
            dead_letters.keep(&self.refused);
        }
        self.refused.clear();
        self.rejections.end_batch();
    }
}

/// The rows of `0..len` that are not among `failures`, which are in order.
fn without(failures: &Failures, len: usize, selection: &mut Vec<u32>) {
    let mut failed = failures.0.iter().map(|(row, _)| *row).peekable();
    selection.clear();
    let len = u32::try_from(len).expect("a batch is below 4 G rows");
    selection.extend((0..len).filter(|row| failed.next_if_eq(row).is_none()));
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
            select(&holds, &self.failures, rows.len, &mut self.selection);
            if !self.failures.is_empty() {
                self.reject(header, rows);
            }
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
            self.reject(header, rows);
            without(&self.failures, out.len, &mut self.selection);
            let all = std::mem::replace(out, RowBatch::new(&self.types));
            out.mark = all.mark;
            out.extend_rows(&all, &self.selection);
        }
        self.kept = kept;
        self.keep_refused();
        Ok(())
    }
}

/// The rows a filter holds for and did not fail for.
fn select(holds: &Vector<'_>, failures: &Failures, len: usize, selection: &mut Vec<u32>) {
    selection.clear();
    let values = holds.booleans();
    let numbered = 0..u32::try_from(len).expect("a batch is below 4 G rows");
    if holds.has_no_nulls() {
        selection.extend(numbered.filter(|row| values.get(*row as usize)));
    } else {
        selection.extend(numbered.filter(|row| values.get(*row as usize) && !holds.is_null(*row as usize)));
    }
    if !failures.is_empty() {
        selection.retain(|row| !failures.0.iter().any(|(failed, _)| failed == row));
    }
}
