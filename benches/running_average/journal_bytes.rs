//! How many bytes does the journal take for each byte of a steady stream of single lines?
//!
//! Every line is a write of its own, so nothing but the engine gathers them. Counted are the headers and records in the
//! segments. What is preallocated behind the last record is not: it is written once, whatever the stream. What the kernel
//! passed on to the device (`write_bytes` of `/proc/<pid>/io`) is told beside it: each commit writes whole pages.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Lines a second.
pub(crate) const RATE: u32 = 10_000;
const SECONDS: u32 = 10;
/// A sleep shorter than this is not worth it: the sender then sends what is due in one go.
const SLEEP_MIN: Duration = Duration::from_micros(50);
const HEADER_BYTES: u64 = 72;

/// Bytes for each byte of the lines.
pub(crate) struct JournalBytes {
    pub(crate) journaled: f64,
    pub(crate) to_device: f64,
    /// Lines a second that were really sent.
    pub(crate) rate: f64,
}

pub(crate) fn measure(lines: &[u8]) -> JournalBytes {
    let directory = tempfile::tempdir().unwrap();
    let checkpoints = directory.path().join("checkpoints");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["demo", "--quiet", "--retry-for", "0s", "--journal-sync", "always", "--interval", "1h"])
        .arg("--connect")
        .arg(listener.local_addr().unwrap().to_string())
        .arg("--output")
        .arg(directory.path().join("results"))
        .arg("--checkpoint-dir")
        .arg(&checkpoints)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (mut client, _) = listener.accept().unwrap();
    client.set_nodelay(true).unwrap();
    let (start, mut payload, mut sent) = (Instant::now(), 0, 0);
    for line in lines.split_inclusive(|byte| *byte == b'\n').take((RATE * SECONDS) as usize) {
        let early = (Duration::from_secs(1) * sent / RATE).saturating_sub(start.elapsed());
        if early > SLEEP_MIN {
            std::thread::sleep(early);
        }
        client.write_all(line).unwrap();
        payload += line.len();
        sent += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    let to_device = write_bytes(child.id());
    drop(client);
    assert!(child.wait().unwrap().success());
    let payload = payload as f64;
    JournalBytes {
        journaled: used_bytes(&checkpoints.join("running-average/journal")) as f64 / payload,
        to_device: to_device as f64 / payload,
        rate: f64::from(sent) / seconds,
    }
}

fn write_bytes(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
}

/// Headers and records of all segments.
fn used_bytes(journal: &Path) -> u64 {
    let used = |entry: std::io::Result<std::fs::DirEntry>| {
        let mut segment = std::io::BufReader::new(std::fs::File::open(entry.unwrap().path()).unwrap());
        let mut used = HEADER_BYTES;
        segment.seek_relative(HEADER_BYTES.cast_signed()).unwrap();
        let mut length = [0; 4];
        // Length and checksum, then as many bytes as the length says; a length of 0 is the end.
        while segment.read_exact(&mut length).is_ok() && length != [0; 4] {
            let rest = 4 + i64::from(u32::from_le_bytes(length));
            segment.seek_relative(rest).unwrap();
            used += 4 + rest.cast_unsigned();
        }
        used
    };
    std::fs::read_dir(journal).unwrap().map(used).sum()
}
