//! Groups of accumulators: a row counts in all aggregates of its group, or in none.

use super::aggregate::Accumulator;
use super::column::{Column, Values};
use super::plan::AggregateCall;
use super::row_batch::RowBatch;
use super::vector::Vector;
use crate::metrics::RejectCause;

/// Adds rows to groups of accumulators.
#[derive(Debug, Clone)]
pub(crate) struct Accumulate {
    calls: Vec<AggregateCall>,
    /// The calls a row can fail for, then the others.
    order: Vec<usize>,
    fallible: usize,
    /// Those of the accumulators a row can fail for, as they were before the row.
    saved: Vec<Accumulator>,
}

/// The arguments of each call.
pub(crate) type Arguments<'a> = Vec<Argument<'a>>;

/// What a call takes of the rows of a batch.
#[derive(Debug)]
pub(crate) enum Argument<'a> {
    /// All rows, whatever is in them.
    Rows,
    /// A number of each row; none is NULL.
    Doubles(&'a [f64]),
    /// The arguments, and the rows that count.
    Vectors(Vec<Vector<'a>>, Option<&'a Column>),
}

impl<'a> Argument<'a> {
    fn new(call: &AggregateCall, rows: &'a RowBatch) -> Self {
        let columns = || call.arguments.iter().map(|at| &rows.columns[*at]);
        let is_whole = call.filter.is_none() && columns().all(|column| column.nulls.is_empty());
        if is_whole && call.aggregate.counts_rows() {
            return Self::Rows;
        }
        if let (true, true, Some(Values::Double(values))) =
            (is_whole, call.aggregate.takes_doubles(), columns().next().map(|column| &column.values))
        {
            return Self::Doubles(values);
        }
        Self::Vectors(columns().map(Vector::Borrowed).collect(), call.filter.map(|at| &rows.columns[at]))
    }
}

impl Accumulate {
    pub(crate) fn new(calls: &[AggregateCall]) -> Self {
        let can_fail = |call: &usize| calls[*call].aggregate.can_fail();
        let mut order: Vec<usize> = (0..calls.len()).filter(can_fail).collect();
        let fallible = order.len();
        order.extend((0..calls.len()).filter(|call| !can_fail(call)));
        Self { calls: calls.to_vec(), order, fallible, saved: Vec::new() }
    }

    /// True when a row can fail.
    pub(crate) fn is_fallible(&self) -> bool {
        self.fallible > 0
    }

    /// The accumulators of no row.
    pub(crate) fn group(&self) -> Vec<Accumulator> {
        self.calls.iter().map(|call| Accumulator::new(&call.aggregate)).collect()
    }

    /// The arguments of all calls in `rows`.
    pub(crate) fn arguments<'a>(&self, rows: &'a RowBatch) -> Arguments<'a> {
        self.calls.iter().map(|call| Argument::new(call, rows)).collect()
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The cause it fails with; then the group is as it was.
    #[inline]
    pub(crate) fn add(
        &mut self,
        group: &mut [Accumulator],
        arguments: &Arguments<'_>,
        row: usize,
    ) -> Result<(), RejectCause> {
        // With one that can fail it is enough that it goes first.
        if self.fallible > 1 {
            self.saved.clear();
            self.saved.extend(self.order[..self.fallible].iter().map(|call| group[*call].clone()));
        }
        for (done, call) in self.order.iter().enumerate() {
            let added = match &arguments[*call] {
                Argument::Rows => group[*call].add_row(),
                Argument::Doubles(values) => group[*call].add_double(values[row]),
                Argument::Vectors(_, Some(filter)) if !counts(filter, row) => continue,
                Argument::Vectors(arguments, _) => group[*call].add(arguments, row),
            };
            if let Err(cause) = added {
                for (call, saved) in self.order[..done].iter().zip(self.saved.drain(..)) {
                    group[*call] = saved;
                }
                return Err(cause);
            }
        }
        Ok(())
    }
}

fn counts(filter: &Column, row: usize) -> bool {
    matches!(&filter.values, Values::Boolean(values) if values[row]) && !filter.is_null(row)
}

/// Appends the results of a group to `columns`, one to each.
pub(crate) fn push_results(group: &[Accumulator], columns: &mut [Column]) {
    for (accumulator, column) in group.iter().zip(columns) {
        accumulator.push_result(column);
    }
}
