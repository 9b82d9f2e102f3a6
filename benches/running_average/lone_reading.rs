//! How long does a lone reading take from socket to standard output, when it has to be durable in between?
//!
//! Readings are sent one at a time, each [`PAUSE`] after the result of the one before, so that none shares a commit.
//! Between them a bare loop writes and syncs as many bytes as such a reading takes in the journal, to a file of a
//! segment's size on the same file system: the floor.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::measure::median;

const ROUNDS: usize = 300;
const PAUSE: Duration = Duration::from_millis(5);
/// A batch with one line of four bytes in the journal.
const RECORD_BYTES: usize = 24;
const SEGMENT_BYTES: u64 = 16 << 20;

/// Medians, in seconds.
pub(crate) struct LoneReading {
    pub(crate) in_to_out: f64,
    pub(crate) bare_sync: f64,
}

pub(crate) fn measure() -> LoneReading {
    let directory = tempfile::tempdir().unwrap();
    let mut bare = File::create_new(directory.path().join("bare")).unwrap();
    rustix::fs::fallocate(&bare, rustix::fs::FallocateFlags::empty(), 0, SEGMENT_BYTES).unwrap();
    bare.sync_all().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["demo", "--quiet", "--retry-for", "0s", "--journal-sync", "always", "--connect"])
        .arg(listener.local_addr().unwrap().to_string())
        .arg("--checkpoint-dir")
        .arg(directory.path().join("checkpoints"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut client, _) = listener.accept().unwrap();
    client.set_nodelay(true).unwrap();
    let mut results = BufReader::new(child.stdout.take().unwrap());
    // The first reading of a key has no result.
    client.write_all(b"1 5\n").unwrap();
    let mut once = || {
        std::thread::sleep(PAUSE);
        let start = Instant::now();
        bare.write_all(&[b'r'; RECORD_BYTES]).unwrap();
        bare.sync_data().unwrap();
        let bare_sync = start.elapsed().as_secs_f64();
        std::thread::sleep(PAUSE);
        let start = Instant::now();
        client.write_all(b"1 5\n").unwrap();
        let mut result = String::new();
        results.read_line(&mut result).unwrap();
        assert_eq!(result, "(1,5)\n");
        (start.elapsed().as_secs_f64(), bare_sync)
    };
    let (in_to_out, bare_sync) = (0..ROUNDS).map(|_| once()).unzip();
    drop(client);
    child.wait().unwrap();
    LoneReading { in_to_out: median(in_to_out), bare_sync: median(bare_sync) }
}
