//! Continuous aggregates: each row gives the aggregates of its group as they are with it.

use std::sync::Arc;

use super::keyed::{KeyedRowFunction, RowContext};
use super::rows::Rows;
use crate::operator::OperatorError;
use crate::query::accumulate::{Accumulate, push_results};
use crate::query::aggregate::Accumulator;
use crate::query::group_key::GroupKey;
use crate::query::plan::AggregateStep;
use crate::query::row_batch::RowBatch;
use crate::query::sql_type::SqlType;
use crate::state::{StateTtl, TimeDomain, ValueStateDescriptor};

/// Name of the state.
const STATE: &str = "groups";

pub(crate) struct ContinuousAggregate {
    step: Arc<AggregateStep>,
    ttl: Option<StateTtl>,
    accumulate: Accumulate,
    /// Rows of the part that count.
    taken: Vec<u32>,
}

impl ContinuousAggregate {
    pub(crate) fn new(step: Arc<AggregateStep>, ttl: Option<StateTtl>) -> Self {
        let accumulate = Accumulate::new(&step.calls);
        Self { step, ttl, accumulate, taken: Vec::new() }
    }
}

/// A descriptor that tells `signature` apart.
pub(super) fn descriptor<V: crate::state::StateValue>(
    name: &str,
    signature: String,
    ttl: Option<StateTtl>,
) -> ValueStateDescriptor<V> {
    let descriptor = ValueStateDescriptor::new(name).described_as(signature);
    match ttl {
        Some(ttl) => descriptor.ttl(ttl),
        None => descriptor,
    }
}

impl KeyedRowFunction for ContinuousAggregate {
    type State = Vec<Accumulator>;

    fn descriptor(&self) -> ValueStateDescriptor<Self::State> {
        descriptor(STATE, self.step.signature(), self.ttl)
    }

    fn domain(&self) -> TimeDomain {
        TimeDomain::EventTime
    }

    fn types(&self) -> (Vec<SqlType>, Vec<SqlType>) {
        (self.step.output_types(), Vec::new())
    }

    fn process(
        &mut self,
        rows: &RowBatch,
        context: &mut RowContext<'_, Self::State>,
        out: &mut Rows,
    ) -> Result<(), OperatorError> {
        let arguments = self.accumulate.arguments(rows);
        let (_, results) = out.rows.columns.split_at_mut(self.step.key_types.len());
        self.taken.clear();
        for row in 0..rows.len {
            if !context.move_to(row) {
                continue;
            }
            let added = context.state.modify(|group| {
                let is_new = group.is_none();
                let accumulators = group.get_or_insert_with(|| self.accumulate.group());
                let added = self.accumulate.add(accumulators, &arguments, row);
                match added {
                    Ok(()) => push_results(accumulators, results),
                    Err(_) if is_new => *group = None,
                    Err(_) => {}
                }
                added
            });
            match added {
                Ok(()) => self.taken.push(u32::try_from(row).expect("a batch is below 4 G rows")),
                Err(cause) => context.reject(rows, row, cause),
            }
        }
        out.rows.extend_columns(self.step.key_types.len(), rows, &self.taken);
        Ok(())
    }

    fn fire(&mut self, _: i64, _: &GroupKey, _: &mut RowContext<'_, Self::State>, _: &mut Rows) {}
}
