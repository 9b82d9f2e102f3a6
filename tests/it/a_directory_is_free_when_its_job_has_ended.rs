//! A job's directory is free for the next job of the process as soon as it has ended, whatever else the process does.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate::{Backend, Collected, Environment, RecordedBatch, RecordedInput, Settings};

use crate::support::start_child;

const JOBS: usize = 200;

#[test]
fn also_while_children_are_being_started() {
    let directory = tempfile::tempdir().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // For a moment each of them has a copy of every descriptor of this process.
            while !done.load(Ordering::Acquire) {
                start_child(&mut Command::new("true")).unwrap().wait().unwrap();
            }
        });
        let refused = (0..JOBS).find_map(|number| {
            let backend = Backend::File { directory: directory.path().to_owned() };
            let environment = Environment::with_settings(
                "again",
                Settings { backend, journal: None, ..Settings::default() },
            );
            let batch = RecordedBatch { stamp_ms: 0, lines: vec!["1".to_owned()] };
            let input = RecordedInput::new([batch]);
            environment.recorded(input).parse::<(i64,)>().collect_into(&Collected::new());
            environment.execute().err().map(|error| format!("job {number}: {error}"))
        });
        done.store(true, Ordering::Release);
        assert_eq!(refused, None);
    });
}
