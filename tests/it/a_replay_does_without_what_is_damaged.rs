//! `tidegate replay` of a damaged directory says what it had to do without and gives the rest.

use std::path::Path;

use crate::support::{CheckpointFolder, Demo, replay, state_hash};

fn start(directory: &Path, lines: &str) -> String {
    Demo::run_on(lines, |demo| demo.journaled("always").args(["--interval", "1h"]).checkpoint_dir(directory))
        .stdout
}

#[test]
fn in_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let first = start(directory.path(), "1 3\n1 5\n");
    let second = start(directory.path(), "1 7\n");
    let whole = replay(directory.path(), &[]).in_order();
    assert_eq!(whole.stdout, first + &second);

    // The first record of the first segment: the checkpoint at the end of the first run makes up for it.
    let segment = directory.path().join("running-average/journal/00000000000000000001.segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[72 + 12] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let damaged = replay(directory.path(), &[]);
    assert_eq!((damaged.code, &damaged.stdout), (Some(70), &second));
    assert_eq!(state_hash(&damaged), state_hash(&whole));
    assert!(damaged.stderr.contains("the journal is damaged"), "{}", damaged.stderr);
    assert!(damaged.stderr.contains("gaps 1..="), "{}", damaged.stderr);
    assert_eq!(std::fs::read(&segment).unwrap(), bytes);

    // As far as asked for, also where that lies in the gap.
    let head = replay(directory.path(), &["--until", "1"]);
    assert_eq!((head.code, head.stdout.as_str()), (Some(70), ""));
    assert!(head.stderr.contains("gaps 1..=1\n"), "{}", head.stderr);

    // A replay that does not need the damaged part is whole.
    let checkpointed = damaged.stderr.split("gaps 1..=").nth(1).unwrap().lines().next().unwrap();
    let from: u64 = checkpointed.parse::<u64>().unwrap() + 1;
    let tail = replay(directory.path(), &["--from", &from.to_string()]).in_order();
    assert_eq!(tail.stdout, second);
}

#[test]
fn in_the_checkpoints() {
    let directory = tempfile::tempdir().unwrap();
    start(directory.path(), "1 3\n1 5\n");
    let delivered = start(directory.path(), "1 7\n");
    let whole = replay(directory.path(), &[]).in_order();
    let folder = CheckpointFolder::of_demo(directory.path());
    for part in folder.parts() {
        std::fs::write(part, b"").unwrap();
    }
    // The empty checkpoint that a history begins with has no parts.
    let damaged = replay(directory.path(), &[]).in_order();
    assert_eq!((&damaged.stdout, state_hash(&damaged)), (&whole.stdout, state_hash(&whole)));
    assert!(damaged.stdout.ends_with(&delivered));
    assert_eq!(folder.newest(), 3, "nothing was moved");

    // Without any checkpoint: empty state and the whole journal.
    std::fs::remove_dir_all(folder.path().join("manifests")).unwrap();
    let empty = replay(directory.path(), &[]).in_order();
    assert!(empty.stderr.starts_with("replayed: from empty state at offset 0 "), "{}", empty.stderr);
    assert_eq!((&empty.stdout, state_hash(&empty)), (&whole.stdout, state_hash(&whole)));
}
