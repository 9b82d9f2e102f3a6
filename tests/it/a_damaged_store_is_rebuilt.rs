//! A damaged file of a saved store moves its checkpoint to quarantine, and state is rebuilt from the one before it and the
//! journal; what lies in the work directory is never believed.

use std::path::{Path, PathBuf};

use crate::support::{CheckpointFolder, Demo, Ended, field};

fn run(directory: &Path, backend: &str, lines: &str) -> Ended {
    Demo::run_on(lines, |demo| {
        demo.checkpoint_dir(directory).journaled("always").args(["--backend", backend])
    })
}

/// What the newest checkpoint wrote itself.
fn files_of_newest(folder: &CheckpointFolder) -> Vec<PathBuf> {
    let prefix = format!("{:020}-", folder.newest());
    let entries = std::fs::read_dir(folder.path().join("parts")).unwrap();
    let is_its = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&prefix);
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(is_its).collect();
    files.sort();
    files
}

fn flip_a_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    match bytes.get_mut(middle) {
        Some(byte) => *byte ^= 0x20,
        None => bytes.push(0x20),
    }
    std::fs::write(path, bytes).unwrap();
}

/// Damages each file of the newest checkpoint in turn.
fn whichever_file(backend: &str) {
    let mut number = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::of_demo(directory.path());
        run(directory.path(), backend, "1 10\n2 20\n");
        let ended = run(directory.path(), backend, "1 30\n2 40\n");
        assert_eq!(ended.stdout, "(1,20)\n(2,30)\n");
        let files = files_of_newest(&folder);
        assert!(!files.is_empty());
        let Some(file) = files.get(number) else { return };
        let damaged = folder.newest();
        flip_a_byte(file);
        let ended = run(directory.path(), backend, "1 50\n");
        let warning = ended.log("checkpoint is damaged: moved to quarantine");
        assert_eq!(field(&warning, "checkpoint"), damaged.to_string(), "{}", file.display());
        assert_eq!(ended.stdout, "(1,30)\n", "{}: {}", file.display(), ended.stderr);
        let quarantined = folder.path().join(format!("quarantine/{damaged:020}.manifest"));
        assert!(quarantined.exists(), "{}", quarantined.display());
        number += 1;
    }
}

#[cfg(feature = "rocksdb")]
#[test]
fn whichever_file_of_rocksdb() {
    whichever_file("rocksdb");
}

#[cfg(feature = "sled")]
#[test]
fn whichever_file_of_sled() {
    whichever_file("sled");
}

#[cfg(all(feature = "rocksdb", feature = "sled"))]
#[test]
fn what_lies_in_the_work_directory_is_never_believed() {
    for backend in ["rocksdb", "sled"] {
        let directory = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::of_demo(directory.path());
        run(directory.path(), backend, "1 10\n");
        let left = folder.path().join("work/tidegate-store-1-0/db");
        std::fs::create_dir_all(&left).unwrap();
        for name in ["CURRENT", "000007.sst", "db", "conf"] {
            std::fs::write(left.join(name), [0xAA; 4096]).unwrap();
        }
        let ended = run(directory.path(), backend, "1 30\n");
        assert_eq!(ended.stdout, "(1,20)\n", "{backend}: {}", ended.stderr);
        assert!(!left.exists(), "{backend}");
    }
}
