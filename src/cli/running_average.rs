//! The reference job: Flink's running average.

use crate::metrics::RejectCause;
use crate::operator::{Collector, KeyedContext, KeyedProcessFunction, OperatorError};
use crate::state::{StateError, StateRegistry, ValueState, ValueStateDescriptor};
use crate::stream::{DataStream, TextStream};

/// Name of the reference job.
pub(super) const JOB: &str = "running-average";

/// The reference job's streams from its lines to its results.
pub(super) fn running_averages(lines: TextStream) -> DataStream<(i64, i64)> {
    lines
        .parse::<(i64, i64)>()
        .name("readings")
        .key_by(|(key, _)| *key)
        .process(RunningAverage)
        .name("average")
}

/// Emits `(key, sum / count)` from a key's second reading on. The state is kept for ever.
#[derive(Debug, Clone, Copy)]
struct RunningAverage;

impl KeyedProcessFunction<i64, (i64, i64)> for RunningAverage {
    type Out = (i64, i64);
    /// Count and sum of the key's readings.
    type State = ValueState<(i64, i64)>;

    fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError> {
        states.value(&ValueStateDescriptor::new("avg"))
    }

    fn process(
        &mut self,
        (key, value): (i64, i64),
        average: &mut Self::State,
        context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError> {
        let (count, sum) = average.value().unwrap_or_default();
        let Some(sum) = sum.checked_add(value) else {
            context.reject(RejectCause::OVERFLOW);
            return Ok(());
        };
        let count = count + 1;
        average.update((count, sum));
        if count >= 2 {
            out.collect((key, sum / count));
        }
        Ok(())
    }
}
