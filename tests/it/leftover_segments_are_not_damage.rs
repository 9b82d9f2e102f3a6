//! A power cut can bring back some deleted segments and not others: `journal verify` judges from the oldest kept checkpoint.

use std::process::{Command, Output};

use crate::support::Demo;

#[test]
fn for_journal_verify() {
    let directory = tempfile::tempdir().unwrap();
    let journal = |action: &str| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["journal", action]).arg(directory.path()).output().unwrap()
    };
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let folder = directory.path().join("running-average/journal");
    let oldest = || {
        let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.min().unwrap().into_string().unwrap()
    };
    let run = || {
        Demo::run_on("1 3\n1 5\n", |demo| {
            demo.journaled("always").args(["--interval", "1h"]).checkpoint_dir(directory.path())
        })
    };
    run();
    let first = oldest();
    let kept = std::fs::read(folder.join(&first)).unwrap();
    // Each run has a segment of its own and ends with a checkpoint.
    for _ in 0..6 {
        run();
    }
    assert_ne!(oldest(), first, "the first segment was deleted");
    let leftover = |verified: &Output| -> usize {
        assert!(verified.status.success(), "{}", text(verified));
        let text = text(verified);
        let (before, _) = text.split_once(" segments left over").unwrap();
        before.rsplit(' ').next().unwrap().parse().unwrap()
    };
    // A process may end before it has deleted what the last checkpoint made needless.
    let before = leftover(&journal("verify"));
    std::fs::write(folder.join(&first), kept).unwrap();
    assert_eq!(leftover(&journal("verify")), before + 1);
    let listed = text(&journal("list"));
    let marked = listed.lines().filter(|line| line.contains("leftover")).collect::<Vec<_>>();
    assert!(marked.len() == before + 1 && marked[0].starts_with(&first), "{listed}");
    run();
}
