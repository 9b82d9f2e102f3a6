//! State saved by another version of a job is refused by name when it does not fit, and nothing of it is touched.

use std::path::Path;

use tidegate::{
    Backend, Collected, Environment, JobError, JobReport, RecordedBatch, RecordedInput, Settings, StateValue,
    ValueStateDescriptor,
};

use crate::support::{CheckpointFolder, Demo, LineServer};

fn settings(directory: &Path) -> Settings {
    Settings {
        backend: Backend::File { directory: directory.to_owned() },
        journal: None,
        ..Settings::default()
    }
}

/// Runs a job like the demo's, with a state of type `V`, and an operator named `operator`.
fn run<V: StateValue + Default>(
    directory: &Path,
    operator: &str,
    state: ValueStateDescriptor<V>,
) -> Result<JobReport, JobError> {
    let environment = Environment::with_settings("running-average", settings(directory));
    environment
        .recorded(RecordedInput::new([RecordedBatch { stamp_ms: 0, lines: vec!["1 10".to_owned()] }]))
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .flat_map(state, |(key, value), state, out| {
            state.update(V::default());
            out.collect((key, value));
        })
        .name(operator)
        .collect_into(&Collected::new());
    environment.execute()
}

fn avg<V: StateValue>() -> ValueStateDescriptor<V> {
    ValueStateDescriptor::new("avg")
}

#[track_caller]
fn assert_not_restored(outcome: Result<JobReport, JobError>, texts: &[&str]) {
    let error = outcome.expect_err("the state does not fit");
    assert!(matches!(&error, JobError::Restore { .. }), "another error: {error}");
    for text in texts {
        assert!(error.to_string().contains(text), "{text:?} is not in: {error}");
    }
}

#[test]
fn by_the_library() {
    let directory = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::of_job(directory.path(), "running-average");
    run(directory.path(), "average", avg::<(i64, i64)>()).expect("an empty start fits");
    let names = ["checkpoint 1", "\"average\"", "\"avg\""];
    let types = [names[0], names[1], names[2], "(i64, i64)", "u64"];
    assert_not_restored(run(directory.path(), "average", avg::<u64>()), &types);
    let versions = run(directory.path(), "average", avg::<(i64, i64)>().version(2));
    assert_not_restored(versions, &names);
    let renamed = run(directory.path(), "average", ValueStateDescriptor::<(i64, i64)>::new("mean"));
    assert_not_restored(renamed, &names);
    let error = run(directory.path(), "mean", avg::<(i64, i64)>()).expect_err("the operator is missing");
    assert!(error.to_string().contains("\"average\""), "{error}");
    assert_eq!(folder.newest(), 1, "no checkpoint was written over it");
    let report = run(directory.path(), "average", avg::<(i64, i64)>()).expect("it still fits its own job");
    assert_eq!(report.restored.map(|restored| restored.keys), Some(1));
}

#[test]
fn by_the_program() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), "average", avg::<u64>()).expect("an empty start fits");
    let server = LineServer::start();
    let ended = Demo::connect(server.address()).checkpoint_dir(directory.path()).run();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""), "the log:\n{}", ended.stderr);
    let error = ended.log("error:");
    for text in ["\"average\"", "\"avg\"", "u64", "(i64, i64)", "start empty"] {
        assert_eq!(error.matches(text).count(), 1, "{text:?} is once in: {error}");
    }
    assert!(!server.has_another_client(), "it is refused before anything is read");
    assert_eq!(CheckpointFolder::of_demo(directory.path()).newest(), 1);
}
