//! Golden state files: checkpoints of each backend that keeps files, as this release writes them.
//!
//! `tests/fixtures/checkpoint/v2/<backend>` is a spool with one checkpoint: manifest and parts, of `rocksdb` also the
//! store's files. They are never written again; a later format gets a directory of its own. State on the heap has the
//! same parts in memory, in the `file` backend's files, and in savepoints.

#![expect(clippy::disallowed_methods, reason = "copies files behind the spool's back")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bench::{BACKENDS, Backend, Bench, Mode, Setting};
use super::conversions::{check, everything, fill};
use crate::checkpoint::{CheckpointStore, Spool};
use crate::disk::RealDisk;

fn fixture(backend: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoint/v2").join(backend)
}

fn copy(from: &Path, to: &Path) {
    for folder in ["manifests", "parts"] {
        std::fs::create_dir_all(to.join(folder)).unwrap();
        for entry in std::fs::read_dir(from.join(folder)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(folder).join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn checkpoints_of_this_release_are_read_on_every_backend() {
    for kind in ["file", "sled", "rocksdb"] {
        // A store's files need its backend.
        if kind == "rocksdb" && !cfg!(feature = "rocksdb") {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        copy(&fixture(kind), directory.path());
        let contents = Spool::open(Arc::new(RealDisk), directory.path(), "job", 2).unwrap().newest().unwrap();
        let contents = contents.unwrap();
        assert_eq!(contents.manifest.key_count(), 120, "{kind}");
        for backend in BACKENDS {
            println!("{kind} on {backend}");
            let empty = Bench::new(Setting { backend: *backend, mode: Mode::Straight }, everything);
            for parallelism in [1, 3] {
                let parts = &contents.parts;
                check(&mut empty.opened_elsewhere(*backend, everything, parts, parallelism).unwrap());
            }
        }
    }
}

#[test]
#[ignore = "writes the fixtures of a new format"]
fn write_the_fixtures() {
    for backend in BACKENDS.iter().filter(|backend| **backend != Backend::Memory) {
        let mut bench = Bench::new(Setting { backend: *backend, mode: Mode::Straight }, everything);
        fill(&mut bench);
        bench.checkpoint();
        let to = fixture(&backend.to_string());
        assert!(!to.exists(), "{} is there", to.display());
        copy(bench.directory(), &to);
    }
}
