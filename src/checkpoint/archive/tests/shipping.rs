//! Checkpoints on their way to a remote.

use std::sync::Arc;
use std::time::Duration;

use super::device::*;
use crate::checkpoint::archive::*;
use crate::checkpoint::{CheckpointId, CheckpointStore, Spool};
use crate::disk::{Disk, Random, RealDisk};
use crate::remote::{Fault, MemoryStore};
use crate::state::GroupBytes;

#[test]
fn what_is_shipped_is_restored() {
    let store = Arc::new(MemoryStore::new());
    assert_eq!(newest(&store), None);
    let mut device = Device::new(&store);
    let (first, second) = (noise(100_000, 1), noise(10, 2));
    device.offer(&checkpoint_of(1, &[("a", &first), ("b", &second), ("c", b"")]), &[&first, &second, b""]);
    device.ship_all();
    assert_eq!(newest(&store), Some((1, vec![first, second, Vec::new()])));
    let status = device.status();
    assert_eq!((status.shipped, status.newest), (1, Some(CheckpointId(1))));
    assert_eq!(status.connectivity, Connectivity::Connected);
}

#[test]
fn unchanged_chunks_are_not_sent_again_also_by_another_process() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    let mut bytes = noise(1 << 20, 1);
    device.offer(&checkpoint_of(1, &[("a", &bytes)]), &[&bytes]);
    device.ship_all();
    let first = store.bytes_put();
    bytes[500_000] ^= 1;
    let mut device = device.restarted(&store);
    device.offer(&checkpoint_of(2, &[("b", &bytes)]), &[&bytes]);
    device.ship_all();
    let second = store.bytes_put() - first;
    assert!(second * 10 < first, "{second} bytes after {first}");
    assert_eq!(newest(&store), Some((2, vec![bytes])));
}

#[test]
fn the_newest_wins_and_the_same_is_not_shipped_twice() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    for id in 1..=5 {
        device.offer(&checkpoint_of(id, &[("a", b"x")]), &[b"x"]);
    }
    device.ship_all();
    assert_eq!(device.status().skipped, 4);
    assert_eq!(names(&store, "manifests").len(), 1);
    // A restart offers what it was restored from.
    let mut device = device.restarted(&store);
    device.offer(&checkpoint_of(5, &[("a", b"x")]), &[b"x"]);
    device.ship_all();
    assert_eq!((device.status().shipped, names(&store, "manifests").len()), (0, 1));
}

/// The connection is cut for good after a random number of bytes, or the process dies after a random number of steps, or a
/// call fails in one of the ways calls fail. At no time does a restore see anything but a whole checkpoint.
/// Uploads that are cut.
const CUTS: u64 = 500;

#[test]
fn an_upload_cut_anywhere_is_never_seen_in_part_and_costs_little() {
    let seed = std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5);
    println!("TIDEGATE_TEST_SEED={seed}");
    let mut random = Random(seed);
    let (old, new) = (noise(5_000, 1), noise(250_000, 2));
    let (before, after) = (Some((1, vec![old.clone()])), Some((2, vec![new.clone()])));
    let whole = {
        let store = Arc::new(MemoryStore::new());
        let mut device = Device::new(&store);
        device.offer(&checkpoint_of(2, &[("b", &new)]), &[&new]);
        device.ship_all();
        store.bytes_put()
    };
    let (mut sent_all, mut sent_most) = (0, 0);
    for cut in 0..CUTS {
        let store = Arc::new(if cut % 2 == 0 { MemoryStore::new() } else { MemoryStore::overwriting() });
        let mut device = Device::new(&store);
        device.offer(&checkpoint_of(1, &[("a", &old)]), &[&old]);
        device.ship_all();
        let sent_before = store.bytes_put();
        device.offer(&checkpoint_of(2, &[("b", &new)]), &[&new]);
        match cut % 5 {
            0 | 1 => store.cut_after_bytes(random.below(whole)),
            2 => store.fail_after(random.below(150), Fault::ReplyLost),
            3 => store
                .fail_after(random.below(150), Fault::CutAfter(usize::try_from(random.below(9000)).unwrap())),
            _ => {}
        }
        let steps = usize::try_from(1 + random.below(120)).unwrap();
        device.ship(steps);
        store.set_down(false);
        let seen = newest(&store);
        assert!(seen == before || seen == after, "cut {cut}: a restore sees something else");
        // The process may have died as well.
        let mut device = if cut % 3 == 0 { device.restarted(&store) } else { device };
        if cut % 3 == 0 {
            device.offer(&checkpoint_of(2, &[("b", &new)]), &[&new]);
        }
        device.ship_all();
        assert_eq!(newest(&store), after, "cut {cut}");
        let sent = store.bytes_put() - sent_before;
        assert!(sent * 10 <= whole * 11, "cut {cut}: {sent} bytes were sent instead of {whole}");
        sent_all += sent;
        sent_most = sent_most.max(sent);
    }
    let uncut = CUTS * whole;
    println!(
        "{CUTS} uploads cut at random points sent {sent_all} bytes, uncut ones {uncut}: {}.{:03} of that; the costliest {sent_most} \
         instead of {whole}",
        sent_all / uncut,
        sent_all * 1000 / uncut % 1000
    );
}

#[test]
fn an_outage_is_seen_and_ends() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    store.set_down(true);
    device.offer(&checkpoint_of(1, &[("a", b"x")]), &[b"x"]);
    device.ship(100);
    assert!(matches!(device.status().connectivity, Connectivity::Failing(_)));
    assert!(store.calls() < 60, "it backs off");
    for id in 2..50 {
        device.offer(&checkpoint_of(id, &[("a", b"x")]), &[b"x"]);
    }
    store.set_down(false);
    device.ship_all();
    assert_eq!(newest(&store).unwrap().0, 49);
    assert_eq!(device.status().connectivity, Connectivity::Connected);
}

#[test]
fn the_newest_are_kept_and_chunks_nothing_names_go_after_the_grace_period() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    for id in 1..=6 {
        let bytes = noise(20_000, id);
        device.offer(&checkpoint_of(id, &[("a", &bytes)]), &[&bytes]);
        device.ship_all();
        device.now += Duration::from_secs(1);
    }
    assert_eq!(names(&store, "manifests").len(), 3);
    let all = names(&store, "chunks").len();
    device.now += Duration::from_secs(61);
    // The first look finds them, a later one removes them.
    for id in 7..=8 {
        device.offer(&checkpoint_of(id, &[("a", &noise(20_000, 6))]), &[&noise(20_000, 6)]);
        device.ship_all();
        device.now += Duration::from_secs(61);
    }
    assert!(names(&store, "chunks").len() < all / 2, "{} of {all}", names(&store, "chunks").len());
    for id in [6, 7, 8] {
        let wanted = Wanted { id: Some(CheckpointId(id)), ..Wanted::default() };
        assert_eq!(restore(&store, wanted).unwrap(), Some((id, vec![noise(20_000, 6)])));
    }
    let gone = restore(&store, Wanted { id: Some(CheckpointId(1)), ..Wanted::default() });
    assert!(matches!(gone, Err(ArchiveError::Absent { .. })), "{gone:?}");
}

/// Two devices with copies of one folder on one remote, in random order.
#[test]
fn of_two_devices_with_one_identity_one_goes_on() {
    let mut random = Random(11);
    for trial in 0..200_u64 {
        let store = Arc::new(if trial % 2 == 0 { MemoryStore::new() } else { MemoryStore::overwriting() });
        let mut first = Device::new(&store);
        first.offer(&checkpoint_of(1, &[("a", b"1")]), &[b"1"]);
        first.ship_all();
        let copy = tempfile::tempdir().unwrap();
        let mark = MarkFile::of(Arc::new(RealDisk), first.directory.path());
        let mark = mark.read(&archive(&store).identity()).unwrap();
        // A copy of the card remembers the same; a new card remembers nothing.
        if trial % 4 < 2 {
            MarkFile::of(Arc::new(RealDisk), copy.path()).write(&mark).unwrap();
        }
        let mut devices = [first.restarted(&store), Device::at(copy, &store)];
        let mut last = [0, 0];
        for id in 2..40_u64 {
            let which = usize::try_from(random.below(2)).unwrap();
            devices[which].offer(
                &checkpoint_of(id, &[("a", &[u8::try_from(id).unwrap()])]),
                &[&[u8::try_from(id).unwrap()]],
            );
            let before = devices[which].status().shipped;
            devices[which].ship(usize::try_from(1 + random.below(12)).unwrap());
            if devices[which].status().shipped > before {
                last[which] = id;
            }
        }
        let fenced: Vec<bool> = devices
            .iter_mut()
            .map(|device| {
                device.offer(&checkpoint_of(90, &[("a", b"z")]), &[b"z"]);
                device.ship(10_000) == Turn::Stopped
            })
            .collect();
        assert_eq!(fenced.iter().filter(|fenced| **fenced).count(), 1, "trial {trial}: {fenced:?}");
        let archive = archive(&store);
        let winner = archive.incarnation().unwrap().unwrap();
        let newest = archive.manifests().unwrap()[0];
        assert_eq!(archive.manifest(&newest).unwrap().manifest.incarnation, winner, "trial {trial}");
    }
}

#[test]
fn a_device_that_comes_back_after_its_replacement_stops() {
    let store = Arc::new(MemoryStore::new());
    let mut old = Device::new(&store);
    old.offer(&checkpoint_of(1, &[("a", b"1")]), &[b"1"]);
    old.ship_all();
    let mut new = Device::new(&store);
    new.offer(&checkpoint_of(2, &[("a", b"2")]), &[b"2"]);
    new.ship_all();
    // It was running all the time, and is started again.
    for _ in 0..2 {
        old.offer(&checkpoint_of(3, &[("a", b"3")]), &[b"3"]);
        assert_eq!(old.ship(1000), Turn::Stopped);
        assert_eq!(old.status().connectivity, Connectivity::Fenced);
        old = old.restarted(&store);
    }
    assert_eq!(newest(&store), Some((2, vec![b"2".to_vec()])));
    let mut old = Device::with(old.directory, &store, ShippingPolicy { take_over: true, ..policy() });
    old.offer(&checkpoint_of(3, &[("a", b"3")]), &[b"3"]);
    old.ship_all();
    assert_eq!(newest(&store).unwrap().0, 3);
    new.offer(&checkpoint_of(4, &[("a", b"4")]), &[b"4"]);
    assert_eq!(new.ship(1000), Turn::Stopped);
}

#[test]
fn the_bytes_of_a_day_are_remembered_by_the_next_process() {
    let store = Arc::new(MemoryStore::new());
    let limits = UploadLimits { bytes_per_day: Some(300_000), ..UploadLimits::default() };
    let limited = || ShippingPolicy { limits, ..policy() };
    let bytes = noise(1 << 20, 1);
    let mut device = Device::with(tempfile::tempdir().unwrap(), &store, limited());
    for _ in 0..3 {
        device.offer(&checkpoint_of(1, &[("a", &bytes)]), &[&bytes]);
        let now = Moment { monotonic: device.now, wall_ms: 1_000_000 };
        while device.shipping.turn(now) == Turn::Step {
            device.shipping.step(now);
        }
        let paused = Connectivity::Paused("upload-bytes-per-day is used up");
        assert_eq!(device.status().connectivity, paused);
        assert!(device.status().backlog.unwrap().readings > 0);
        device = Device::with(device.directory, &store, limited());
    }
    let sent = store.bytes_put();
    // What a crash forgets, and the last chunk, of each of three processes.
    assert!((300_000..300_000 + 3 * (65_536 + 16_384 + 1024)).contains(&sent), "{sent}");
}

#[test]
fn what_waits_is_told_with_its_age() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    device.offer(&checkpoint_of(1, &[("a", b"1")]), &[b"1"]);
    device.ship_all();
    assert_eq!(device.status().backlog, None);
    store.set_down(true);
    for id in 2..=5 {
        device.offer(&checkpoint_of(id, &[("a", b"1")]), &[b"1"]);
        device.ship(3);
        device.now += Duration::from_secs(60);
    }
    let backlog = device.status().backlog.unwrap();
    assert_eq!(backlog.readings, 4);
    assert!(backlog.age >= Duration::from_secs(240), "{backlog:?}");
    store.set_down(false);
    device.ship_all();
    assert_eq!(device.status().backlog, None);
}

#[test]
fn pruning_removes_what_is_outdated_at_once() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    for id in 1..=3 {
        let bytes = noise(20_000, id);
        device.offer(&checkpoint_of(id, &[("a", &bytes)]), &[&bytes]);
        device.ship_all();
    }
    let retention = Retention { newest: 1, ..Retention::default() };
    let at_once = ShippingPolicy { retention, grace: Duration::ZERO, ..policy() };
    let mut device = Device::with(device.directory, &store, at_once);
    let before = names(&store, "").len();
    device.shipping.prune();
    device.ship_all();
    assert_eq!(names(&store, "manifests").len(), 1);
    assert_eq!(newest(&store), Some((3, vec![noise(20_000, 3)])));
    assert!(names(&store, "chunks").len() < 12 && device.status().removed > 5, "{before}");
}

/// A part of 40 key groups with `keys` keys each; those in `changed` have another value than the others.
fn grouped_part(keys: u32, changed: impl Fn(u32) -> bool) -> (Vec<GroupBytes>, Vec<u8>) {
    let (mut groups, mut bytes) = (Vec::new(), b"a header".to_vec());
    for group in 0..40_u16 {
        let from = bytes.len();
        for key in 0..keys {
            let number = u32::from(group) * keys + key;
            bytes.extend_from_slice(
                blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk::<12>().unwrap(),
            );
            bytes.extend_from_slice(
                &(if changed(number) { number.wrapping_mul(7919) } else { 1 }).to_le_bytes(),
            );
        }
        groups.push(GroupBytes { group, keys: u64::from(keys), bytes: (bytes.len() - from) as u64 });
    }
    (groups, bytes)
}

fn offer_grouped(device: &Device, id: u64, (groups, bytes): &(Vec<GroupBytes>, Vec<u8>)) {
    let name = format!("part-{id}");
    let mut checkpoint = checkpoint_of(id, &[(&name, bytes)]);
    checkpoint.parts[0].groups.clone_from(groups);
    device.offer(&checkpoint, &[bytes]);
}

/// One key in a hundred changes, all over a part that is written anew whole.
#[test]
fn scattered_changes_cost_few_bytes_again_and_again() {
    let with_key = archive_with(&Arc::new(MemoryStore::new()), encrypted()).trust;
    for trust in [UNSIGNED, with_key] {
        let store = Arc::new(MemoryStore::new());
        let archive = archive_with(&store, trust);
        let mut device = Device::of(tempfile::tempdir().unwrap(), archive.clone(), policy());
        offer_grouped(&device, 1, &grouped_part(500, |_| false));
        device.ship_all();
        let mut sent = store.bytes_put();
        let first = sent;
        for id in 2..=12_u64 {
            // In the middle of it all the process starts again, and once what it has of the bases is damaged.
            if id == 5 {
                device = Device::of(device.directory, archive.clone(), policy());
            }
            let part = grouped_part(500, |number| u64::from(number) % 100 < id - 1);
            offer_grouped(&device, id, &part);
            device.ship_all();
            let new = store.bytes_put() - sent;
            sent += new;
            assert!(id > 4 || new * 10 <= first, "checkpoint {id}: {new} bytes after {first}");
            let directory = tempfile::tempdir().unwrap();
            assert_eq!(restore_by(&archive, directory.path()).unwrap(), id);
            let mut spool = Spool::open(Arc::new(RealDisk), directory.path(), "job", 3).unwrap();
            assert_eq!(*spool.newest().unwrap().unwrap().parts[0].bytes, part.1);
        }
        // Changes add up: now and then a chunk is sent by itself again. On average few bytes still.
        assert!((sent - first) / 11 * 4 < first, "{} bytes in 11 checkpoints after {first}", sent - first);
    }
}

#[test]
fn bases_that_are_gone_or_damaged_cost_bytes_and_nothing_else() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    offer_grouped(&device, 1, &grouped_part(500, |_| false));
    device.ship_all();
    let folder = device.directory.path().join("remote").join("bases");
    for name in RealDisk.list(&folder).unwrap() {
        write(&folder.join(name), b"nonsense");
    }
    let part = grouped_part(500, |number| number % 100 == 0);
    offer_grouped(&device, 2, &part);
    device.ship_all();
    assert_eq!(newest(&store), Some((2, vec![part.1])));
    // Those of the new chunks are good again.
    let sent = store.bytes_put();
    let part = grouped_part(500, |number| number % 100 < 2);
    offer_grouped(&device, 3, &part);
    device.ship_all();
    assert!((store.bytes_put() - sent) * 5 < sent, "{}", store.bytes_put() - sent);
    assert_eq!(newest(&store), Some((3, vec![part.1])));
    // What a base is needed for is damaged with it.
    let archive = archive(&store);
    let shipped = archive.manifest(&archive.manifests().unwrap()[0]).unwrap();
    let base = archive.paths.chunk(&shipped.manifest.bases[0][0].hash());
    store.with_objects(|objects| objects.remove(&base).unwrap());
    assert_ne!(newest(&store).unwrap().0, 3);
}

#[test]
fn of_devices_that_start_at_once_none_has_the_number_of_another_where_the_remote_can_tell() {
    for (store, exclusive) in [(MemoryStore::new(), true), (MemoryStore::overwriting(), false)] {
        let store = Arc::new(store);
        let archive = archive(&store);
        let incarnation = |id| paths::Incarnation { number: 1, id: [id; 16] };
        let first = archive.claim(&incarnation(1)).unwrap();
        assert_eq!(first, if exclusive { catalogue::Claim::Exclusive } else { catalogue::Claim::Shared });
        assert_eq!(archive.claim(&incarnation(1)), Ok(first), "tried again");
        let second = archive.claim(&incarnation(2)).unwrap();
        assert_eq!(second, if exclusive { catalogue::Claim::Taken } else { catalogue::Claim::Shared });
        // Who finds it taken has another number.
        let mut device = Device::new(&store);
        device.offer(&checkpoint_of(1, &[("a", b"1")]), &[b"1"]);
        device.ship_all();
        let current = archive.incarnation().unwrap().map(|current| current.number);
        assert_eq!(current, Some(if exclusive { 2 } else { 1 }));
    }
}
