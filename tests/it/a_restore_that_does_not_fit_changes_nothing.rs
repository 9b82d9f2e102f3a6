//! State on a remote that is not that of the job is refused before anything of it is installed.

use std::path::Path;

use tidegate::{
    Backend, Collected, Environment, JobError, JobReport, RecordedBatch, RecordedInput, RemoteSettings,
    Settings, StateValue, Trust, ValueStateDescriptor,
};

use crate::support::CheckpointFolder;

const JOB: &str = "fitting";

/// Runs a job with a state of type `V` to its end, with a data directory and a remote.
fn run<V: StateValue + Default>(directory: &Path, remote: &Path) -> Result<JobReport, JobError> {
    let trust = Trust { key: None, allow_unsigned: true, cipher: None };
    let remote = RemoteSettings::new(&format!("file://{}", remote.display()), "gateway-7", trust);
    let settings = Settings {
        backend: Backend::File { directory: directory.to_owned() },
        remote: Some(remote.expect("the address is right")),
        ..Settings::default()
    };
    let environment = Environment::with_settings(JOB, settings);
    environment
        .recorded(RecordedInput::new([RecordedBatch { stamp_ms: 0, lines: vec!["1 10".to_owned()] }]))
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .flat_map(ValueStateDescriptor::<V>::new("avg"), |(key, value), state, out| {
            state.update(V::default());
            out.collect((key, value));
        })
        .name("average")
        .collect_into(&Collected::new());
    environment.execute()
}

#[test]
fn and_the_right_job_is_restored_from_what_was_fetched() {
    let place = tempfile::tempdir().unwrap();
    let remote = place.path().join("remote");
    std::fs::create_dir(&remote).unwrap();
    let report = run::<(i64, i64)>(&place.path().join("old"), &remote).expect("an empty start fits");
    assert_eq!(report.shipping.backlog, None, "the last checkpoint is shipped");
    assert!(report.shipping.shipped > 0);
    let new = place.path().join("new");
    let error = run::<u64>(&new, &remote).expect_err("the state does not fit");
    assert!(matches!(&error, JobError::Restore { .. }), "another error: {error}");
    let folder = CheckpointFolder::of_job(&new, JOB);
    assert_eq!((folder.newest(), folder.parts().len()), (0, 0), "something of it is installed");
    let report = run::<(i64, i64)>(&new, &remote).expect("it fits its own job");
    assert_eq!(report.restored.map(|restored| restored.keys), Some(1));
}
