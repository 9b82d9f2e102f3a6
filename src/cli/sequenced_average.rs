//! The reference job over lines `key value sequence`: a reading whose sequence is not above the key's last was processed
//! before.

use crate::metrics::RejectCause;
use crate::operator::{Collector, KeyedContext, KeyedProcessFunction, OperatorError};
use crate::state::{StateError, StateRegistry, ValueState, ValueStateDescriptor};
use crate::stream::{DataStream, TextStream};

/// Why a reading that was processed before is rejected.
const REPEATED: RejectCause = RejectCause::new("repeated-sequence");

/// The job's streams from its lines to its results.
pub(super) fn sequenced_averages(lines: TextStream) -> DataStream<(i64, i64)> {
    lines
        .parse::<(i64, i64, i64)>()
        .name("readings")
        .key_by(|(key, ..)| *key)
        .process(SequencedAverage)
        .name("sequenced-average")
}

/// As the running average, for readings that may come again.
#[derive(Debug, Clone, Copy)]
struct SequencedAverage;

impl KeyedProcessFunction<i64, (i64, i64, i64)> for SequencedAverage {
    type Out = (i64, i64);
    /// Count and sum of the key's readings, and the last one's sequence.
    type State = ValueState<(i64, i64, i64)>;

    fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError> {
        states.value(&ValueStateDescriptor::new("avg"))
    }

    fn process(
        &mut self,
        (key, value, sequence): (i64, i64, i64),
        average: &mut Self::State,
        context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError> {
        let (count, sum, last) = average.value().unwrap_or((0, 0, i64::MIN));
        if count > 0 && sequence <= last {
            context.reject(REPEATED);
            return Ok(());
        }
        let Some(sum) = sum.checked_add(value) else {
            context.reject(RejectCause::OVERFLOW);
            return Ok(());
        };
        let count = count + 1;
        average.update((count, sum, sequence));
        if count >= 2 {
            out.collect((key, sum / count));
        }
        Ok(())
    }
}
