//! With as many keys as there may be, a new one ends the job, replaces old ones or is refused, as the policy says.

use std::path::Path;

use tidegate::{
    Backend, Collected, Environment, JobError, JobReport, KeyLimitPolicy, RecordedBatch, RecordedInput,
    RejectCause, Settings, StateError,
};

use crate::support::RunningAverage;

const KEYS_MAX: u64 = 1000;
const KEYS: u64 = 3000;
const BATCH_KEYS: u64 = 100;

/// Each key once, then each once more, newest first, and what came of it.
fn run(directory: &Path, policy: KeyLimitPolicy) -> (Vec<String>, Result<JobReport, JobError>) {
    let settings = Settings {
        backend: Backend::File { directory: directory.to_owned() },
        keys_max: Some(KEYS_MAX),
        key_limit_policy: policy,
        ..Settings::default()
    };
    let once: Vec<u64> = (0..KEYS).collect();
    let keys: Vec<u64> = once.iter().chain(once.iter().rev()).copied().collect();
    let batches = keys.chunks(usize::try_from(BATCH_KEYS).unwrap()).zip(1..).map(|(keys, stamp_ms)| {
        RecordedBatch { stamp_ms, lines: keys.iter().map(|key| format!("{key} 7")).collect() }
    });
    let collected = Collected::new();
    let environment = Environment::with_settings("limited", settings);
    environment
        .recorded(RecordedInput::new(batches.collect::<Vec<_>>()))
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .process(RunningAverage::default())
        .name("average")
        .collect_into(&collected);
    let outcome = environment.execute();
    (collected.text().lines().map(str::to_owned).collect(), outcome)
}

#[test]
fn stop_ends_the_job_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (_, outcome) = run(directory.path(), KeyLimitPolicy::Stop);
    let error = outcome.unwrap_err();
    match &error {
        JobError::State { source, place } => {
            assert!(matches!(**source, StateError::TooManyKeys { keys: 1000, .. }), "{error}");
            assert_eq!(place, "average (1/1) at batch 11", "{error}");
        }
        other => panic!("another error: {other}"),
    }
}

#[test]
fn reject_refuses_and_keeps_every_record_of_a_key_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let (results, outcome) = run(directory.path(), KeyLimitPolicy::RejectToDeadLetter);
    let report = outcome.unwrap();
    let refused = 2 * (KEYS - KEYS_MAX);
    assert_eq!(
        report.rejected.into_iter().collect::<Vec<_>>(),
        [(("average".to_owned(), RejectCause::KEYS_MAX), refused)]
    );
    assert_eq!((report.keys_evicted, report.restarts), (0, 0));
    assert_eq!(results.len() as u64, KEYS_MAX);
    let kept = std::fs::read_to_string(directory.path().join("limited/dead-letter.jsonl")).unwrap();
    assert_eq!(kept.lines().count() as u64, refused);
    assert_eq!(
        kept.lines().next().unwrap(),
        r#"{"offset":11,"operator":"average","cause":"keys-max","key":"1000","key-bytes":"d00f"}"#
    );
}

#[test]
fn evict_drops_a_sixteenth_of_the_keys_at_a_time_the_oldest_first() {
    let directory = tempfile::tempdir().unwrap();
    let (results, outcome) = run(directory.path(), KeyLimitPolicy::EvictOldest);
    let report = outcome.unwrap();
    assert!(report.rejected.is_empty());
    // 63 keys of 1,000 go at a time, so 32 times for the first 2,000 new keys. 984 are left, and those are the newest.
    let share = KEYS_MAX.div_ceil(16);
    let first = (KEYS - KEYS_MAX).div_ceil(share) * share;
    let left = KEYS - first;
    // On the way back these are found; every other key is a new one again.
    assert_eq!(results.len() as u64, left);
    assert_eq!(results[0], format!("({},7)", KEYS - 1));
    let room = KEYS_MAX - left;
    let second = (KEYS - left - room).div_ceil(share) * share;
    assert_eq!(report.keys_evicted, first + second);
}
