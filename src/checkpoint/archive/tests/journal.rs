//! The journal on a remote in memory: shipped, cut, damaged, forged, and brought back.

use std::sync::Arc;
use std::time::Duration;

use super::device::{UNSIGNED, archive, checkpoint_of};
use super::journal_device::*;
use crate::checkpoint::CheckpointId;
use crate::checkpoint::archive::paths::PieceName;
use crate::checkpoint::archive::piece::ShippedPiece;
use crate::checkpoint::archive::*;
use crate::disk::{Disk, Random, RealDisk};
use crate::remote::{Fault, MemoryStore, RemoteName};
use crate::runtime::Offset;

#[test]
fn what_is_durable_is_restored_behind_the_checkpoint() {
    let store = Arc::new(MemoryStore::new());
    let mut device = shipped(&store);
    assert_eq!(restore(&store, None), brought(1, 11..=40, 'a'));
    // Batches that are written and not durable stay here.
    device.writer.append(vec![entry(41, 'a')]).unwrap();
    device.ship(200);
    assert_eq!(restore(&store, None), brought(1, 11..=40, 'a'));
    device.checkpoint(3);
    device.take_in(7);
    device.ship_all();
    assert_eq!(restore(&store, None), brought(3, 31..=48, 'a'));
    assert_eq!(restore(&store, Some(1)), brought(1, 11..=48, 'a'));
}

#[test]
fn a_restart_and_a_replacement_go_on_with_the_run() {
    let store = Arc::new(MemoryStore::new());
    let mut device = shipped(&store).restarted(archive(&store), 1);
    let before = pieces(&store).len();
    device.take_in(3);
    device.ship_all();
    assert_eq!(pieces(&store).len(), before + 1, "nothing is sent twice");
    assert_eq!(restore(&store, None), brought(1, 11..=43, 'a'));
    // Checkpoint 2 was completed and not shipped when the process died: the one who ships it has made no batch behind it.
    let mut device = device.restarted(archive(&store), 2);
    device.ship_all();
    assert_eq!(restore(&store, None), brought(2, 21..=43, 'a'));

    let directory = tempfile::tempdir().unwrap();
    restore_into(&archive(&store), directory.path(), None).unwrap();
    let mut replacement = Device::at(directory, archive(&store), 'b');
    replacement.checkpoint(2);
    let before = pieces(&store).len();
    replacement.take_in(4);
    replacement.ship_all();
    assert_eq!(pieces(&store).len(), before + 1);
    let mut expected = brought(2, 21..=43, 'a');
    expected.batches.extend((44..=47).map(|offset| (offset, 'b')));
    assert_eq!(restore(&store, None), expected);
    // The old one was running all the time.
    device.take_in(9);
    device.now += Duration::from_secs(60);
    assert_eq!(device.ship(1000), Turn::Stopped);
    assert_eq!(restore(&store, None), expected);
}

#[test]
fn a_run_ends_before_what_is_missing_damaged_or_forged_and_what_is_lost_is_told() {
    type Harm = fn(&Arc<MemoryStore>, &[PieceName], usize);
    let harms: [Harm; 6] = [
        |store, pieces, at| {
            let name = object(store, &pieces[at]);
            store.with_objects(|objects| drop(objects.remove(&name)));
        },
        |store, pieces, at| {
            let name = object(store, &pieces[at]);
            store.with_objects(|objects| objects.get_mut(&name).unwrap()[40] ^= 1);
        },
        |store, pieces, at| {
            let name = object(store, &pieces[at]);
            store.with_objects(|objects| objects.get_mut(&name).unwrap().truncate(60));
        },
        // Another piece under its name.
        |store, pieces, at| {
            let (name, other) = (object(store, &pieces[at]), object(store, &pieces[at - 1]));
            store.with_objects(|objects| {
                let other = objects[&other].clone();
                objects.insert(name, other);
            });
        },
        // One that says it goes on behind the same piece, with other records.
        |store, pieces, at| {
            let archive = archive(store);
            let good = archive.piece(&pieces[at]).unwrap().shipped;
            let (packed, bytes) = (zstd::bulk::compress(b"other", 3).unwrap(), 5);
            let (name, object, _) = ShippedPiece { packed, bytes, ..good }.encode(&UNSIGNED);
            let removed = self::object(store, &pieces[at]);
            store.with_objects(|objects| {
                objects.remove(&removed);
                objects.insert(archive.paths.piece(&name), object);
            });
        },
        // One of another history.
        |store, pieces, at| {
            let archive = archive(store);
            let good = archive.piece(&pieces[at]).unwrap().shipped;
            let (name, object, _) = ShippedPiece { lineage: CheckpointId(9), ..good }.encode(&UNSIGNED);
            let removed = self::object(store, &pieces[at]);
            store.with_objects(|objects| {
                objects.remove(&removed);
                objects.insert(archive.paths.piece(&name), object);
            });
        },
    ];
    for (number, harm) in harms.iter().enumerate() {
        for at in 1..6 {
            let store = Arc::new(MemoryStore::new());
            let _device = shipped(&store);
            let all = pieces(&store);
            let at = at * (all.len() - 1) / 6 + 1;
            harm(&store, &all, at);
            let before = all[at - 1].through.0.max(10);
            // What is sealed is believed when it says how far the device was.
            let is_told = at < all.len() - 1 || number == 4;
            let found = restore(&store, None);
            // Where the piece is at the beginning of the first segment, nothing of the run is of use.
            let is_beginning = all[at].through.0 <= 11 && all[at].segment.0 <= 10;
            let end = if is_beginning { 10 } else { before };
            let expected = Brought { lost: is_told.then_some((end + 1, 40)), ..brought(1, 11..=end, 'a') };
            assert_eq!(found, expected, "harm {number} at {at}");
        }
    }
}

#[test]
fn pieces_of_names_nobody_gave_mislead_nobody() {
    let store = Arc::new(MemoryStore::new());
    let _device = shipped(&store);
    let all = pieces(&store);
    // Whoever can write to the remote and has no key: bogus names that promise more, in every place.
    for (number, piece) in all.iter().enumerate() {
        let seal = [u8::try_from(number).unwrap() + 1; 8];
        let bogus = PieceName { incarnation: 99, through: Offset(900), seal, previous: piece.seal, ..*piece };
        let circle = PieceName { previous: seal, seal: [200; 8], ..bogus };
        for (name, bytes) in [(bogus, &b"bogus"[..]), (circle, b"")] {
            let name = object(&store, &name);
            store.with_objects(|objects| objects.insert(name, bytes.to_vec()));
        }
    }
    assert_eq!(restore(&store, None), brought(1, 11..=40, 'a'));
}

/// The remote fails in every way at random calls and the process dies at random steps: at any time a restore gives the
/// checkpoint and an unbroken run of what was taken in behind it, and in the end all.
#[test]
fn shipping_cut_anywhere_is_gone_on_with() {
    let seed = std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5);
    println!("TIDEGATE_TEST_SEED={seed}");
    let mut random = Random(seed);
    for trial in 0..120 {
        let store = Arc::new(if trial % 2 == 0 { MemoryStore::new() } else { MemoryStore::overwriting() });
        let mut device = Device::new(&store, 'a');
        device.take_in(10);
        device.checkpoint(1);
        device.ship(2000);
        let mut newest = 1;
        for _ in 0..6 {
            device.take_in(1 + random.below(12));
            match random.below(4) {
                0 => store.cut_after_bytes(random.below(3000)),
                1 => store.fail_after(random.below(12), Fault::ReplyLost),
                2 => store.fail_after(
                    random.below(12),
                    Fault::CutAfter(usize::try_from(random.below(400)).unwrap()),
                ),
                _ => {}
            }
            let completed = device.writer.durable().0 / 10;
            if random.below(3) == 0 && completed > newest {
                newest = completed;
                device.checkpoint(newest);
            }
            device.ship(usize::try_from(1 + random.below(25)).unwrap());
            store.set_down(false);
            let found = restore(&store, None);
            let first = found.checkpoint * 10 + 1;
            let through = found.batches.keys().next_back().copied().unwrap_or(first - 1);
            assert_eq!(
                found,
                Brought { lost: found.lost, ..brought(found.checkpoint, first..=through, 'a') }
            );
            assert!(through <= device.writer.durable().0);
            if random.below(3) == 0 {
                device = device.restarted(archive(&store), newest);
            }
        }
        device.ship(100_000);
        let expected = brought(newest, newest * 10 + 1..=device.writer.durable().0, 'a');
        assert_eq!(restore(&store, None), expected, "trial {trial}");
    }
}

#[test]
fn a_journal_that_was_cut_before_it_was_shipped_begins_a_new_run() {
    let store = Arc::new(MemoryStore::new());
    let mut device = shipped(&store);
    store.set_down(true);
    device.take_in(60);
    device.ship(50);
    device.writer.delete_through(Offset(90)).unwrap();
    store.set_down(false);
    device.ship(500);
    // What lies in between is gone from the device.
    assert_eq!(restore(&store, None).batches, brought(1, 11..=40, 'a').batches);
    device.checkpoint(9);
    device.ship_all();
    assert_eq!(restore(&store, None), brought(9, 91..=100, 'a'));
}

#[test]
fn pieces_that_carry_on_nothing_are_removed() {
    let store = Arc::new(MemoryStore::new());
    let mut device = shipped(&store);
    for id in 4..12 {
        device.checkpoint(id);
        device.take_in(10);
        device.ship_all();
    }
    let left = pieces(&store);
    assert_eq!(restore(&store, None), brought(11, 111..=120, 'a'));
    assert_eq!(restore(&store, Some(9)), brought(9, 91..=120, 'a'), "the oldest of three");
    let oldest = left.iter().map(|piece| piece.through).min().unwrap();
    assert!(oldest > Offset(60), "{oldest}");
}

#[test]
fn another_history_is_not_mixed_in() {
    let store = Arc::new(MemoryStore::new());
    let device = shipped(&store);
    // The device is started afresh: the journal is there, the state is empty.
    let mut device = Device::at(device.directory, archive(&store), 'b');
    let mut empty = checkpoint_of(5, &[]);
    (empty.offset, empty.readings, empty.lineage) = (Offset(40), 40, CheckpointId(5));
    empty.clients = vec![("client".into(), 40)];
    device.pins.offer(&empty);
    device.take_in(10);
    device.ship_all();
    assert_eq!(restore(&store, None), brought(5, 41..=50, 'b'));
    assert_eq!(restore(&store, Some(1)).batches, brought(1, 11..=40, 'a').batches);
}

/// The old device and its replacement, which was restored from an older checkpoint by hand: what the replacement ships
/// does not carry on a checkpoint it never had.
#[test]
fn a_replacement_that_went_back_carries_on_only_what_it_had() {
    let store = Arc::new(MemoryStore::new());
    let mut device = shipped(&store);
    device.checkpoint(3);
    device.take_in(20);
    device.ship_all();
    let directory = tempfile::tempdir().unwrap();
    let store_of_1 = Arc::new(MemoryStore::new());
    // As when all behind checkpoint 1 was not there at that time.
    let first: Vec<PieceName> = pieces(&store).into_iter().filter(|piece| piece.through.0 <= 20).collect();
    let kept: Vec<RemoteName> = first.iter().map(|piece| object(&store, piece)).collect();
    let all = store.with_objects(|objects| objects.clone());
    store_of_1.with_objects(|objects| {
        let is_kept = |name: &RemoteName| !name.as_str().contains("/journal/") || kept.contains(name);
        objects.extend(all.into_iter().filter(|(name, _)| is_kept(name)));
    });
    let went_back = restore_into(&archive(&store_of_1), directory.path(), Some(1)).unwrap();
    assert_eq!(went_back.batches.keys().next_back().copied(), first.last().map(|piece| piece.through.0));
    let mut replacement = Device::at(directory, archive(&store), 'b');
    replacement.checkpoint(1);
    replacement.take_in(30);
    replacement.ship_all();
    assert_eq!(
        restore(&store, Some(3)),
        brought(3, 31..=60, 'a'),
        "checkpoint 3 and what its device took in"
    );
    let newest = restore(&store, None);
    assert_eq!(newest.checkpoint, 1);
    assert_eq!(newest.batches.values().filter(|by| **by == 'b').count(), 30);
}

#[test]
fn a_journal_here_that_goes_as_far_stays() {
    let store = Arc::new(MemoryStore::new());
    let mut device = shipped(&store);
    device.writer.append((41..=45).map(|offset| entry(offset, 'a')).collect()).unwrap();
    device.writer.sync().unwrap();
    let folder = device.directory.path().to_owned();
    let found = restore_into(&archive(&store), &folder, None).unwrap();
    assert_eq!(found, brought(1, 11..=45, 'a'));
    // One that ends early gives way.
    let last = RealDisk.list(&folder.join("journal")).unwrap().into_iter().max().unwrap();
    RealDisk.remove(&folder.join("journal").join(&last)).unwrap();
    let found = restore_into(&archive(&store), &folder, None).unwrap();
    assert_eq!(found, brought(1, 11..=40, 'a'));
    assert!(!RealDisk.list(&folder.join("quarantine")).unwrap().is_empty());
}

#[test]
fn an_encrypted_journal_tells_nothing_and_is_read_with_its_key_only() {
    let store = Arc::new(MemoryStore::new());
    let trust = Trust {
        key: Some(ArchiveKey::of_test(1)),
        allow_unsigned: false,
        cipher: Some(ArchiveCipher::of_test(2)),
    };
    let of = |trust: &Trust| Archive { trust: trust.clone(), ..archive(&store) };
    let mut device = Device::at(tempfile::tempdir().unwrap(), of(&trust), 'a');
    device.take_in(10);
    device.checkpoint(1);
    device.take_in(20);
    device.ship_all();
    store.with_objects(|objects| {
        for (name, bytes) in objects.iter() {
            assert!(!bytes.windows(6).any(|window| window == b"client"), "{name}");
        }
    });
    let found = restore_into(&of(&trust), tempfile::tempdir().unwrap().path(), None).unwrap();
    assert_eq!(found, brought(1, 11..=30, 'a'));
    let name = pieces_of(&of(&trust))[0];
    let another = Trust { key: Some(ArchiveKey::of_test(3)), ..trust.clone() };
    let refused = of(&another).piece(&name);
    assert!(matches!(refused, Err(ArchiveError::Unusable { reason: Unusable::Damaged, .. })), "{refused:?}");
    let unsealed = of(&UNSIGNED).piece(&name);
    assert!(matches!(unsealed, Err(ArchiveError::Unusable { reason: Unusable::NoKey, .. })), "{unsealed:?}");
}

/// Two devices under one identity in random order: whatever is restored was taken in by one, or by the other behind what it
/// was restored from.
#[test]
fn of_two_devices_one_history_is_restored() {
    let mut random = Random(11);
    for trial in 0..60_u64 {
        let store = Arc::new(if trial % 2 == 0 { MemoryStore::new() } else { MemoryStore::overwriting() });
        let first = shipped(&store);
        let copy = tempfile::tempdir().unwrap();
        restore_into(&archive(&store), copy.path(), None).unwrap();
        let second = Device::at(copy, archive(&store), 'b');
        second.checkpoint(1);
        let mut devices = [first, second];
        for _ in 0..20 {
            let device = &mut devices[usize::try_from(random.below(2)).unwrap()];
            device.take_in(1 + random.below(5));
            device.now += Duration::from_secs(random.below(40));
            device.ship(usize::try_from(1 + random.below(15)).unwrap());
            let found = restore(&store, None);
            let by: String = found.batches.values().collect();
            assert_eq!(by.trim_start_matches('a').trim_matches('b'), "", "trial {trial}: {by}");
            let through = 10 + found.batches.len() as u64;
            assert!(found.batches.keys().copied().eq(11..=through));
            assert!(through >= 40);
        }
    }
}
