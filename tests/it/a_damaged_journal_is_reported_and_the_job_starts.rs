//! A byte flipped in the journal is found by `journal verify` and at the next start, which reports what is lost, moves the
//! damaged segment to quarantine and goes on.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::Demo;

fn journal(action: &str, directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(["journal", action]).arg(directory).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut segments: Vec<PathBuf> = std::fs::read_dir(directory.join("running-average/journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    segments
}

#[test]
fn and_verify_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let start = |bytes: &[u8]| {
        Demo::run_on(bytes.to_vec(), |demo| {
            demo.journaled("always").args(["--interval", "1h"]).checkpoint_dir(directory.path())
        })
    };
    let ended = start(b"1 3\n1 5\n").in_order();
    assert_eq!(ended.stdout, "(1,4)\n");
    let whole = journal("verify", directory.path());
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    assert!(text(&whole.stdout).starts_with("whole: 1 segments"), "{}", text(&whole.stdout));
    let dumped = journal("dump", directory.path());
    let dumped = text(&dumped.stdout);
    assert!(dumped.contains("1 3") && dumped.contains("1 5"), "{dumped}");

    // The first record: what comes behind it says that it was durable.
    let segment = segments(directory.path()).remove(0);
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[72 + 12] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let damaged = journal("verify", directory.path());
    assert_eq!(damaged.status.code(), Some(70));
    assert!(text(&damaged.stdout).contains("at byte 72"), "{}", text(&damaged.stdout));

    // The last checkpoint has everything, so nothing is lost for the state.
    let ended = start(b"1 7\n").in_order();
    assert_eq!(ended.stdout, "(1,5)\n");
    assert!(journal("verify", directory.path()).status.success());
}
