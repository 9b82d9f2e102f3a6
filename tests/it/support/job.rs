//! Jobs through the library: a keyed function that counts what happens to it, and jobs in threads of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tidegate::{
    Collector, JobError, JobReport, KeyedContext, KeyedProcessFunction, OperatorError, StateError,
    StateRegistry, ValueState, ValueStateDescriptor,
};

use super::wait::wait_until;

/// A value [`RunningAverage`] panics on.
pub(crate) const PANIC_VALUE: i64 = 666_666;
/// A value [`RunningAverage`] returns an error for.
pub(crate) const ERROR_VALUE: i64 = 777_777;

/// The reference job's operator, failing on some values.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunningAverage {
    opened: Arc<AtomicUsize>,
}

impl RunningAverage {
    /// How often it was opened, all subtasks together: once each at the start and once each for a restart.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

impl KeyedProcessFunction<i64, (i64, i64)> for RunningAverage {
    type Out = (i64, i64);
    type State = ValueState<(i64, i64)>;

    fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        states.value(&ValueStateDescriptor::new("avg"))
    }

    fn process(
        &mut self,
        (key, value): (i64, i64),
        average: &mut Self::State,
        _context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError> {
        let (count, sum) = average.value().unwrap_or_default();
        let (count, sum) = (count + 1, sum + value);
        average.update((count, sum));
        assert!(value != PANIC_VALUE, "cannot bear the reading {value} of key {key}");
        if value == ERROR_VALUE {
            return Err(OperatorError::failed(format!("refuses the reading {value} of key {key}")));
        }
        if count >= 2 {
            out.collect((key, sum / count));
        }
        Ok(())
    }
}

/// Runs a job, built inside it, in a thread.
pub(crate) fn start_job(
    job: impl FnOnce() -> Result<JobReport, JobError> + Send + 'static,
) -> JoinHandle<Result<JobReport, JobError>> {
    std::thread::spawn(job)
}

/// Waits for a job's end.
pub(crate) fn join(job: JoinHandle<Result<JobReport, JobError>>) -> Result<JobReport, JobError> {
    wait_until(|| job.is_finished(), || "the job did not end".to_owned());
    job.join().expect("a job returns, whatever its operators do")
}
