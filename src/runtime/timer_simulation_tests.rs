//! The whole job on a simulated disk: the power is cut at a random call, again and again, and the results must be those
//! of an uninterrupted run. The job keeps sums and sets timers of both clocks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::batch::Timestamp;
use super::job::run_on;
use super::job_handle::JobHandle;
use super::restart::RestartStrategy;
use super::settings::{Backend, JournalSettings, Settings};
use crate::disk::{Disk, Random, SimulatedDisk};
use crate::operator::{Collector, KeyedContext, KeyedProcessFunction, OperatorError, WatermarkStrategy};
use crate::source::{Acknowledged, RecordedBatch, RecordedInput};
use crate::state::{StateError, StateRegistry, TimeDomain, ValueState, ValueStateDescriptor};
use crate::stream::Environment;

const RESULTS: &str = "/out/results";
const KEYS: u64 = 5;
const LIVES_MAX: usize = 4;
/// Of the watermark, in milliseconds.
const BOUND_MS: i64 = 8;

type Reading = (i64, i64, i64);

/// Sums up; a timer of processing time counts as one reading of 1, one of event time as one of 2.
#[derive(Clone)]
struct Sums;

impl Sums {
    fn add(state: &ValueState<(i64, i64)>, key: i64, value: i64, out: &mut Collector<'_, Reading>) {
        let (count, sum) = state.value().unwrap_or_default();
        state.update((count + 1, sum + value));
        out.collect((key, count + 1, sum + value));
    }
}

impl KeyedProcessFunction<i64, Reading> for Sums {
    type Out = Reading;
    type State = ValueState<(i64, i64)>;

    fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError> {
        states.value(&ValueStateDescriptor::new("sum"))
    }

    fn process(
        &mut self,
        (key, time, value): Reading,
        state: &mut Self::State,
        context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Reading>,
    ) -> Result<(), OperatorError> {
        let now = context.processing_time();
        context.register_processing_time_timer(now + Duration::from_millis(in_ms(value)));
        context.register_event_time_timer(Timestamp(time));
        Self::add(state, key, value, out);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: Timestamp,
        domain: TimeDomain,
        state: &mut Self::State,
        context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Reading>,
    ) -> Result<(), OperatorError> {
        let value = if domain == TimeDomain::ProcessingTime { 1 } else { 2 };
        Self::add(state, *context.key(), value, out);
        Ok(())
    }
}

/// When a reading's timer of processing time is due.
fn in_ms(value: i64) -> u64 {
    1 + value.unsigned_abs() % 7
}

fn input(random: &mut Random) -> Vec<RecordedBatch> {
    let reading = |random: &mut Random, index: u64| {
        format!("{} {} {}", random.below(KEYS), 3 * index + random.below(12), random.below(100))
    };
    (0..10 + random.below(30))
        .map(|index| RecordedBatch {
            stamp_ms: i64::try_from(2 * index).unwrap(),
            lines: (0..1 + random.below(6)).map(|_| reading(random, index)).collect(),
        })
        .collect()
}

fn expected(batches: &[RecordedBatch]) -> String {
    let mut sums = BTreeMap::<i64, (i64, i64)>::new();
    let mut results = String::new();
    let mut add = |key: i64, value: i64| {
        let (count, sum) = sums.entry(key).or_default();
        (*count, *sum) = (*count + 1, *sum + value);
        results.push_str(&format!("({key},{},{sum})\n", *count));
    };
    // Keys from 0 on are encoded in their order.
    let (mut processing, mut event) = (BTreeSet::new(), BTreeSet::new());
    let mut highest = i64::MIN;
    for batch in batches {
        processing.extract_if(..(batch.stamp_ms + 1, 0), |_| true).for_each(|(_, key)| add(key, 1));
        for line in &batch.lines {
            let numbers: Vec<i64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            let (key, time, value) = (numbers[0], numbers[1], numbers[2]);
            processing.insert((batch.stamp_ms + i64::try_from(in_ms(value)).unwrap(), key));
            event.insert((time, key));
            highest = highest.max(time);
            add(key, value);
        }
        event.extract_if(..(highest - BOUND_MS, 0), |_| true).for_each(|(_, key)| add(key, 2));
    }
    results
}

/// Runs the job until its input ends or the power is cut; true when it ended in order.
fn live(disk: &SimulatedDisk, batches: &[RecordedBatch], acknowledged: &Arc<Acknowledged>) -> bool {
    let settings = Settings {
        threads: 1,
        batches_in_flight: 3,
        backend: Backend::File { directory: PathBuf::from("/data") },
        journal: Some(JournalSettings {
            segment_bytes: 64 << 10,
            reserve_bytes: 4 << 10,
            ..JournalSettings::default()
        }),
        checkpoint_interval: Duration::from_millis(10),
        restart: RestartStrategy::None,
        ..Settings::default()
    };
    let environment = Environment::with_settings("simulated", settings);
    environment
        .recorded(RecordedInput::new(batches).sent_by("recording", acknowledged))
        .parse::<Reading>()
        .assign_timestamps_and_watermarks(
            WatermarkStrategy::bounded_out_of_orderness(Duration::from_millis(BOUND_MS.unsigned_abs())),
            |(_, time, _)| Timestamp(*time),
        )
        .key_by(|(key, ..)| *key)
        .process(Sums)
        .write_to_file(RESULTS);
    let (topology, settings) = environment.build();
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    run_on(&disk, topology, settings, &JobHandle::new()).is_ok()
}

#[test]
fn results_are_those_of_an_uninterrupted_run_whenever_the_power_is_cut() {
    let seeds = std::env::var("TIDEGATE_JOB_SEEDS").map_or(500, |text| text.parse().unwrap());
    let first = std::env::var("TIDEGATE_TEST_SEED").map_or(0, |text| text.parse().unwrap());
    let mut cuts = 0;
    for seed in first..first + seeds {
        let mut random = Random(seed);
        let batches = input(&mut random);
        let mut disk = SimulatedDisk::new();
        let acknowledged = Arc::default();
        for _ in 0..LIVES_MAX {
            disk.cut_after(random.below(150));
            let ended = live(&disk, &batches, &acknowledged);
            if ended {
                break;
            }
            cuts += 1;
            disk = disk.after_power_cut(&mut random);
        }
        disk.cut_after(u64::MAX);
        assert!(live(&disk, &batches, &acknowledged), "TIDEGATE_TEST_SEED={seed}: the job does not end");
        let results = disk.content(Path::new(RESULTS)).unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(&results), expected(&batches), "TIDEGATE_TEST_SEED={seed}");
    }
    assert!(cuts >= seeds, "{cuts} cuts in {seeds} runs");
}
