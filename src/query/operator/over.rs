//! Functions with OVER: each row with what was before it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::aggregate::descriptor;
use super::keyed::{KeyedRowFunction, RowContext};
use super::rows::Rows;
use crate::metrics::RejectCause;
use crate::operator::OperatorError;
use crate::query::aggregate::Accumulator;
use crate::query::column::Column;
use crate::query::datum::Datum;
use crate::query::group_key::GroupKey;
use crate::query::plan::{OverFunction, OverStep};
use crate::query::row_batch::RowBatch;
use crate::query::sql_type::SqlType;
use crate::query::vector::Vector;
use crate::state::{StateTtl, TimeDomain, ValueStateDescriptor};

/// Name of the state.
const STATE: &str = "rows-before";

/// What one function knows of the rows before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Before {
    /// The values of the newest rows, the newest last.
    Values(VecDeque<Datum>),
    /// How many rows there were.
    Rows(u64),
    /// The newest time there was.
    Newest(Option<i64>),
    /// All rows.
    Running(Accumulator),
    /// The arguments of the newest rows, the newest last.
    Arguments(VecDeque<Vec<Datum>>),
}

pub(crate) struct Over {
    step: Arc<OverStep>,
    types: Vec<SqlType>,
    ttl: Option<StateTtl>,
    /// Rows of the part that give a result.
    taken: Vec<u32>,
}

impl Over {
    /// `input`: types of the input's columns.
    pub(crate) fn new(step: Arc<OverStep>, input: &[SqlType], ttl: Option<StateTtl>) -> Self {
        let types = input.iter().copied().chain(step.calls.iter().map(|call| call.sql_type)).collect();
        Self { step, types, ttl, taken: Vec::new() }
    }

    fn begin(&self) -> Vec<Before> {
        let begin = |function: &OverFunction| match function {
            OverFunction::Lag { .. } => Before::Values(VecDeque::new()),
            OverFunction::RowNumber => Before::Rows(0),
            OverFunction::IsNewest { .. } => Before::Newest(None),
            OverFunction::Running { aggregate, rows: None, .. } => {
                Before::Running(Accumulator::new(aggregate))
            }
            OverFunction::Running { .. } => Before::Arguments(VecDeque::new()),
        };
        self.step.calls.iter().map(|call| begin(&call.function)).collect()
    }

    /// The results of a row, and what is known behind it.
    ///
    /// # Errors
    /// The cause the row fails with; then nothing has changed.
    fn row(
        &self,
        before: &mut [Before],
        rows: &RowBatch,
        row: usize,
        out: &mut [Column],
    ) -> Result<(), RejectCause> {
        // Only aggregates over all rows can fail after they changed; they are tried on a copy.
        let mut running = Vec::new();
        for (call, before) in self.step.calls.iter().zip(before.iter()) {
            if let (OverFunction::Running { arguments, .. }, Before::Running(accumulator)) =
                (&call.function, before)
            {
                let mut accumulator = accumulator.clone();
                accumulator.add(&vectors(rows, arguments), row)?;
                running.push(accumulator);
            }
            if let (OverFunction::Running { aggregate, arguments, .. }, Before::Arguments(kept)) =
                (&call.function, before)
            {
                let mut accumulator = Accumulator::new(aggregate);
                add_kept(&mut accumulator, kept, rows, arguments)?;
                accumulator.add(&vectors(rows, arguments), row)?;
                running.push(accumulator);
            }
        }
        let mut running = running.into_iter();
        for ((call, before), out) in self.step.calls.iter().zip(before).zip(out) {
            match (&call.function, before) {
                (OverFunction::Lag { argument, rows: back, default }, Before::Values(values)) => {
                    if values.len() == *back {
                        out.push(&values[0]);
                        values.pop_front();
                    } else {
                        match default {
                            Some(default) => out.push(&rows.columns[*default].datum(row)),
                            None => out.push_null(),
                        }
                    }
                    values.push_back(rows.columns[*argument].datum(row));
                }
                (OverFunction::RowNumber, Before::Rows(count)) => {
                    *count += 1;
                    out.push(&Datum::BigInt(i64::try_from(*count).unwrap_or(i64::MAX)));
                }
                (OverFunction::IsNewest { time }, Before::Newest(newest)) => {
                    let time = match rows.columns[*time].datum(row) {
                        Datum::Timestamp(time) => Some(time),
                        _ => None,
                    };
                    if time.is_some() && time >= *newest {
                        *newest = time;
                        out.push(&Datum::BigInt(1));
                    } else {
                        out.push_null();
                    }
                }
                (OverFunction::Running { .. }, Before::Running(accumulator)) => {
                    if let Some(next) = running.next() {
                        *accumulator = next;
                    }
                    accumulator.push_result(out);
                }
                (OverFunction::Running { arguments, rows: Some(most), .. }, Before::Arguments(kept)) => {
                    match running.next() {
                        Some(accumulator) => accumulator.push_result(out),
                        None => out.push_null(),
                    }
                    kept.push_back(
                        arguments.iter().map(|argument| rows.columns[*argument].datum(row)).collect(),
                    );
                    if kept.len() >= *most {
                        kept.pop_front();
                    }
                }
                // The state was made from these calls: its signature is theirs.
                _ => out.push_null(),
            }
        }
        Ok(())
    }
}

fn vectors<'a>(rows: &'a RowBatch, arguments: &[usize]) -> Vec<Vector<'a>> {
    arguments.iter().map(|argument| Vector::Borrowed(&rows.columns[*argument])).collect()
}

/// Adds rows that were kept, whose columns are of the types of `rows`.
fn add_kept(
    accumulator: &mut Accumulator,
    kept: &VecDeque<Vec<Datum>>,
    rows: &RowBatch,
    arguments: &[usize],
) -> Result<(), RejectCause> {
    for values in kept {
        let types = arguments.iter().map(|argument| rows.columns[*argument].sql_type);
        let vectors: Vec<Vector<'_>> =
            values.iter().zip(types).map(|(value, sql_type)| Vector::Constant(value, sql_type)).collect();
        accumulator.add(&vectors, 0)?;
    }
    Ok(())
}

impl KeyedRowFunction for Over {
    type State = Vec<Before>;

    fn descriptor(&self) -> ValueStateDescriptor<Self::State> {
        descriptor(STATE, self.step.signature(), self.ttl)
    }

    fn domain(&self) -> TimeDomain {
        TimeDomain::EventTime
    }

    fn types(&self) -> (Vec<SqlType>, Vec<SqlType>) {
        (self.types.clone(), Vec::new())
    }

    fn process(
        &mut self,
        rows: &RowBatch,
        context: &mut RowContext<'_, Self::State>,
        out: &mut Rows,
    ) -> Result<(), OperatorError> {
        let (_, results) = out.rows.columns.split_at_mut(rows.columns.len());
        self.taken.clear();
        let mut taken = std::mem::take(&mut self.taken);
        for row in 0..rows.len {
            if !context.move_to(row) {
                continue;
            }
            let done = context.state.modify(|state| {
                let mut before = state.take().unwrap_or_else(|| self.begin());
                let done = self.row(&mut before, rows, row, results);
                *state = Some(before);
                done
            });
            match done {
                Ok(()) => taken.push(u32::try_from(row).expect("a batch is below 4 G rows")),
                Err(cause) => context.reject(rows, row, cause),
            }
        }
        out.rows.extend_rows(rows, &taken);
        self.taken = taken;
        Ok(())
    }

    fn fire(&mut self, _: i64, _: &GroupKey, _: &mut RowContext<'_, Self::State>, _: &mut Rows) {}
}
