//! How close is the engine to a bare loop? The reference job end to end over loopback TCP, ten million lines, against
//! a single-threaded loop (read, parse, hash map, format, write) fed by the same sender in the same run.
//!
//! Both are processes of their own: the engine is the `tidegate` program as a user runs it, the bare loop is this
//! program called again. Time runs from the accepted connection to the moment the output file is complete; the
//! two outputs must be equal byte for byte. CPU seconds and peak RSS are the kernel's (`/proc`).
//!
//! Before that, what the journal costs when readings come singly: the time of a lone one (see `lone_reading`) and the bytes
//! of a steady stream (see `journal_bytes`).
//!
//! `TIDEGATE_BENCH_LINES` and `TIDEGATE_BENCH_ROUNDS` change the size of the table; no lines, no table. The data comes from
//! a fixed seed.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench reads what the engine wrote"
)]
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a bench ends at the first fault")]

mod bare_loop;
mod data;
mod journal_bytes;
mod lone_reading;
mod measure;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use data::{SEED, readings};
use measure::{Run, median};

fn main() {
    if let Ok(address) = std::env::var("TIDEGATE_BENCH_BARE") {
        return bare_loop::run(&address, Path::new(&std::env::var("TIDEGATE_BENCH_OUTPUT").unwrap()));
    }
    let lines = from_environment("TIDEGATE_BENCH_LINES", 10_000_000);
    let rounds = from_environment("TIDEGATE_BENCH_ROUNDS", 3);
    println!("{}", measure::machine());
    // First: the table leaves the disk busy, and a start waits for its syncs.
    println!("start to first output: {:.1} ms (median of 20)", start_to_first_output().as_secs_f64() * 1e3);
    println!("idle RSS, listening: {:.1} MiB", idle_rss() as f64 / 1024.0);
    journal_figures();
    if lines == 0 {
        return;
    }
    println!("reference job, {lines} lines, output to a file, seed {SEED:#x}, median of {rounds} pairs\n");
    println!(
        "| keys | journal | checkpoints | bare M/s | engine M/s | ratio | CPU s bare | CPU s engine | RSS MiB bare | RSS MiB engine |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for keys in [1_000, 1_000_000] {
        let data = Arc::new(readings(lines, keys));
        for (journal, interval) in [("none", "2s"), ("none", "200ms"), ("always", "2s"), ("always", "200ms")]
        {
            compare(&Setup { lines, keys, journal, interval, rounds }, &data);
        }
    }
}

/// What the journal costs when readings come singly.
fn journal_figures() {
    let lone = lone_reading::measure();
    let bytes = journal_bytes::measure(&readings(200_000, 1_000));
    let ms = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
    println!("\n| journal `always` | engine | floor | target |");
    println!("|---|---|---|---|");
    println!(
        "| a lone reading, in to out (median) | {} | {} bare write + fdatasync | at most {} |",
        ms(lone.in_to_out),
        ms(lone.bare_sync),
        ms(lone.bare_sync + 1e-3),
    );
    println!(
        "| journal bytes per payload byte at {:.0} readings/s | {:.2} | 1 | at most 1.30 |",
        bytes.rate, bytes.journaled,
    );
    println!("\n(pages the kernel wrote, per payload byte, all files: {:.1})\n", bytes.to_device);
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// One row of the table.
struct Setup {
    lines: u64,
    keys: u64,
    journal: &'static str,
    interval: &'static str,
    rounds: u64,
}

fn compare(setup: &Setup, data: &Arc<Vec<u8>>) {
    let Setup { lines, keys, journal, interval, rounds } = *setup;
    let directory = tempfile::tempdir().unwrap();
    let mut pairs = Vec::new();
    let mut checkpoints = 0;
    for round in 0..rounds {
        let bare = directory.path().join(format!("bare-{round}"));
        let engine = directory.path().join(format!("engine-{round}"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .env("TIDEGATE_BENCH_BARE", listener.local_addr().unwrap().to_string())
            .env("TIDEGATE_BENCH_OUTPUT", &bare);
        let of_bare = measure::run(command, listener, data, &bare, None);
        let expected = std::fs::metadata(&bare).unwrap().len();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command
            .args([
                "demo",
                "--retry-for",
                "0s",
                "--interval",
                interval,
                "--journal-sync",
                journal,
                "--connect",
            ])
            .arg(listener.local_addr().unwrap().to_string())
            .arg("--output")
            .arg(&engine)
            .arg("--checkpoint-dir")
            .arg(directory.path().join(format!("checkpoints-{round}")));
        let of_engine = measure::run(command, listener, data, &engine, Some(expected));
        assert!(measure::same_contents(&bare, &engine), "the engine's output differs from the bare loop's");
        checkpoints = of_engine.checkpoints;
        std::fs::remove_file(&bare).unwrap();
        std::fs::remove_file(&engine).unwrap();
        pairs.push((of_bare, of_engine));
    }
    let of = |figure: &dyn Fn(&(Run, Run)) -> f64| median(pairs.iter().map(figure).collect());
    println!(
        "| {keys} | {journal} | {checkpoints} (each {interval}) | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} |",
        of(&|(bare, _)| lines as f64 / bare.seconds / 1e6),
        of(&|(_, engine)| lines as f64 / engine.seconds / 1e6),
        of(&|(bare, engine)| bare.seconds / engine.seconds),
        of(&|(bare, _)| bare.cpu_seconds),
        of(&|(_, engine)| engine.cpu_seconds),
        of(&|(bare, _)| bare.peak_rss_kib as f64 / 1024.0),
        of(&|(_, engine)| engine.peak_rss_kib as f64 / 1024.0),
    );
}

/// From starting the program to the first byte on its standard output, with a server that answers at once.
fn start_to_first_output() -> Duration {
    use std::io::{Read, Write};
    let once = |_| {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let start = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["demo", "--quiet", "--retry-for", "0s", "--connect"])
            .arg(listener.local_addr().unwrap().to_string())
            .arg("--checkpoint-dir")
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(b"1 3\n1 5\n").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let elapsed = start.elapsed();
        drop(client);
        child.wait().unwrap();
        elapsed.as_secs_f64()
    };
    Duration::from_secs_f64(median((0..20).map(once).collect()))
}

/// Resident memory in KiB of a job that listens and has nothing to do.
fn idle_rss() -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["demo", "--quiet", "--listen", "0", "--checkpoint-dir"])
        .arg(directory.path())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let rss = measure::status_kib(child.id(), "VmRSS:").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    rss
}
