//! How long a checkpoint holds up the data path: batches are sent one after the other, each when the results of the one
//! before are back, with checkpoints and without.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Readings in a batch, below the engine's own limit, so that one write is one batch.
const BATCH_LINES: usize = 8_000;
const BATCHES: usize = 1_500;

pub(crate) fn report(data: &[u8]) {
    println!("| `memory`, {} keys, batches of {BATCH_LINES} | p50 ms | p99 ms | longest ms |", super::KEYS);
    println!("|---|---|---|---|");
    for (name, interval) in [("no checkpoints", "1h"), ("a checkpoint each 500 ms", "500ms")] {
        let mut times = batch_times(data, interval);
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!("| {name} | {:.2} | {:.2} | {:.2} |", at(0.5), at(0.99), at(1.0));
    }
}

fn batch_times(data: &[u8], interval: &str) -> Vec<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["demo", "--retry-for", "0s", "--backend", "memory", "--interval", interval, "--connect"])
        .arg(listener.local_addr().unwrap().to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut client, _) = listener.accept().unwrap();
    client.set_nodelay(true).unwrap();
    let mut results = child.stdout.take().unwrap();
    // Every key twice, so that every reading that is measured gives a result.
    let mut buffer = vec![0; 1 << 20];
    let mut number = itoa::Buffer::new();
    let keys: Vec<u64> = (0..super::KEYS).collect();
    for (round, expected) in [(0, 0), (1, BATCH_LINES)] {
        for keys in keys.chunks(BATCH_LINES) {
            let mut lines = Vec::new();
            for key in keys {
                lines.extend_from_slice(number.format(*key).as_bytes());
                lines.extend_from_slice(b" 1\n");
            }
            client.write_all(&lines).unwrap();
            if round > 0 {
                receive(&mut results, &mut buffer, expected.min(keys.len()));
            }
        }
    }
    let lines: Vec<&[u8]> = data.split_inclusive(|byte| *byte == b'\n').take(BATCH_LINES * BATCHES).collect();
    let times = lines
        .chunks_exact(BATCH_LINES)
        .map(|batch| {
            let batch = batch.concat();
            let start = Instant::now();
            client.write_all(&batch).unwrap();
            receive(&mut results, &mut buffer, BATCH_LINES);
            start.elapsed()
        })
        .collect();
    drop(client);
    child.wait().unwrap();
    times
}

/// Reads until `lines` results are there.
fn receive(results: &mut impl Read, buffer: &mut [u8], lines: usize) {
    let mut left = lines;
    while left > 0 {
        let read = results.read(buffer).unwrap();
        assert!(read > 0, "the engine ended early");
        left -= memchr::memchr_iter(b'\n', &buffer[..read]).count();
    }
}
