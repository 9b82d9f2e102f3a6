//! Results and state are a function of the recorded batches: not of threads, nor, but for their order, of parallelism.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tidegate::{
    Backend, Collected, Collector, Environment, JobReport, KeyedContext, KeyedProcessFunction, OperatorError,
    RecordedBatch, RecordedInput, Settings, StateError, StateRegistry, ValueState, ValueStateDescriptor,
};

use crate::support::{CheckpointFolder, Random};

const JOB: &str = "deterministic";
const BATCHES: usize = 200;
/// Batches of a run that is long enough for several checkpoints.
const LONG_BATCHES: usize = 5000;
/// Runs until there were enough checkpoints on the way.
const RUNS_MAX: usize = 50;
const BATCH_READINGS_MAX: usize = 300;
const KEYS: usize = 50;
const WIDTHS: [usize; 3] = [1, 2, 4];

/// Key of the third stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rekey {
    /// Several of them within a key of the second stage: the order within each is that of the input, always.
    Within,
    /// Across the keys of the second stage: the order depends on which subtask owned which of those.
    Across,
}

impl Rekey {
    fn key(self, key: i64, value: i64) -> (i64, i64) {
        match self {
            Self::Within => (key, value.rem_euclid(3)),
            Self::Across => (0, value.rem_euclid(3)),
        }
    }
}

/// Third stage: two named states, one of which depends on the order of all values so far.
#[derive(Debug, Clone, Copy)]
struct Trace;

struct TraceState {
    count: ValueState<u64>,
    trace: ValueState<i64>,
}

type Traced = (i64, i64, u64, i64, i64);

impl KeyedProcessFunction<(i64, i64), (i64, i64, i64)> for Trace {
    type Out = Traced;
    type State = TraceState;

    fn open(&mut self, states: &mut StateRegistry) -> Result<TraceState, StateError> {
        let count = states.value(&ValueStateDescriptor::new("count"))?;
        Ok(TraceState { count, trace: states.value(&ValueStateDescriptor::new("trace"))? })
    }

    fn process(
        &mut self,
        (_, _, sum): (i64, i64, i64),
        state: &mut TraceState,
        context: &mut KeyedContext<'_, (i64, i64)>,
        out: &mut Collector<'_, Traced>,
    ) -> Result<(), OperatorError> {
        let count = state.count.value().unwrap_or(0) + 1;
        let trace = next_trace(state.trace.value().unwrap_or(0), sum);
        state.count.update(count);
        if count.is_multiple_of(5) {
            // Absent again: a key with one of two states.
            state.trace.clear();
        } else {
            state.trace.update(trace);
        }
        let (key, part) = *context.key();
        out.collect((key, part, count, trace, context.processing_time().0));
        Ok(())
    }
}

fn next_trace(trace: i64, sum: i64) -> i64 {
    trace.wrapping_mul(31).wrapping_add(sum)
}

/// Runs the job from whatever `directory` holds, with one checkpoint at its end; returns what it wrote.
fn run(input: &RecordedInput, rekey: Rekey, parallelism: usize, threads: usize, directory: &Path) -> String {
    let settings = settings(parallelism, threads, directory);
    let (results, report) = run_with(settings, input, rekey);
    assert_eq!(report.checkpoints_completed, 1);
    results
}

fn settings(parallelism: usize, threads: usize, directory: &Path) -> Settings {
    Settings {
        parallelism,
        threads,
        backend: Backend::File { directory: directory.to_owned() },
        // Only the last checkpoint.
        checkpoint_interval: Duration::from_secs(3600),
        journal: None,
        ..Settings::default()
    }
}

fn run_with(settings: Settings, input: &RecordedInput, rekey: Rekey) -> (String, JobReport) {
    let collected = Collected::new();
    let environment = Environment::with_settings(JOB, settings);
    environment
        .recorded(input.clone())
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .flat_map(ValueStateDescriptor::new("sum"), |(key, value), sum, out| {
            let total = sum.value().unwrap_or(0) + value;
            sum.update(total);
            out.collect((key, value, total));
        })
        .key_by(move |(key, value, _)| rekey.key(*key, *value))
        .process(Trace)
        .collect_into(&collected);
    let report = environment.execute().expect("the job ends in order");
    (collected.text(), report)
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// The bytes of a job's state, by file.
fn state_bytes(directory: &Path) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
    let parts = CheckpointFolder::of_job(directory, JOB).parts();
    parts.iter().map(|part| (part.file_name().unwrap().to_owned(), std::fs::read(part).unwrap())).collect()
}

fn recording(random: &mut Random, batches: usize) -> Vec<RecordedBatch> {
    let mut stamp_ms = 1_700_000_000_000;
    let mut batch = || {
        stamp_ms += 10;
        let lines = (0..random.within(0..BATCH_READINGS_MAX + 1)).map(|_| {
            let (key, value) = random.reading(KEYS);
            format!("{key} {value}")
        });
        RecordedBatch { stamp_ms, lines: lines.collect() }
    };
    (0..batches).map(|_| batch()).collect()
}

/// What one subtask in one thread must write, said plainly.
fn model(batches: &[RecordedBatch], rekey: Rekey) -> String {
    let mut sums = BTreeMap::<i64, i64>::new();
    let mut traces = BTreeMap::<(i64, i64), (u64, i64)>::new();
    let mut out = String::new();
    for batch in batches {
        for line in &batch.lines {
            let (key, value) = line.split_once(' ').unwrap();
            let (key, value): (i64, i64) = (key.parse().unwrap(), value.parse().unwrap());
            let sum = sums.entry(key).or_default();
            *sum += value;
            let (key, part) = rekey.key(key, value);
            let (count, trace) = traces.entry((key, part)).or_default();
            *count += 1;
            let traced = next_trace(*trace, *sum);
            *trace = if count.is_multiple_of(5) { 0 } else { traced };
            let stamp_ms = batch.stamp_ms;
            out.push_str(&format!("({key},{part},{count},{traced},{stamp_ms})\n"));
        }
    }
    out
}

#[test]
fn equal_parallelism_gives_equal_bytes_on_any_threads() {
    let mut random = Random::seeded();
    let batches = recording(&mut random, BATCHES);
    let input = RecordedInput::new(batches.clone());
    for rekey in [Rekey::Within, Rekey::Across] {
        for parallelism in WIDTHS {
            let first = tempfile::tempdir().unwrap();
            let results = run(&input, rekey, parallelism, 1, first.path());
            if parallelism == 1 {
                assert_eq!(results, model(&batches, rekey), "{rekey:?}");
            }
            let state = state_bytes(first.path());
            assert_eq!(state.len(), 2 * parallelism, "a part for each subtask with state");
            for threads in [1, 2, 4] {
                let again = tempfile::tempdir().unwrap();
                let repeated = run(&input, rekey, parallelism, threads, again.path());
                assert!(repeated == results, "{rekey:?}, {parallelism} subtasks on {threads} threads differ");
                assert!(
                    state_bytes(again.path()) == state,
                    "{rekey:?}, {parallelism}, {threads}: state differs"
                );
            }
        }
    }
}

#[test]
fn another_parallelism_gives_the_same_results_and_state() {
    let mut random = Random::seeded();
    let batches = recording(&mut random, BATCHES);
    let input = RecordedInput::new(batches.clone());
    let probe = RecordedBatch {
        // Later than any wall clock.
        stamp_ms: 9_000_000_000_000,
        lines: (1..=KEYS).flat_map(|key| (0..3).map(move |part| format!("{key} {part}"))).collect(),
    };
    let all_model = model(&[&*batches, std::slice::from_ref(&probe)].concat(), Rekey::Within);
    let (results_model, probe_model) = all_model.split_at(model(&batches, Rekey::Within).len());
    let probe = RecordedInput::new([probe]);
    // State saved by every width is restored by every other.
    for saved_by in WIDTHS {
        for restored_by in WIDTHS {
            let directory = tempfile::tempdir().unwrap();
            let results = run(&input, Rekey::Within, saved_by, 2, directory.path());
            assert!(sorted(&results) == sorted(results_model), "the results of {saved_by} subtasks differ");
            let probed = run(&probe, Rekey::Within, restored_by, 2, directory.path());
            assert_eq!(
                sorted(&probed),
                sorted(probe_model),
                "saved by {saved_by}, restored by {restored_by}"
            );
        }
    }
}

#[test]
fn checkpoints_on_the_way_change_nothing() {
    let mut random = Random::seeded();
    let batches = recording(&mut random, LONG_BATCHES);
    let input = RecordedInput::new(batches.clone());
    let model = model(&batches, Rekey::Across);
    let mut on_the_way = 0;
    for _ in 0..RUNS_MAX {
        let settings = Settings {
            threads: 2,
            backend: Backend::Memory,
            checkpoint_interval: Duration::from_millis(10),
            journal: None,
            ..Settings::default()
        };
        let (results, report) = run_with(settings, &input, Rekey::Across);
        let differs = results.lines().zip(model.lines()).find(|(result, expected)| result != expected);
        let checkpoints = report.checkpoints_completed;
        assert_eq!(differs, None, "the first result that is not the model's, with {checkpoints} checkpoints");
        assert_eq!(results.len(), model.len());
        // One is at the end.
        on_the_way += checkpoints - 1;
        if on_the_way >= 10 {
            return;
        }
    }
    panic!("{on_the_way} checkpoints on the way in {RUNS_MAX} runs: the machine is too fast for the test");
}
