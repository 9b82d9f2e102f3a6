//! A frame an operator fails on every time is skipped after some attempts, kept with its cause, and never tried again.

use std::path::Path;

use tidegate::{
    Backend, Collected, Environment, JobReport, RecordedBatch, RecordedInput, RestartStrategy, Settings,
};

use crate::support::{PANIC_VALUE, RunningAverage};

fn run(directory: &Path, parallelism: usize, batches: Vec<RecordedBatch>) -> (String, JobReport) {
    let settings = Settings {
        parallelism,
        backend: Backend::File { directory: directory.to_owned() },
        restart: RestartStrategy::FixedDelay { attempts_max: 5, delay: std::time::Duration::from_millis(1) },
        ..Settings::default()
    };
    let collected = Collected::new();
    let environment = Environment::with_settings("poisoned", settings);
    environment
        .recorded(RecordedInput::new(batches))
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .process(RunningAverage::default())
        .collect_into(&collected);
    let report = environment.execute().unwrap();
    (collected.text(), report)
}

fn batch(lines: &[&str]) -> RecordedBatch {
    RecordedBatch { stamp_ms: 0, lines: lines.iter().map(|line| (*line).to_owned()).collect() }
}

#[test]
fn whatever_the_parallelism() {
    for parallelism in [1, 2, 4] {
        let directory = tempfile::tempdir().unwrap();
        let poison = format!("2 {PANIC_VALUE}");
        let batches = vec![
            batch(&["1 10", "2 20", "3 30"]),
            batch(&["1 10", &poison, "3 30", "2 40", &poison, "1 40"]),
            batch(&["2 60", "3 60"]),
        ];
        let (results, report) = run(directory.path(), parallelism, batches);
        let mut results: Vec<&str> = results.lines().collect();
        results.sort_unstable();
        assert_eq!(
            results,
            ["(1,10)", "(1,20)", "(2,30)", "(2,40)", "(3,30)", "(3,40)"],
            "{parallelism} subtasks"
        );
        assert_eq!((report.readings, report.readings_lost, report.restarts), (11, 0, 6), "{report:?}");
        let kept = std::fs::read_to_string(directory.path().join("poisoned/dead-letter.jsonl")).unwrap();
        let kept: Vec<&str> = kept.lines().collect();
        assert_eq!(kept.len(), 2);
        assert!(kept[0].starts_with(r#"{"offset":2,"frame":1,"source":0,"line":5,"#), "{}", kept[0]);
        assert!(kept[1].starts_with(r#"{"offset":2,"frame":4,"source":0,"line":8,"#), "{}", kept[1]);
        assert!(
            kept[0].contains(&format!(r#""text":"{poison}""#)) && kept[0].contains("cannot bear"),
            "{}",
            kept[0]
        );
    }
}
