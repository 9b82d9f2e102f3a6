//! The way back from a remote.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::device::*;
use crate::checkpoint::archive::manifest::ShippedManifest;
use crate::checkpoint::archive::mark::MarkFile;
use crate::checkpoint::archive::*;
use crate::checkpoint::{CheckpointId, CheckpointStore, Manifest, Spool};
use crate::disk::{Disk, RealDisk};
use crate::remote::{MemoryStore, RemoteName, RemoteStore};
use crate::runtime::Offset;

/// Every object of an archive is damaged in every way; a restore gives a whole checkpoint or says why not.
#[test]
fn damaged_and_hostile_objects_are_refused() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    let (old, new) = (noise(3000, 1), noise(60_000, 2));
    device.offer(&checkpoint_of(1, &[("a", &old)]), &[&old]);
    device.ship_all();
    device.offer(&checkpoint_of(2, &[("b", &new)]), &[&new]);
    device.ship_all();
    let good = store.with_objects(|objects| objects.clone());
    type Harm = fn(&mut Vec<u8>);
    let harms: [Harm; 8] = [
        Vec::clear,
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.push(0),
        |bytes| bytes[0] ^= 0x80,
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        },
        |bytes| bytes.iter_mut().for_each(|byte| *byte = 0xFF),
        |bytes| {
            *bytes = crate::checkpoint::archive::chunk::Packing::default()
                .pack(&vec![0; 64 << 20], &blake3::hash(b""))
        },
        |bytes| bytes.resize(40 << 20, 0),
    ];
    let mut fallbacks = 0;
    for name in good.keys().filter(|name| !name.as_str().contains("incarnations")) {
        for (number, harm) in harms.iter().enumerate() {
            store.with_objects(|objects| {
                *objects = good.clone();
                harm(objects.get_mut(name).unwrap());
            });
            let (id, bytes) = newest(&store).unwrap();
            let expected = if id == 2 { &new } else { &old };
            fallbacks += u64::from(id == 1);
            assert_eq!(bytes, std::slice::from_ref(expected), "{name}, harm {number}");
        }
    }
    assert!(fallbacks > 8, "{fallbacks}");
    // All of it damaged: an error that says so.
    let flip = |bytes: &mut Vec<u8>| {
        let at = bytes.len().min(31) - 1;
        bytes[at] ^= 1;
    };
    store.with_objects(|objects| objects.values_mut().for_each(flip));
    assert!(matches!(restore(&store, Wanted::default()), Err(ArchiveError::NothingWhole { tried: 2, .. })));
}

#[test]
fn objects_of_other_devices_and_names_are_refused() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    device.offer(&checkpoint_of(1, &[("a", b"1")]), &[b"1"]);
    device.ship_all();
    let ours = archive(&store);
    let mut foreign = ours.manifest(&ours.manifests().unwrap()[0]).unwrap().manifest;
    foreign.device = "other".into();
    foreign.generation = 9;
    let plant = |manifest: &ShippedManifest, generation: u64| {
        let (bytes, seal) = manifest.encode(&UNSIGNED);
        let name = ours.paths.manifest(&ManifestName::new(1, generation, &seal));
        store.with_objects(|objects| objects.insert(name, bytes));
    };
    plant(&foreign, 9);
    assert_eq!(newest(&store).unwrap().0, 1, "of another device");
    foreign.device = "device".into();
    plant(&foreign, 10);
    assert_eq!(newest(&store).unwrap().0, 1, "under another generation's name");
    // A forged one where keys are used.
    let trust = Trust { key: Some(ArchiveKey::of_test(1)), allow_unsigned: false, cipher: None };
    let guarded = Archive::new(Arc::clone(&store) as Arc<dyn RemoteStore>, "device", "job", trust);
    let directory = tempfile::tempdir().unwrap();
    let mut restorer = Restorer::new(&guarded, Arc::new(RealDisk), directory.path()).without_pauses();
    let refused = restorer.restore(Wanted::default(), &mut |_| ()).unwrap_err().to_string();
    assert!(refused.contains("not sealed with a key"), "{refused}");
    // So many manifests that nobody looks at them all.
    store.with_objects(|objects| {
        for number in 0..10_001 {
            objects.insert(ours.paths.manifests().join(&format!("junk-{number}")), Vec::new());
        }
    });
    assert!(restore(&store, Wanted::default()).unwrap_err().to_string().contains("more than 10000"));
}

/// A device that has shipped two checkpoints, and what the remote had between them.
fn shipped_twice(store: &Arc<MemoryStore>) -> (Device, BTreeMap<RemoteName, Vec<u8>>) {
    let mut device = Device::new(store);
    device.offer(&checkpoint_of(1, &[("a", b"1")]), &[b"1"]);
    device.ship_all();
    let older = store.with_objects(|objects| objects.clone());
    device.offer(&checkpoint_of(2, &[("a", b"2")]), &[b"2"]);
    device.ship_all();
    (device, older)
}

#[test]
fn a_remote_that_was_set_back_is_refused_unless_accepted() {
    let store = Arc::new(MemoryStore::new());
    let (device, older) = shipped_twice(&store);
    store.with_objects(|objects| *objects = older);
    let archive = archive(&store);
    let mut restorer = Restorer::new(&archive, Arc::new(RealDisk), device.directory.path()).without_pauses();
    let refused = restorer.restore(Wanted::default(), &mut |_| ());
    assert!(
        matches!(refused, Err(ArchiveError::RolledBack { found: (1, 1), seen: (1, 2), .. })),
        "{refused:?}"
    );
    let accepted = restorer.restore(Wanted { accept_rollback: true, ..Wanted::default() }, &mut |_| ());
    assert_eq!(accepted.unwrap().unwrap().shipped.checkpoint.id, CheckpointId(1));
}

/// Restores are cut at every call; the next one goes on and fetches no chunk twice.
#[test]
fn a_restore_cut_anywhere_goes_on() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    let bytes = noise(100_000, 1);
    device.offer(&checkpoint_of(1, &[("a", &bytes), ("b", b"x")]), &[&bytes, b"x"]);
    device.ship_all();
    let chunks = names(&store, "chunks").len() as u64;
    let archive = archive(&store);
    for calls in 0..chunks + 8 {
        let directory = tempfile::tempdir().unwrap();
        let mut restorer = Restorer::new(&archive, Arc::new(RealDisk), directory.path()).without_pauses();
        let mut steps = 0;
        let cut = restorer.restore(Wanted::default(), &mut |_| {
            steps += 1;
            if steps > calls {
                store.set_down(true);
            }
        });
        store.set_down(false);
        let before = store.calls();
        if cut.is_err() {
            restorer.restore(Wanted::default(), &mut |_| ()).unwrap();
            let fetched = store.calls() - before;
            assert!(fetched + calls.saturating_sub(3) <= chunks + 6, "cut at {calls}: {fetched} calls");
        }
        let mut spool = Spool::open(Arc::new(RealDisk), directory.path(), "job", 3).unwrap();
        assert_eq!(*spool.newest().unwrap().unwrap().parts[0].bytes, bytes);
        let files: BTreeSet<String> =
            RealDisk.list(&directory.path().join("parts")).unwrap().into_iter().collect();
        assert_eq!(files, ["a".to_owned(), "b".to_owned()].into());
    }
}

#[test]
fn an_encrypted_archive_tells_nothing_and_is_read_with_its_key_only() {
    let store = Arc::new(MemoryStore::new());
    let secret = b"reading of the boiler: 42 degrees; ".repeat(20);
    let directory = tempfile::tempdir().unwrap();
    let mut plain = Device::new(&store);
    plain.offer(&checkpoint_of(1, &[("a", &secret)]), &[&secret]);
    plain.ship_all();
    let before: BTreeSet<RemoteName> = store.with_objects(|objects| objects.keys().cloned().collect());
    let mut device = Device::of(directory, archive_with(&store, encrypted()), policy());
    device.offer(&checkpoint_of(2, &[("a", &secret)]), &[&secret]);
    device.ship_all();
    let hashes: Vec<String> = names(&store, "chunks").iter().map(|name| name.last().to_owned()).collect();
    assert!(hashes.iter().any(|hash| *hash == blake3::hash(&secret).to_hex().as_str()), "in the plain one");
    store.with_objects(|objects| {
        for (name, bytes) in objects.iter().filter(|(name, _)| !before.contains(*name)) {
            assert!(zstd::bulk::decompress(bytes, 1 << 20).is_err(), "{name} is only packed");
            for text in [&b"boiler"[..], b"print", blake3::hash(&secret).as_bytes()] {
                assert!(!bytes.windows(text.len()).any(|window| window == text), "{name}");
            }
        }
    });
    let empty = || tempfile::tempdir().unwrap();
    assert_eq!(restore_by(&archive_with(&store, encrypted()), empty().path()).unwrap(), 2);
    let unsigned = Trust { allow_unsigned: true, ..encrypted() };
    assert_eq!(restore_by(&archive_with(&store, unsigned.clone()), empty().path()).unwrap(), 2);
    // Without the key the plain one from before is what is left.
    let without = Trust { cipher: None, ..unsigned };
    assert_eq!(restore_by(&archive_with(&store, without), empty().path()).unwrap(), 1);
    let other = Trust { cipher: Some(ArchiveCipher::of_test(8)), ..encrypted() };
    let refused = restore_by(&archive_with(&store, other), empty().path()).unwrap_err().to_string();
    assert!(refused.contains("not sealed with a key"), "the older one is what was tried last: {refused}");
}

#[test]
fn what_the_lost_device_had_taken_in_behind_the_checkpoint_is_told() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    let with_lines = |id: u64, lines: u64| Manifest {
        clients: vec![("boiler".into(), lines)],
        ..checkpoint_of(id, &[("a", b"1")])
    };
    device.offer(&with_lines(1, 5), &[b"1"]);
    // While it is shipped the job goes on.
    device.ship(4);
    device.offer(&with_lines(3, 17), &[b"1"]);
    device.ship(4);
    store.set_down(true);
    let directory = tempfile::tempdir().unwrap();
    store.set_down(false);
    let archive = archive(&store);
    let mut restorer = Restorer::new(&archive, Arc::new(RealDisk), directory.path()).without_pauses();
    let fetched = restorer.fetch(Wanted::default(), &mut |_| ()).unwrap().unwrap();
    assert_eq!(fetched.shipped.checkpoint.id, CheckpointId(1));
    let lost = fetched.lost().unwrap();
    assert_eq!((lost.batches, lost.readings), ((Offset(11), Offset(30)), 2));
    assert_eq!(lost.clients, [("boiler".to_owned(), 6, 17)]);
    // Nothing of it is installed yet.
    assert!(RealDisk.list(&directory.path().join("parts")).is_err());
    assert!(RealDisk.list(&directory.path().join("manifests")).is_err());
    assert_eq!(restorer.contents(&fetched).unwrap().parts.len(), 1);
    restorer.install(&fetched).unwrap();
    device.ship_all();
    let fetched = restorer.fetch(Wanted::default(), &mut |_| ()).unwrap().unwrap();
    assert_eq!(fetched.lost(), None);
}

#[test]
fn a_restore_remembers_what_it_has_seen() {
    let store = Arc::new(MemoryStore::new());
    let (_device, older) = shipped_twice(&store);
    let archive = archive(&store);
    let (directory, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(restore_by(&archive, directory.path()).unwrap(), 2);
    store.with_objects(|objects| *objects = older);
    let refused = restore_by(&archive, directory.path()).unwrap_err();
    assert!(matches!(refused, ArchiveError::RolledBack { found: (1, 1), seen: (1, 2), .. }), "{refused}");
    // A new card can be told.
    let mut restorer = Restorer::new(&archive, Arc::new(RealDisk), empty.path()).without_pauses();
    for (min_generation, expected) in [(2, None), (1, Some(CheckpointId(1)))] {
        let wanted = Wanted { min_generation, ..Wanted::default() };
        let fetched = restorer.try_out(wanted, &mut |_| ());
        assert_eq!(fetched.ok().flatten().map(|fetched| fetched.shipped.checkpoint.id), expected);
    }
    // One that another device has taken over is ahead, however few generations it has.
    let mut mark = MarkFile::of(Arc::new(RealDisk), directory.path()).read(&archive.identity()).unwrap();
    mark.see(2, 1);
    assert_eq!((mark.incarnation, mark.generation), (2, 1));
}

#[test]
fn a_manifest_that_was_cut_is_told_from_one_that_was_whole() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    let found = |store: &Arc<MemoryStore>| {
        let (archive, directory) = (archive(store), tempfile::tempdir().unwrap());
        let listed =
            Restorer::new(&archive, Arc::new(RealDisk), directory.path()).without_pauses().list().unwrap();
        let unusable = listed.iter().filter(|(_, read)| read.is_err()).count();
        (unusable, cut_uploads(&listed).len())
    };
    let cut = |store: &Arc<MemoryStore>, name: &RemoteName, length| {
        store.with_objects(|objects| objects.get_mut(name).unwrap().truncate(length));
    };
    for id in 1..=3 {
        let bytes = noise(1000, id);
        device.offer(&checkpoint_of(id, &[("a", &bytes)]), &[&bytes]);
        device.ship_all();
        if id == 1 {
            let only = names(&store, "manifests").remove(0);
            let whole = store.with_objects(|objects| objects[&only].clone());
            cut(&store, &only, 30);
            assert_eq!((found(&store), newest(&store)), ((1, 1), None), "the first upload of all");
            store.with_objects(|objects| objects.insert(only, whole));
        }
    }
    let manifests = names(&store, "manifests");
    for length in [0, 5, 20, 200] {
        cut(&store, &manifests[2], length);
        assert_eq!(found(&store), (1, 1), "the newest");
    }
    assert_eq!(newest(&store).map(|(id, _)| id), Some(2));
    cut(&store, &manifests[0], 100);
    assert_eq!(found(&store), (2, 1), "one that another was chained to was whole once");
    // Another process goes on, and clears up.
    let bytes = noise(1000, 4);
    let mut device = device.restarted(&store);
    device.offer(&checkpoint_of(4, &[("a", &bytes)]), &[&bytes]);
    device.ship_all();
    assert_eq!((found(&store), names(&store, "manifests").len()), ((0, 0), 2));
    assert_eq!(newest(&store).map(|(id, _)| id), Some(4));
}

#[test]
fn a_manifest_that_is_removed_while_it_is_listed_is_left_out() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    for id in 1..=2 {
        let bytes = noise(1000, id);
        device.offer(&checkpoint_of(id, &[("a", &bytes)]), &[&bytes]);
        device.ship_all();
    }
    let archive = archive(&store);
    let directory = tempfile::tempdir().unwrap();
    let mut restorer = Restorer::new(&archive, Arc::new(RealDisk), directory.path()).without_pauses();
    let manifests = names(&store, "manifests");
    store.hide(&manifests[1], 1);
    assert_eq!(restorer.list().unwrap().len(), 1);
    // All of them are gone once: they are listed again.
    store.hide(&manifests[0], 1);
    store.hide(&manifests[1], 1);
    assert_eq!(restorer.list().unwrap().len(), 2);
    store.hide(&manifests[0], 1000);
    store.hide(&manifests[1], 1000);
    assert!(matches!(restorer.list(), Err(ArchiveError::Remote(_))), "an end comes");
}
