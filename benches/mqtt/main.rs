//! How fast are messages taken from a broker, against `mosquitto_sub` on the same Mosquitto in the same run?
//!
//! The broker holds all messages of a session when its subscriber connects, so what is timed is the way out of the broker: for
//! `mosquitto_sub` until it has them all, for the engine until the reference job has written every result to a file. The
//! journal is on `always`, so with QoS 1 acknowledgements wait for its sync; the time of a bare sync is measured beside it.
//!
//! `TIDEGATE_BENCH_MESSAGES` and `TIDEGATE_BENCH_ROUNDS` change the size. Without Mosquitto nothing is measured.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench reads what the engine wrote"
)]
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a bench ends at the first fault")]

#[path = "../running_average/measure.rs"]
#[expect(dead_code, reason = "shared with the other benches")]
mod measure;
mod peers;

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use measure::median;
use peers::{KEYS, Mosquitto, results_bytes};

const POLL: Duration = Duration::from_millis(1);
/// Far above what any run takes.
const RUN_MAX: Duration = Duration::from_secs(600);

/// One line of the table.
struct Row {
    name: &'static str,
    qos: u8,
    version: &'static str,
    /// The broker's window, and the engine's receive maximum in MQTT 5.
    window: u16,
}

const ROWS: [Row; 4] = [
    Row { name: "QoS 0, MQTT 5", qos: 0, version: "5", window: 1000 },
    Row { name: "QoS 1, MQTT 5, window 1,000", qos: 1, version: "5", window: 1000 },
    Row { name: "QoS 2, MQTT 5, window 1,000", qos: 2, version: "5", window: 1000 },
    Row { name: "QoS 1, MQTT 3.1.1, window 20", qos: 1, version: "3.1.1", window: 20 },
];

fn main() {
    let from_environment =
        |name: &str, default| std::env::var(name).map_or(default, |value| value.parse().expect("a number"));
    let messages: u64 = from_environment("TIDEGATE_BENCH_MESSAGES", 200_000);
    let rounds: u64 = from_environment("TIDEGATE_BENCH_ROUNDS", 3);
    println!("{}", measure::machine());
    println!("{messages} messages of 64 bytes over {KEYS} topics, journal always, median of {rounds}\n");
    println!("| | mosquitto_sub, messages/s | engine, messages/s | ratio | bare sync, ms | 20 / sync |");
    println!("|---|---|---|---|---|---|");
    for row in &ROWS {
        let (mut theirs, mut ours, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let Some(broker) = Mosquitto::start(row.window) else {
                println!("there is no mosquitto: `make broker-tools` installs it");
                return;
            };
            syncs.push(bare_sync());
            broker.fill("theirs", row.qos, row.version, messages);
            theirs.push(messages as f64 / time_mosquitto_sub(&broker, row, messages));
            broker.fill("ours", row.qos, row.version, messages);
            ours.push(messages as f64 / time_engine(&broker, row, messages));
        }
        let (theirs, ours, sync) = (median(theirs), median(ours), median(syncs));
        println!(
            "| {} | {theirs:.0} | {ours:.0} | {:.2} | {:.2} | {:.0} |",
            row.name,
            ours / theirs,
            sync * 1e3,
            20.0 / sync
        );
    }
}

fn time_mosquitto_sub(broker: &Mosquitto, row: &Row, messages: u64) -> f64 {
    let mut command = broker.subscriber("theirs", row.qos, row.version);
    command.args(["-C", &messages.to_string()]).stdout(Stdio::null());
    if row.version == "5" {
        command.args(["-D", "connect", "receive-maximum", &row.window.to_string()]);
    }
    let start = Instant::now();
    assert!(command.status().unwrap().success());
    start.elapsed().as_secs_f64()
}

fn time_engine(broker: &Mosquitto, row: &Row, messages: u64) -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let results = directory.path().join("results");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .args(["demo", "--quiet", "--journal-sync", "always", "--client-id", "ours", "--topic", "bench/#"])
        .args(["--mqtt", &broker.url(), "--qos", &row.qos.to_string(), "--mqtt-version", row.version])
        .args(["--receive-maximum", &row.window.to_string()])
        .arg("--output")
        .arg(&results)
        .arg("--checkpoint-dir")
        .arg(directory.path().join("data"))
        .stdout(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().unwrap();
    let expected = results_bytes(messages);
    while std::fs::metadata(&results).map_or(0, |metadata| metadata.len()) < expected {
        assert!(start.elapsed() < RUN_MAX, "the engine does not come to an end");
        std::thread::sleep(POLL);
    }
    let seconds = start.elapsed().as_secs_f64();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::metadata(&results).unwrap().len(), expected, "each message counts once");
    seconds
}

/// Median time of a write and sync of 4 KiB to a preallocated file.
fn bare_sync() -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let mut file = File::create_new(directory.path().join("bare")).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 16 << 20).unwrap();
    file.sync_all().unwrap();
    let mut once = || {
        let start = Instant::now();
        file.write_all(&[b'r'; 4096]).unwrap();
        file.sync_data().unwrap();
        start.elapsed().as_secs_f64()
    };
    median((0..200).map(|_| once()).collect())
}
