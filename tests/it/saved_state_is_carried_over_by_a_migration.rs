//! A job whose state changed its type goes on with what was saved, through the migration its descriptor names; without
//! one, or from a version nobody knows, it is refused by name and the directory is as it was. On every backend.

use std::path::Path;

use tidegate::{
    Backend, Collected, Environment, JobError, RecordedBatch, RecordedInput, Settings, StateValue,
    ValueStateDescriptor,
};

use crate::support::files_below;

const JOB: &str = "growing";

fn backends(directory: &Path) -> Vec<Backend> {
    vec![
        Backend::File { directory: directory.join("file") },
        #[cfg(feature = "sled")]
        Backend::Sled { directory: directory.join("sled") },
        #[cfg(feature = "rocksdb")]
        Backend::RocksDb { directory: directory.join("rocksdb") },
    ]
}

/// Runs over two readings of two keys; each gives what `step` makes of the key's state.
fn run<V: StateValue>(
    backend: &Backend,
    state: ValueStateDescriptor<V>,
    step: fn(Option<V>, i64) -> (V, i64),
) -> Result<String, JobError> {
    let settings = Settings { backend: backend.clone(), parallelism: 2, ..Settings::default() };
    let collected = Collected::new();
    let environment = Environment::with_settings(JOB, settings);
    let lines = vec!["1 10".to_owned(), "2 20".to_owned()];
    environment
        .recorded(RecordedInput::new([RecordedBatch { stamp_ms: 0, lines }]))
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .flat_map(state, move |(key, value), state, out| {
            let (next, result) = step(state.value(), value);
            state.update(next);
            out.collect((key, result));
        })
        .name("total")
        .collect_into(&collected);
    environment.execute()?;
    let text = collected.text();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    Ok(lines.join(" "))
}

fn sum(kept: Option<i64>, value: i64) -> (i64, i64) {
    let sum = kept.unwrap_or(0) + value;
    (sum, sum)
}

fn sum_and_count(kept: Option<(i64, u32)>, value: i64) -> ((i64, u32), i64) {
    let (sum, count) = kept.unwrap_or_default();
    ((sum + value, count + 1), (sum + value) * 1000 + i64::from(count) + 1)
}

fn first() -> ValueStateDescriptor<i64> {
    ValueStateDescriptor::new("total")
}

fn second() -> ValueStateDescriptor<(i64, u32)> {
    ValueStateDescriptor::new("total").version(2)
}

#[track_caller]
fn assert_refused(backend: &Backend, directory: &Path, outcome: Result<String, JobError>, texts: &[&str]) {
    let error = outcome.expect_err("it does not fit");
    assert!(matches!(&error, JobError::Restore { .. }), "{backend:?}: another error: {error}");
    for text in texts.iter().chain(&["\"total\""]) {
        assert!(error.to_string().contains(text), "{backend:?}: {text:?} is not in: {error}");
    }
    assert!(directory.is_dir());
}

#[test]
fn on_every_backend() {
    let places = tempfile::tempdir().unwrap();
    for backend in backends(places.path()) {
        let directory = backend.directory().expect("it has one").to_owned();
        assert_eq!(run(&backend, first(), sum).expect("an empty start fits"), "(1,10) (2,20)");
        let saved = files_below(&directory);
        let refused = run(&backend, second(), sum_and_count);
        assert_refused(&backend, &directory, refused, &["version 1", "version 2", "i64", "(i64, u32)"]);
        let other_version = second().version(3).migrate_from(2, |old: (i64, u32)| old);
        assert_refused(
            &backend,
            &directory,
            run(&backend, other_version, sum_and_count),
            &["version 1", "version 3"],
        );
        // The version is known, but not with that type.
        let other_type = second().migrate_from(1, |old: u32| (i64::from(old), 0));
        assert_refused(&backend, &directory, run(&backend, other_type, sum_and_count), &["i64"]);
        assert!(files_below(&directory) == saved, "{backend:?}: what is refused changes nothing");
        let migrated = second().migrate_from(1, |old: i64| (old, 0));
        let results = run(&backend, migrated.clone(), sum_and_count).expect("it is migrated");
        assert_eq!(results, "(1,20001) (2,40001)", "{backend:?}");
        let results = run(&backend, second(), sum_and_count).expect("it is of the new version by now");
        assert_eq!(results, "(1,30002) (2,60002)", "{backend:?}");
        assert_refused(&backend, &directory, run(&backend, first(), sum), &["version 2", "version 1"]);
    }
}

#[test]
fn a_savepoint_is_migrated_onto_the_heap() {
    use tidegate::{AfterSavepoint, JobHandle, Start};
    let places = tempfile::tempdir().unwrap();
    let path = places.path().join("savepoint");
    let job = |settings: Settings, handle: &JobHandle| {
        let environment = Environment::with_settings(JOB, settings);
        let lines = vec!["1 10".to_owned(), "2 20".to_owned()];
        environment
            .recorded(RecordedInput::new([RecordedBatch { stamp_ms: 0, lines }]))
            .parse::<(i64, i64)>()
            .key_by(|(key, _)| *key)
            .flat_map(first(), |(key, value), state, out| {
                state.update(value);
                out.collect((key, value));
            })
            .name("total")
            .collect_into(&Collected::new());
        environment.execute_with(handle).expect("it ends in order")
    };
    let handle = JobHandle::new();
    let asked = handle.ask_for_savepoint(Some(path.clone()), AfterSavepoint::GoOn).unwrap();
    job(Settings::default(), &handle);
    let savepoint = asked.wait().expect("it is taken");
    let saved = files_below(&path);
    let again = |state: ValueStateDescriptor<(i64, u32)>| {
        let settings = Settings { start: Start::Savepoint(path.clone()), ..Settings::default() };
        let environment = Environment::with_settings(JOB, settings);
        let collected = Collected::new();
        environment
            .recorded(RecordedInput::new([RecordedBatch { stamp_ms: 0, lines: vec!["1 1".to_owned()] }]))
            .parse::<(i64, i64)>()
            .key_by(|(key, _)| *key)
            .flat_map(state, |(key, value), state, out| {
                let (sum, count) = state.value().unwrap_or_default();
                out.collect((key, sum + value, count));
            })
            .name("total")
            .collect_into(&collected);
        environment.execute().map(|_| collected.text())
    };
    let error = again(second()).expect_err("there is no migration").to_string();
    for text in ["savepoint", "\"total\"", "version 1", "version 2"] {
        assert!(error.contains(text), "{text:?} is not in: {error}");
    }
    let sum = if savepoint.keys == 2 { 11 } else { 1 };
    let results = again(second().migrate_from(1, |old: i64| (old, 7))).expect("it is migrated");
    assert_eq!(results, format!("(1,{sum},{})\n", if sum == 11 { 7 } else { 0 }));
    assert!(files_below(&path) == saved, "a savepoint stays as it is");
}
