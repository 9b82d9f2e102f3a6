//! A finished job leaves no threads behind: a program may run one job after the other.

use tidegate::{Collected, Environment, JobError, RecordedBatch, RecordedInput, RestartStrategy, Settings};

use crate::support::{ERROR_VALUE, RunningAverage, wait_until};

const JOBS: usize = 30;

/// Threads of this process: other scenarios have theirs at the same time.
fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn run(value: i64) -> Result<(), JobError> {
    let settings =
        Settings { threads: 4, restart: RestartStrategy::None, journal: None, ..Settings::default() };
    let environment = Environment::with_settings("short", settings);
    environment
        .recorded(RecordedInput::new([RecordedBatch { stamp_ms: 0, lines: vec![format!("1 {value}")] }]))
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .process(RunningAverage::default())
        .collect_into(&Collected::new());
    environment.execute().map(drop)
}

#[test]
fn whether_it_ended_well_or_not() {
    for _ in 0..JOBS {
        run(1).expect("the job ends in order");
        run(ERROR_VALUE).expect_err("the operator fails");
    }
    // Each job had more than four, twice; what other scenarios run at once is far below.
    wait_until(
        || thread_count() < 4 * JOBS,
        || format!("{} threads are left of {JOBS} jobs", thread_count()),
    );
}
