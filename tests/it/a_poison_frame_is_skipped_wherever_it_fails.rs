//! A frame that cannot be processed is skipped and kept wherever in the job it fails and however: by a panic, an error, or
//! by never returning. Everything else is as if it had never come.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tidegate::{
    Backend, Collected, Collector, Environment, JobReport, KeyedContext, KeyedProcessFunction, OperatorError,
    RecordedBatch, RecordedInput, RejectCause, RestartStrategy, Settings, StateError, StateRegistry,
    ValueState, ValueStateDescriptor,
};

use crate::support::{Latch, Random};

/// The value that is poison.
const POISON: i64 = 666_666;
const KEYS: usize = 8;
const BATCHES: usize = 12;
const BATCH_LINES: usize = 20;
/// Far above what a batch takes on a loaded machine.
const TIMEOUT: Duration = Duration::from_millis(400);

/// Where in the job the poison works, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Map,
    FlatMap,
    KeyBy,
    Error,
    SecondStage,
    SecondMap,
    Line,
    Hang,
    HangInMap,
    HangInSecondStage,
}

impl Place {
    fn hangs(self) -> bool {
        matches!(self, Self::Hang | Self::HangInMap | Self::HangInSecondStage)
    }
}

/// Fails on poison in one place.
#[derive(Debug, Clone)]
struct Trap {
    place: Place,
    latch: Latch,
}

impl Trap {
    fn panics(&self, here: Place, value: i64) {
        assert!(value != POISON || self.place != here, "poisoned in {here:?}");
    }

    fn hangs(&self, here: Place, value: i64) {
        if value == POISON && self.place == here {
            self.latch.hold();
        }
    }
}

/// Sums up, and fails by an error or by not returning.
#[derive(Debug, Clone)]
struct Sum(Trap);

impl KeyedProcessFunction<i64, (i64, i64)> for Sum {
    type Out = (i64, i64, i64);
    type State = ValueState<i64>;

    fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError> {
        states.value(&ValueStateDescriptor::new("sum"))
    }

    fn process(
        &mut self,
        (key, value): (i64, i64),
        sum: &mut Self::State,
        _context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError> {
        let total = sum.value().unwrap_or(0) + value;
        sum.update(total);
        self.0.hangs(Place::Hang, value);
        if value == POISON && self.0.place == Place::Error {
            return Err(OperatorError::failed("poisoned in Error"));
        }
        out.collect((key, value, total));
        Ok(())
    }
}

fn run(directory: &Path, parallelism: usize, trap: &Trap, batches: &[RecordedBatch]) -> (String, JobReport) {
    let settings = Settings {
        parallelism,
        threads: 2,
        backend: Backend::File { directory: directory.to_owned() },
        checkpoint_interval: Duration::from_millis(10),
        restart: RestartStrategy::FixedDelay { attempts_max: 50, delay: Duration::from_millis(1) },
        batch_timeout: trap.place.hangs().then_some(TIMEOUT),
        ..Settings::default()
    };
    let collected = Collected::new();
    let environment = Environment::with_settings("trapped", settings);
    let traps: [Trap; 6] = std::array::from_fn(|_| trap.clone());
    let [in_map, in_flat_map, in_key_by, in_second_stage, in_second_map, in_line] = traps;
    environment
        .recorded(RecordedInput::new(batches))
        .parse::<(i64, i64)>()
        .map(move |(key, value)| {
            in_map.panics(Place::Map, value);
            in_map.hangs(Place::HangInMap, value);
            (key, value)
        })
        .flat_map(move |(key, value), out| {
            in_flat_map.panics(Place::FlatMap, value);
            out.collect((key, value));
        })
        .key_by(move |(key, value)| {
            in_key_by.panics(Place::KeyBy, *value);
            *key
        })
        .process(Sum(trap.clone()))
        .key_by(|(key, ..)| *key)
        .flat_map(ValueStateDescriptor::new("count"), move |(key, value, total), count, out| {
            in_second_stage.panics(Place::SecondStage, value);
            in_second_stage.hangs(Place::HangInSecondStage, value);
            let counted = count.value().unwrap_or(0i64) + 1;
            count.update(counted);
            out.collect((key, value, total, counted));
        })
        .map(move |record: (i64, i64, i64, i64)| {
            in_second_map.panics(Place::SecondMap, record.1);
            record
        })
        .map(move |(key, value, total, counted)| {
            in_line.panics(Place::Line, value);
            (key, total, counted)
        })
        .collect_into(&collected);
    let report = environment.execute().unwrap();
    (collected.text(), report)
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// What the job makes of the readings that are not poison.
fn expected(batches: &[RecordedBatch]) -> String {
    let mut sums = BTreeMap::<i64, (i64, i64)>::new();
    let mut results = String::new();
    for line in batches.iter().flat_map(|batch| &batch.lines) {
        let (key, value) = line.split_once(' ').unwrap();
        let (key, value): (i64, i64) = (key.parse().unwrap(), value.parse().unwrap());
        if value != POISON {
            let (total, count) = sums.entry(key).or_default();
            (*total, *count) = (*total + value, *count + 1);
            results.push_str(&format!("({key},{total},{count})\n"));
        }
    }
    results
}

/// Batches of which one holds a poison frame; that frame's batch, counted from 0, its number in it, and its line.
fn input(random: &mut Random) -> (Vec<RecordedBatch>, (usize, usize, String)) {
    let mut reading = || {
        let (key, value) = random.reading(KEYS);
        format!("{key} {value}")
    };
    let mut batches: Vec<RecordedBatch> = (0..BATCHES)
        .map(|_| RecordedBatch { stamp_ms: 0, lines: (0..BATCH_LINES).map(|_| reading()).collect() })
        .collect();
    let (batch, frame) = (random.within(0..BATCHES), random.within(0..BATCH_LINES));
    let poison = format!("{} {POISON}", random.reading(KEYS).0);
    batches[batch].lines[frame].clone_from(&poison);
    (batches, (batch, frame, poison))
}

fn is_skipped(place: Place, cause: &str) {
    let mut random = Random::seeded();
    for parallelism in [1, 3] {
        let directory = tempfile::tempdir().unwrap();
        let (batches, (batch, frame, poison)) = input(&mut random);
        let trap = Trap { place, latch: Latch::default() };
        let (results, report) = run(directory.path(), parallelism, &trap, &batches);
        let here = format!("{place:?}, {parallelism} subtasks, frame {frame} of batch {batch}: {report:?}");
        if parallelism == 1 {
            assert_eq!(results, expected(&batches), "{here}");
        }
        // The results of one subtask come before those of the next.
        assert_eq!(sorted(&results), sorted(&expected(&batches)), "{here}");
        assert_eq!(report.readings_lost, 0, "{here}");
        assert_eq!(report.rejected[&("dead-letter".to_owned(), RejectCause::POISON)], 1, "{here}");
        let kept = std::fs::read_to_string(directory.path().join("trapped/dead-letter.jsonl")).unwrap();
        assert_eq!(kept.lines().count(), 1, "{here}: {kept}");
        let line = batch * BATCH_LINES + frame + 1;
        for text in [
            format!(r#""frame":{frame},"source":0,"line":{line},"#),
            format!(r#""text":"{poison}""#),
            cause.to_owned(),
        ] {
            assert!(kept.contains(&text), "{here}: {text} is not in {kept}");
        }
        let attempts = usize::try_from(Settings::default().frame_attempts_max).unwrap();
        assert_eq!(trap.latch.came(), if place.hangs() { attempts } else { 0 }, "{here}");
        assert!(report.hangs >= trap.latch.came() as u64, "{here}");
        trap.latch.open();
    }
}

#[test]
fn a_panic_before_the_first_key() {
    is_skipped(Place::Map, "panicked: poisoned in Map");
    is_skipped(Place::FlatMap, "panicked: poisoned in FlatMap");
    is_skipped(Place::KeyBy, "panicked: poisoned in KeyBy");
}

#[test]
fn an_error() {
    is_skipped(Place::Error, "poisoned in Error");
}

#[test]
fn a_panic_after_the_second_key() {
    is_skipped(Place::SecondStage, "panicked: poisoned in SecondStage");
    is_skipped(Place::SecondMap, "panicked: poisoned in SecondMap");
    is_skipped(Place::Line, "panicked: poisoned in Line");
}

#[test]
fn a_hang() {
    is_skipped(Place::Hang, "did not return within 400ms");
}

#[test]
fn a_hang_before_the_first_key() {
    is_skipped(Place::HangInMap, "did not return within 400ms");
}

#[test]
fn a_hang_after_the_second_key() {
    is_skipped(Place::HangInSecondStage, "did not return within 400ms");
}
