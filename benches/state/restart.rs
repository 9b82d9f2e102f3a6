//! How soon a killed process answers again: one with a million keys is killed behind a checkpoint, and the next one timed
//! from its start to the source's connection, to the first result, and to the result of a reading it was just sent.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Readings behind the checkpoint, which the next process replays.
const TAIL: u64 = 10_000;
/// Its reading is the one that is sent to the next process.
const MARKER: u64 = 2 * super::KEYS;
/// Longest wait for a checkpoint with every key.
const CHECKPOINT_MAX: Duration = Duration::from_secs(120);

pub(crate) fn report() {
    println!(
        "\n| restart after SIGKILL, {} keys | connected s | first result s | its own first result s |",
        super::KEYS
    );
    println!("|---|---|---|---|");
    for backend in ["file", "rocksdb", "sled"] {
        let directory = tempfile::tempdir().unwrap();
        fill_and_kill(backend, directory.path());
        let [connected, first, own] = time_restart(backend, directory.path()).map(|time| time.as_secs_f64());
        println!("| `{backend}` | {connected:.2} | {first:.2} | {own:.2} |");
    }
}

fn engine(backend: &str, directory: &Path, interval: &str, listener: &TcpListener) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["demo", "--retry-for", "0s", "--interval", interval, "--backend", backend]);
    command.args(["--memory-max", super::MEMORY_MAX, "--checkpoint-dir"]).arg(directory);
    command.arg("--connect").arg(listener.local_addr().unwrap().to_string()).stdout(Stdio::piped());
    command
}

/// Leaves a checkpoint of every key, and readings behind it.
fn fill_and_kill(backend: &str, directory: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = engine(backend, directory, "500ms", &listener).stderr(Stdio::piped()).spawn().unwrap();
    let (mut client, _) = listener.accept().unwrap();
    let mut results = results(&mut child);
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let every: String = (0..super::KEYS).map(|key| format!("{key} 10\n")).collect();
    client.write_all(every.as_bytes()).unwrap();
    let since = Instant::now();
    let keys = format!("keys={} ", super::KEYS);
    while !log.next().unwrap().unwrap().contains(&keys) {
        assert!(since.elapsed() < CHECKPOINT_MAX, "no checkpoint has every key");
    }
    let tail: String = (0..TAIL).map(|key| format!("{key} 20\n")).collect();
    client.write_all(tail.as_bytes()).unwrap();
    (0..TAIL).for_each(|_| drop(next(&mut results)));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// From the start to the connection, the first result, and the first of what is sent then.
fn time_restart(backend: &str, directory: &Path) -> [Duration; 3] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = engine(backend, directory, "1h", &listener);
    let start = Instant::now();
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut results = results(&mut child);
    let sender = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let connected = start.elapsed();
        client.write_all(format!("{MARKER} 1\n{MARKER} 3\n").as_bytes()).unwrap();
        (client, connected)
    });
    let mut line = next(&mut results);
    let first = start.elapsed();
    let own = format!("({MARKER},2)\n");
    while line != own {
        line = next(&mut results);
    }
    let own = start.elapsed();
    let (client, connected) = sender.join().unwrap();
    drop(client);
    child.wait().unwrap();
    [connected, first, own]
}

fn results(child: &mut Child) -> BufReader<ChildStdout> {
    BufReader::new(child.stdout.take().unwrap())
}

fn next(results: &mut impl BufRead) -> String {
    let mut line = String::new();
    let read = results.read_line(&mut line).unwrap();
    assert!(read > 0, "the engine ended early");
    line
}
