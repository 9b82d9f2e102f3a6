//! A journal with a small limit holds more input than fits it: the source is slowed, nothing is lost, and the journal's
//! folder is never larger than the limit.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Averages, Demo, LineServer, Random};

const LIMIT: u64 = 2 << 20;
const READINGS: usize = 2_000_000;

#[test]
fn with_two_million_lines() {
    let mut random = Random::seeded();
    let readings: Vec<(i64, i64)> = (0..READINGS).map(|_| random.reading(50)).collect();
    let lines: String = readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("running-average/journal");
    let results = directory.path().join("results");
    let server = LineServer::start();
    let demo = Demo::connect(server.address()).journaled("always").args(["--journal-max", "2MiB"]);
    let running = demo.arg("--output").arg(&results).checkpoint_dir(directory.path()).start();
    let is_over = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        let largest = scope.spawn(|| {
            let mut largest = 0;
            while !is_over.load(Ordering::SeqCst) {
                // A segment may go between the listing and the look at it.
                let entries = std::fs::read_dir(&journal).into_iter().flatten().flatten();
                let bytes = entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum();
                largest = largest.max(bytes);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            largest
        });
        server.accept().write_all(lines.as_bytes()).unwrap();
        let ended = running.wait();
        is_over.store(true, Ordering::SeqCst);
        let largest: u64 = largest.join().unwrap();
        assert!(largest > LIMIT / 4 && largest <= LIMIT, "the journal had {largest} bytes");
        ended
    });
    ended.in_order();
    assert!(std::fs::read_to_string(&results).unwrap() == Averages::after(&readings).outputs);
}
