//! A job on a simulated disk, and what it must write, for tests that break the disk under it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::error::JobError;
use super::job::run_on;
use super::job_handle::JobHandle;
use super::report::JobReport;
use super::restart::RestartStrategy;
use super::settings::{Backend, JournalSettings, Settings};
use crate::disk::{Disk, Random, SimulatedDisk};
use crate::operator::{Collector, KeyedContext, KeyedProcessFunction, OperatorError};
use crate::source::{Acknowledged, RecordedBatch, RecordedInput};
use crate::state::{StateError, StateRegistry, ValueState, ValueStateDescriptor};
use crate::stream::Environment;

/// The file the job writes.
pub(super) const RESULTS: &str = "/out/results";
const KEYS: u64 = 5;
const SEGMENT_BYTES: u64 = 64 << 10;
const RESERVE_BYTES: u64 = 16 << 10;
/// Four segments: with long lines the job goes on only with checkpoints that let it delete segments.
const JOURNAL_BYTES_MAX: u64 = 4 * SEGMENT_BYTES;

/// Ten to forty batches; each line is followed by up to `padding` blanks, so that few of them fill a segment.
pub(super) fn input(random: &mut Random, padding: usize) -> Vec<RecordedBatch> {
    let reading = |random: &mut Random| {
        let blanks = " ".repeat(usize::try_from(random.below(padding as u64 + 1)).unwrap());
        format!("{} {}{blanks}", random.below(KEYS), random.below(100))
    };
    (0..10 + random.below(30))
        .map(|index| RecordedBatch {
            stamp_ms: i64::try_from(index).unwrap(),
            lines: (0..1 + random.below(6)).map(|_| reading(random)).collect(),
        })
        .collect()
}

/// What an uninterrupted run writes.
pub(super) fn expected(batches: &[RecordedBatch]) -> String {
    let mut sums = BTreeMap::<i64, (i64, i64)>::new();
    let mut results = String::new();
    for RecordedBatch { stamp_ms, lines } in batches {
        for line in lines {
            let (key, value) = line.trim_end().split_once(' ').unwrap();
            let (key, value): (i64, i64) = (key.parse().unwrap(), value.parse().unwrap());
            let (count, sum) = sums.entry(key).or_default();
            (*count, *sum) = (*count + 1, *sum + value);
            results.push_str(&format!("({key},{},{sum},{stamp_ms})\n", *count));
        }
    }
    results
}

/// Emits a key's count and sum and the batch's processing time: everything a recovery could get wrong.
#[derive(Clone)]
struct RunningSum;

impl KeyedProcessFunction<i64, (i64, i64)> for RunningSum {
    type Out = (i64, i64, i64, i64);
    type State = ValueState<(i64, i64)>;

    fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError> {
        states.value(&ValueStateDescriptor::new("sum"))
    }

    fn process(
        &mut self,
        (key, value): (i64, i64),
        state: &mut Self::State,
        context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError> {
        let (count, sum) = state.value().unwrap_or_default();
        state.update((count + 1, sum + value));
        out.collect((key, count + 1, sum + value, context.processing_time().0));
        Ok(())
    }
}

/// Runs the job until its input ends or it cannot go on.
pub(super) fn run_job(
    disk: &SimulatedDisk,
    batches: &[RecordedBatch],
    acknowledged: &Arc<Acknowledged>,
) -> Result<JobReport, JobError> {
    let journal = JournalSettings {
        segment_bytes: SEGMENT_BYTES,
        bytes_max: JOURNAL_BYTES_MAX,
        reserve_bytes: RESERVE_BYTES,
        ..JournalSettings::default()
    };
    let settings = Settings {
        threads: 1,
        batches_in_flight: 3,
        backend: Backend::File { directory: PathBuf::from("/data") },
        journal: Some(journal),
        checkpoint_interval: Duration::from_millis(10),
        restart: RestartStrategy::None,
        ..Settings::default()
    };
    let environment = Environment::with_settings("simulated", settings);
    environment
        .recorded(RecordedInput::new(batches).sent_by("recording", acknowledged))
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .process(RunningSum)
        .write_to_file(RESULTS);
    let (topology, settings) = environment.build();
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    run_on(&disk, topology, settings, &JobHandle::new())
}
