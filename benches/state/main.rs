//! What does state behind a store cost? The reference job over a million keys, end to end over loopback TCP:
//!
//! - `rocksdb` and `sled` against `memory`, a checkpoint every two seconds, the hot set in the cache;
//! - `rocksdb` against a naive loop that gets, decodes, encodes and puts for each reading, on a database with the very
//!   options the engine's has (they are read from its directory);
//! - how long a checkpoint holds up the data path: the time of a batch from its first byte in to its last result out,
//!   with checkpoints and without;
//! - how soon a killed process with a million keys answers again.
//!
//! `cargo bench --bench state -- restart` measures the last alone.
//! `TIDEGATE_BENCH_LINES` and `TIDEGATE_BENCH_ROUNDS` change the size. The data comes from a fixed seed.
#![expect(clippy::disallowed_methods, reason = "a bench reads what the engine wrote")]
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a bench ends at the first fault")]

#[path = "../running_average/data.rs"]
mod data;
#[path = "../running_average/measure.rs"]
#[expect(dead_code, reason = "shared with the other bench")]
mod measure;
mod naive_loop;
mod restart;
mod stalls;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use data::{SEED, readings};
use measure::median;

const KEYS: u64 = 1_000_000;
/// Enough that a million keys stay in the cache.
const MEMORY_MAX: &str = "1GiB";

fn main() {
    let from_environment =
        |name: &str, default| std::env::var(name).map_or(default, |value| value.parse().expect("a number"));
    let lines: u64 = from_environment("TIDEGATE_BENCH_LINES", 10_000_000);
    let rounds: u64 = from_environment("TIDEGATE_BENCH_ROUNDS", 3);
    println!("{}", measure::machine());
    if std::env::args().any(|argument| argument == "restart") {
        return restart::report();
    }
    println!(
        "reference job, {lines} lines over {KEYS} keys, no journal, a checkpoint each 2 s, seed {SEED:#x}\n"
    );
    let data = Arc::new(readings(lines, KEYS));
    println!("| backend | M/s | of `memory` | CPU s | peak RSS MiB | checkpoints |");
    println!("|---|---|---|---|---|---|");
    let expected = results_bytes(&data);
    let size = Size { lines, rounds, expected };
    let memory = row("memory", &size, &data, 1.0);
    let mut rocksdb = f64::NAN;
    for backend in ["file", "rocksdb", "sled"] {
        let rate = row(backend, &size, &data, memory);
        if backend == "rocksdb" {
            rocksdb = rate;
        }
    }
    let naive = naive_loop::measure(&data);
    println!(
        "\nnaive get-decode-encode-put on the same RocksDB options: {:.3} M/s; the engine does {:.1} times as many\n",
        naive / 1e6,
        rocksdb / naive
    );
    stalls::report(&data);
    restart::report();
}

/// How much is measured.
struct Size {
    lines: u64,
    rounds: u64,
    /// Bytes of the results of all lines: a run is over when they are there.
    expected: u64,
}

/// Bytes of the results, from a run to its end.
fn results_bytes(data: &Arc<Vec<u8>>) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("results");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = engine("memory", directory.path());
    command.arg("--connect").arg(listener.local_addr().unwrap().to_string()).arg("--output").arg(&output);
    measure::run(command, listener, data, &output, None);
    std::fs::metadata(&output).unwrap().len()
}

/// One row; returns lines a second.
fn row(backend: &str, size: &Size, data: &Arc<Vec<u8>>, memory: f64) -> f64 {
    let Size { lines, rounds, expected } = *size;
    let runs: Vec<_> = (0..rounds)
        .map(|_| {
            let directory = tempfile::tempdir().unwrap();
            let output = directory.path().join("results");
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut command = engine(backend, directory.path());
            command
                .arg("--connect")
                .arg(listener.local_addr().unwrap().to_string())
                .arg("--output")
                .arg(&output);
            measure::run(command, listener, data, &output, Some(expected))
        })
        .collect();
    let of = |figure: &dyn Fn(&measure::Run) -> f64| median(runs.iter().map(figure).collect());
    let rate = of(&|run| lines as f64 / run.seconds);
    println!(
        "| `{backend}` | {:.2} | {:.2} | {:.1} | {:.0} | {} |",
        rate / 1e6,
        if backend == "memory" { 1.0 } else { rate / memory },
        of(&|run| run.cpu_seconds),
        of(&|run| run.peak_rss_kib as f64 / 1024.0),
        of(&|run| run.checkpoints as f64),
    );
    rate
}

/// The program with a backend, its files under `directory`.
fn engine(backend: &str, directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["demo", "--retry-for", "0s", "--interval", "2s", "--backend", backend]);
    if backend != "memory" {
        command.args(["--journal-sync", "none", "--memory-max", MEMORY_MAX]);
        command.arg("--checkpoint-dir").arg(directory.join("checkpoints"));
    }
    command
}
