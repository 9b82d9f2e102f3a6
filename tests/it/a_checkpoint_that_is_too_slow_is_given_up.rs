//! A checkpoint that takes longer than its timeout is given up, and neither the job nor its end waits for it.

use std::time::Duration;

use tidegate::{Collected, Environment, RecordedBatch, RecordedInput, Settings};

use crate::support::{join, start_job};

/// Each batch takes longer than a checkpoint may.
const BATCH_TIME: Duration = Duration::from_millis(100);
const BATCHES: usize = 10;

#[test]
fn and_the_job_still_ends() {
    let collected = Collected::new();
    let results = collected.clone();
    let job = start_job(move || {
        let settings = Settings {
            checkpoint_interval: Duration::from_millis(20),
            checkpoint_timeout: Duration::from_millis(20),
            journal: None,
            ..Settings::default()
        };
        let environment = Environment::with_settings("slow", settings);
        let batch = RecordedBatch { stamp_ms: 0, lines: vec!["1".to_owned()] };
        environment
            .recorded(RecordedInput::new(vec![batch; BATCHES]))
            .parse::<(i64,)>()
            .map(|(number,)| {
                // The operator is slow: nothing is waited for.
                std::thread::sleep(BATCH_TIME);
                number
            })
            .collect_into(&collected);
        environment.execute()
    });
    let outcome = join(job);
    assert_eq!(results.text().lines().count(), BATCHES);
    // Whether the last checkpoint made it in time or not is reported.
    match outcome {
        Ok(report) => assert!(report.checkpoints_failed > 0, "{report:?}"),
        Err(error) => assert!(error.to_string().contains("last checkpoint"), "another error: {error}"),
    }
}
