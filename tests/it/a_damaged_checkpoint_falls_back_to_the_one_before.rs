//! A damaged checkpoint is set aside with a warning, and the job carries on from the one before it.

use std::ops::Range;
use std::path::Path;

use crate::support::{CheckpointFolder, Demo, Ended, Random, field};

fn run(directory: &Path, lines: &str) -> Ended {
    Demo::run_on(lines, |demo| demo.checkpoint_dir(directory))
}

/// A directory with the checkpoints 1, 2 and 3: after the readings 10, 20 and 30 of key 1.
fn three_checkpoints() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (lines, results) in [("1 10\n", ""), ("1 20\n", "(1,15)\n"), ("1 30\n", "(1,20)\n")] {
        assert_eq!(run(directory.path(), lines).stdout, results);
    }
    assert_eq!(CheckpointFolder::of_demo(directory.path()).newest(), 3);
    directory
}

/// The format's version in a manifest.
const VERSION: Range<usize> = 8..10;

/// Changes one bit of a file.
fn flip(file: &Path, random: &mut Random) {
    let mut bytes = std::fs::read(file).unwrap();
    let position = random.within(0..bytes.len());
    bytes[position] ^= 1 << random.within(0..8);
    std::fs::write(file, bytes).unwrap();
}

fn cut(file: &Path, random: &mut Random) {
    let bytes = std::fs::read(file).unwrap();
    std::fs::write(file, &bytes[..random.within(0..bytes.len())]).unwrap();
}

fn remove(file: &Path, _: &mut Random) {
    std::fs::remove_file(file).unwrap();
}

fn newest_manifest(folder: &CheckpointFolder) -> std::path::PathBuf {
    folder.manifests().pop().unwrap()
}

fn newest_part(folder: &CheckpointFolder) -> std::path::PathBuf {
    folder.parts().pop().unwrap()
}

#[test]
fn the_newest_damaged_in_any_way() {
    type Pick = fn(&CheckpointFolder) -> std::path::PathBuf;
    type Harm = fn(&Path, &mut Random);
    let mut random = Random::seeded();
    let harms: [(&str, Pick, Harm); 5] = [
        ("manifest flipped", newest_manifest, flip),
        ("manifest cut", newest_manifest, cut),
        ("part flipped", newest_part, flip),
        ("part cut", newest_part, cut),
        ("part removed", newest_part, remove),
    ];
    for (name, pick, harm) in harms {
        let directory = three_checkpoints();
        let folder = CheckpointFolder::of_demo(directory.path());
        harm(&pick(&folder), &mut random);
        let ended = run(directory.path(), "1 60\n");
        let damaged = ended.log("checkpoint is damaged");
        assert!(damaged.contains("WARN") && field(&damaged, "checkpoint") == "3", "{name}: {damaged}");
        let restored = ended.log("restored");
        assert_eq!(field(&restored, "checkpoint"), "2", "{name}");
        assert_eq!(field(&restored, "readings"), "2", "{name}");
        assert_eq!(ended.stdout, "(1,30)\n", "{name}: (10 + 20 + 60) / 3");
        assert!(folder.path().join("quarantine/00000000000000000003.manifest").exists(), "{name}");
        // The number of the damaged one is not given again, and all is well from here on.
        assert_eq!(folder.newest(), 4, "{name}");
        let next = run(directory.path(), "1 0\n");
        assert_eq!(field(&next.log("restored"), "checkpoint"), "4", "{name}");
        assert_eq!((next.stdout.as_str(), next.logs("WARN").len()), ("(1,22)\n", 0), "{name}");
    }
}

#[test]
fn the_newest_missing_is_as_if_it_never_was() {
    let directory = three_checkpoints();
    std::fs::remove_file(newest_manifest(&CheckpointFolder::of_demo(directory.path()))).unwrap();
    let ended = run(directory.path(), "1 60\n");
    assert_eq!(field(&ended.log("restored"), "checkpoint"), "2");
    assert_eq!((ended.stdout.as_str(), ended.logs("WARN").len()), ("(1,30)\n", 0));
}

#[test]
fn one_of_another_release_is_passed_over_and_left_alone() {
    let directory = three_checkpoints();
    let folder = CheckpointFolder::of_demo(directory.path());
    let (manifest, part) = (newest_manifest(&folder), newest_part(&folder));
    let mut bytes = std::fs::read(&manifest).unwrap();
    assert_eq!(bytes[VERSION], [2, 0], "update the test");
    // As another release would write it: the hash is the last thing in every version.
    bytes[VERSION.start] = 99;
    let covered = bytes.len() - blake3::OUT_LEN;
    let hash = blake3::hash(&bytes[..covered]);
    bytes[covered..].copy_from_slice(hash.as_bytes());
    std::fs::write(&manifest, bytes).unwrap();
    for (lines, results) in [("1 60\n", "(1,30)\n"), ("1 30\n", "(1,30)\n"), ("1 5\n", "(1,25)\n"), ("", "")]
    {
        let ended = run(directory.path(), lines);
        assert_eq!(ended.stdout, results, "the log:\n{}", ended.stderr);
        let warned = ended.logs("version 99").len();
        assert!(warned > 0 || folder.newest() > 4, "a fall-back is said:\n{}", ended.stderr);
    }
    assert!(manifest.exists() && part.exists(), "that release may want them back");
}

#[test]
fn all_damaged_starts_empty() {
    let mut random = Random::seeded();
    let directory = three_checkpoints();
    let folder = CheckpointFolder::of_demo(directory.path());
    for file in folder.manifests() {
        flip(&file, &mut random);
    }
    let ended = run(directory.path(), "1 60\n1 70\n");
    assert_eq!(ended.logs("checkpoint is damaged").len(), 3);
    ended.log("starting empty");
    assert_eq!(ended.stdout, "(1,65)\n");
    assert_eq!(folder.newest(), 4);
}
