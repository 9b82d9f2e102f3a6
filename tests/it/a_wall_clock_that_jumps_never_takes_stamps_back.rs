//! A device boots in 1970, is set right while the job runs, loses its time again with a restart, and is set back while it
//! runs: stamps never go back, results are right, each jump is reported once.
//!
//! The wall clock is libfaketime's (Debian's `faketime`). Says so and passes where that is not installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{Averages, Demo, LineServer, Running, send, skip};

/// 2020-01-01, in milliseconds: before the machine's own time, long after 1970.
const LONG_AFTER_1970_MS: i64 = 1_577_836_800_000;
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// Readings between two changes of the clock, each in a batch of its own.
const READINGS: usize = 20;

fn library() -> Option<PathBuf> {
    let mut folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    folders.find_map(|folder| {
        let library = folder.path().join("faketime/libfaketimeMT.so.1");
        library.is_file().then_some(library)
    })
}

/// A wall clock that a running program sees.
struct WallClock {
    library: PathBuf,
    home: tempfile::TempDir,
}

impl WallClock {
    /// Sets it to the machine's time and so many seconds.
    fn set_off_by(&self, seconds: i64) {
        // In one step: the program may read at any time.
        let next = self.home.path().join("next");
        std::fs::write(&next, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(next, self.file()).unwrap();
    }

    /// Sets it to the second of January 1970.
    fn set_to_1970(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.set_off_by(DAY_SECONDS - i64::try_from(now).unwrap());
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("clock")
    }

    fn start(&self, server: &LineServer, directory: &Path) -> Running {
        Demo::connect(server.address())
            .journaled("always")
            .args(["--interval", "1h"])
            .checkpoint_dir(directory)
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", self.file())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .start()
    }
}

/// Sends readings one by one, each after the result of the one before.
fn converse(running: &Running, client: &mut std::net::TcpStream, results: &mut usize) {
    for _ in 0..READINGS {
        send(client, "1 5\n");
        *results += 1;
        running.wait_for_outputs(*results);
    }
}

/// The stamps of the journal's readings, in milliseconds.
fn stamps(directory: &Path) -> Vec<i64> {
    let dump = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["journal", "dump"])
        .arg(directory)
        .output()
        .expect("the program starts");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let stamp = |line: &str| line.split_whitespace().nth(1).unwrap().parse().unwrap();
    String::from_utf8(dump.stdout).unwrap().lines().map(stamp).collect()
}

#[test]
fn and_each_jump_is_reported_once() {
    let Some(library) = library() else {
        return skip("jumps of the clock", "libfaketimeMT.so.1 is not installed");
    };
    let clock = WallClock { library, home: tempfile::tempdir().unwrap() };
    let directory = tempfile::tempdir().unwrap();

    clock.set_to_1970();
    let server = LineServer::start();
    let running = clock.start(&server, directory.path());
    let mut client = server.accept();
    let mut results = 0;
    // The first reading of a key has no result.
    send(&mut client, "1 3\n");
    converse(&running, &mut client, &mut results);
    clock.set_off_by(0);
    converse(&running, &mut client, &mut results);
    drop(client);
    let first = running.wait().in_order();
    let jump = first.log("the wall clock ");
    assert!(jump.contains("jumped forward: processing time follows it"), "{jump}");
    assert!(first.log(" ended ").contains("clock_jumps=1"), "{}", first.stderr);
    let before = stamps(directory.path());
    assert!(before.is_sorted(), "{before:?}");
    assert_eq!(before.len(), 1 + 2 * READINGS);
    assert!(before[READINGS] < 2 * DAY_SECONDS * 1000, "{before:?}");
    assert!(before[READINGS + 1] > LONG_AFTER_1970_MS, "{before:?}");

    clock.set_to_1970();
    let server = LineServer::start();
    let running = clock.start(&server, directory.path());
    let mut client = server.accept();
    results = 0;
    converse(&running, &mut client, &mut results);
    clock.set_off_by(3600);
    converse(&running, &mut client, &mut results);
    clock.set_off_by(-3600);
    converse(&running, &mut client, &mut results);
    drop(client);
    let second = running.wait().in_order();
    let jumps = second.logs("the wall clock ");
    let expected = ["is behind the journal", "jumped forward", "jumped back"];
    assert_eq!(jumps.len(), expected.len(), "{}", second.stderr);
    for (jump, expected) in jumps.iter().zip(expected) {
        assert!(jump.contains(expected), "{jump}");
    }
    let after = stamps(directory.path());
    assert!(after.is_sorted(), "{after:?}");
    assert_eq!((&after[..before.len()], after.len()), (&*before, before.len() + 3 * READINGS));

    let mut readings = vec![(1, 3)];
    readings.resize(1 + 5 * READINGS, (1, 5));
    assert_eq!(first.stdout + &second.stdout, Averages::after(&readings).outputs);
}
