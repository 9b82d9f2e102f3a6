//! A savepoint of one backend starts on every other one, with another parallelism, and the rest of the input gives the
//! results it would have given without.

use std::path::Path;
use std::time::Duration;

use tidegate::{
    AfterSavepoint, Backend, Collected, Collector, Environment, JobHandle, JobReport, KeyedContext,
    KeyedProcessFunction, ListState, ListStateDescriptor, MapState, MapStateDescriptor, OperatorError,
    RecordedBatch, RecordedInput, Savepoint, Settings, Start, StateError, StateRegistry, ValueState,
    ValueStateDescriptor,
};

use crate::support::Random;

const JOB: &str = "moving";
const BATCHES: usize = 400;
const BATCH_READINGS_MAX: usize = 60;
const KEYS: usize = 300;
/// Elements of a key's list.
const LIST_MAX: usize = 4;

/// A value, a list and a map under one key; each result depends on all of them.
#[derive(Debug, Clone, Copy)]
struct Remember;

struct Remembered {
    sum: ValueState<i64>,
    newest: ListState<i64>,
    counts: MapState<i64, u32>,
}

impl KeyedProcessFunction<i64, (i64, i64)> for Remember {
    type Out = (i64, i64, i64, i64);
    type State = Remembered;

    fn open(&mut self, states: &mut StateRegistry) -> Result<Remembered, StateError> {
        Ok(Remembered {
            sum: states.value(&ValueStateDescriptor::new("sum"))?,
            newest: states.list(&ListStateDescriptor::new("newest"))?,
            counts: states.map(&MapStateDescriptor::new("counts"))?,
        })
    }

    fn process(
        &mut self,
        (key, value): (i64, i64),
        state: &mut Remembered,
        _: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError> {
        let sum = state.sum.value().unwrap_or(0) + value;
        state.sum.update(sum);
        let mut newest: Vec<i64> = state.newest.get();
        newest.push(value);
        if newest.len() > LIST_MAX {
            newest.remove(0);
        }
        let of_list = newest.iter().fold(0i64, |trace, value| trace.wrapping_mul(31).wrapping_add(*value));
        state.newest.update(newest);
        let class = value.rem_euclid(5);
        let count = state.counts.get(&class).unwrap_or(0) + 1;
        state.counts.put(&class, count);
        out.collect((key, sum, of_list, i64::from(count)));
        Ok(())
    }
}

fn recording(random: &mut Random) -> Vec<RecordedBatch> {
    let mut stamp_ms = 0;
    let mut batch = || {
        stamp_ms += 10;
        let lines = (0..1 + random.within(0..BATCH_READINGS_MAX)).map(|_| {
            let (key, value) = random.reading(KEYS);
            format!("{key} {value}")
        });
        RecordedBatch { stamp_ms, lines: lines.collect() }
    };
    (0..BATCHES).map(|_| batch()).collect()
}

fn run(settings: Settings, batches: &[RecordedBatch], handle: &JobHandle) -> (Vec<String>, JobReport) {
    let collected = Collected::new();
    let environment = Environment::with_settings(JOB, settings);
    environment
        .recorded(RecordedInput::new(batches))
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .process(Remember)
        .collect_into(&collected);
    let report = environment.execute_with(handle).expect("the job ends in order");
    (collected.text().lines().map(str::to_owned).collect(), report)
}

fn settings(backend: Backend, parallelism: usize) -> Settings {
    Settings {
        backend,
        parallelism,
        threads: 2,
        checkpoint_interval: Duration::from_millis(10),
        ..Settings::default()
    }
}

fn backends(directory: &Path) -> Vec<Backend> {
    vec![
        Backend::Memory,
        Backend::File { directory: directory.to_owned() },
        #[cfg(feature = "sled")]
        Backend::Sled { directory: directory.to_owned() },
        #[cfg(feature = "rocksdb")]
        Backend::RocksDb { directory: directory.to_owned() },
    ]
}

/// Runs over everything and takes a savepoint on the way.
fn run_with_savepoint(
    backend: Backend,
    parallelism: usize,
    batches: &[RecordedBatch],
    to: &Path,
) -> (Vec<String>, Savepoint) {
    let handle = JobHandle::new();
    // Asked for before the job runs, so that it comes early.
    let asked = handle.ask_for_savepoint(Some(to.to_owned()), AfterSavepoint::GoOn).unwrap();
    let (results, report) = run(settings(backend, parallelism), batches, &handle);
    assert_eq!(report.checkpoints_failed, 0);
    (results, asked.wait().expect("it is taken"))
}

/// The batches behind the first `readings` readings.
fn rest(batches: &[RecordedBatch], readings: u64) -> &[RecordedBatch] {
    let mut seen = 0;
    let count = batches.iter().take_while(|batch| {
        seen += batch.lines.len() as u64;
        seen <= readings
    });
    &batches[count.count()..]
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

#[test]
fn every_ordered_pair() {
    let mut random = Random::seeded();
    let batches = recording(&mut random);
    // The savepoint is in the middle, so that there are results before and after it.
    let (before, after) = batches.split_at(BATCHES / 2);
    let places = tempfile::tempdir().unwrap();
    let (reference, _) = run(settings(Backend::Memory, 1), &batches, &JobHandle::new());
    let results_before: usize = before.iter().map(|batch| batch.lines.len()).sum();
    let expected = sorted(reference[results_before..].to_vec());
    let mut pairs = 0;
    for number in 0..backends(places.path()).len() {
        let from = backends(&places.path().join(format!("from-{number}"))).swap_remove(number);
        let parallelism = 1 + number % 2;
        let to = places.path().join(format!("savepoint-{number}"));
        let handle = JobHandle::new();
        let (taker, path) = (handle.clone(), to.clone());
        let taken = std::thread::spawn(move || taker.savepoint(Some(path), AfterSavepoint::Stop));
        let stopped = run(settings(from.clone(), parallelism), before, &handle);
        let savepoint = taken.join().unwrap();
        // Stopped wherever it was: what was not read is read by the next one.
        let savepoint = savepoint.unwrap_or_else(|error| panic!("{from:?}: {error}"));
        assert_eq!(savepoint.readings, stopped.1.readings, "nothing is processed after it");
        let between = rest(before, savepoint.readings);
        let left: Vec<RecordedBatch> = between.iter().chain(after).cloned().collect();
        let behind: usize = between.iter().map(|batch| batch.lines.len()).sum();
        let expected_here = sorted(reference[results_before - behind..].to_vec());
        assert!(expected_here.len() >= expected.len());
        for (other, onto) in backends(&places.path().join(format!("onto-{number}"))).into_iter().enumerate() {
            if other == number {
                continue;
            }
            let onto_settings =
                Settings { start: Start::Savepoint(to.clone()), ..settings(onto.clone(), 3 - parallelism) };
            let (results, report) = run(onto_settings, &left, &JobHandle::new());
            assert!(sorted(results) == expected_here, "from {from:?} onto {onto:?}: other results");
            assert_eq!(report.restored.map(|restored| restored.keys), Some(savepoint.keys));
            pairs += 1;
        }
    }
    let kinds = backends(places.path()).len();
    assert_eq!(pairs, kinds * (kinds - 1));
}

#[test]
#[cfg(feature = "rocksdb")]
fn from_memory_with_one_subtask_onto_rocksdb_with_two() {
    let mut random = Random::seeded();
    let batches = recording(&mut random);
    let places = tempfile::tempdir().unwrap();
    let path = places.path().join("savepoint");
    let (results, savepoint) = run_with_savepoint(Backend::Memory, 1, &batches, &path);
    let seen = usize::try_from(savepoint.readings).unwrap();
    let onto = Settings {
        start: Start::Savepoint(path),
        ..settings(Backend::RocksDb { directory: places.path().join("data") }, 2)
    };
    let left = rest(&batches, savepoint.readings);
    let (continued, report) = run(onto, left, &JobHandle::new());
    assert_eq!(report.readings, (results.len() - seen) as u64);
    assert_eq!(sorted(continued), sorted(results[seen..].to_vec()));
    println!("a savepoint after {seen} of {} readings", results.len());
}

#[test]
fn a_restart_goes_on_behind_the_savepoint_it_began_with() {
    let mut random = Random::seeded();
    let batches = recording(&mut random);
    let places = tempfile::tempdir().unwrap();
    for backend in backends(&places.path().join("data")).into_iter().skip(1) {
        let path = places.path().join(format!("savepoint-{:?}", backend).replace(['/', ' ', '"'], ""));
        let (first, second) = batches.split_at(BATCHES / 3);
        let (second, third) = second.split_at(BATCHES / 3);
        let (_, savepoint) = {
            let handle = JobHandle::new();
            let (taker, to) = (handle.clone(), path.clone());
            let taken = std::thread::spawn(move || taker.savepoint(Some(to), AfterSavepoint::Stop));
            let ran = run(settings(Backend::Memory, 2), first, &handle);
            (ran, taken.join().unwrap().unwrap())
        };
        let start = |start| Settings { start, ..settings(backend.clone(), 1) };
        let left: Vec<RecordedBatch> =
            rest(first, savepoint.readings).iter().chain(second).cloned().collect();
        // Something else is in the directory before, and must not show.
        run(start(Start::Empty), third, &JobHandle::new());
        run(start(Start::Savepoint(path)), &left, &JobHandle::new());
        let (results, report) = run(start(Start::NewestCheckpoint), third, &JobHandle::new());
        assert_eq!(report.replayed, 0);
        let (reference, _) = run(settings(Backend::Memory, 1), &batches, &JobHandle::new());
        assert!(sorted(results.clone()) == sorted(reference[reference.len() - results.len()..].to_vec()));
    }
}
