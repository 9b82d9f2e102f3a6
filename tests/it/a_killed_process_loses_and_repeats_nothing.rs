//! With the journal, any number of kills at any instants leave state and results as if there had been none.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{
    Averages, Demo, Random, Running, replay, send_carefully, state_hash, wait_until_within,
};

const KEYS: usize = 50;
/// Lines and kills of the long run; `TIDEGATE_KILL_LINES` and `TIDEGATE_KILLS` change them.
const LINES: usize = 1_000_000;
const KILLS: usize = 20;
/// Longest time from one kill to the next. Together the kills take less time than the sender's pauses, so that every kill
/// comes before the last line.
const KILL_INTERVAL_SHORT: Duration = Duration::from_millis(30);
const KILL_INTERVAL_LONG: Duration = Duration::from_millis(600);
/// Far above what a loaded machine needs to take the lines behind the last kill.
const DRAIN_MAX: Duration = Duration::from_secs(180);
/// Slow enough that every kill comes before the last line.
const PACE: Duration = Duration::from_millis(1);

fn start(address: &str, directory: &Path, (sync, compression): (&str, &str)) -> Running {
    let demo =
        Demo::new().journaled(sync).args(["--listen", address, "--ack", "lines", "--interval", "50ms"]);
    let demo = demo.args(["--journal-compression", compression]);
    demo.arg("--output").arg(directory.join("results")).checkpoint_dir(&directory.join("data")).start()
}

/// Kills the program until `kills` kills have landed, while a sender brings `readings` lines through it.
fn survive(kills: usize, readings: usize, journal: (&str, &str), interval: Duration) {
    let mut random = Random::seeded();
    let directory = tempfile::tempdir().unwrap();
    let readings: Vec<(i64, i64)> = (0..readings).map(|_| random.reading(KEYS)).collect();
    let lines: Vec<String> = readings.iter().map(|(key, value)| format!("{key} {value}")).collect();
    let acknowledged = AtomicU64::new(0);
    let first = start("127.0.0.79:0", directory.path(), journal);
    let address: SocketAddr = first.listening_at();
    let running = std::thread::scope(|scope| {
        let mut running = first;
        scope.spawn(|| {
            while acknowledged.load(Ordering::SeqCst) < lines.len() as u64 {
                send_carefully(address, "boiler-7", &lines, PACE, &acknowledged);
            }
        });
        for _ in 0..kills {
            // The moment is random: nothing is waited for.
            let micros = random.within(500..usize::try_from(interval.as_micros()).unwrap());
            std::thread::sleep(Duration::from_micros(micros as u64));
            let is_under_way = acknowledged.load(Ordering::SeqCst) < lines.len() as u64;
            assert!(is_under_way, "the sender was done before the last kill");
            running.kill();
            running = start(&address.to_string(), directory.path(), journal);
        }
        wait_until_within(
            DRAIN_MAX,
            || acknowledged.load(Ordering::SeqCst) == lines.len() as u64,
            || format!("{} of {} lines are acknowledged", acknowledged.load(Ordering::SeqCst), lines.len()),
        );
        running
    });
    // The last one started may not have come to watching for signals yet.
    running.listening_at();
    let ended = running.stop().in_order();
    assert!(ended.stdout.is_empty());
    let results = std::fs::read_to_string(directory.path().join("results")).unwrap();
    let expected = Averages::after(&readings).outputs;
    let differs = results.lines().zip(expected.lines()).position(|(result, expected)| result != expected);
    assert_eq!(differs, None, "the first result that is not the uninterrupted run's");
    assert_eq!(results.len(), expected.len());

    // The state too is that of a run in one piece.
    let uninterrupted = directory.path().join("uninterrupted");
    let bytes: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Demo::run_on(bytes, |demo| {
        let results = directory.path().join("uninterrupted-results");
        demo.journaled("off").arg("--output").arg(results).checkpoint_dir(&uninterrupted)
    });
    let once = std::fs::read_to_string(directory.path().join("uninterrupted-results")).unwrap();
    assert!(once == results, "the results are those of the uninterrupted run, byte for byte");
    let state = |directory: &Path| state_hash(&replay(directory, &[]).in_order());
    assert_eq!(state(&directory.path().join("data")), state(&uninterrupted));
    println!("lines {}, kills {kills}, results {} bytes, all equal", lines.len(), results.len());
}

#[test]
fn a_hundred_times() {
    survive(100, 200_000, ("always", "none"), KILL_INTERVAL_SHORT);
}

#[test]
fn with_a_sync_now_and_then() {
    survive(10, 20_000, ("20ms", "none"), KILL_INTERVAL_SHORT);
}

#[test]
fn over_a_million_lines() {
    let setting = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (lines, kills) = (setting("TIDEGATE_KILL_LINES", LINES), setting("TIDEGATE_KILLS", KILLS));
    survive(kills, lines, ("always", "none"), KILL_INTERVAL_LONG);
}

#[test]
fn with_a_compressed_journal() {
    survive(10, 20_000, ("always", "lz4"), KILL_INTERVAL_SHORT);
}

/// A kill takes nothing the operating system has; only a power cut would.
#[test]
fn without_any_sync() {
    survive(10, 20_000, ("off", "none"), KILL_INTERVAL_SHORT);
}
