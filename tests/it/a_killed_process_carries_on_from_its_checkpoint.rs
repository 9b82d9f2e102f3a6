//! A process killed in the middle of a million readings carries on from its newest completed checkpoint.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Averages, CheckpointFolder, Demo, Ended, LineServer, Random, field, wait_until};

const READINGS: usize = 1_000_000;
const KEYS: usize = 1000;
/// Readings of one write, and the pause after it: some 400,000 readings a second, so that the kill hits the flow.
const WRITE_READINGS: usize = 2000;
const WRITE_PAUSE: Duration = Duration::from_millis(5);
/// The last readings stay back until the process is killed: the kill is in the middle on any machine.
const KEPT_BACK: usize = READINGS / 10;

#[test]
fn the_state_is_the_models_after_exactly_the_restored_readings() {
    let mut random = Random::seeded();
    let directory = tempfile::tempdir().unwrap();
    let mut state = Averages::default();
    let mut restored_before = 0;
    // The second round starts from what the first one left.
    for checkpoints in [1, 3] {
        let readings: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
        let killed = kill_in_the_middle(directory.path(), &readings, checkpoints);
        assert_eq!(killed.code, None, "the signal ended it");

        let probe = probe(directory.path(), "");
        let restored = probe.log("restored");
        let in_state: usize = field(&restored, "readings").parse().unwrap();
        let new = in_state - restored_before;
        assert!((1..READINGS - KEPT_BACK).contains(&new), "{restored}");
        let newest = CheckpointFolder::of_demo(directory.path()).newest();
        assert_eq!(field(&restored, "checkpoint"), newest.to_string());

        let mut all = state.clone();
        all.add_all(&readings);
        let lost = killed.stdout.len();
        assert!(all.outputs.starts_with(&killed.stdout), "{lost} bytes of results are not the model's");
        state.add_all(&readings[..new]);
        assert_eq!(field(&restored, "keys"), state.key_count().to_string());
        assert!(killed.stdout.starts_with(&state.outputs), "a result of a checkpointed reading is missing");
        state = state.without_outputs();
        restored_before = in_state;
    }
    let one_each: Vec<_> = (1..).zip(0..).take(KEYS).collect();
    let lines: String = one_each.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    state.add_all(&one_each);
    assert_eq!(probe(directory.path(), &lines).stdout, state.outputs);
}

/// Runs on `readings` until `checkpoints` have completed, then kills.
fn kill_in_the_middle(directory: &Path, readings: &[(i64, i64)], checkpoints: usize) -> Ended {
    let server = LineServer::start();
    let running =
        Demo::connect(server.address()).args(["--interval", "100ms"]).checkpoint_dir(directory).start();
    let killed = Arc::new(AtomicBool::new(false));
    let writes: Vec<String> = readings[..READINGS - KEPT_BACK]
        .chunks(WRITE_READINGS)
        .map(|chunk| chunk.iter().map(|(key, value)| format!("{key} {value}\n")).collect())
        .collect();
    let sending = std::thread::spawn({
        let killed = Arc::clone(&killed);
        move || {
            let mut connection = server.accept();
            for write in writes {
                // It fails when the process is killed.
                if connection.write_all(write.as_bytes()).is_err() {
                    return;
                }
                std::thread::sleep(WRITE_PAUSE);
            }
            wait_until(|| killed.load(Ordering::Acquire), || "nobody killed the process".to_owned());
        }
    });
    running.wait_for_logs("checkpoint completed", checkpoints);
    let ended = running.kill();
    killed.store(true, Ordering::Release);
    sending.join().unwrap();
    ended
}

/// Starts again on `lines` and lets the input end.
fn probe(directory: &Path, lines: &str) -> Ended {
    Demo::run_on(lines, |demo| demo.checkpoint_dir(directory))
}
