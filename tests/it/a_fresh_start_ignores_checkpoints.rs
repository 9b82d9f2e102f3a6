//! `--fresh` starts empty although a checkpoint exists, which stays until newer ones have replaced it.

use std::path::Path;

use crate::support::{CheckpointFolder, Demo, Ended, field};

fn run(directory: &Path, flags: &[&str], lines: &str) -> Ended {
    Demo::run_on(lines, |demo| demo.checkpoint_dir(directory).args(flags.iter().copied()))
}

#[test]
fn and_later_starts_carry_on_from_the_fresh_one() {
    let directory = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::of_demo(directory.path());
    assert_eq!(run(directory.path(), &[], "1 10\n1 20\n").stdout, "(1,15)\n");

    let idle = run(directory.path(), &["--fresh"], "");
    idle.log("starting empty");
    assert_eq!(folder.newest(), 1, "without a reading nothing replaces the old checkpoint");

    let fresh = run(directory.path(), &["--fresh"], "1 30\n1 50\n");
    fresh.log("starting empty");
    assert_eq!(fresh.stdout, "(1,40)\n");
    assert_eq!(folder.manifests().len(), 2, "the old one stays until newer ones have replaced it");

    let next = run(directory.path(), &[], "1 70\n");
    let restored = next.log("restored");
    assert_eq!((field(&restored, "readings").as_str(), next.stdout.as_str()), ("2", "(1,50)\n"));
}
