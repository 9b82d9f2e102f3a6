//! Incremental checkpoints of real state: what is written again, what is used again, and what goes.

use std::collections::BTreeSet;

use super::bench::{BACKENDS, Backend, Bench, Mode, Setting};
use crate::checkpoint::Manifest;
use crate::disk::{Disk, RealDisk};
use crate::state::{ValueState, ValueStateDescriptor};

fn numbers(backend: Backend) -> Bench<ValueState<i64>> {
    let setting = Setting { backend, mode: Mode::Straight };
    let mut bench = Bench::new(setting, |states| states.value(&ValueStateDescriptor::new("v")).unwrap());
    bench.batch(&keys(), |key, value| value.update(*key));
    bench
}

fn keys() -> Vec<i64> {
    (0..2_000).collect()
}

/// Bytes of a manifest's files that this checkpoint wrote.
fn written_bytes(manifest: &Manifest) -> u64 {
    let prefix = format!("{:020}-", manifest.id.0);
    let own = |name: &str| name.starts_with(&prefix) || name.starts_with(&format!("{}-", manifest.id));
    let parts = manifest.parts.iter().filter(|part| own(&part.name)).map(|part| part.bytes);
    let files = manifest.parts.iter().filter_map(|part| part.store.as_ref()).flat_map(|store| &store.files);
    parts.sum::<u64>()
        + files.filter(|file| own(&file.name) && file.is_table).map(|file| file.bytes).sum::<u64>()
}

#[test]
fn what_did_not_change_is_not_written_again() {
    for backend in BACKENDS {
        let mut bench = numbers(*backend);
        let all = written_bytes(&bench.checkpoint());
        assert_eq!(bench.checkpoint().key_count(), 2_000);
        bench.with(7, |value| value.update(-7));
        let one = written_bytes(&bench.checkpoint());
        assert!(one > 0 && one < all / 4, "{backend}: {one} bytes for one key, {all} for all");
        let none = written_bytes(&bench.checkpoint());
        assert!(none < 200, "{backend}: {none} bytes for no key");
        // After a restore the heap and `sled` write all once, `rocksdb` nothing.
        bench.restore(1);
        let again = written_bytes(&bench.checkpoint());
        assert!(backend.is_heap() || again <= all, "{backend}: {again} after {all}");
        assert!(written_bytes(&bench.checkpoint()) < 200, "{backend}");
        bench.restart(2);
        bench.batch(&keys(), |key, value| assert_eq!(value.value(), Some(if *key == 7 { -7 } else { *key })));
    }
}

#[test]
fn stores_and_pinned_files_go_with_their_users() {
    for backend in BACKENDS.iter().filter(|backend| !backend.is_heap()) {
        let mut bench = numbers(*backend);
        let work = bench.directory().join("work");
        let held = bench.hold();
        bench.restart_from_nothing();
        assert_eq!(RealDisk.list(&work).unwrap().len(), 2, "{backend}: a snapshot keeps its store");
        drop(held.finish());
        assert_eq!(RealDisk.list(&work).unwrap().len(), 1, "{backend}");
        bench.subtasks.clear();
        assert_eq!(RealDisk.list(&work).unwrap(), [""; 0], "{backend}");
        bench.restore(1);
        assert_eq!(bench.key_count(), 2_000);
    }
}

#[test]
fn superseded_parts_and_files_are_removed() {
    for backend in BACKENDS.iter().filter(|backend| **backend != Backend::Memory) {
        let mut bench = numbers(*backend);
        let mut manifests = Vec::new();
        for round in 0..12 {
            bench.batch(&keys()[round * 100..(round + 1) * 100], |key, value| value.update(key + 1));
            manifests.push(bench.checkpoint());
            if round % 5 == 4 {
                bench.restore(round % 3 + 1);
            }
        }
        let kept = manifests[manifests.len() - 2..].iter();
        let named: BTreeSet<String> = kept
            .flat_map(|manifest| manifest.parts.iter())
            .flat_map(|part| part.names().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let found: BTreeSet<String> =
            RealDisk.list(&bench.directory().join("parts")).unwrap().into_iter().collect();
        assert_eq!(found, named, "{backend}");
    }
}

#[test]
fn two_that_go_on_from_one_checkpoint_harm_neither_it_nor_each_other() {
    for backend in BACKENDS {
        let mut bench = numbers(*backend);
        let id = bench.checkpoint().id;
        let mut others: Vec<_> = (0..2).map(|_| bench.opened_from_newest(1)).collect();
        for (salt, other) in (1..).zip(&mut others) {
            for round in 0..5 {
                other.batch(&keys(), |key, value| value.update(key * salt + round));
                drop(other.checkpoint());
            }
        }
        // Verifies every file.
        assert_eq!(bench.newest().manifest.id, id, "{backend}");
        bench.restore(1);
        bench.batch(&keys(), |key, value| assert_eq!(value.value(), Some(*key)));
        for (salt, other) in (1..).zip(&mut others) {
            other.restore(2);
            other.batch(&keys(), |key, value| assert_eq!(value.value(), Some(key * salt + 4), "{backend}"));
        }
    }
}

#[test]
fn late_checkpoints_of_an_earlier_attempt_do_not_mix_with_the_next() {
    for backend in BACKENDS {
        // The next attempt gives its tables numbers of its own: by one of these counts they meet.
        for late in 1..10 {
            let mut bench = numbers(*backend);
            bench.checkpoint();
            // Begins from here, while the attempt before still completes checkpoints.
            let next = bench.second_attempt();
            for round in 0..late {
                bench.batch(&keys(), |key, value| value.update(key + 100 + round));
                bench.checkpoint();
            }
            bench.subtasks = next;
            bench.batch(&keys()[..1_000], |key, value| value.update(key + 200));
            bench.restart(1);
            bench.batch(&keys(), |key, value| {
                let expected = if *key < 1_000 { key + 200 } else { *key };
                assert_eq!(value.value(), Some(expected), "{backend}, {late} late checkpoints");
            });
        }
    }
}
