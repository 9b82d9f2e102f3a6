//! A replay leaves out the frames that the journal says are poison, and gives the results the job gave.

use std::path::Path;
use std::time::Duration;

use tidegate::{
    Backend, Collected, Environment, JobError, Offset, RecordedBatch, RecordedInput, Replay, RestartStrategy,
    Settings,
};

use crate::support::{PANIC_VALUE, RunningAverage};

fn job(directory: &Path, parallelism: usize, batches: &[RecordedBatch], results: &Collected) -> Environment {
    let settings = Settings {
        parallelism,
        backend: Backend::File { directory: directory.to_owned() },
        restart: RestartStrategy::FixedDelay { attempts_max: 5, delay: Duration::from_millis(1) },
        ..Settings::default()
    };
    let environment = Environment::with_settings("poisoned", settings);
    environment
        .recorded(RecordedInput::new(batches))
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .process(RunningAverage::default())
        .collect_into(results);
    environment
}

fn batch(lines: &[&str]) -> RecordedBatch {
    RecordedBatch { stamp_ms: 0, lines: lines.iter().map(|line| (*line).to_owned()).collect() }
}

#[test]
fn whatever_the_parallelism() {
    for parallelism in [1, 3] {
        let directory = tempfile::tempdir().unwrap();
        let poison = format!("2 {PANIC_VALUE}");
        let batches = [
            batch(&["1 10", "2 20", "3 30", "1 20"]),
            batch(&["1 10", &poison, "3 30", "2 40", &poison, "1 40"]),
            batch(&["2 60", "3 60"]),
        ];
        let delivered = Collected::new();
        job(directory.path(), parallelism, &batches, &delivered).execute().unwrap();
        let replay = |replay: Replay| {
            let mut results = String::new();
            // Another number of subtasks in the settings does not matter.
            let report = job(directory.path(), 2, &[], &Collected::new()).replay(replay, |sink, bytes| {
                assert_eq!(sink, "memory");
                results.push_str(std::str::from_utf8(bytes).unwrap());
                Ok(())
            });
            (results, report)
        };
        let folder = directory.path().join("poisoned");
        let (results, report) = replay(Replay::of(&folder));
        let report = report.unwrap();
        assert_eq!(results, delivered.text(), "{parallelism} subtasks");
        assert_eq!((report.readings, report.skipped, report.results), (10, 2, 7), "{report:?}");
        assert!(report.gaps.is_empty(), "{report:?}");
        let (start, report) = replay(Replay::of(&folder).until(Offset(1)));
        assert_eq!(report.unwrap().skipped, 0);
        assert!(results.starts_with(&start) && start.lines().count() == 1, "{start}");
    }
}

#[test]
fn and_ends_before_one_that_was_not() {
    let directory = tempfile::tempdir().unwrap();
    let batches = [batch(&["1 10", "1 20"]), batch(&[&format!("1 {PANIC_VALUE}")])];
    // It gives up before the frame is skipped.
    let settings = Settings {
        backend: Backend::File { directory: directory.path().to_owned() },
        restart: RestartStrategy::FixedDelay { attempts_max: 2, delay: Duration::from_millis(1) },
        frame_attempts_max: 10,
        ..Settings::default()
    };
    let build = |results: &Collected| {
        let environment = Environment::with_settings("poisoned", settings.clone());
        environment
            .recorded(RecordedInput::new(batches.as_slice()))
            .parse::<(i64, i64)>()
            .key_by(|(key, _)| *key)
            .process(RunningAverage::default())
            .collect_into(results);
        environment
    };
    build(&Collected::new()).execute().unwrap_err();
    let mut results = Vec::new();
    let replay = Replay::of(directory.path().join("poisoned"));
    let outcome = build(&Collected::new()).replay(replay, |_, bytes| {
        results.extend_from_slice(bytes);
        Ok(())
    });
    assert_eq!(results, b"(1,15)\n");
    let error = outcome.unwrap_err();
    assert!(matches!(error, JobError::OperatorFailed { offset: Offset(2), .. }), "{error:?}");
    assert!(error.to_string().contains("cannot bear the reading"), "{error}");
}
