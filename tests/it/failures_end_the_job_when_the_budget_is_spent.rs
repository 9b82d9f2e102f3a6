//! An operator that keeps failing ends the job with the cause once its restart strategy gives up.

use std::time::Duration;

use tidegate::{
    Collected, Collector, Environment, JobError, JobReport, KeyedContext, KeyedProcessFunction, Line,
    OperatorError, RecordedBatch, RecordedInput, RestartStrategy, Settings, StateError, StateRegistry,
    ValueStateDescriptor,
};

use crate::support::{ERROR_VALUE, PANIC_VALUE, RunningAverage, join, start_job};

/// Far more batches than are in flight at once: each restart meets the value again.
const BATCHES: usize = 200;

fn input(value: i64) -> RecordedInput {
    let batch = RecordedBatch { stamp_ms: 0, lines: vec!["1 1".to_owned(), format!("7 {value}")] };
    RecordedInput::new(vec![batch; BATCHES])
}

fn settings(restart: RestartStrategy) -> Settings {
    Settings { restart, parallelism: 2, journal: None, ..Settings::default() }
}

fn run_on(value: i64, restart: RestartStrategy) -> Result<JobReport, JobError> {
    join(start_job(move || {
        let environment = Environment::with_settings("failing", settings(restart));
        environment
            .recorded(input(value))
            .parse::<(i64, i64)>()
            .key_by(|(key, _)| *key)
            .process(RunningAverage::default())
            .name("average")
            .collect_into(&Collected::new());
        environment.execute()
    }))
}

#[track_caller]
fn assert_gave_up(outcome: Result<JobReport, JobError>, failures_expected: u64, texts: &[&str]) {
    let error = outcome.expect_err("the job gives up");
    let JobError::RestartsExhausted { failures, .. } = &error else { panic!("another error: {error}") };
    assert_eq!(*failures, failures_expected, "{error}");
    for text in texts {
        assert!(error.to_string().contains(text), "{text:?} is not in: {error}");
    }
}

#[test]
fn a_fixed_number_of_restarts() {
    let strategy = RestartStrategy::FixedDelay { attempts_max: 2, delay: Duration::from_millis(1) };
    let texts = ["average", "panicked: cannot bear the reading 666666 of key 7"];
    assert_gave_up(run_on(PANIC_VALUE, strategy), 3, &texts);
    assert_gave_up(run_on(ERROR_VALUE, strategy), 3, &["average", "refuses the reading 777777 of key 7"]);
}

#[test]
fn delays_that_grow() {
    let strategy = RestartStrategy::ExponentialDelay {
        initial: Duration::from_millis(1),
        max: Duration::from_millis(2),
        reset_after: Duration::from_secs(3600),
        attempts_max: 3,
    };
    assert_gave_up(run_on(ERROR_VALUE, strategy), 4, &["refuses"]);
}

#[test]
fn a_rate_of_failures() {
    let interval = Duration::from_secs(3600);
    let strategy = RestartStrategy::FailureRate { failures_max: 3, interval, delay: Duration::ZERO };
    assert_gave_up(run_on(ERROR_VALUE, strategy), 4, &["refuses"]);
}

#[test]
fn no_restart_at_all() {
    assert_gave_up(run_on(PANIC_VALUE, RestartStrategy::None), 1, &["cannot bear"]);
    assert_gave_up(run_on(ERROR_VALUE, RestartStrategy::None), 1, &["refuses"]);
}

#[test]
fn a_few_failures_are_borne() {
    let strategy = RestartStrategy::FixedDelay { attempts_max: 200, delay: Duration::ZERO };
    let report = run_on(ERROR_VALUE, strategy).expect("the budget is not spent");
    assert!(report.restarts >= 1, "{report:?}");
    assert_eq!(report.readings, 2 * BATCHES as u64);
    // Nothing was ever checkpointed in between, or all of it was lost but what is in a checkpoint.
    assert!((1..=report.readings).contains(&report.readings_lost), "{report:?}");
}

/// A record whose form as a line is the user's code too.
struct Shown {
    fail_in: &'static str,
}

impl Line for Shown {
    fn append_to(&self, out: &mut Vec<u8>) {
        assert!(self.fail_in != "line", "a panic in line");
        out.push(b'.');
    }
}

/// Ends the job whose closure of the kind `place` panics.
fn run_with_panic_in(place: &'static str) -> Result<JobReport, JobError> {
    let fail_in = move |here: &str| assert!(here != place, "a panic in {here}");
    join(start_job(move || {
        let environment = Environment::with_settings("failing", settings(RestartStrategy::None));
        environment
            .recorded(input(1))
            .map(move |line| {
                fail_in("text-map");
                line.len()
            })
            .filter(move |_| {
                fail_in("filter");
                true
            })
            .map(move |length| {
                fail_in("map");
                length
            })
            .key_by(move |length| {
                fail_in("key-by");
                *length
            })
            .flat_map(ValueStateDescriptor::<u8>::new("seen"), move |length, seen, out| {
                fail_in("stateful-flat-map");
                seen.update(1);
                out.collect(length);
            })
            .flat_map(move |_, out| {
                fail_in("flat-map");
                out.collect(Shown { fail_in: place });
            })
            .collect_into(&Collected::new());
        environment.execute()
    }))
}

#[test]
fn a_panic_in_any_closure_is_a_failure_with_its_text() {
    for place in ["text-map", "filter", "map", "key-by", "stateful-flat-map", "flat-map", "line"] {
        assert_gave_up(run_with_panic_in(place), 1, &[&format!("panicked: a panic in {place}")]);
    }
    let report = run_with_panic_in("nowhere").expect("without a panic the job ends in order");
    assert_eq!(report.outputs, 2 * BATCHES as u64);
}

/// A state whose serialization panics, as the user's code may.
#[derive(Clone, Default, serde::Deserialize)]
struct Unwilling;

impl serde::Serialize for Unwilling {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("this state does not like to be saved")
    }
}

#[test]
fn state_that_cannot_be_saved_is_an_error_at_the_end() {
    let outcome = join(start_job(|| {
        let environment = Environment::with_settings("unwilling", settings(RestartStrategy::None));
        environment
            .recorded(input(1))
            .parse::<(i64, i64)>()
            .key_by(|(key, _)| *key)
            .flat_map(ValueStateDescriptor::new("state"), |(key, _), state, out| {
                state.update(Unwilling);
                out.collect(key);
            })
            .collect_into(&Collected::new());
        environment.execute()
    }));
    let error = outcome.expect_err("the last checkpoint cannot be completed");
    assert!(matches!(&error, JobError::LastCheckpoint(_) | JobError::ActorLost(_)), "another error: {error}");
}

/// Declares a state twice, or panics before it declares any.
#[derive(Clone, Copy)]
enum Unopenable {
    Twice,
    Panicking,
}

impl KeyedProcessFunction<i64, (i64, i64)> for Unopenable {
    type Out = i64;
    type State = ();

    fn open(&mut self, states: &mut StateRegistry) -> Result<(), StateError> {
        match self {
            Self::Twice => {
                states.value(&ValueStateDescriptor::<u8>::new("twice"))?;
                states.value(&ValueStateDescriptor::<i64>::new("twice"))?;
                Ok(())
            }
            Self::Panicking => panic!("cannot open"),
        }
    }

    fn process(
        &mut self,
        _: (i64, i64),
        (): &mut (),
        _: &mut KeyedContext<'_, i64>,
        _: &mut Collector<'_, i64>,
    ) -> Result<(), OperatorError> {
        unreachable!("it was never opened")
    }
}

#[test]
fn an_operator_that_cannot_be_opened_does_not_start() {
    let run = |function: Unopenable, restart| {
        join(start_job(move || {
            let environment = Environment::with_settings("unopenable", settings(restart));
            environment
                .recorded(input(1))
                .parse::<(i64, i64)>()
                .key_by(|(key, _)| *key)
                .process(function)
                .name("opener")
                .collect_into(&Collected::new());
            environment.execute()
        }))
    };
    let error = run(Unopenable::Twice, RestartStrategy::default()).expect_err("a name is given twice");
    assert!(matches!(&error, JobError::Open(_)), "another error: {error}");
    for text in ["\"opener\"", "\"twice\""] {
        assert!(error.to_string().contains(text), "{text} is not in: {error}");
    }
    let restart = RestartStrategy::FixedDelay { attempts_max: 2, delay: Duration::ZERO };
    assert_gave_up(run(Unopenable::Panicking, restart), 3, &["panicked: cannot open"]);
}
