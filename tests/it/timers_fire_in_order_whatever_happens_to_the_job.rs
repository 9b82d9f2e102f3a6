//! Timers of both clocks fire once each, in the order of time and key: on every backend, over kills and changes of the
//! parallelism, after failures, and when batches go frame by frame.

use std::path::Path;
use std::time::Duration;

use tidegate::{
    Backend, Collected, Collector, Environment, JobReport, KeyedContext, KeyedProcessFunction, OperatorError,
    RecordedBatch, RecordedInput, RestartStrategy, Settings, StateError, StateRegistry, TimeDomain,
    Timestamp, ValueState, ValueStateDescriptor, WatermarkStrategy,
};

use crate::support::Random;

const BATCHES: usize = 60;
const KEYS: usize = 12;
/// The value that is poison.
const POISON: i64 = 666_666;
const BOUND: Duration = Duration::from_millis(20);

/// What happens: clock, key, time of it, watermark, sum so far. A record has the clock 0, and whether it is late.
type Happened = (i64, i64, i64, i64, i64);

/// Sums up, and sets timers of both clocks by what the readings are; some are taken back.
#[derive(Debug, Clone)]
struct Alarms;

impl KeyedProcessFunction<i64, (i64, i64, i64)> for Alarms {
    type Out = Happened;
    type State = ValueState<i64>;

    fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError> {
        states.value(&ValueStateDescriptor::new("sum"))
    }

    fn process(
        &mut self,
        (key, time, value): (i64, i64, i64),
        sum: &mut Self::State,
        context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Happened>,
    ) -> Result<(), OperatorError> {
        assert!(value != POISON, "poisoned");
        assert_eq!(context.timestamp(), Some(Timestamp(time)));
        let total = sum.value().unwrap_or(0) + value;
        sum.update(total);
        let now = context.processing_time().0;
        context.register_processing_time_timer(Timestamp(now + 5 + value % 7));
        context.register_event_time_timer(Timestamp(time / 10 * 10 + 15));
        if value % 5 == 0 {
            context.delete_processing_time_timer(Timestamp(now + 6));
            context.delete_event_time_timer(Timestamp(time / 10 * 10 + 15));
        }
        let is_late = context.timestamp() <= Some(context.current_watermark());
        out.collect((0, key, time, context.current_watermark().0, i64::from(is_late)));
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        sum: &mut Self::State,
        context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Happened>,
    ) -> Result<(), OperatorError> {
        let total = sum.value().unwrap_or(0);
        let clock = match domain {
            TimeDomain::ProcessingTime => 1,
            TimeDomain::EventTime => 2,
        };
        out.collect((clock, *context.key(), time.0, context.current_watermark().0, total));
        if domain == TimeDomain::EventTime && total % 3 == 0 {
            sum.clear();
            // Due at once, or later.
            context.register_event_time_timer(time + Duration::from_millis(7));
            context.register_processing_time_timer(context.processing_time());
        }
        Ok(())
    }
}

/// Second stage: counts what it hears of each kind, and says so when event time passes.
#[derive(Debug, Clone)]
struct Counts;

impl KeyedProcessFunction<i64, Happened> for Counts {
    type Out = Happened;
    type State = ValueState<i64>;

    fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError> {
        states.value(&ValueStateDescriptor::new("count"))
    }

    fn process(
        &mut self,
        (clock, key, time, watermark, value): Happened,
        count: &mut Self::State,
        context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Happened>,
    ) -> Result<(), OperatorError> {
        let expected = (clock != 1).then_some(Timestamp(time));
        assert_eq!(context.timestamp(), expected, "as the record or the timer it comes from");
        count.update(count.value().unwrap_or(0) + 1);
        context.register_event_time_timer(Timestamp(time / 50 * 50 + 50));
        out.collect((clock, key, time, watermark, value));
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        _: TimeDomain,
        count: &mut Self::State,
        context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Happened>,
    ) -> Result<(), OperatorError> {
        let counted = count.value().unwrap_or(0);
        out.collect((3, *context.key(), time.0, context.current_watermark().0, counted));
        Ok(())
    }
}

fn input(random: &Random, poison: Option<usize>) -> Vec<RecordedBatch> {
    let mut random = random.clone();
    let mut stamp = 1000;
    (0..BATCHES)
        .map(|batch| {
            stamp += i64::try_from(random.within(0..6)).unwrap();
            let line = |random: &mut Random| {
                let key = random.within(0..KEYS);
                let time = batch * 10 + random.within(0..60);
                format!("{key} {time} {}", random.within(0..100))
            };
            let mut lines: Vec<String> = (0..random.within(0..9)).map(|_| line(&mut random)).collect();
            if poison == Some(batch) {
                lines.insert(lines.len() / 2, format!("3 {} {POISON}", batch * 10));
            }
            RecordedBatch { stamp_ms: stamp, lines }
        })
        .collect()
}

fn run(backend: Backend, parallelism: usize, batches: &[RecordedBatch]) -> (String, JobReport) {
    let journal = Settings::default().journal.filter(|_| !matches!(backend, Backend::Memory));
    let settings = Settings {
        parallelism,
        threads: 2,
        backend,
        journal,
        checkpoint_interval: Duration::from_millis(10),
        restart: RestartStrategy::FixedDelay { attempts_max: 50, delay: Duration::from_millis(1) },
        ..Settings::default()
    };
    let collected = Collected::new();
    let environment = Environment::with_settings("alarms", settings);
    environment
        .recorded(RecordedInput::new(batches))
        .parse::<(i64, i64, i64)>()
        .assign_timestamps_and_watermarks(
            WatermarkStrategy::bounded_out_of_orderness(BOUND),
            |(_, time, _)| Timestamp(*time),
        )
        .filter(|(key, ..)| *key != 7)
        .flat_map(|record, out| out.collect(record))
        .map(|record| record)
        .key_by(|(key, ..)| *key)
        .process(Alarms)
        .key_by(|(_, key, ..)| *key % 4)
        .process(Counts)
        .collect_into(&collected);
    let report = environment.execute().unwrap();
    (collected.text(), report)
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Shows the first line that differs.
fn assert_same<'a>(
    results: impl IntoIterator<Item = &'a str>,
    expected: impl IntoIterator<Item = &'a str>,
    case: &str,
) {
    let (mut results, mut expected) = (results.into_iter(), expected.into_iter());
    for line in 1.. {
        let (result, expected) = (results.next(), expected.next());
        assert_eq!(result, expected, "line {line}, {case}");
        if result.is_none() {
            return;
        }
    }
}

fn file(directory: &Path) -> Backend {
    Backend::File { directory: directory.to_owned() }
}

#[test]
fn on_every_backend_and_with_any_parallelism() {
    let batches = input(&Random::seeded(), None);
    let (expected, _) = run(Backend::Memory, 1, &batches);
    for happened in ["(0,", "(1,", "(2,", "(3,"] {
        assert!(expected.lines().filter(|line| line.starts_with(happened)).count() > 20, "{expected}");
    }
    assert!(expected.lines().any(|line| line.starts_with("(0,") && line.ends_with(",1)")), "late ones");
    let directory = tempfile::tempdir().unwrap();
    let backends = [
        file(&directory.path().join("file")),
        #[cfg(feature = "sled")]
        Backend::Sled { directory: directory.path().join("sled") },
        #[cfg(feature = "rocksdb")]
        Backend::RocksDb { directory: directory.path().join("rocksdb") },
    ];
    for backend in backends {
        assert_same(run(backend.clone(), 1, &batches).0.lines(), expected.lines(), &format!("{backend:?}"));
    }
    for parallelism in [2, 3] {
        let (results, _) = run(Backend::Memory, parallelism, &batches);
        assert_same(sorted(&results), sorted(&expected), &format!("parallelism {parallelism}"));
    }
}

#[test]
fn in_a_job_that_is_stopped_and_started_with_another_parallelism() {
    let batches = input(&Random::seeded(), None);
    let (expected, _) = run(Backend::Memory, 1, &batches);
    let directory = tempfile::tempdir().unwrap();
    let backends = [
        file(&directory.path().join("file")),
        #[cfg(feature = "sled")]
        Backend::Sled { directory: directory.path().join("sled") },
        #[cfg(feature = "rocksdb")]
        Backend::RocksDb { directory: directory.path().join("rocksdb") },
    ];
    for backend in backends {
        let mut results = String::new();
        for (run_number, batches) in batches.chunks(17).enumerate() {
            results.push_str(&run(backend.clone(), [1, 3, 2, 2][run_number], batches).0);
        }
        assert_same(sorted(&results), sorted(&expected), &format!("{backend:?}"));
    }
}

#[test]
fn frame_by_frame_as_in_a_whole_batch() {
    let random = Random::seeded();
    let clean = input(&random, None);
    for parallelism in [1, 2] {
        let (expected, _) = run(Backend::Memory, parallelism, &clean);
        for poison in [10, 25, 59] {
            let directory = tempfile::tempdir().unwrap();
            let batches = input(&random, Some(poison));
            let (results, report) = run(file(directory.path()), parallelism, &batches);
            // What a barrier's empty batch fires is before the next one's, in which the subtasks take turns.
            let is_in_order = parallelism > 1 || results == expected;
            assert!(is_in_order, "poison in batch {poison}");
            assert_eq!(
                sorted(&results),
                sorted(&expected),
                "poison in batch {poison}, parallelism {parallelism}"
            );
            assert_eq!(report.restarts, 3);
        }
    }
}
