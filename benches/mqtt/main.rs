//! How fast are messages taken from a broker, against `mosquitto_sub` on the same Mosquitto in the same run?
//!
//! The broker holds all messages of a session when its subscriber connects, so what is timed is the way out of the broker: for
//! `mosquitto_sub` until it has them all, for the engine until the reference job has written every result to a file. The
//! two take turns, in pairs, and who is first changes from pair to pair. The journal is on `always`, so with QoS 1
//! acknowledgements wait for its sync. The time of a bare sync of 4 KiB is measured beside it: from a broker that holds to a
//! window of 20 no more than 20 messages can come in that time. Mosquitto does not hold to its window, so such a broker is
//! played by this program, also with syncs that take longer, by `strace`.
//!
//! `TIDEGATE_BENCH_MESSAGES` and `TIDEGATE_BENCH_ROUNDS` change the size, `TIDEGATE_BENCH_ROW` takes the rows with that in their
//! name. Without Mosquitto nothing is measured.
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
mod strict_broker;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use measure::median;
use peers::{KEYS, Mosquitto, results_bytes};
use strict_broker::StrictBroker;

const POLL: Duration = Duration::from_millis(1);
/// Far above what any run takes.
const RUN_MAX: Duration = Duration::from_secs(600);

/// What a slow disk's syncs take longer, at least.
const SLOW_SYNC: Duration = Duration::from_millis(5);
/// Of the messages, those that are enough for a window of 20, and on a slow disk.
const STRICT_SHARE: u64 = 4;
const SLOW_SHARE: u64 = 20;
/// The window that Mosquitto has by default.
const STRICT_WINDOW: u64 = 20;
/// Has this program time bare syncs and say what one takes, in seconds.
const BARE_SYNC: &str = "--bare-sync";

/// What the journal is on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    AsItIs,
    Slow,
}

/// One line of the table.
struct Row {
    name: &'static str,
    qos: u8,
    version: &'static str,
    /// The broker's window, and the engine's receive maximum in MQTT 5.
    window: u16,
    /// So many times the messages: enough that the start of a program counts for little.
    times: u64,
}

const ROWS: [Row; 4] = [
    Row { name: "QoS 0, MQTT 5", qos: 0, version: "5", window: 1000, times: 5 },
    Row { name: "QoS 1, MQTT 5, window 1,000", qos: 1, version: "5", window: 1000, times: 1 },
    Row { name: "QoS 2, MQTT 5, window 1,000", qos: 2, version: "5", window: 1000, times: 1 },
    Row {
        name: "QoS 1, MQTT 3.1.1, Mosquitto's default window",
        qos: 1,
        version: "3.1.1",
        window: 20,
        times: 1,
    },
];

impl Disk {
    /// A command whose syncs take what they do on this disk. `None` where that cannot be had.
    fn command(self, program: impl AsRef<OsStr>) -> Option<Command> {
        if self == Self::AsItIs {
            return Some(Command::new(program));
        }
        let mut command = Command::new("strace");
        if !command.arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return None;
        }
        let mut command = Command::new("strace");
        // -D: the process that is started is the program, not strace.
        command.args(["-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"]);
        command.args(["-e", &format!("inject=fdatasync:delay_exit={}", SLOW_SYNC.as_micros())]);
        command.arg(program);
        Some(command)
    }
}

fn main() {
    if std::env::args().any(|argument| argument == BARE_SYNC) {
        println!("{}", bare_sync());
        return;
    }
    let from_environment =
        |name: &str, default| std::env::var(name).map_or(default, |value| value.parse().expect("a number"));
    let messages: u64 = from_environment("TIDEGATE_BENCH_MESSAGES", 200_000);
    let rounds: u64 = from_environment("TIDEGATE_BENCH_ROUNDS", 5);
    let wanted = std::env::var("TIDEGATE_BENCH_ROW").unwrap_or_default();
    println!("{}", measure::machine());
    println!(
        "{messages} messages of 64 bytes, with QoS 0 five times as many, over {KEYS} topics, journal always, medians of {rounds} pairs\n"
    );
    println!("| | mosquitto_sub, messages/s | engine, messages/s | ratio of a pair |");
    println!("|---|---|---|---|");
    for row in ROWS.iter().filter(|row| row.name.contains(&wanted)) {
        measure_row(row, messages * row.times, rounds);
    }
    println!(
        "\n| a broker that holds to a window of 20 | bare sync, ms | 20 / bare sync, messages/s | engine, messages/s | of it |"
    );
    println!("|---|---|---|---|---|");
    for (disk, name, share) in
        [(Disk::AsItIs, "this disk", STRICT_SHARE), (Disk::Slow, "one with slower syncs", SLOW_SHARE)]
    {
        measure_strict(disk, name, messages / share, rounds);
    }
}

fn measure_row(row: &Row, messages: u64, rounds: u64) {
    let (mut theirs, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let Some(broker) = Mosquitto::start(row.window) else {
            println!("there is no mosquitto: `make broker-tools` installs it");
            return;
        };
        let mut their_rate = None;
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                broker.fill("theirs", row.qos, row.version, messages);
                their_rate = time_mosquitto_sub(&broker, row, messages).map(|time| messages as f64 / time);
            } else {
                broker.fill("ours", row.qos, row.version, messages);
                let time = time_engine(Disk::AsItIs, &broker.url(), row, messages).unwrap();
                ours.push(messages as f64 / time);
            }
        }
        if let (Some(their_rate), Some(our_rate)) = (their_rate, ours.last()) {
            ratios.push(our_rate / their_rate);
            theirs.push(their_rate);
        }
    }
    let ours = median(ours);
    if theirs.is_empty() {
        println!("| {} | ends with a protocol error | {ours:.0} | – |", row.name);
    } else {
        println!("| {} | {:.0} | {ours:.0} | {:.2} |", row.name, median(theirs), median(ratios));
    }
}

fn measure_strict(disk: Disk, name: &str, messages: u64, rounds: u64) {
    let row = Row { name: "", qos: 1, version: "3.1.1", window: 20, times: 1 };
    let (mut rates, mut syncs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let Some(mut bare) = disk.command(std::env::current_exe().unwrap()) else {
            println!("there is no strace: {name} is left out");
            return;
        };
        let bare = bare.arg(BARE_SYNC).output().unwrap();
        syncs.push(String::from_utf8(bare.stdout).unwrap().trim().parse::<f64>().unwrap());
        let broker = StrictBroker::bind();
        let url = broker.url();
        let serving = broker.serve(messages, STRICT_WINDOW);
        rates.push(messages as f64 / time_engine(disk, &url, &row, messages).unwrap());
        serving.join().unwrap();
    }
    let (rate, sync) = (median(rates), median(syncs));
    let most = STRICT_WINDOW as f64 / sync;
    println!("| {name} | {:.2} | {most:.0} | {rate:.0} | {:.2} |", sync * 1e3, rate / most);
}

/// `None` when it gave up: with QoS 2 the `mosquitto_sub` of 2.0.11 sometimes ends with a protocol error.
fn time_mosquitto_sub(broker: &Mosquitto, row: &Row, messages: u64) -> Option<f64> {
    let mut command = broker.subscriber("theirs", row.qos, row.version);
    command.args(["-C", &messages.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    if row.version == "5" {
        command.args(["-D", "connect", "receive-maximum", &row.window.to_string()]);
    }
    let start = Instant::now();
    let has_all = command.status().unwrap().success();
    assert!(has_all || row.qos == 2, "mosquitto_sub failed");
    has_all.then(|| start.elapsed().as_secs_f64())
}

/// `None` where there is no such disk.
fn time_engine(disk: Disk, url: &str, row: &Row, messages: u64) -> Option<f64> {
    let directory = tempfile::tempdir().unwrap();
    let results = directory.path().join("results");
    let mut command = disk.command(env!("CARGO_BIN_EXE_tidegate"))?;
    command
        .args(["demo", "--quiet", "--journal-sync", "always", "--client-id", "ours", "--topic", "bench/#"])
        .args(["--mqtt", url, "--qos", &row.qos.to_string(), "--mqtt-version", row.version])
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
    Some(seconds)
}

/// Median time of a write and sync of 4 KiB to a file that has its blocks.
fn bare_sync() -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let mut file = File::create_new(directory.path().join("bare")).unwrap();
    file.write_all(&vec![b'0'; 1 << 20]).unwrap();
    file.sync_all().unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut once = || {
        let start = Instant::now();
        file.write_all(&[b'r'; 4096]).unwrap();
        file.sync_data().unwrap();
        start.elapsed().as_secs_f64()
    };
    median((0..100).map(|_| once()).collect())
}
